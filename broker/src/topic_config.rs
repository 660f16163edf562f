//! Configs of a topic: their names, types, defaults, and what they mean to this broker. Pure.
//!
//! A name that Kafka has and that would change nothing here is taken; one that would promise what is not
//! built is refused, and so is one that nobody knows.

use std::collections::BTreeMap;

use kafka_wire::records::Codec;
use record_log::{Retention, Settings, compact::Policy};

/// The kind of value, with the numbers that DescribeConfigs gives for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Boolean = 1,
    Text = 2,
    Int = 3,
    Long = 5,
    Double = 6,
    List = 7,
}

/// A config that a topic may have.
pub(crate) struct Definition {
    pub(crate) name: &'static str,
    /// The broker's setting with the default; empty when there is none.
    pub(crate) broker_name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) default: &'static str,
    check: Check,
    pub(crate) documentation: &'static str,
}

/// Which values are valid.
enum Check {
    Range(i64, i64),
    OneOf(&'static [&'static str]),
    /// Some of these, each once, with commas between.
    SomeOf(&'static [&'static str]),
    /// A part of a whole.
    Ratio,
}

const ANY_LONG: Check = Check::Range(i64::MIN, i64::MAX);
const POSITIVE: Check = Check::Range(1, i64::MAX);
const SWITCH: Check = Check::OneOf(&["true", "false"]);
const NO_EFFECT: &str =
    "Taken for compatibility; changes nothing here, where every acknowledged record is synced.";

const fn definition(
    names: (&'static str, &'static str),
    kind: Kind,
    default: &'static str,
    check: Check,
    documentation: &'static str,
) -> Definition {
    Definition { name: names.0, broker_name: names.1, kind, default, check, documentation }
}

/// All of them, by name.
pub(crate) const DEFINITIONS: &[Definition] = &[
    definition(
        ("cleanup.policy", "log.cleanup.policy"),
        Kind::List,
        "delete",
        Check::SomeOf(&["compact", "delete"]),
        "delete: old segments go. compact: of each key the last record stays. Both: old segments of a compacted log go.",
    ),
    definition(
        ("compression.type", "compression.type"),
        Kind::Text,
        "producer",
        Check::OneOf(&["producer", "uncompressed", "gzip", "snappy", "lz4", "zstd"]),
        "producer: batches stay as they came. Any other: batches that came otherwise are compressed anew, which costs the broker time.",
    ),
    definition(
        ("delete.retention.ms", "log.cleaner.delete.retention.ms"),
        Kind::Long,
        "86400000",
        Check::Range(0, i64::MAX),
        "How long a tombstone stays in a compacted topic after it was compacted first.",
    ),
    definition(("flush.messages", "log.flush.interval.messages"), Kind::Long, "1", POSITIVE, NO_EFFECT),
    definition(("flush.ms", "log.flush.interval.ms"), Kind::Long, "0", ANY_LONG, NO_EFFECT),
    definition(
        ("max.compaction.lag.ms", "log.cleaner.max.compaction.lag.ms"),
        Kind::Long,
        "9223372036854775807",
        POSITIVE,
        "A record that is older than this is compacted, however small the part is that is not.",
    ),
    definition(
        ("max.message.bytes", "message.max.bytes"),
        Kind::Int,
        "1048588",
        Check::Range(0, 64 * 1024 * 1024),
        "Largest batch in bytes, as it is on the wire.",
    ),
    definition(
        ("message.timestamp.after.max.ms", "log.message.timestamp.after.max.ms"),
        Kind::Long,
        "3600000",
        Check::Range(0, i64::MAX),
        "How far in the future a timestamp may be.",
    ),
    definition(
        ("message.timestamp.before.max.ms", "log.message.timestamp.before.max.ms"),
        Kind::Long,
        "9223372036854775807",
        Check::Range(0, i64::MAX),
        "How far in the past a timestamp may be.",
    ),
    definition(
        ("message.timestamp.type", "log.message.timestamp.type"),
        Kind::Text,
        "CreateTime",
        Check::OneOf(&["CreateTime", "LogAppendTime"]),
        "Whose time a record carries: the producer's or the broker's.",
    ),
    definition(
        ("min.cleanable.dirty.ratio", "log.cleaner.min.cleanable.ratio"),
        Kind::Double,
        "0.5",
        Check::Ratio,
        "A partition is compacted when a larger part of it than this is not.",
    ),
    definition(
        ("min.compaction.lag.ms", "log.cleaner.min.compaction.lag.ms"),
        Kind::Long,
        "0",
        Check::Range(0, i64::MAX),
        "A record that is younger than this is not compacted.",
    ),
    definition(
        ("min.insync.replicas", "min.insync.replicas"),
        Kind::Int,
        "1",
        Check::Range(1, i32::MAX as i64),
        "There is one replica: with more than 1, producing with acks=all is refused.",
    ),
    definition(("preallocate", "log.preallocate"), Kind::Boolean, "false", SWITCH, NO_EFFECT),
    definition(
        ("retention.bytes", "log.retention.bytes"),
        Kind::Long,
        "-1",
        Check::Range(-1, i64::MAX),
        "Bytes that a partition keeps at least; -1 is all.",
    ),
    definition(
        ("retention.ms", "log.retention.ms"),
        Kind::Long,
        "604800000",
        Check::Range(-1, i64::MAX),
        "Milliseconds that a record is kept at least; -1 is for ever.",
    ),
    definition(
        ("segment.bytes", "log.segment.bytes"),
        Kind::Int,
        "134217728",
        Check::Range(16 * 1024, i32::MAX as i64),
        "Size of a segment file; retention lets go of whole segments.",
    ),
    definition(
        ("segment.ms", "log.roll.ms"),
        Kind::Long,
        "604800000",
        POSITIVE,
        "Age after which a segment is sealed although it is not full.",
    ),
    definition(
        ("unclean.leader.election.enable", "unclean.leader.election.enable"),
        Kind::Boolean,
        "false",
        SWITCH,
        NO_EFFECT,
    ),
];

