//! The tools of an administrator.

use anyhow::{Result, ensure};

use super::{Check, Java};

const CONFIGS: &str = "kafka.admin.ConfigCommand";
const GROUPS: &str = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand";
const ACLS: &str = "org.apache.kafka.tools.AclCommand";

pub(super) const CHECKS: [Check; 13] = [
    ("kafka-topics", topics),
    ("kafka-configs, topics", topic_configs),
    ("kafka-configs, brokers", broker_configs),
    ("kafka-configs, quotas", quotas),
    ("kafka-consumer-groups", groups),
    ("kafka-groups", list_groups),
    ("kafka-acls", acls),
    ("kafka-delete-records", delete_records),
    ("kafka-log-dirs", log_dirs),
    ("kafka-transactions", transactions),
    ("kafka-metadata-quorum", metadata_quorum),
    ("kafka-cluster", cluster),
    ("kafka-broker-api-versions and kafka-features", versions),
];

fn contains(printed: &str, wanted: &[&str]) -> Result<()> {
    for text in wanted {
        ensure!(printed.contains(text), "{text} is not in what it printed: {printed}");
    }
    Ok(())
}

fn topics(java: &Java<'_>) -> Result<()> {
    let class = "org.apache.kafka.tools.TopicCommand";
    java.create_topic("administered", "3")?;
    contains(&java.tool(class, &["--list"])?, &["administered"])?;
    java.tool(class, &["--alter", "--topic", "administered", "--partitions", "5"])?;
    let described = java.tool(class, &["--describe", "--topic", "administered"])?;
    contains(
        &described,
        &["PartitionCount: 5", "ReplicationFactor: 1", "Partition: 4", "Leader: 0", "Isr: 0"],
    )?;
    java.tool(class, &["--delete", "--topic", "administered"])?;
    let listed = java.tool(class, &["--list"])?;
    ensure!(!listed.contains("administered"), "the topic is still there: {listed}");
    Ok(())
}

fn topic_configs(java: &Java<'_>) -> Result<()> {
    java.create_topic("configured", "1")?;
    let entity = ["--entity-type", "topics", "--entity-name", "configured"];
    let with = |more: &[&str]| java.tool(CONFIGS, &[entity.as_slice(), more].concat());
    with(&["--alter", "--add-config", "retention.ms=60000,cleanup.policy=[compact,delete]"])?;
    contains(&with(&["--describe"])?, &["retention.ms=60000", "cleanup.policy=compact,delete"])?;
    with(&["--alter", "--delete-config", "retention.ms"])?;
    let described = with(&["--describe"])?;
    ensure!(!described.contains("retention.ms="), "retention.ms is still set: {described}");
    Ok(())
}

fn broker_configs(java: &Java<'_>) -> Result<()> {
    let entity = ["--entity-type", "brokers", "--entity-name", "0"];
    let with = |more: &[&str]| java.tool(CONFIGS, &[entity.as_slice(), more].concat());
    contains(&with(&["--describe", "--all"])?, &["num.partitions=4", "auto.create.topics.enable=true"])
}

fn quotas(java: &Java<'_>) -> Result<()> {
    let entity = ["--entity-type", "clients", "--entity-name", "limited"];
    let with = |more: &[&str]| java.tool(CONFIGS, &[entity.as_slice(), more].concat());
    with(&["--alter", "--add-config", "producer_byte_rate=1000000"])?;
    contains(&with(&["--describe"])?, &["producer_byte_rate=1000000"])?;
    with(&["--alter", "--delete-config", "producer_byte_rate"])?;
    let described = with(&["--describe"])?;
    ensure!(!described.contains("producer_byte_rate"), "the quota is still there: {described}");
    Ok(())
}

/// A group with a lag of none, set back, and deleted.
fn groups(java: &Java<'_>) -> Result<()> {
    java.create_topic("grouped", "2")?;
    java.tool("org.apache.kafka.tools.VerifiableProducer", &["--topic", "grouped", "--max-messages", "100"])?;
    let read = ["--topic", "grouped", "--group", "readers", "--from-beginning", "--max-messages", "100"];
    java.tool("org.apache.kafka.tools.consumer.ConsoleConsumer", &read)?;
    contains(&java.tool(GROUPS, &["--list"])?, &["readers"])?;
    let lags = |described: &str| -> Vec<String> {
        let rows = described.lines().filter(|line| line.starts_with("readers"));
        rows.filter_map(|row| row.split_whitespace().nth(5).map(ToOwned::to_owned)).collect()
    };
    let described = java.tool(GROUPS, &["--describe", "--group", "readers"])?;
    ensure!(lags(&described) == ["0", "0"], "{described}");
    let reset = ["--reset-offsets", "--group", "readers", "--topic", "grouped", "--to-earliest", "--execute"];
    java.tool(GROUPS, &reset)?;
    let described = java.tool(GROUPS, &["--describe", "--group", "readers"])?;
    let lag: u64 = lags(&described).iter().filter_map(|lag| lag.parse::<u64>().ok()).sum();
    ensure!(lag == 100, "{described}");
    java.tool(GROUPS, &["--delete-offsets", "--group", "readers", "--topic", "grouped"])?;
    java.tool(GROUPS, &["--delete", "--group", "readers"])?;
    let listed = java.tool(GROUPS, &["--list"])?;
    ensure!(!listed.contains("readers"), "the group is still there: {listed}");
    Ok(())
}

