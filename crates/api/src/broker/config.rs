//! Settings of the engines: which names are known. Pure tables.

/// Settings of the Embedded engine, by Kafka's names where Kafka has the same.
pub const EMBEDDED: [&str; 44] = [
    "allow.everyone.if.no.acl.found",
    "auto.create.topics.enable",
    "compression.type",
    "connections.max.idle.ms",
    "controller.quota.window.num",
    "controller.quota.window.size.seconds",
    "disk.free.bytes.min",
    "group.consumer.max.size",
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
    "max.connection.creation.rate",
    "max.connections",
    "max.connections.per.ip",
    "max.partitions",
    "message.max.bytes",
    "min.insync.replicas",
    "num.partitions",
    "offsets.retention.minutes",
    "producer.id.expiration.ms",
    "quota.window.num",
    "quota.window.size.seconds",
    "socket.request.max.bytes",
    "super.users",
    "transactional.id.expiration.ms",
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

/// Settings of Apache Kafka that the operator writes itself, exactly or, with a point at the end, all that begin so.
pub const KAFKA_OWNED: [&str; 27] = [
    "advertised.listeners",
    "authorizer.class.name",
    "broker.id",
    "broker.rack",
    "cluster.id",
    "config.providers",
    "config.providers.",
    "controller.listener.names",
    "controller.quorum.",
    "early.start.listeners",
    "inter.broker.listener.name",
    "listener.name.",
    "listener.security.protocol.map",
    "listeners",
    "log.dir",
    "log.dirs",
    "metadata.log.dir",
    "node.id",
    "principal.builder.class",
    "process.roles",
    "sasl.",
    "security.inter.broker.protocol",
    "security.providers",
    "ssl.",
    "super.users",
    "allow.everyone.if.no.acl.found",
    "zookeeper.",
];

/// Whether the operator writes this setting of Apache Kafka itself.
#[must_use]
pub fn is_owned(name: &str) -> bool {
    KAFKA_OWNED.iter().any(|owned| name == *owned || (owned.ends_with('.') && name.starts_with(owned)))
}
