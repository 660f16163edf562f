//! Two pods that cannot reach each other for a while, under load.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use tests::load::HUSH;

use crate::kube::{self, now, until};
use crate::load::{FLOWING, Load, Scene, labels};
use crate::pods::address;
use crate::scrape;

/// `prices` has room for all that is published meanwhile, `ticks` has not.
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
metadata: {name: prices}
spec:
  ready: {subscribers: 2}
---
apiVersion: pinnace.dev/v1alpha1
kind: Channel
metadata: {name: ticks}
spec:
  delivery: {buffer: {messages: 200}}
  ready: {subscribers: 2}
";
const JOBS: &str = "channels/jobs";
const PRICES: &str = "channels/prices";
const TICKS: &str = "channels/ticks";
const ALL: [&str; 3] = [JOBS, PRICES, TICKS];
/// How long the pods are apart: a publisher keeps what it has for 30 s, and dialling again takes some of them.
const APART: Duration = Duration::from_secs(20);
/// Longer than a publisher keeps what it has.
const APART_LONG: Duration = Duration::from_secs(45);
/// How long a peer may be silent.
const SILENCE_MAX: Duration = Duration::from_secs(3);
/// What looking may add: a look itself, and the machine's other work.
const LOOK_MAX: Duration = Duration::from_secs(1);
/// How long a publisher may wait with somebody unreachable who is not known to be yet.
const HELD_UP_MAX_MS: u64 = 5_000;

/// Nothing passes between two addresses, in either direction, until this is dropped.
struct Cut {
    rules: [[String; 6]; 2],
    since: Instant,
}

impl Cut {
    fn between(one: &str, other: &str) -> Result<Self> {
        let rule = |from: &str, to: &str| ["-s", from, "-d", to, "-j", "DROP"].map(str::to_owned);
        let mut cut = Self { rules: [rule(one, other), rule(other, one)], since: now() };
        for rule in &cut.rules {
            iptables(&["--insert", "FORWARD"], rule)?;
        }
        cut.since = now();
        Ok(cut)
    }

    fn heal(mut self) -> Result<()> {
        self.remove()
    }

    fn remove(&mut self) -> Result<()> {
        for rule in std::mem::take(&mut self.rules).iter().filter(|rule| !rule[1].is_empty()) {
            iptables(&["--delete", "FORWARD"], rule)?;
        }
        Ok(())
    }
}

impl Drop for Cut {
    fn drop(&mut self) {
        // A scenario that failed before it healed says so itself.
        drop(self.remove());
    }
}

fn iptables(what: &[&str], rule: &[String]) -> Result<()> {
    let mut words = vec!["--wait"];
    words.extend_from_slice(what);
    words.extend(rule.iter().map(String::as_str));
    kube::run("iptables", &words).map(drop)
}

/// Promise: a connection over which nothing comes any more is noticed within three seconds, at both ends. Who is behind it
/// holds nobody up; when it is back it gets what the publisher's buffer held for it and is told the rest as a gap, exactly,
/// as it is counted; its work is done by others.
#[test]
fn a_partition_is_noticed_and_heals_with_exact_counts() -> Result<()> {
    let missed = part("partition", APART)?;
    ensure!(missed == 0, "{missed} messages that the buffer had room for were lost");
    Ok(())
}

/// Promise: the same when they are apart for longer than the publisher keeps what it has: all of it is told, and counted.
#[test]
fn a_partition_that_outlasts_the_buffer_is_counted_as_it_is_told() -> Result<()> {
    let missed = part("long-partition", APART_LONG)?;
    ensure!(missed > 0, "nothing was lost, although the pods were apart for {APART_LONG:?}");
    Ok(())
}

