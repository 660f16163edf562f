//! What the broker can be told, with its defaults and limits. Parsed once; nothing else reads text.

mod compaction;
mod consumer_groups;
mod quotas;
mod sasl;

use std::{collections::BTreeMap, time::Duration};

pub(crate) use compaction::CompactionSettings;
pub(crate) use consumer_groups::{Bounded, ConsumerGroupSettings};
use kafka_wire::frame;
pub(crate) use quotas::QuotaSettings;
pub(crate) use sasl::SaslSettings;

use crate::{
    topic_config::{self, TopicConfig},
    transactions,
};

/// The only authorizer that there is, under Kafka's name for it.
const STANDARD_AUTHORIZER: &str = "org.apache.kafka.metadata.authorizer.StandardAuthorizer";

/// Settings of the whole broker.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// Metadata of an unknown topic makes it.
    pub(crate) auto_create_topics: bool,
    /// Partitions of a topic that does not say how many.
    pub(crate) default_partitions: i32,
    /// What a topic has that does not say otherwise.
    pub(crate) topic_defaults: BTreeMap<String, String>,
    /// Connections at a time.
    pub(crate) connections_max: usize,
    /// Connections at a time from one address.
    pub(crate) connections_per_address_max: usize,
    /// Bytes of one request.
    pub(crate) request_bytes_max: usize,
    /// A connection without a request for so long is closed.
    pub(crate) idle_timeout: Duration,
    /// A new group waits so long for more members.
    pub(crate) initial_rebalance_delay_ms: u64,
    /// Bounds of what a group member may ask for.
    pub(crate) session_timeout_ms_min: i32,
    pub(crate) session_timeout_ms_max: i32,
    /// Members of one group.
    pub(crate) group_size_max: usize,
    /// What holds for consumer groups of the new protocol.
    pub(crate) consumer_groups: ConsumerGroupSettings,
    /// A producer that was quiet for so long is forgotten.
    pub(crate) producer_expiration_ms: i64,
    /// Bytes of metadata with one committed offset.
    pub(crate) offset_metadata_bytes_max: usize,
    /// How often old offsets are looked for.
    pub(crate) offsets_check: Duration,
    /// Offsets of an empty group are kept for so long.
    pub(crate) offsets_retention_ms: i64,
    /// Topics and partitions at most.
    pub(crate) partitions_max: usize,
    /// Below so many free bytes produce requests are refused.
    pub(crate) free_bytes_min: u64,
    /// Rules hold on the listener without TLS as well.
    pub(crate) authorizer: bool,
    /// A resource that no rule is about is everybody's.
    pub(crate) allow_if_no_rule: bool,
    /// `User:NAME` of those who may do everything.
    pub(crate) super_users: Vec<String>,
    /// Bounds of transactions.
    pub(crate) transactions: transactions::coordinator::Limits,
    /// How clients are held to quotas.
    pub(crate) quotas: QuotaSettings,
    /// How callers prove who they are.
    pub(crate) sasl: SaslSettings,
    /// Bytes that the journal may take, on a file system that is large enough; 0 means no journal.
    pub(crate) journal_bytes: u64,
    /// After an unclean end all logs are read through at this rate; 0 is not at all.
    pub(crate) scrub_bytes_per_second: u64,
    /// How often retention looks.
    pub(crate) retention_check: Duration,
    /// How the broker compacts.
    pub(crate) compaction: CompactionSettings,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            auto_create_topics: false,
            default_partitions: 1,
            topic_defaults: BTreeMap::new(),
            connections_max: 10_000,
            connections_per_address_max: usize::MAX,
            request_bytes_max: frame::FRAME_BYTES_MAX,
            idle_timeout: Duration::from_secs(600),
            initial_rebalance_delay_ms: 3_000,
            session_timeout_ms_min: 6_000,
            session_timeout_ms_max: 1_800_000,
            group_size_max: 1_000,
            consumer_groups: ConsumerGroupSettings::default(),
            producer_expiration_ms: 24 * 3_600_000,
            offset_metadata_bytes_max: 4_096,
            offsets_check: Duration::from_secs(600),
            offsets_retention_ms: 7 * 24 * 3_600_000,
            partitions_max: 20_000,
            free_bytes_min: 256 * 1024 * 1024,
            journal_bytes: 64 * 1024 * 1024,
            authorizer: false,
            allow_if_no_rule: false,
            super_users: Vec::new(),
            transactions: transactions::coordinator::Limits {
                timeout_ms_max: 900_000,
                expiration_ms: 7 * 24 * 3_600_000,
                ids_max: 100_000,
                size_max: 10_000,
                check: Duration::from_secs(1),
            },
            quotas: QuotaSettings::default(),
            sasl: SaslSettings::default(),
            scrub_bytes_per_second: 32 * 1024 * 1024,
            retention_check: Duration::from_secs(300),
            compaction: CompactionSettings::default(),
        }
    }
}

