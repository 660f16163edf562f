//! Deaths under load: pods and sidecars that are killed and get no word out.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tests::load::{HUSH, READ, STALL, Source};

use crate::book::Subscription;
use crate::kube::{self, until};
use crate::load::{FLOWING, Load, Scene, labels};
use crate::processes::{Processes, SIDECAR};

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
";
const JOBS: &str = "channels/jobs";
const PRICES: &str = "channels/prices";

fn name(pod: &Value) -> &str {
    pod["metadata"]["name"].as_str().unwrap_or_default()
}

/// The pod is deleted, and its processes die where they stand: none hears that it is to end, and none starts anew.
fn kill_pod(scene: &Scene, pod: &Value) -> Result<()> {
    let processes = Processes::of(pod, |_| true)?;
    processes.stop()?;
    scene.namespace.kubectl(&["delete", "pod", name(pod), "--grace-period=0", "--force"])?;
    processes.kill()
}

/// The sidecar's process dies; the app lives on, and the sidecar is started again.
fn kill_sidecar(pod: &Value) -> Result<()> {
    Processes::of(pod, |process| process == SIDECAR)?.kill()
}

/// Two pods of a Deployment.
fn two(load: &Load<'_>) -> Result<(Value, Value)> {
    let mut pods = load.pods()?;
    let two = pods.pop().zip(pods.pop());
    two.with_context(|| format!("{} has no two pods", load.name))
}

/// Promise: work of a receiver that dies, with its pod or with its sidecar alone, is done by another; every number of
/// which a publisher was told that it is published arrives at one.
#[test]
fn work_of_killed_receivers_is_done_by_others() -> Result<()> {
    let scene = Scene::new("killed-receivers", CHANNELS)?;
    let workers = scene.load("workers", 3, &["--work", JOBS])?;
    let publishers = scene.load("publishers", 2, &["--publish", JOBS])?;
    workers.wait()?;
    publishers.wait()?;
    let mut pods = workers.pods()?;
    let names: Vec<String> = pods.iter().map(|pod| name(pod).to_owned()).collect();
    scene.clerk.until("every receiver to work", |book| {
        names.iter().all(|pod| book.arrivals(pod, JOBS) >= FLOWING).then_some(())
    })?;

    // Both have messages that they have not acknowledged.
    let (one, other) = pods.pop().zip(pods.pop()).context("there are three receivers")?;
    for pod in [&one, &other] {
        ensure!(scene.clerk.order(name(pod), STALL)? == 1, "a receiver does not listen");
    }
    let so_far = scene.clerk.read(|book| book.told_count(JOBS))?;
    scene.clerk.until("the stalled receivers to have work", |book| {
        (book.told_count(JOBS) > so_far + FLOWING * 4).then_some(())
    })?;
    kill_pod(&scene, &one)?;
    kill_sidecar(&other)?;
    ensure!(scene.clerk.order(name(&other), READ)? == 1, "a receiver does not listen");

    // The app of the sidecar that died takes part again, and so does a new pod.
    scene.clerk.until("the work to go on", |book| {
        let works = |one: &Subscription| one.arrivals() >= FLOWING;
        let again = book.of(name(&other), JOBS).any(|one| one.number > 1 && works(one));
        let new = book.of("workers", JOBS).any(|one| !names.contains(&one.pod) && works(one));
        (again && new).then_some(())
    })?;
    ensure!(scene.clerk.order("publishers", HUSH)? == 2, "the publishers do not listen");
    let mut last = String::new();
    let settled = until("all work to be done", kube::LIMIT, || {
        let missing = scene.clerk.read(|book| book.missing("", JOBS))?;
        last = format!("{missing:?}");
        Ok(missing.is_empty().then_some(()))
    });
    settled.map_err(|error| error.context(last))?;
    let again = scene.clerk.read(|book| {
        let heard = book.of("", JOBS).flat_map(|one| one.heard.values());
        let tries = heard.flat_map(|heard| heard.arrived.values()).flat_map(|(_, tries)| tries);
        tries.filter(|attempt| **attempt > 1).count()
    })?;
    ensure!(again > 0, "the receivers that died had no work");
    let [kind, channel] = labels(JOBS);
    let dropped = publishers.sum("pinnace_dropped_messages_total", &[&kind, &channel])?;
    ensure!(dropped == 0.0, "{dropped} are counted as dropped");
    let told = scene.clerk.read(|book| book.gap_messages("", JOBS, |_| true))?;
    ensure!(told == 0, "receivers were told that they missed {told}");
    Ok(())
}

