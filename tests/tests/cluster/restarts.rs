//! Rolling restarts under load: of subscribers, then of publishers, as `kubectl rollout restart` does them.

use anyhow::{Result, ensure};
use tests::load::{HUSH, READ, STALL, Source};

use crate::book::Book;
use crate::kube::{self, until};
use crate::load::{FLOWING, Load, Scene, labels};

/// Publishers wait for all who are there from the beginning, so none of them misses the beginning of a publisher.
const CHANNELS: &str = "
apiVersion: pinnace.dev/v1alpha1
kind: Channel
metadata: {name: jobs}
spec:
  pattern: Pipeline
  delivery: {acknowledge: Required}
---
apiVersion: pinnace.dev/v1alpha1
kind: Channel
metadata: {name: orders}
spec:
  delivery: {acknowledge: Required}
  ready: {subscribers: 3}
---
apiVersion: pinnace.dev/v1alpha1
kind: Channel
metadata: {name: prices}
spec:
  ready: {subscribers: 3}
---
apiVersion: pinnace.dev/v1alpha1
kind: Channel
metadata: {name: ticks}
spec:
  delivery: {overflow: DropOldest, buffer: {messages: 50}}
  ready: {subscribers: 2}
";
const JOBS: &str = "channels/jobs";
const ORDERS: &str = "channels/orders";
const PRICES: &str = "channels/prices";
const TICKS: &str = "channels/ticks";
const ALL: [&str; 4] = [JOBS, ORDERS, PRICES, TICKS];

/// The apps of the scenario. The witness and the laggard are never restarted; the laggard does not read for a while.
struct Apps<'a> {
    scene: &'a Scene,
    publishers: Load<'a>,
    subscribers: Load<'a>,
    witness: Load<'a>,
    laggard: Load<'a>,
}

impl<'a> Apps<'a> {
    fn start(scene: &'a Scene) -> Result<Self> {
        let listen = ["--subscribe", PRICES, "--work", ORDERS];
        let apps = Self {
            scene,
            witness: scene.load("witness", 1, &[&listen[..], &["--subscribe", TICKS]].concat())?,
            laggard: scene.load("laggard", 1, &["--subscribe", TICKS])?,
            subscribers: scene.load("subscribers", 2, &[&listen[..], &["--work", JOBS]].concat())?,
            publishers: scene.load("publishers", 2, &ALL.map(|name| ["--publish", name]).concat())?,
        };
        for load in [&apps.witness, &apps.laggard, &apps.subscribers, &apps.publishers] {
            load.wait()?;
        }
        Ok(apps)
    }

    /// Waits until every pod that runs takes part in every Channel that it is in.
    fn flow(&self) -> Result<()> {
        let names = |load: &Load<'_>| -> Result<Vec<String>> {
            let name =
                |pod: &serde_json::Value| pod["metadata"]["name"].as_str().unwrap_or_default().to_owned();
            Ok(load.pods()?.iter().map(name).collect())
        };
        let (publishers, subscribers) = (names(&self.publishers)?, names(&self.subscribers)?);
        ensure!(publishers.len() == 2 && subscribers.len() == 2, "{publishers:?} {subscribers:?}");
        self.scene.clerk.until("messages to flow between all pods", |book| {
            let publish = |pod: &String| {
                ALL.iter().all(|channel| {
                    let ends = format!("/{pod}");
                    book.told(channel)
                        .any(|(source, told)| source.publisher.ends_with(&ends) && told.len() >= FLOWING)
                })
            };
            let listen = |pod: &String| {
                [JOBS, ORDERS, PRICES].iter().all(|channel| book.arrivals(pod, channel) >= FLOWING)
            };
            (publishers.iter().all(publish) && subscribers.iter().all(listen)).then_some(())
        })
    }

    /// What the publishers that run count as dropped is what subscribers were told that they miss of them.
    fn agree(&self, channel: &str) -> Result<u64> {
        let pods = self.publishers.pods()?;
        let runs = |source: &Source| {
            pods.iter().any(|pod| {
                let name = pod["metadata"]["name"].as_str().unwrap_or_default();
                source.publisher.ends_with(&format!("/{name}"))
            })
        };
        let [kind, name] = labels(channel);
        let mut last = (0.0, 0);
        let found = until("the metrics to agree with the gaps", kube::LIMIT, || {
            let dropped = self.publishers.sum("pinnace_dropped_messages_total", &[&kind, &name])?;
            let told = self.scene.clerk.read(|book| book.gap_messages("", channel, runs))?;
            last = (dropped, told);
            Ok((dropped == told as f64).then_some(told))
        });
        found.map_err(|error| error.context(format!("{channel}: dropped {}, told {}", last.0, last.1)))
    }

    /// What one pod's sidecar counts is what its app counts.
    fn counts_of(&self, load: &Load<'_>, channel: &str) -> Result<()> {
        let [kind, name] = labels(channel);
        let (delivered, gaps) = self.scene.clerk.read(|book| {
            (book.arrivals(load.name, channel) as f64, book.gap_messages(load.name, channel, |_| true) as f64)
        })?;
        let counted = load.sum("pinnace_delivered_messages_total", &[&kind, &name])?;
        ensure!(counted == delivered, "{}: {counted} delivered, {delivered} came", load.name);
        let counted = load.sum("pinnace_gap_messages_total", &[&kind, &name])?;
        ensure!(counted == gaps, "{}: {counted} missed, {gaps} told", load.name);
        Ok(())
    }
}

