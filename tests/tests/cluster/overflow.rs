//! A subscriber that stops reading, with each policy for a full buffer, beside one that reads.

use anyhow::{Context as _, Result, ensure};
use tests::load::{HUSH, READ, STALL};

use crate::book::Book;
use crate::kube::{self, until};
use crate::load::{FLOWING, Load, Scene, labels};

const CHANNELS: &str = "
apiVersion: pinnace.dev/v1alpha1
kind: Channel
metadata: {name: block}
spec:
  delivery: {overflow: Block, blockTimeout: 2s, buffer: {messages: 100}}
  ready: {subscribers: 2}
---
apiVersion: pinnace.dev/v1alpha1
kind: Channel
metadata: {name: newest}
spec:
  delivery: {overflow: DropNewest, buffer: {messages: 100}}
  ready: {subscribers: 2}
---
apiVersion: pinnace.dev/v1alpha1
kind: Channel
metadata: {name: oldest}
spec:
  delivery: {overflow: DropOldest, buffer: {messages: 100}}
  ready: {subscribers: 2}
";
const BLOCK: &str = "channels/block";
const NEWEST: &str = "channels/newest";
const OLDEST: &str = "channels/oldest";
const ALL: [&str; 3] = [BLOCK, NEWEST, OLDEST];
/// `blockTimeout` of the Channel, and how much longer the answer may take on a busy machine.
const BLOCK_MS: u64 = 2_000;
const SLACK_MS: u64 = 1_000;
/// Messages that are published while one subscriber does not read: many times what its buffer holds.
const MEANWHILE: usize = 1_000;

/// Promise: a subscriber that does not read is treated as the Channel says. With `Block` a publish fails after
/// `blockTimeout` and says who is slow. With `DropNewest` and `DropOldest` nothing holds the publisher up; what the
/// subscriber misses is told to it exactly and is what is counted; and who reads gets everything meanwhile.
#[test]
fn a_subscriber_that_stops_reading_is_treated_as_the_channel_says() -> Result<()> {
    let scene = Scene::new("overflow", CHANNELS)?;
    let listen = ALL.map(|name| ["--subscribe", name]).concat();
    let stuck = scene.load("stuck", 1, &listen)?;
    let prompt = scene.load("prompt", 1, &listen)?;
    let publisher = scene.load("publisher", 1, &ALL.map(|name| ["--publish", name]).concat())?;
    for load in [&stuck, &prompt, &publisher] {
        load.wait()?;
    }
    scene.clerk.until("messages to flow", |book| {
        let flows = |pods| ALL.iter().all(|channel| book.arrivals(pods, channel) >= FLOWING);
        (flows("stuck") && flows("prompt")).then_some(())
    })?;

    ensure!(scene.clerk.order("stuck", STALL)? == 1, "nobody listens");
    let so_far = scene.clerk.read(counts)?;
    let dropping = |book: &Book| {
        let [_, newest, oldest] = counts(book);
        (newest >= so_far[1] + MEANWHILE && oldest >= so_far[2] + MEANWHILE).then_some(())
    };
    scene.clerk.until("publishers to go on", dropping)?;
    scene.clerk.until("a publish to fail", |book| (!book.failed.is_empty()).then_some(()))?;
    blocked(&scene, &stuck)?;
    // What the other one has now, it has while the first does not read.
    scene.clerk.until("the other subscriber to have everything", |book| {
        let [_, newest, oldest] = so_far;
        let has = |channel, told: usize| book.arrivals("prompt", channel) >= told + MEANWHILE;
        (has(NEWEST, newest) && has(OLDEST, oldest)).then_some(())
    })?;
    held_up(&scene)?;

    ensure!(scene.clerk.order("stuck", READ)? == 1, "nobody listens");
    ensure!(scene.clerk.order("publisher", HUSH)? == 1, "nobody listens");
    let mut last = String::new();
    let settled = until("all that was published to arrive or be told", kube::LIMIT, || {
        let wanted = ["stuck", "prompt"].map(|pods| (pods, ALL));
        let missing =
            scene.clerk.read(|book| wanted.map(|(pods, all)| all.map(|name| book.missing(pods, name))))?;
        last = format!("{missing:?}");
        Ok(missing.iter().flatten().all(std::collections::BTreeMap::is_empty).then_some(()))
    });
    settled.map_err(|error| error.context(last))?;
    agree(&scene, &publisher, &stuck)
}

/// How many messages of each Channel the publisher was told are published.
fn counts(book: &Book) -> [usize; 3] {
    ALL.map(|channel| book.told_count(channel))
}

/// A publish to a Channel that blocks failed, when it should and with the name of who is slow.
fn blocked(scene: &Scene, stuck: &Load<'_>) -> Result<()> {
    let pod = stuck.pod()?;
    let slow = pod["metadata"]["name"].as_str().context("a pod has a name")?;
    scene.clerk.read(|book| -> Result<()> {
        for failed in &book.failed {
            ensure!(failed.channel == BLOCK, "{} failed: {}", failed.channel, failed.problem);
            ensure!(failed.problem.contains(slow), "{slow} is not named: {}", failed.problem);
            ensure!(failed.problem.starts_with("DeadlineExceeded"), "another error: {}", failed.problem);
            let took = failed.took_ms;
            ensure!((BLOCK_MS..BLOCK_MS + SLACK_MS).contains(&took), "it took {took} ms");
        }
        Ok(())
    })?
}

/// No publish to a Channel that drops was held up.
fn held_up(scene: &Scene) -> Result<()> {
    let longest = scene.clerk.read(|book| {
        let answers = book.answered.iter().filter(|answer| answer.channel != BLOCK);
        answers.map(|answer| answer.took_ms).max()
    })?;
    let longest = longest.context("nothing was published")?;
    println!("the longest publish that drops took {longest} ms");
    ensure!(longest < SLACK_MS, "a publish that drops took {longest} ms");
    Ok(())
}

/// What is counted is what was told, and what was told is exact.
fn agree(scene: &Scene, publisher: &Load<'_>, stuck: &Load<'_>) -> Result<()> {
    for (channel, reason) in [(BLOCK, ""), (NEWEST, "dropped_newest"), (OLDEST, "dropped_oldest")] {
        let told = scene.clerk.read(|book| -> Result<u64> {
            book.check("", channel)?;
            ensure!(
                book.of("", channel).flat_map(|one| one.heard.values()).all(|heard| heard.once()),
                "twice"
            );
            ensure!(book.gap_messages("prompt", channel, |_| true) == 0, "who reads missed messages");
            let gaps =
                book.of("stuck", channel).flat_map(|one| one.heard.values()).flat_map(|heard| &heard.gaps);
            for gap in gaps {
                ensure!(gap.reason == reason, "{channel}: {gap:?}");
            }
            Ok(book.gap_messages("stuck", channel, |_| true))
        })??;
        println!("{channel}: {told} missed");
        ensure!((told > 0) != reason.is_empty(), "{channel}: {told} missed");
        let [kind, name] = labels(channel);
        let dropped = publisher.sum("pinnace_dropped_messages_total", &[&kind, &name])?;
        let counted = publisher
            .sum("pinnace_dropped_messages_total", &[&kind, &name, &format!("reason=\"{reason}\"")])?;
        ensure!(dropped == told as f64, "{channel}: {dropped} dropped, {told} told");
        ensure!(reason.is_empty() || counted == dropped, "{channel}: {counted} of {dropped} for {reason}");
        let missed = stuck.sum("pinnace_gap_messages_total", &[&kind, &name])?;
        ensure!(missed == told as f64, "{channel}: {missed} missed, {told} told");
    }
    Ok(())
}