/// Promise: of a publisher that is killed what it held is lost and nothing else: each subscriber has all before that.
/// When only its sidecar was killed, the subscriber is told a gap of unknown size, and the new sidecar's messages come.
/// A subscriber that is killed costs the others nothing.
#[test]
fn killed_pods_lose_what_they_held_and_nothing_else() -> Result<()> {
    let scene = Scene::new("killed-pods", CHANNELS)?;
    let witness = scene.load("witness", 1, &["--subscribe", PRICES])?;
    witness.wait()?;
    let subscribers = scene.load("subscribers", 1, &["--subscribe", PRICES])?;
    let publishers = scene.load("publishers", 3, &["--publish", PRICES])?;
    subscribers.wait()?;
    publishers.wait()?;
    let flowing = |sources: usize| {
        scene.clerk.until("messages of all publishers to flow", |book| {
            let heard = book.of("witness", PRICES).flat_map(|one| &one.heard);
            (heard.filter(|(_, heard)| heard.arrived.len() >= FLOWING).count() >= sources).then_some(())
        })
    };
    flowing(3)?;
    scene.clerk.until("the other subscriber to hear", |book| {
        (book.arrivals("subscribers", PRICES) >= FLOWING).then_some(())
    })?;

    let killed = subscribers.pod()?;
    kill_pod(&scene, &killed)?;
    scene.clerk.until("another subscriber to take its place", |book| {
        let new =
            book.of("subscribers", PRICES).any(|one| one.pod != name(&killed) && one.arrivals() >= FLOWING);
        new.then_some(())
    })?;
    let (one, other) = two(&publishers)?;
    let dead = [name(&one).to_owned(), name(&other).to_owned()];
    kill_pod(&scene, &one)?;
    kill_sidecar(&other)?;
    // The third goes on, the first has a successor, and the second comes back with another epoch.
    flowing(5)?;
    // One of them may be the pod that was killed, whose connection nobody has closed.
    ensure!(scene.clerk.order("publishers", HUSH)? >= 3, "the publishers do not listen");
    judge(&scene, &dead)
}

fn judge(scene: &Scene, dead: &[String; 2]) -> Result<()> {
    let is = |source: &Source, pod: &str| source.publisher.ends_with(&format!("/{pod}"));
    // The sidecar that was killed has two epochs; the one that is heard of first is over.
    let over = scene.clerk.read(|book| {
        let heard = book.of("witness", PRICES).flat_map(|one| &one.heard);
        let untold = heard.filter(|(_, heard)| heard.gaps.iter().any(|gap| gap.messages == 0));
        untold.map(|(source, heard)| (source.clone(), heard.gaps.clone())).collect::<Vec<_>>()
    })?;
    ensure!(over.len() == 1, "gaps of unknown size: {over:?}");
    let (restarted, gaps) = &over[0];
    ensure!(is(restarted, &dead[1]) && gaps.len() == 1, "gaps of unknown size: {over:?}");
    let lives = |source: &Source| source != restarted && !is(source, &dead[0]);
    let mut last = String::new();
    let settled = until("all that was published to arrive", kube::LIMIT, || {
        let mut missing = scene.clerk.read(|book| book.missing("witness", PRICES))?;
        missing.retain(|source, _| lives(source));
        last = format!("{missing:?}");
        Ok(missing.is_empty().then_some(()))
    });
    settled.map_err(|error| error.context(last))?;
    scene.clerk.read(|book| -> Result<()> {
        book.check("", PRICES)?;
        for (source, heard) in book.of("witness", PRICES).flat_map(|one| &one.heard) {
            // The witness was there when each publisher began.
            let known = heard.exact()?;
            ensure!(*known.start() == 1, "{source:?} begins with {}", known.start());
            ensure!(heard.once(), "a message of {source:?} came twice");
            if source == restarted {
                let next = known.end() + 1;
                ensure!(gaps[0].first == next && gaps[0].reason == "lost", "{:?} after {known:?}", gaps[0]);
            }
        }
        Ok(())
    })?
}