/// A line of the settings file is wrong.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum SettingsError {
    #[error("line {0} is not of the form key=value")]
    Form(usize),
    #[error("{0} is not a setting of this broker; see docs for the list")]
    Unknown(String),
    #[error("{key}={value} is not valid: {reason}")]
    Value { key: String, value: String, reason: String },
}

impl Settings {
    /// Reads `key=value` lines; empty lines and those that start with `#` are skipped.
    pub(crate) fn read(mut self, text: &str) -> Result<Self, SettingsError> {
        for (at, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (key, value) = line.split_once('=').ok_or(SettingsError::Form(at + 1))?;
            self.set(key.trim(), value.trim())?;
        }
        self.sasl.check()?;
        self.consumer_groups.check()?;
        Ok(self)
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), SettingsError> {
        let whole = |min: u64, max: u64| number(key, value, min, max);
        let day_ms = 24 * 3_600_000;
        match key {
            "auto.create.topics.enable" => self.auto_create_topics = boolean(key, value)?,
            "num.partitions" => self.default_partitions = small(whole(1, 10_000)?),
            "max.connections.per.ip" => self.connections_per_address_max = size(whole(1, 1_000_000)?),
            "socket.request.max.bytes" => {
                self.request_bytes_max = size(whole(1_024, frame::FRAME_BYTES_MAX as u64)?);
            }
            "max.connections" => self.connections_max = size(whole(1, 1_000_000)?),
            "connections.max.idle.ms" => self.idle_timeout = Duration::from_millis(whole(1_000, day_ms)?),
            "group.initial.rebalance.delay.ms" => self.initial_rebalance_delay_ms = whole(0, 300_000)?,
            "group.min.session.timeout.ms" => self.session_timeout_ms_min = small(whole(1, day_ms)?),
            "group.max.session.timeout.ms" => self.session_timeout_ms_max = small(whole(1, day_ms)?),
            "group.max.size" => self.group_size_max = size(whole(1, 100_000)?),
            "offset.metadata.max.bytes" => self.offset_metadata_bytes_max = size(whole(0, 1024 * 1024)?),
            "offsets.retention.check.interval.ms" => {
                self.offsets_check = Duration::from_millis(whole(1, day_ms)?);
            }
            "offsets.retention.minutes" => {
                self.offsets_retention_ms = i64::from(small(whole(1, 10_000_000)?)) * 60_000;
            }
            "max.partitions" => self.partitions_max = size(whole(1, 1_000_000)?),
            "log.journal.bytes" => self.journal_bytes = whole(0, 1 << 30)?,
            "disk.free.bytes.min" => self.free_bytes_min = whole(0, u64::MAX)?,
            "transaction.max.timeout.ms" => {
                self.transactions.timeout_ms_max = small(whole(1, u64::from(i32::MAX.unsigned_abs()))?);
            }
            "transactional.id.expiration.ms" => {
                self.transactions.expiration_ms =
                    i64::from(small(whole(1, u64::from(i32::MAX.unsigned_abs()))?));
            }
            "producer.id.expiration.ms" => {
                self.producer_expiration_ms = i64::from(small(whole(1, u64::from(i32::MAX.unsigned_abs()))?));
            }
            "transaction.abort.timed.out.transaction.cleanup.interval.ms" => {
                self.transactions.check = Duration::from_millis(whole(10, day_ms)?);
            }
            "max.transactional.ids" => self.transactions.ids_max = size(whole(1, 1_000_000)?),
            "max.transaction.partitions" => self.transactions.size_max = size(whole(1, 1_000_000)?),
            "disk.scrub.bytes.per.second" => self.scrub_bytes_per_second = whole(0, u64::MAX)?,
            "log.retention.check.interval.ms" => {
                self.retention_check = Duration::from_millis(whole(100, day_ms)?);
            }
            "authorizer.class.name" => self.authorizer = authorizer(key, value)?,
            "allow.everyone.if.no.acl.found" => self.allow_if_no_rule = boolean(key, value)?,
            "super.users" => self.super_users = principals(key, value)?,
            _ if self.sasl.set(key, value)?
                || self.compaction.set(key, value)?
                || self.quotas.set(key, value)?
                || self.consumer_groups.set(key, value)? => {}
            _ => return self.set_topic_default(key, value),
        }
        Ok(())
    }

