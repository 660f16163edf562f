//! The objects that teams bring, and where each lives. Pure.

use kube::core::{ApiResource, DynamicObject};
use serde_json::{Value, json};

/// The namespace whose Channel all sidecars follow.
pub(crate) const SHARED_NAMESPACE: u32 = 0;
/// That Channel.
pub(crate) const SHARED_CHANNEL: &str = "shared";
/// Service account and Pod of the sidecars that are made up.
pub(crate) const ACCOUNT: &str = "fleet";

/// An object, and where it goes.
#[derive(Clone)]
pub(crate) struct Wanted {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) spec: Value,
}

impl Wanted {
    /// As the API server takes it.
    pub(crate) fn object(&self, resource: &ApiResource) -> DynamicObject {
        DynamicObject::new(&self.name, resource).within(&self.namespace).data(json!({"spec": self.spec}))
    }
}

/// What the API server calls Topics.
pub(crate) fn topics() -> ApiResource {
    ApiResource::erase::<api::Topic>(&())
}

/// What the API server calls Channels.
pub(crate) fn channels() -> ApiResource {
    ApiResource::erase::<api::Channel>(&())
}

/// What the API server calls Brokers.
pub(crate) fn brokers() -> ApiResource {
    ApiResource::erase::<api::Broker>(&())
}

/// The namespace with this number.
pub(crate) fn namespace(number: u32) -> String {
    format!("fleet-{number:03}")
}

/// One Broker in each namespace; it asks for next to no processor, since many share one node.
pub(crate) fn all_brokers(count: u32) -> Vec<Wanted> {
    let spec = json!({
        "engine": "Embedded",
        "storage": {"size": "1Gi", "deletionPolicy": "Delete"},
        "resources": {"requests": {"cpu": "1m", "memory": "16Mi"}},
    });
    (0..count)
        .map(|number| Wanted { namespace: namespace(number), name: "default".to_owned(), spec: spec.clone() })
        .collect()
}

/// Topics, spread evenly.
pub(crate) fn all_topics(count: u32, namespaces: u32) -> Vec<Wanted> {
    let spec = json!({"retention": {"time": "7d"}, "deletionPolicy": "Delete"});
    spread(count, namespaces, "topic", &spec)
}

/// Channels, spread evenly, and the one that all sidecars follow.
pub(crate) fn all_channels(count: u32, namespaces: u32) -> Vec<Wanted> {
    let mut channels = spread(count.saturating_sub(1), namespaces, "channel", &json!({"pattern": "PubSub"}));
    channels.push(Wanted {
        namespace: namespace(SHARED_NAMESPACE),
        name: SHARED_CHANNEL.to_owned(),
        spec: json!({"pattern": "PubSub"}),
    });
    channels
}

fn spread(count: u32, namespaces: u32, name: &str, spec: &Value) -> Vec<Wanted> {
    let place = |number| Wanted {
        namespace: namespace(number % namespaces.max(1)),
        name: format!("{name}-{number:05}"),
        spec: spec.clone(),
    };
    (0..count).map(place).collect()
}

/// A Pod that nobody schedules: tokens of sidecars are bound to it.
pub(crate) fn pod() -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": ACCOUNT},
        "spec": {
            "serviceAccountName": ACCOUNT,
            "schedulerName": "nobody",
            "containers": [{"name": "none", "image": "none"}],
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: there are as many as were asked for, no two at the same place, and each is one that the kinds take.
    #[test]
    fn objects_are_as_many_as_asked_for() {
        let topics = all_topics(100, 7);
        let places: std::collections::BTreeSet<_> =
            topics.iter().map(|topic| (topic.namespace.clone(), topic.name.clone())).collect();
        assert_eq!((topics.len(), places.len()), (100, 100));
        assert_eq!(all_channels(10, 3).len(), 10);
        for topic in topics {
            serde_json::from_value::<api::TopicSpec>(topic.spec).unwrap();
        }
        for channel in all_channels(10, 3) {
            serde_json::from_value::<api::ChannelSpec>(channel.spec).unwrap();
        }
        for broker in all_brokers(3) {
            serde_json::from_value::<api::BrokerSpec>(broker.spec).unwrap();
        }
    }
}