/// What nobody who should have it has, in all Channels.
fn missing(book: &Book) -> String {
    let wanted = [
        ("subscribers", JOBS),
        ("witness", ORDERS),
        ("witness", PRICES),
        ("witness", TICKS),
        ("laggard", TICKS),
    ];
    let missing = wanted.into_iter().map(|(pods, channel)| (pods, channel, book.missing(pods, channel)));
    let missing: Vec<_> = missing.filter(|(_, _, numbers)| !numbers.is_empty()).collect();
    if missing.is_empty() { String::new() } else { format!("{missing:?}") }
}

/// Promise: subscribers and then publishers are restarted under load, and every message of which a publisher was told that
/// it is published arrives: with acknowledgement at one receiver (Pipeline) and at everybody who was there (PubSub);
/// without it at everybody who was there, or is told as missing, exactly, and what is counted is what is told.
#[test]
fn a_rolling_restart_loses_nothing() -> Result<()> {
    let scene = Scene::new("rolling-restart", CHANNELS)?;
    let apps = Apps::start(&scene)?;
    apps.flow()?;

    ensure!(scene.clerk.order("laggard", STALL)? == 1, "the laggard does not listen");
    apps.subscribers.restart()?;
    apps.flow()?;
    ensure!(scene.clerk.order("laggard", READ)? == 1, "the laggard does not listen");
    scene.clerk.until("the laggard to hear what it missed", |book| {
        (book.gap_messages("laggard", TICKS, |_| true) > 0).then_some(())
    })?;
    for channel in [ORDERS, PRICES] {
        ensure!(apps.agree(channel)? == 0, "{channel} lost messages");
    }
    ensure!(apps.agree(TICKS)? > 0, "nothing was dropped");

    apps.publishers.restart()?;
    apps.flow()?;
    ensure!(scene.clerk.order("publishers", HUSH)? == 2, "the publishers do not listen");
    let mut last = String::new();
    let settled = until("all that was published to arrive", kube::LIMIT, || {
        last = scene.clerk.read(missing)?;
        Ok(last.is_empty().then_some(()))
    });
    settled.map_err(|error| error.context(last))?;

    scene.clerk.read(|book| -> Result<()> {
        for channel in [JOBS, ORDERS, PRICES] {
            ensure!(book.gap_messages("", channel, |_| true) == 0, "{channel} has gaps");
        }
        for channel in [ORDERS, PRICES] {
            book.check("", channel)?;
        }
        book.check("", TICKS)?;
        for channel in [PRICES, TICKS] {
            let mut heard = book.of("", channel).flat_map(|one| one.heard.values());
            ensure!(heard.all(|heard| heard.once()), "a message of {channel} came twice");
        }
        ensure!(book.told(PRICES).count() == 4, "there were not four publishers");
        Ok(())
    })??;
    for channel in ALL {
        apps.agree(channel)?;
    }
    apps.counts_of(&apps.witness, PRICES)?;
    apps.counts_of(&apps.laggard, TICKS)?;
    Ok(())
}