/// What a topic's configs mean.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TopicConfig {
    /// What was set for this topic, as text.
    pub(crate) set: BTreeMap<String, String>,
    pub(crate) max_message_bytes: usize,
    /// The codec that all batches are kept in; `None`: each in its producer's.
    pub(crate) codec: Option<Codec>,
    pub(crate) log_append_time: bool,
    pub(crate) timestamp_before_max_ms: i64,
    pub(crate) timestamp_after_max_ms: i64,
    pub(crate) min_insync_replicas: i64,
    /// Old segments go, and the beginning on request.
    pub(crate) deletes: bool,
    /// Of each key the last record stays.
    pub(crate) compaction: Option<Policy>,
    pub(crate) retention: Retention,
    pub(crate) segments: Settings,
}

impl TopicConfig {
    /// Checks and reads configs that a topic is to have from now on: they have to fit together as well. Those that it
    /// has are taken as they are, so that another default never keeps a broker from starting.
    pub(crate) fn parse_new(
        defaults: &BTreeMap<String, String>,
        set: &BTreeMap<String, String>,
    ) -> Result<Self, String> {
        let config = Self::parse(defaults, set)?;
        match config.compaction {
            Some(Policy { lag_ms_min, lag_ms_max, .. }) if lag_ms_min > lag_ms_max => Err(format!(
                "min.compaction.lag.ms={lag_ms_min} is above max.compaction.lag.ms={lag_ms_max}: lower the one or raise the other"
            )),
            _ => Ok(config),
        }
    }

    /// Checks and reads configs; `defaults` is what the broker was told. The error names the config and says
    /// what it may be.
    pub(crate) fn parse(
        defaults: &BTreeMap<String, String>,
        set: &BTreeMap<String, String>,
    ) -> Result<Self, String> {
        for (name, value) in defaults.iter().chain(set) {
            check(name, value)?;
        }
        let text = |name: &str| set.get(name).or_else(|| defaults.get(name)).map(String::as_str);
        let value = |name: &str| text(name).unwrap_or_else(|| default_of(name));
        let number = |name: &str| value(name).parse::<i64>().unwrap_or_default();
        let unless_negative = |number: i64| (number >= 0).then_some(number);
        let has = |policy: &str| value("cleanup.policy").split(',').any(|it| it.trim() == policy);
        let compaction = has("compact").then(|| Policy {
            dirty_ratio_min: value("min.cleanable.dirty.ratio").parse().unwrap_or_default(),
            lag_ms_min: number("min.compaction.lag.ms"),
            lag_ms_max: number("max.compaction.lag.ms"),
            delete_retention_ms: number("delete.retention.ms"),
        });
        let deletes = has("delete");
        Ok(Self {
            codec: codec(value("compression.type")),
            max_message_bytes: usize::try_from(number("max.message.bytes")).unwrap_or_default(),
            log_append_time: value("message.timestamp.type") == "LogAppendTime",
            timestamp_before_max_ms: number("message.timestamp.before.max.ms"),
            timestamp_after_max_ms: number("message.timestamp.after.max.ms"),
            min_insync_replicas: number("min.insync.replicas"),
            deletes,
            compaction,
            retention: Retention {
                time_ms: unless_negative(number("retention.ms")).filter(|_| deletes),
                bytes: unless_negative(number("retention.bytes"))
                    .and_then(|bytes| u64::try_from(bytes).ok())
                    .filter(|_| deletes),
            },
            segments: Settings {
                segment_bytes: u64::try_from(number("segment.bytes")).unwrap_or_default(),
                // What is to be compacted has to be sealed by then.
                segment_ms: number("segment.ms").min(compaction.map_or(i64::MAX, |policy| policy.lag_ms_max)),
            },
            set: set.clone(),
        })
    }
}

