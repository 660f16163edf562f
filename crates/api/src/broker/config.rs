//! Settings of the engines: which names are known. Pure tables.

/// Settings of the Embedded engine, by Kafka's names where Kafka has the same.
pub const EMBEDDED: [&str; 36] = [
    "allow.everyone.if.no.acl.found",
    "auto.create.topics.enable",
    "compression.type",
    "connections.max.idle.ms",
    "disk.free.bytes.min",
    "group.initial.rebalance.delay.ms",
    "group.max.session.timeout.ms",
    "group.max.size",
    "group.min.session.timeout.ms",
    "log.cleaner.backoff.ms",
    "log.cleaner.dedupe.buffer.size",
    "log.cleaner.delete.retention.ms",
    "log.cleaner.io.max.bytes.per.second",
    "log.cleaner.max.compaction.lag.ms",
    "log.cleaner.min.cleanable.ratio",
    "log.cleaner.min.compaction.lag.ms",
    "log.cleanup.policy",
    "log.message.timestamp.after.max.ms",
    "log.message.timestamp.before.max.ms",
    "log.message.timestamp.type",
    "log.preallocate",
    "log.retention.bytes",
    "log.retention.check.interval.ms",
    "log.retention.ms",
    "log.roll.ms",
    "log.segment.bytes",
    "max.connections",
    "max.connections.per.ip",
    "max.partitions",
    "message.max.bytes",
    "min.insync.replicas",
    "num.partitions",
    "offsets.retention.minutes",
    "socket.request.max.bytes",
    "super.users",
    "unclean.leader.election.enable",
];

/// Those of them whose value is a part of a whole, from 0 to 1.
pub const RATIOS: [&str; 1] = ["log.cleaner.min.cleanable.ratio"];

/// Those of them whose value is a word; all others are whole numbers.
pub const WORDS: [&str; 8] = [
    "allow.everyone.if.no.acl.found",
    "auto.create.topics.enable",
    "compression.type",
    "log.cleanup.policy",
    "log.message.timestamp.type",
    "log.preallocate",
    "super.users",
    "unclean.leader.election.enable",
];
