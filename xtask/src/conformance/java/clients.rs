//! Producers, consumers, transactions and Streams.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::{Check, Java};

/// Messages of a check that counts them.
const COUNT: usize = 5_000;
const COUNT_TEXT: &str = "5000";

pub(super) const CHECKS: [Check; 11] = [
    ("console producer and consumer", console),
    ("ProducerPerformance and ConsumerPerformance", performance),
    ("ProducerPerformance with transactions", performance_with_transactions),
    ("VerifiableProducer", verifiable_producer),
    ("VerifiableConsumer, classic protocol", |java| verifiable_consumer(java, "classic")),
    ("VerifiableConsumer, consumer protocol", |java| verifiable_consumer(java, "consumer")),
    ("VerifiableShareConsumer", verifiable_share_consumer),
    ("TransactionalMessageCopier", |java| copier(java, "copied", &[])),
    ("TransactionalMessageCopier with aborts, in a group", |java| {
        copier(
            java,
            "copied-with-aborts",
            &["--enable-random-aborts", "--group-mode", "--use-group-metadata"],
        )
    }),
    ("Streams word count, exactly_once_v2, restarted, classic protocol", |java| word_count(java, "classic")),
    ("Streams word count, exactly_once_v2, restarted, streams protocol", |java| word_count(java, "streams")),
];

fn console(java: &Java<'_>) -> Result<()> {
    java.create_topic("console", "3")?;
    let sent: Vec<String> = (0..500).map(|number| format!("line {number:05}")).collect();
    let arguments = ["--bootstrap-server", java.address, "--topic", "console"];
    java.class("org.apache.kafka.tools.ConsoleProducer", &arguments, &(sent.join("\n") + "\n"))?;
    let read = java.read("console", sent.len())?;
    ensure!(read == sent, "{} of {} lines came back", read.len(), sent.len());
    Ok(())
}

fn performance(java: &Java<'_>) -> Result<()> {
    java.create_topic("performance", "4")?;
    produce_performance(java, "performance", &[])?;
    let ends = java.end_offsets("performance")?;
    ensure!(ends == 100_000, "100000 were sent, the partitions end at {ends} in all");
    let arguments = ["--topic", "performance", "--num-records", "100000", "--hide-header"];
    let printed = java.tool("org.apache.kafka.tools.ConsumerPerformance", &arguments)?;
    // start, end, MB, MB/s, records, …
    let read = printed.lines().last().and_then(|line| line.split(", ").nth(4)).context("nothing printed")?;
    ensure!(read.trim() == "100000", "{read} of 100000 were read: {printed}");
    Ok(())
}

fn performance_with_transactions(java: &Java<'_>) -> Result<()> {
    java.create_topic("in-transactions", "2")?;
    let more = ["--transactional-id", "performance", "--transaction-duration-ms", "50"];
    produce_performance(java, "in-transactions", &more)?;
    let arguments =
        ["--topic", "in-transactions", "--num-records", "100000", "--hide-header", "--command-property"];
    let arguments = [arguments.as_slice(), &["isolation.level=read_committed"]].concat();
    let printed = java.tool("org.apache.kafka.tools.ConsumerPerformance", &arguments)?;
    let read = printed.lines().last().and_then(|line| line.split(", ").nth(4)).context("nothing printed")?;
    ensure!(read.trim() == "100000", "{read} of 100000 were read: {printed}");
    Ok(())
}

fn produce_performance(java: &Java<'_>, topic: &str, more: &[&str]) -> Result<()> {
    let arguments =
        ["--topic", topic, "--num-records", "100000", "--record-size", "100", "--throughput", "-1"];
    let arguments = [arguments.as_slice(), more].concat();
    let printed = java.tool("org.apache.kafka.tools.ProducerPerformance", &arguments)?;
    ensure!(printed.contains("100000 records sent"), "{printed}");
    Ok(())
}

fn verifiable_producer(java: &Java<'_>) -> Result<()> {
    java.create_topic("verifiable", "3")?;
    let arguments = ["--topic", "verifiable", "--max-messages", COUNT_TEXT];
    let printed = java.tool("org.apache.kafka.tools.VerifiableProducer", &arguments)?;
    let total = printed.lines().filter_map(event("tool_data")).next_back().context("no totals")?;
    let number = |name: &str| total.get(name).and_then(Value::as_u64);
    ensure!(number("sent") == Some(5_000) && number("acked") == Some(5_000), "{total}");
    let ends = java.end_offsets("verifiable")?;
    ensure!(ends == 5_000, "the partitions end at {ends} in all");
    Ok(())
}