/// Parts a subscriber from its publisher for so long, and compares all accounts. Returns how many messages of the Channel
/// with much room it was told it missed.
fn part(name: &str, apart: Duration) -> Result<u64> {
    let scene = Scene::new(name, CHANNELS)?;
    let flags = ["--subscribe", PRICES, "--subscribe", TICKS, "--work", JOBS];
    let near = scene.load("near", 1, &flags)?;
    let far = scene.load("far", 1, &flags)?;
    let publisher = scene.load("publisher", 1, &ALL.map(|name| ["--publish", name]).concat())?;
    for load in [&near, &far, &publisher] {
        load.wait()?;
    }
    scene.clerk.until("messages to flow", |book| {
        let flows = |pods| ALL.iter().all(|channel| book.arrivals(pods, channel) >= FLOWING);
        (flows("near") && flows("far")).then_some(())
    })?;
    // Both were there from the first message on; from now on nobody waits for them.
    for channel in ["channel/prices", "channel/ticks"] {
        let patch = "{\"spec\": {\"ready\": null}}";
        scene.namespace.kubectl(&["patch", channel, "--type=merge", "--patch", patch])?;
    }
    let (before, there) =
        (publisher.sum("pinnace_peer_connections", &[])?, far.sum("pinnace_peer_connections", &[])?);
    ensure!(before == 2.0 && there == 1.0, "{before} and {there} connections stand");

    let ends = [publisher.pod()?, far.pod()?];
    let [one, other] = [address(&ends[0]), address(&ends[1])];
    let cut = Cut::between(one, other)?;
    noticed([(one, 1.0), (other, 0.0)], cut.since)?;
    let since = cut.since;
    until("the pods to have been apart for long enough", kube::LIMIT, || {
        Ok((since.elapsed() >= apart).then_some(()))
    })?;
    cut.heal()?;
    let so_far = scene.clerk.read(|book| book.arrivals("far", PRICES))?;
    scene.clerk.until("messages to come through again", |book| {
        (book.arrivals("far", PRICES) >= so_far + FLOWING).then_some(())
    })?;
    ensure!(scene.clerk.order("publisher", HUSH)? == 1, "the publisher does not listen");
    settle(&scene)?;
    judge(&scene, &publisher, &far)?;
    scene.clerk.read(|book| book.gap_messages("far", PRICES, |_| true))
}

/// Waits until so few connections stand at these addresses, and measures.
fn noticed(mut ends: [(&str, f64); 2], since: Instant) -> Result<()> {
    until("connections to be given up", kube::LIMIT, || {
        for (address, left) in ends.iter_mut().filter(|(address, _)| !address.is_empty()) {
            let metrics = scrape::get(address, scrape::ADMIN_PORT, "/metrics")?;
            if scrape::sum(&metrics, "pinnace_peer_connections", &[]) <= *left {
                let took = since.elapsed();
                println!("{address} noticed after {took:?}");
                ensure!(took <= SILENCE_MAX + LOOK_MAX, "{address} noticed after {took:?}");
                *address = "";
            }
        }
        Ok(ends.iter().all(|(address, _)| address.is_empty()).then_some(()))
    })
}

/// Waits until everybody has what it is to have.
fn settle(scene: &Scene) -> Result<()> {
    let mut last = String::new();
    let settled = until("all that was published to arrive", kube::LIMIT, || {
        let wanted = [("", JOBS), ("near", PRICES), ("near", TICKS), ("far", PRICES), ("far", TICKS)];
        let missing = scene.clerk.read(|book| wanted.map(|(pods, channel)| book.missing(pods, channel)))?;
        last = format!("{missing:?}");
        Ok(missing.iter().all(std::collections::BTreeMap::is_empty).then_some(()))
    });
    settled.map_err(|error| error.context(last))
}

fn judge(scene: &Scene, publisher: &Load<'_>, far: &Load<'_>) -> Result<()> {
    let held_up = scene.clerk.read(|book| -> Result<u64> {
        for channel in [PRICES, TICKS] {
            book.check("", channel)?;
            ensure!(book.gap_messages("near", channel, |_| true) == 0, "near missed messages of {channel}");
        }
        ensure!(book.gap_messages("", JOBS, |_| true) == 0, "work was not done");
        ensure!(book.gap_messages("far", TICKS, |_| true) > 0, "far missed nothing of {TICKS}");
        ensure!(book.failed.is_empty(), "a publish failed: {}", book.failed[0].problem);
        book.answered.iter().map(|answer| answer.took_ms).max().context("nothing was published")
    })??;
    println!("the longest publish took {held_up} ms");
    ensure!(held_up <= HELD_UP_MAX_MS, "a publish took {held_up} ms");
    for channel in ALL {
        let [kind, name] = labels(channel);
        let dropped = publisher.sum("pinnace_dropped_messages_total", &[&kind, &name])?;
        let told = scene.clerk.read(|book| book.gap_messages("", channel, |_| true))?;
        ensure!(dropped == told as f64, "{channel}: {dropped} dropped, {told} told");
        let missed = far.sum("pinnace_gap_messages_total", &[&kind, &name])?;
        let told = scene.clerk.read(|book| book.gap_messages("far", channel, |_| true))?;
        ensure!(missed == told as f64, "{channel}: {missed} missed, {told} told");
        println!("{channel}: {told} missed");
    }
    Ok(())
}
