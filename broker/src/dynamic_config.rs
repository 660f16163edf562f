//! Configs that change while the broker runs: of the node, of all nodes (the same one), and of consumer groups.
//!
//! A change is durable before it is answered. What is only read at the start is refused here.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock},
};

use kafka_wire::ErrorCode;
use tokio::sync::Mutex;

use crate::{
    partition::Refusal,
    settings::{Bounded, ConsumerGroupSettings},
    store::{Store, StoreError},
    topic_config::{self, Kind},
    topics::unstored,
};

const PREFIX: &str = "config/";
const ALL_NODES: &str = "nodes";
const NODE: &str = "node";
const GROUP: &str = "group/";
/// Groups with configs of their own.
const GROUPS_MAX: usize = 10_000;

/// Settings of Kafka that can be changed there while it runs, and that mean nothing here.
pub(crate) const NO_EFFECT: &[(&str, Kind, &str)] =
    &[("sasl.kerberos.min.time.before.relogin", Kind::Long, "60000")];

/// A config that a consumer group of the new protocol may have for itself.
pub(crate) struct GroupDefinition {
    pub(crate) name: &'static str,
    /// The broker's own, with the bounds of a group's.
    pub(crate) setting: fn(&ConsumerGroupSettings) -> Bounded,
    pub(crate) documentation: &'static str,
}

const HEARTBEAT: &str = "consumer.heartbeat.interval.ms";
const SESSION: &str = "consumer.session.timeout.ms";

/// All of them, by name.
pub(crate) const GROUP_DEFINITIONS: &[GroupDefinition] = &[
    GroupDefinition {
        name: HEARTBEAT,
        setting: |settings| settings.heartbeat,
        documentation: "How often a member of a group of the new protocol says that it is there.",
    },
    GroupDefinition {
        name: SESSION,
        setting: |settings| settings.session,
        documentation: "A member of a group of the new protocol that is silent for so long is gone.",
    },
];

/// Whose configs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope<'a> {
    /// What Kafka calls the cluster's default.
    AllNodes,
    Node,
    Group(&'a str),
}

impl Scope<'_> {
    fn key(self) -> String {
        match self {
            Self::AllNodes => ALL_NODES.to_owned(),
            Self::Node => NODE.to_owned(),
            Self::Group(name) => format!("{GROUP}{name}"),
        }
    }
}

type Values = BTreeMap<String, String>;

/// What was changed.
pub(crate) struct DynamicConfigs {
    store: Arc<Store>,
    known: RwLock<BTreeMap<String, Values>>,
    groups: ConsumerGroupSettings,
    /// One change at a time.
    changing: Mutex<()>,
}

impl DynamicConfigs {
    /// Reads what earlier runs were told.
    pub(crate) fn open(store: &Arc<Store>, groups: ConsumerGroupSettings) -> Result<Self, StoreError> {
        let known = store.load::<Values>(PREFIX)?.into_iter().collect();
        Ok(Self { store: Arc::clone(store), known: RwLock::new(known), groups, changing: Mutex::default() })
    }

    pub(crate) fn get(&self, scope: Scope<'_>) -> Values {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.get(&scope.key()).cloned().unwrap_or_default()
    }

