//! Subscription: push delivery to an HTTP endpoint. Fields and what they mean; nothing that acts.
#![expect(unreachable_pub, reason = "KubeSchema repeats each public struct inside a function")]

pub mod conditions;
mod defaults;
mod support;
mod validation;

pub use support::not_supported;
pub use validation::validate;

use crate::{channel::TopicReference, duration::Duration, names::ObjectName};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a Subscription should be.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "pinnace.dev",
    version = "v1alpha1",
    kind = "Subscription",
    plural = "subscriptions",
    shortname = "psub",
    category = "pinnace",
    namespaced,
    status = "SubscriptionStatus",
    derive = "PartialEq",
    doc = "Push delivery of a Topic or Channel to an HTTP endpoint. Not supported yet: a Subscription is answered with Ready=False.",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status", description = "Whether messages are delivered"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason", description = "Why it is ready or not"),
    printcolumn(name = "URL", type_ = "string", json_path = ".spec.deliver.url", description = "Where messages go"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$') && size(self.metadata.name) <= 63").message("the name of a Subscription has no dots and at most 63 characters")
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SubscriptionSpec {
    /// Where messages come from: a Topic or a Channel of this namespace.
    pub source: Source,
    /// Which messages. Omitted: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<Filter>,
    /// Where messages go.
    pub deliver: Deliver,
    /// When a delivery that failed is tried again.
    #[serde(default)]
    pub retry: Retry,
    /// Topic for messages that could not be delivered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dead_letter: Option<TopicReference>,
}

/// Where messages come from: exactly one of the two.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("has(self.topic) != has(self.channel)").message("name a topic or a channel, exactly one")
)]
pub struct Source {
    /// Name of a Topic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<ObjectName>,
    /// Name of a Channel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<ObjectName>,
}

/// Which messages: those that match all that is set.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Filter {
    /// How the subject begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub subject_prefix: Option<String>,
    /// Headers that the message must have, with these values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32))]
    pub headers: BTreeMap<String, String>,
}

/// Where messages go.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Deliver {
    /// URL that gets a POST for each message.
    #[schemars(length(min = 8, max = 2048), regex(pattern = "^https?://[^\\s]+$"))]
    pub url: String,
    /// How requests are signed. Omitted: not at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signing: Option<Signing>,
    /// How long to wait for an answer. Default: 15s.
    #[serde(default = "defaults::timeout")]
    pub timeout: Duration,
    /// Further headers of each request.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32))]
    pub headers: BTreeMap<String, String>,
}

/// How requests are signed.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Signing {
    /// Name of a Secret of this namespace with the key `key`.
    pub secret: crate::names::ServiceAccountName,
}

/// When a delivery that failed is tried again.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Retry {
    /// Time before each further try. Default: [5s, 5m, 30m, 2h, 5h, 10h].
    #[serde(default = "defaults::schedule")]
    #[schemars(length(max = 32))]
    pub schedule: Vec<Duration>,
    /// How far each of these times may be off, so that tries do not come all at once. Default: 20%.
    #[serde(default = "defaults::jitter")]
    #[schemars(length(max = 4), regex(pattern = "^(100|[0-9]{1,2})%$"))]
    pub jitter: String,
}

/// What a Subscription is.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct SubscriptionStatus {
    /// Generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready and its parts, each with a reason and the next step.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

#[cfg(test)]
mod tests;