fn list_groups(java: &Java<'_>) -> Result<()> {
    java.create_topic("listed", "1")?;
    java.tool("org.apache.kafka.tools.VerifiableProducer", &["--topic", "listed", "--max-messages", "1"])?;
    let read = ["--topic", "listed", "--group", "listed-readers", "--from-beginning", "--max-messages", "1"];
    java.tool("org.apache.kafka.tools.consumer.ConsoleConsumer", &read)?;
    contains(
        &java.tool("org.apache.kafka.tools.GroupsCommand", &["--list"])?,
        &["listed-readers", "consumer"],
    )
}

fn acls(java: &Java<'_>) -> Result<()> {
    let rule = ["--topic", "guarded", "--operation", "Read", "--allow-principal", "User:somebody", "--force"];
    java.tool(ACLS, &[["--add"].as_slice(), &rule].concat())?;
    let listed = java.tool(ACLS, &["--list", "--topic", "guarded"])?;
    contains(&listed, &["principal=User:somebody", "operation=READ", "permissionType=ALLOW"])?;
    java.tool(ACLS, &[["--remove"].as_slice(), &rule].concat())?;
    let listed = java.tool(ACLS, &["--list", "--topic", "guarded"])?;
    ensure!(!listed.contains("User:somebody"), "the rule is still there: {listed}");
    Ok(())
}

fn delete_records(java: &Java<'_>) -> Result<()> {
    java.create_topic("trimmed", "1")?;
    java.tool("org.apache.kafka.tools.VerifiableProducer", &["--topic", "trimmed", "--max-messages", "100"])?;
    let text = r#"{"version": 1, "partitions": [{"topic": "trimmed", "partition": 0, "offset": 60}]}"#;
    let file = java.file("delete-records.json", text)?;
    let printed = java.tool("org.apache.kafka.tools.DeleteRecordsCommand", &["--offset-json-file", &file])?;
    contains(&printed, &["low_watermark: 60"])?;
    let start =
        java.tool("org.apache.kafka.tools.GetOffsetShell", &["--topic", "trimmed", "--time", "-2"])?;
    contains(&start, &["trimmed:0:60"])
}

fn log_dirs(java: &Java<'_>) -> Result<()> {
    java.create_topic("sized", "1")?;
    let arguments = ["--describe", "--topic-list", "sized"];
    let printed = java.tool("org.apache.kafka.tools.LogDirsCommand", &arguments)?;
    contains(&printed, &["\"partition\":\"sized-0\"", "\"error\":null"])
}

fn transactions(java: &Java<'_>) -> Result<()> {
    let class = "org.apache.kafka.tools.TransactionsCommand";
    java.create_topic("in-one-transaction", "1")?;
    let produce = ["--topic", "in-one-transaction", "--num-records", "100", "--record-size", "10"];
    let more = ["--throughput", "-1", "--transactional-id", "described", "--transaction-duration-ms", "50"];
    java.tool("org.apache.kafka.tools.ProducerPerformance", &[produce.as_slice(), &more].concat())?;
    contains(&java.tool(class, &["list"])?, &["described", "CompleteCommit"])?;
    let described = java.tool(class, &["describe", "--transactional-id", "described"])?;
    contains(&described, &["described", "CompleteCommit"])?;
    let producers = ["describe-producers", "--topic", "in-one-transaction", "--partition", "0"];
    contains(&java.tool(class, &producers)?, &["ProducerId"])?;
    java.tool(class, &["find-hanging", "--broker-id", "0"]).map(drop)
}

fn metadata_quorum(java: &Java<'_>) -> Result<()> {
    let class = "org.apache.kafka.tools.MetadataQuorumCommand";
    let printed = java.tool(class, &["describe", "--status"])?;
    contains(&printed, &["LeaderId:", "CurrentVoters:"])?;
    contains(&java.tool(class, &["describe", "--replication"])?, &["LogEndOffset", "Leader"])
}

fn cluster(java: &Java<'_>) -> Result<()> {
    let class = "org.apache.kafka.tools.ClusterTool";
    let with = |command: &str| java.class(class, &[command, "--bootstrap-server", java.address], "");
    contains(&with("cluster-id")?, &["Cluster ID: "])?;
    contains(&with("list-endpoints")?, &["127.0.0.1"])
}

fn versions(java: &Java<'_>) -> Result<()> {
    let printed = java.tool("org.apache.kafka.tools.BrokerApiVersionsCommand", &[])?;
    contains(&printed, &["Produce(0)", "Fetch(1)", "ApiVersions(18)"])?;
    let printed = java.tool("org.apache.kafka.tools.FeatureCommand", &["describe"])?;
    contains(&printed, &["Feature:"])
}