    /// The groups that have configs of their own.
    pub(crate) fn groups(&self) -> Vec<String> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.keys().filter_map(|key| key.strip_prefix(GROUP)).map(str::to_owned).collect()
    }

    /// What topics have that do not say otherwise: `settings` of the file, then what was changed since.
    pub(crate) fn topic_defaults(&self, settings: &Values) -> Values {
        let mut defaults = settings.clone();
        for (name, value) in self.get(Scope::AllNodes).into_iter().chain(self.get(Scope::Node)) {
            if let Some(name) = topic_config::broker_name_to_topic(&name) {
                defaults.insert(name.to_owned(), value);
            }
        }
        defaults
    }

    /// Puts `values` in place of what a scope has, once they are checked.
    pub(crate) async fn replace(
        &self,
        scope: Scope<'_>,
        values: Values,
        only_check: bool,
    ) -> Result<(), Refusal> {
        let _one = self.changing.lock().await;
        for (name, value) in &values {
            self.check(scope, name, value)?;
        }
        if matches!(scope, Scope::Group(_)) {
            self.check_together(&values)?;
        }
        let key = scope.key();
        let known = || self.known.read().unwrap_or_else(PoisonError::into_inner);
        if !known().contains_key(&key) && known().len() >= GROUPS_MAX {
            let text = format!("{GROUPS_MAX} groups have configs of their own already");
            return Err(Refusal::new(ErrorCode::PolicyViolation, text));
        }
        if only_check {
            return Ok(());
        }
        let path = format!("{PREFIX}{key}");
        if values.is_empty() {
            self.store.write(vec![(path, None)]).map_err(unstored)?.await.map_err(unstored)?;
        } else {
            self.store.put(path, &values).await.map_err(unstored)?;
        }
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if values.is_empty() {
            known.remove(&key);
        } else {
            known.insert(key, values);
        }
        Ok(())
    }

    /// How long a member of a consumer group may be silent, and how often it should say something: the group's own, as
    /// far as today's bounds let it, or the broker's.
    pub(crate) fn consumer_group(&self, group: &str) -> (u64, i32) {
        let own = self.get(Scope::Group(group));
        let session_ms = within(&own, SESSION, self.groups.session);
        (u64::from(session_ms.unsigned_abs()), within(&own, HEARTBEAT, self.groups.heartbeat))
    }

    /// Whether a scope may have this.
    fn check(&self, scope: Scope<'_>, name: &str, value: &str) -> Result<(), Refusal> {
        let invalid = |text: String| Refusal::new(ErrorCode::InvalidConfig, text);
        if matches!(scope, Scope::Group(_)) {
            let definition = GROUP_DEFINITIONS.iter().find(|definition| definition.name == name);
            let definition =
                definition.ok_or_else(|| invalid(format!("{name} is not a config of a group here")))?;
            let Bounded { ms_min, ms_max, .. } = (definition.setting)(&self.groups);
            let is_within = value.parse::<i32>().is_ok_and(|ms| (ms_min..=ms_max).contains(&ms));
            let text = || format!("{name}={value}: it must be a whole number from {ms_min} to {ms_max}");
            return if is_within { Ok(()) } else { Err(invalid(text())) };
        }
        check_node(name, value)
    }

    fn check_together(&self, own: &Values) -> Result<(), Refusal> {
        let session_ms = within(own, SESSION, self.groups.session);
        let heartbeat_ms = within(own, HEARTBEAT, self.groups.heartbeat);
        if heartbeat_ms < session_ms {
            return Ok(());
        }
        let text = format!("{HEARTBEAT}={heartbeat_ms} must be less than {SESSION}={session_ms}");
        Err(Refusal::new(ErrorCode::InvalidConfig, text))
    }
}

/// The group's own value, within the bounds; or the broker's.
fn within(own: &Values, name: &str, bounded: Bounded) -> i32 {
    let own = own.get(name).and_then(|value| value.parse::<i32>().ok());
    own.map_or(bounded.ms, |ms| ms.max(bounded.ms_min).min(bounded.ms_max))
}

/// Whether a node may have this.
fn check_node(name: &str, value: &str) -> Result<(), Refusal> {
    let invalid = |text: String| Refusal::new(ErrorCode::InvalidConfig, text);
    if let Some(topic_name) = topic_config::broker_name_to_topic(name) {
        return topic_config::check(topic_name, value).map_err(invalid);
    }
    if NO_EFFECT.iter().any(|(known, ..)| *known == name) {
        return match value.parse::<i64>() {
            Ok(_) => Ok(()),
            Err(_) => Err(invalid(format!("{name}={value}: it must be a whole number"))),
        };
    }
    let text = format!("{name} cannot be changed while the broker runs: write it into its settings file");
    Err(Refusal::new(ErrorCode::InvalidRequest, text))
}
