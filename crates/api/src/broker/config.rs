//! Settings of the engines: which names are known. Pure tables.

/// Settings of the Embedded engine, by Kafka's names.
pub const EMBEDDED: [&str; 5] =
    ["log.retention.bytes", "log.retention.ms", "log.segment.bytes", "message.max.bytes", "num.partitions"];
