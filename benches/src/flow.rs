//! Messages in one direction, and the choice of the role.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use crate::args::{Options, Role};
use crate::cost::{Cost, print_memory};
use crate::head::{Head, Kind};
use crate::inlet::{Inlet, PATIENCE};
use crate::outlet::Outlet;
use crate::pace::{due_ns, now_ns};
use crate::times::Times;
use crate::{marks, pace, relay, trip};

const WARM_PAUSE: Duration = Duration::from_millis(10);
/// A pace begins in a moment, so that its thread is there.
const PACE_DELAY_NS: u64 = 2_000_000;

/// Does what the role says.
pub(crate) async fn run(options: &Options) -> Result<()> {
    match options.role {
        Role::Publish => publish(options).await,
        Role::Subscribe => subscribe(options).await,
        Role::Ping => trip::ping(options).await,
        Role::Pong => trip::pong(options).await,
        Role::Relay => relay::run(options).await,
    }
}

async fn publish(options: &Options) -> Result<()> {
    let mut outlet = Outlet::open(options).await?;
    send_until(&mut outlet, options, (Kind::Warm, 0), "ready").await?;
    let cost = Cost::now(options);
    if options.pace > 0 {
        send_at_pace(&mut outlet, options).await?;
    } else {
        for number in 0..options.count {
            let time_ns = if outlet.is_empty() { now_ns() } else { 0 };
            outlet.offer(Kind::Message, number, time_ns).await?;
        }
        outlet.flush().await?;
    }
    print_memory(options);
    outlet.settle().await?;
    send_until(&mut outlet, options, (Kind::End, options.count), "done").await?;
    cost.print_since(options);
    Ok(())
}

/// Sends messages of this kind and number until all subscribers have made this mark.
async fn send_until(
    outlet: &mut Outlet,
    options: &Options,
    (kind, number): (Kind, u64),
    name: &str,
) -> Result<()> {
    while !marks::are_made(options, name) {
        outlet.send(kind, number, now_ns()).await?;
        tokio::time::sleep(WARM_PAUSE).await;
    }
    Ok(())
}

/// All that are due go out together, each with its own time.
async fn send_at_pace(outlet: &mut Outlet, options: &Options) -> Result<()> {
    let begin = now_ns() + PACE_DELAY_NS;
    let mut due = pace::start(begin, options.pace, options.count)?;
    let mut sent = 0;
    while sent < options.count {
        let until = *due.wait_for(|due| *due > sent).await.context("the pace has ended")?;
        for number in sent..until {
            outlet.offer(Kind::Message, number, due_ns(begin, number, options.pace)).await?;
        }
        outlet.flush().await?;
        sent = until;
    }
    Ok(())
}

/// What a subscriber has seen.
#[derive(Default)]
struct Seen {
    expected: Vec<u64>,
    warm: Vec<bool>,
    ended: Vec<bool>,
    received: u64,
    disordered: u64,
    first_ns: Option<u64>,
    last_ns: Option<u64>,
    times: Times,
}

impl Seen {
    fn look(&mut self, head: Head, options: &Options) -> Result<()> {
        let publisher = usize::try_from(head.publisher)?;
        let expected = self.expected.get_mut(publisher).context("a publisher that there is not")?;
        match head.kind {
            Kind::Warm => self.warm[publisher] = true,
            Kind::End => self.ended[publisher] = true,
            Kind::Message => {
                self.disordered += u64::from(head.number < *expected);
                *expected = head.number + 1;
                self.received += 1;
                if head.time_ns != 0 {
                    self.first_ns = Some(self.first_ns.map_or(head.time_ns, |first| first.min(head.time_ns)));
                }
                if head.number + 1 == options.count {
                    self.last_ns = Some(now_ns());
                }
                // The first tenth warms caches.
                if options.pace > 0 && head.number >= options.count / 10 {
                    self.times.keep(now_ns().saturating_sub(head.time_ns));
                }
            }
        }
        Ok(())
    }
}

async fn subscribe(options: &Options) -> Result<()> {
    let mut inlet = Inlet::open(options).await?;
    let publishers = usize::try_from(options.publishers)?;
    let mut seen = Seen {
        expected: vec![0; publishers],
        warm: vec![false; publishers],
        ended: vec![false; publishers],
        ..Seen::default()
    };
    let mut cost = None;
    while seen.ended.contains(&false) {
        let Some(head) = inlet.next(PATIENCE).await? else { break };
        seen.look(head, options)?;
        if cost.is_none() && !seen.warm.contains(&false) {
            cost = Some(Cost::now(options));
            marks::make(options, "ready")?;
        }
    }
    let last_ns = seen.last_ns.unwrap_or_else(now_ns);
    cost.context("no publisher came")?.print_since(options);
    print_memory(options);
    marks::make(options, "done")?;
    let all = options.count * options.publishers;
    ensure!(seen.received <= all, "more messages came than were sent: {}", seen.received);
    let first_ns = seen.first_ns.unwrap_or(last_ns);
    println!("received {}\nlost {}", seen.received, all - seen.received);
    println!("disordered {}", seen.disordered);
    println!("seconds {:.6}", Duration::from_nanos(last_ns.saturating_sub(first_ns)).as_secs_f64());
    if options.pace > 0 {
        seen.times.print();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Args;
    use clap::Parser as _;

    /// Goal: what is late is disordered, what is from nobody is an error, and the end of the one publisher is seen.
    #[test]
    fn a_subscriber_counts() {
        let options = Args::try_parse_from(["grpc-load", "subscribe", "grpc"]).unwrap().options().unwrap();
        let mut seen = Seen { expected: vec![0], warm: vec![false], ended: vec![false], ..Seen::default() };
        let head = |kind, number| Head { kind, publisher: 0, number, time_ns: 9 };
        for number in [0, 2, 1] {
            seen.look(head(Kind::Message, number), &options).unwrap();
        }
        seen.look(head(Kind::End, 0), &options).unwrap();
        assert_eq!((seen.received, seen.disordered, seen.first_ns), (3, 1, Some(9)));
        assert_eq!(seen.ended, [true]);
        assert!(seen.look(Head { publisher: 1, ..head(Kind::Warm, 0) }, &options).is_err());
    }
}