    fn set_topic_default(&mut self, key: &str, value: &str) -> Result<(), SettingsError> {
        let name =
            topic_config::broker_name_to_topic(key).ok_or_else(|| SettingsError::Unknown(key.to_owned()))?;
        self.topic_defaults.insert(name.to_owned(), value.to_owned());
        let wrong = |reason| SettingsError::Value { key: key.to_owned(), value: value.to_owned(), reason };
        TopicConfig::parse(&self.topic_defaults, &BTreeMap::new()).map(|_| ()).map_err(wrong)
    }
}

fn number(key: &str, value: &str, min: u64, max: u64) -> Result<u64, SettingsError> {
    let parsed = value.parse().ok().filter(|number| (min..=max).contains(number));
    parsed.ok_or_else(|| SettingsError::Value {
        key: key.to_owned(),
        value: value.to_owned(),
        reason: format!("it must be a whole number from {min} to {max}"),
    })
}

fn boolean(key: &str, value: &str) -> Result<bool, SettingsError> {
    value.parse().map_err(|_| SettingsError::Value {
        key: key.to_owned(),
        value: value.to_owned(),
        reason: "it must be true or false".to_owned(),
    })
}

/// Kafka's authorizer by its name, or none.
fn authorizer(key: &str, value: &str) -> Result<bool, SettingsError> {
    match value {
        "" => Ok(false),
        STANDARD_AUTHORIZER => Ok(true),
        _ => Err(SettingsError::Value {
            key: key.to_owned(),
            value: value.to_owned(),
            reason: format!("it must be empty or {STANDARD_AUTHORIZER}"),
        }),
    }
}

/// `User:NAME;User:NAME`.
fn principals(key: &str, value: &str) -> Result<Vec<String>, SettingsError> {
    let all = value.split(';').map(str::trim).filter(|principal| !principal.is_empty());
    let read = |principal: &str| match principal.strip_prefix("User:") {
        Some(name) if !name.is_empty() => Ok(principal.to_owned()),
        _ => Err(SettingsError::Value {
            key: key.to_owned(),
            value: value.to_owned(),
            reason: format!("{principal} is not of the form User:NAME; several are parted by semicolons"),
        }),
    };
    all.map(read).collect()
}

fn small(number: u64) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

fn size(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: known keys are read, unknown ones and bad values are refused by name.
    #[test]
    fn unknown_keys_are_refused() {
        let settings =
            Settings::default().read("# comment\n\nnum.partitions = 4\nlog.retention.ms=1000\n").unwrap();
        assert_eq!(settings.default_partitions, 4);
        assert_eq!(settings.topic_defaults.get("retention.ms").map(String::as_str), Some("1000"));
        let unknown = Settings::default().read("num.partition=4").unwrap_err();
        assert_eq!(unknown, SettingsError::Unknown("num.partition".to_owned()));
        let wrong = Settings::default().read("num.partitions=none").unwrap_err();
        assert!(wrong.to_string().contains("whole number"), "{wrong}");
        assert_eq!(Settings::default().read("what").unwrap_err(), SettingsError::Form(1));
    }
}
