//! The four kinds of `pinnace.dev/v1alpha1` as Rust types: fields, defaults, schema, names, conditions and validation.
//!
//! Pure: no sockets, clock or environment. Both the operator and local mode read manifests through this crate,
//! so that a manifest means the same in a cluster and on a laptop.
#![warn(missing_docs)]

pub mod access;
pub mod broker;
pub mod channel;
pub mod condition;
pub mod decode;
pub mod duration;
pub mod field;
pub mod labels;
pub mod names;
pub mod quantity;
pub mod quota;
pub mod subscription;
pub mod topic;

pub use broker::{Broker, BrokerSpec, BrokerStatus};
pub use channel::{Channel, ChannelSpec, ChannelStatus};
pub use subscription::{Subscription, SubscriptionSpec, SubscriptionStatus};
pub use topic::{Topic, TopicSpec, TopicStatus};

/// API group of all kinds.
pub const GROUP: &str = "pinnace.dev";
/// Version of all kinds.
pub const VERSION: &str = "v1alpha1";
/// `apiVersion` as manifests write it.
pub const API_VERSION: &str = "pinnace.dev/v1alpha1";

/// The four custom resource definitions, by file name (`topics.yaml` and so on).
#[must_use]
pub fn custom_resource_definitions() -> [(
    &'static str,
    k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
); 4] {
    use kube::CustomResourceExt;
    [
        ("brokers.yaml", Broker::crd()),
        ("channels.yaml", Channel::crd()),
        ("subscriptions.yaml", Subscription::crd()),
        ("topics.yaml", Topic::crd()),
    ]
}
