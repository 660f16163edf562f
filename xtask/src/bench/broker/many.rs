//! Loads with a thousand of something: partitions at a pace, and topics.

use std::time::Duration;

use anyhow::{Context as _, Result};

use super::client::Load;
use super::process::Broker;
use super::wire::Wire;
use super::{Bench, median};
use crate::bench::Report;
use crate::cache::remove_folder;
use crate::wait::{self, Stopwatch};

const THOUSAND: u16 = 1_000;
/// Ten messages a second to each partition.
const PACE: u32 = 10_000;
/// Client settings of the paced load: each message by itself, and what five milliseconds gather.
const LINGERS_MS: [u32; 2] = [0, 5];
/// Topics made by one request.
const TOPICS_AT_A_TIME: usize = 100;
const LIMIT: Duration = Duration::from_secs(300);
/// What a start after a kill finds: ten gibibytes in messages of one.
const RECOVERED_MESSAGES: u32 = 10 * 1024 * 1024;

impl Bench {
    /// Ten thousand messages a second of 100 bytes, round robin over a thousand partitions.
    pub(super) fn thousand_partitions(&self, report: &mut Report) -> Result<()> {
        let seconds = if self.quick { 3 } else { 20 };
        for (name, broker) in &self.brokers {
            let mut wire = Wire::connect(broker.socket())?;
            let topic = "thousand".to_owned();
            wire.create(std::slice::from_ref(&topic), THOUSAND.into())?;
            all_lead(&mut wire, std::slice::from_ref(&topic), 1_000)?;
            println!("first writes to a thousand partitions of {name}");
            self.programs.tools.paced(broker.address(), &topic, (PACE, 1), 5)?;
        }
        for linger_ms in LINGERS_MS {
            let mut results = vec![Vec::new(); self.brokers.len()];
            for _ in 0..self.rounds {
                for ((name, broker), results) in self.brokers.iter().zip(&mut results) {
                    println!("a thousand partitions with linger {linger_ms} ms on {name}");
                    self.settle()?;
                    let paced =
                        self.programs.tools.paced(broker.address(), "thousand", (PACE, seconds), linger_ms);
                    results.push(paced.with_context(|| broker.last_words())?);
                }
            }
            for ((name, _), paced) in self.brokers.iter().zip(results) {
                let figure = format!("{name}_1000_partitions_linger_{linger_ms}_ms");
                let all = |value: fn(&super::perf::Paced) -> f64| paced.iter().map(value).collect::<Vec<_>>();
                report.spread(format!("{figure}_reached_per_second"), all(|paced| paced.reached_per_second));
                report.spread(format!("{figure}_p50_milliseconds"), all(|paced| paced.p50_ms));
                report.spread(format!("{figure}_p99_milliseconds"), all(|paced| paced.p99_ms));
                report.figure(format!("{figure}_max_milliseconds"), median(all(|paced| paced.max_ms)));
            }
        }
        Ok(())
    }

    /// A thousand topics made and led; then our start with them, after a kill.
    pub(super) fn thousand_topics(&mut self, report: &mut Report) -> Result<()> {
        let names: Vec<String> = (0..THOUSAND).map(|number| format!("topic-{number}")).collect();
        for (name, broker) in &self.brokers {
            println!("a thousand topics on {name}");
            let mut wire = Wire::connect(broker.socket())?;
            let clock = Stopwatch::start();
            for some in names.chunks(TOPICS_AT_A_TIME) {
                wire.create(some, 1).with_context(|| broker.last_words())?;
            }
            let answered = clock.elapsed().as_secs_f64();
            all_lead(&mut wire, &names, names.len())?;
            report.figure(format!("{name}_create_1000_topics_seconds"), answered);
            let led = clock.elapsed().as_secs_f64();
            report.figure(format!("{name}_create_1000_topics_until_all_lead_seconds"), led);
        }
        let mut seconds = Vec::new();
        for _ in 0..self.rounds {
            self.brokers.retain(|(name, _)| *name != "pinnace");
            let broker = Broker::embedded(&self.programs.ours, self.folder.join("pinnace"))?;
            seconds.push(broker.first_acknowledgement("topic-0")?.as_secs_f64());
            self.brokers.push(("pinnace", broker));
        }
        report.spread("pinnace_start_with_1000_topics_seconds", seconds);
        Ok(())
    }

    pub(super) fn recovered_messages(&self) -> u32 {
        if self.quick { u32::from(THOUSAND) * 50 } else { RECOVERED_MESSAGES }
    }

    /// Our start after a kill in the middle of writing, with a thousand partitions that hold ten gibibytes.
    pub(super) fn recovery(&self, report: &mut Report) -> Result<()> {
        println!("starts after a kill with a thousand full partitions");
        let folder = self.folder.join("recovery");
        let messages = self.recovered_messages();
        let topic = "thousand".to_owned();
        let load = Load { topic: topic.clone(), bytes: 1024, messages, partition: None, codec: None };
        let mut broker = Broker::embedded(&self.programs.ours, folder.clone())?;
        let mut wire = broker.wire()?;
        wire.create(std::slice::from_ref(&topic), THOUSAND.into())?;
        all_lead(&mut wire, std::slice::from_ref(&topic), 1_000)?;
        self.programs.client.produce(broker.address(), &load).with_context(|| broker.last_words())?;
        let mut seconds = Vec::new();
        for _ in 0..self.rounds {
            // What was acknowledged a moment ago is in the journal only, and the kill leaves it there.
            self.programs.tools.paced(broker.address(), &topic, (PACE, 1), 5)?;
            drop(broker);
            broker = Broker::embedded(&self.programs.ours, folder.clone())?;
            seconds.push(broker.first_acknowledgement(&topic)?.as_secs_f64());
        }
        report.figure("pinnace_recovery_messages", messages);
        report.spread("pinnace_recovery_seconds", seconds);
        drop(broker);
        remove_folder(&folder)
    }
}

fn all_lead(wire: &mut Wire, names: &[String], partitions: usize) -> Result<()> {
    let led = || Ok((wire.led(names)? >= partitions).then_some(()));
    wait::closely("all partitions to have a leader", LIMIT, led)
}