/// What `verifiable_producer` wrote, or as much again when that check is not run.
fn verifiable_consumer(java: &Java<'_>, protocol: &str) -> Result<()> {
    let topic = format!("verifiable-{protocol}");
    java.create_topic(&topic, "3")?;
    let arguments = ["--topic", &topic, "--max-messages", COUNT_TEXT];
    java.tool("org.apache.kafka.tools.VerifiableProducer", &arguments)?;
    let arguments = [
        "--topic",
        &topic,
        "--group-id",
        &topic,
        "--max-messages",
        COUNT_TEXT,
        "--group-protocol",
        protocol,
        "--reset-policy",
        "earliest",
    ];
    let printed = java.tool("org.apache.kafka.tools.VerifiableConsumer", &arguments)?;
    let read: u64 = printed.lines().filter_map(event("records_consumed")).filter_map(count).sum();
    ensure!(read == 5_000, "{read} of {COUNT} were read");
    let committed = printed.lines().filter_map(event("offsets_committed"));
    ensure!(
        committed.filter(|event| event.get("success") == Some(&Value::Bool(true))).count() > 0,
        "nothing was committed"
    );
    Ok(())
}

fn verifiable_share_consumer(java: &Java<'_>) -> Result<()> {
    java.create_topic("shared", "3")?;
    java.tool(
        "org.apache.kafka.tools.VerifiableProducer",
        &["--topic", "shared", "--max-messages", COUNT_TEXT],
    )?;
    let arguments = [
        "--topic",
        "shared",
        "--group-id",
        "sharers",
        "--max-messages",
        COUNT_TEXT,
        "--offset-reset-strategy",
        "earliest",
    ];
    let printed = java.tool("org.apache.kafka.tools.VerifiableShareConsumer", &arguments)?;
    let read: u64 = printed.lines().filter_map(event("records_consumed")).filter_map(count).sum();
    ensure!(read == 5_000, "{read} of {COUNT} were read");
    Ok(())
}

/// Copies a partition in transactions, with offsets in them; the copy must be the original, in its order.
fn copier(java: &Java<'_>, output: &str, more: &[&str]) -> Result<()> {
    let input = format!("{output}-from");
    java.create_topic(&input, "1")?;
    java.create_topic(output, "1")?;
    java.tool(
        "org.apache.kafka.tools.VerifiableProducer",
        &["--topic", &input, "--max-messages", COUNT_TEXT],
    )?;
    let arguments = [
        "--broker-list",
        java.address,
        "--input-topic",
        &input,
        "--input-partition",
        "0",
        "--output-topic",
        output,
        "--max-messages",
        COUNT_TEXT,
        "--consumer-group",
        output,
        "--transaction-size",
        "200",
        "--transactional-id",
        output,
    ];
    let arguments = [arguments.as_slice(), more].concat();
    java.class("org.apache.kafka.tools.TransactionalMessageCopier", &arguments, "")?;
    let wanted = java.read(&input, COUNT)?;
    let read = java.read(output, COUNT)?;
    ensure!(read.len() == COUNT && read == wanted, "{} of {COUNT} were copied, or others", read.len());
    // Markers lie in the log as well: a copy without transactions would end at its messages.
    let ends = java.end_offsets(output)?;
    ensure!(ends > 5_000, "the copy ends at {ends}: it has no markers of transactions");
    Ok(())
}

fn word_count(java: &Java<'_>, protocol: &str) -> Result<()> {
    java.compile_word_count()?;
    let state = java.files.join(format!("state-{protocol}")).display().to_string();
    let printed = java.class("WordCount", &[java.address, protocol, &state], "")?;
    ensure!(printed.contains("counted 6000 words"), "{printed}");
    Ok(())
}

/// Lines of the verifiable programs are JSON objects with a name.
fn event(name: &str) -> impl FnMut(&str) -> Option<Value> {
    move |line| {
        let event: Value = serde_json::from_str(line).ok()?;
        (event.get("name")?.as_str()? == name).then_some(event)
    }
}

#[expect(clippy::needless_pass_by_value, reason = "a step of an iterator over values")]
fn count(event: Value) -> Option<u64> {
    event.get("count")?.as_u64()
}