/// The codec by its name in `compression.type`.
fn codec(name: &str) -> Option<Codec> {
    match name {
        "uncompressed" => Some(Codec::None),
        "gzip" => Some(Codec::Gzip),
        "snappy" => Some(Codec::Snappy),
        "lz4" => Some(Codec::Lz4),
        "zstd" => Some(Codec::Zstd),
        _ => None,
    }
}

/// The definition of a config.
pub(crate) fn find(name: &str) -> Option<&'static Definition> {
    DEFINITIONS.iter().find(|definition| definition.name == name)
}

/// The topic's config whose default a broker's setting is.
pub(crate) fn broker_name_to_topic(broker_name: &str) -> Option<&'static str> {
    let mut all = DEFINITIONS.iter().filter(|definition| !definition.broker_name.is_empty());
    all.find(|definition| definition.broker_name == broker_name).map(|definition| definition.name)
}

fn default_of(name: &str) -> &'static str {
    find(name).map_or("", |definition| definition.default)
}

/// Whether a config may have this value; the error says what it may be.
pub(crate) fn check(name: &str, value: &str) -> Result<(), String> {
    let Some(definition) = find(name) else {
        return Err(format!("{name} is not a topic config of this broker: remove it"));
    };
    match definition.check {
        Check::OneOf(values) if values.contains(&value) => Ok(()),
        Check::OneOf(values) => Err(format!("{name}={value}: it must be {}", values.join(" or "))),
        Check::SomeOf(values) => {
            let items: Vec<&str> = value.split(',').map(str::trim).collect();
            let is_once = |item: &&str| items.iter().filter(|other| *other == item).count() == 1;
            if items.iter().all(|item| values.contains(item) && is_once(item)) {
                return Ok(());
            }
            Err(format!("{name}={value}: it must be {}, each once, with commas between", values.join(" or ")))
        }
        Check::Ratio => match value.parse::<f64>() {
            Ok(ratio) if (0.0..=1.0).contains(&ratio) => Ok(()),
            _ => Err(format!("{name}={value}: it must be a number from 0 to 1")),
        },
        Check::Range(min, max) => match value.parse::<i64>() {
            Ok(number) if (min..=max).contains(&number) => Ok(()),
            _ => Err(format!("{name}={value}: it must be a whole number from {min} to {max}")),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    /// Goal: a topic's config wins over the broker's, which wins over the built-in one.
    #[test]
    fn the_nearest_value_wins() {
        let defaults = map(&[("retention.ms", "1000"), ("segment.ms", "5")]);
        let config = TopicConfig::parse(&defaults, &map(&[("retention.ms", "-1")])).unwrap();
        assert_eq!(config.retention, Retention { time_ms: None, bytes: None });
        assert_eq!(config.segments, Settings { segment_bytes: 134_217_728, segment_ms: 5 });
    }

    /// Goal: the policy says whether old segments go, whether it is compacted, or both; and what is to be compacted
    /// after some time is sealed by then. Lags that cannot both be kept are refused.
    #[test]
    fn a_policy_is_one_or_both() {
        let parse = |pairs: &[(&str, &str)]| TopicConfig::parse(&BTreeMap::new(), &map(pairs)).unwrap();
        let week = Retention { time_ms: Some(604_800_000), bytes: None };
        let delete = parse(&[]);
        assert_eq!((delete.deletes, delete.compaction, delete.retention), (true, None, week));
        let compact = parse(&[("cleanup.policy", "compact"), ("max.compaction.lag.ms", "900")]);
        assert_eq!((compact.deletes, compact.retention), (false, Retention::default()));
        assert_eq!(compact.compaction.map(|policy| policy.delete_retention_ms), Some(86_400_000));
        assert_eq!(compact.segments.segment_ms, 900);
        let both = parse(&[("cleanup.policy", "delete, compact")]);
        assert_eq!((both.deletes, both.compaction.is_some(), both.retention), (true, true, week));
        let lags =
            [("cleanup.policy", "compact"), ("max.compaction.lag.ms", "9"), ("min.compaction.lag.ms", "10")];
        let refused = TopicConfig::parse_new(&BTreeMap::new(), &map(&lags)).unwrap_err();
        assert!(refused.contains("min.compaction.lag.ms=10"), "{refused}");
    }

    /// Goal: what is unknown, wrong or not built is refused, with the name and what it may be.
    #[test]
    fn what_cannot_be_kept_is_refused() {
        let refused = |name, value| TopicConfig::parse(&BTreeMap::new(), &map(&[(name, value)])).unwrap_err();
        assert!(refused("retention.msec", "1").contains("retention.msec"));
        assert!(refused("retention.ms", "week").contains("whole number"));
        for value in ["", "compress", "compact,compact", "compact,"] {
            assert!(refused("cleanup.policy", value).contains("compact or delete"), "{value}");
        }
        assert!(refused("min.cleanable.dirty.ratio", "1.5").contains("from 0 to 1"));
        assert!(refused("compression.type", "brotli").contains("zstd"));
        for definition in DEFINITIONS {
            assert_eq!(check(definition.name, definition.default), Ok(()), "{}", definition.name);
        }
    }
}
