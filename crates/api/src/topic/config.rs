//! Kafka's names for topic configuration: which are known, and what the typed fields write. Pure tables.

use super::{Cleanup, TopicSpec};
use std::collections::BTreeMap;

/// Configurations that the Embedded engine takes.
pub const EMBEDDED: [&str; 19] = [
    "cleanup.policy",
    "compression.type",
    "delete.retention.ms",
    "flush.messages",
    "flush.ms",
    "max.compaction.lag.ms",
    "max.message.bytes",
    "message.timestamp.after.max.ms",
    "message.timestamp.before.max.ms",
    "message.timestamp.type",
    "min.cleanable.dirty.ratio",
    "min.compaction.lag.ms",
    "min.insync.replicas",
    "preallocate",
    "retention.bytes",
    "retention.ms",
    "segment.bytes",
    "segment.ms",
    "unclean.leader.election.enable",
];

/// Those of them whose value is a part of a whole, from 0 to 1.
pub const RATIOS: [&str; 1] = ["min.cleanable.dirty.ratio"];

/// Those of them whose value is a word; all others are whole numbers.
pub const WORDS: [&str; 5] = [
    "cleanup.policy",
    "compression.type",
    "message.timestamp.type",
    "preallocate",
    "unclean.leader.election.enable",
];

/// Further configurations that Apache Kafka knows; the Embedded engine refuses them.
pub const KAFKA_ONLY: [&str; 10] = [
    "compression.gzip.level",
    "compression.lz4.level",
    "compression.zstd.level",
    "file.delete.delay.ms",
    "index.interval.bytes",
    "local.retention.bytes",
    "local.retention.ms",
    "remote.storage.enable",
    "segment.index.bytes",
    "segment.jitter.ms",
];

/// The wanted configuration by Kafka's names: `spec.config` with the typed fields over it.
/// Configurations that are in neither are left to the broker's default.
#[must_use]
pub fn wanted(spec: &TopicSpec) -> BTreeMap<String, String> {
    let mut wanted = spec.config.clone();
    let cleanup = if spec.cleanup.contains(&Cleanup::Compact) {
        if spec.cleanup.contains(&Cleanup::Delete) { "compact,delete" } else { "compact" }
    } else {
        "delete"
    };
    wanted.insert("cleanup.policy".into(), cleanup.into());
    if let Some(time) = spec.retention.as_ref().and_then(|retention| retention.time.as_ref()) {
        wanted.insert("retention.ms".into(), time.milliseconds().to_string());
    }
    if let Some(size) = spec.retention.as_ref().and_then(|retention| retention.size.as_ref()) {
        wanted.insert("retention.bytes".into(), size.bytes().to_string());
    }
    if let Some(size) = &spec.max_message_size {
        wanted.insert("max.message.bytes".into(), size.bytes().to_string());
    }
    wanted
}
