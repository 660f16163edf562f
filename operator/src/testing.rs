//! Fakes for the operator's tests: an API server in memory that records what it is asked, brokers in memory, and
//! a context over both. Tests only.

mod api_server;
mod brokers;
mod kubelet;

pub(crate) use api_server::{Changes, FakeApi, Fault, Line};
pub(crate) use brokers::{FakeBrokers, Node, make};
pub(crate) use kubelet::run as run_kubelet;

use crate::guard::Guarded;
use crate::scope::Scope;
use crate::{
    apply::Writer,
    cluster::{Cluster, Homes, Kind},
    context::{Context, Settings},
    controllers::broker::Engines,
    health,
    kafka::FencedBrokers,
    leadership::Leadership,
    metrics::Metrics,
    workloads::upgrade,
};
use api::Topic;
use control_plane::{Authority, ControlPlane, TokenTable};
use kube::runtime::watcher::Event;
use prometheus::Registry;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::{sync::Arc, time::Duration};
use tokio::sync::watch;

/// Objects of the cluster, by kind, as YAML documents.
#[derive(Default)]
pub(crate) struct Objects {
    all: Vec<Value>,
}

impl Objects {
    /// Reads YAML documents.
    pub(crate) fn from_yaml(yaml: &str) -> Self {
        use serde::Deserialize as _;
        let all =
            serde_yaml::Deserializer::from_str(yaml).map(|document| Value::deserialize(document).unwrap());
        Self { all: all.filter(|value| !value.is_null()).collect() }
    }

    /// The documents.
    pub(crate) fn into_values(self) -> Vec<Value> {
        self.all
    }

    fn kind<R>(&self, kind: &str) -> Kind<R>
    where
        R: kube::Resource<DynamicType = ()>
            + Clone
            + std::fmt::Debug
            + DeserializeOwned
            + Send
            + Sync
            + 'static,
    {
        let of_kind = self.all.iter().filter(|object| object["kind"] == kind);
        Kind::fixed(of_kind.map(|object| serde_json::from_value(object.clone()).unwrap()).collect())
    }

    /// The stores with these objects, which never change.
    pub(crate) fn cluster(&self) -> Cluster {
        let topics: Kind<Guarded<Topic>> = self.kind("Topic");
        let homes = Homes::default();
        topics.all().iter().for_each(|topic| homes.note(&Event::Apply(Guarded::clone(topic))));
        Cluster {
            scope: Scope::Cluster,
            topics,
            homes,
            channels: self.kind("Channel"),
            brokers: self.kind("Broker"),
            subscriptions: self.kind("Subscription"),
            namespaces: self.kind("Namespace"),
            stateful_sets: self.kind("StatefulSet"),
            volume_claims: self.kind("PersistentVolumeClaim"),
            pods: self.kind("Pod"),
            service_accounts: self.kind("ServiceAccount"),
        }
    }
}

/// A leader.
pub(crate) fn leader() -> Leadership {
    Leadership::always()
}

/// A writer towards the fake.
pub(crate) fn writer(api: &FakeApi, leadership: Leadership) -> Writer {
    let metrics = Metrics::new(&Registry::new()).unwrap();
    Writer::new(api.client(), leadership, metrics.reconciles, "test")
}

/// A context over the fakes, whose stores hold what the API server holds now.
pub(crate) fn context(api: &FakeApi, brokers: &FakeBrokers) -> Context {
    let cluster = Objects { all: api.objects() }.cluster();
    context_over(cluster, api.client(), brokers)
}

/// A context over these stores.
pub(crate) fn context_over(cluster: Cluster, client: kube::Client, brokers: &FakeBrokers) -> Context {
    let metrics = Metrics::new(&Registry::new()).unwrap();
    let authority = || Authority::create("cluster.local", runtime::clock::unix_seconds()).unwrap();
    let control = ControlPlane::new(
        control_plane::Settings::default(),
        authority(),
        Arc::new(TokenTable::new()),
        metrics.control_plane.clone(),
    );
    Context {
        cluster,
        writer: Writer::new(client, leader(), metrics.reconciles.clone(), "test"),
        brokers: FencedBrokers::new(Arc::new(brokers.clone()), leader()),
        engines: Engines::default(),
        health: health::Engines::new(Arc::new(brokers.clone())),
        leadership: leader(),
        authority: watch::Sender::new(Arc::new(authority())).subscribe(),
        membership: control.objects(),
        metrics,
        settings: Settings {
            broker_image: "ghcr.io/pinnace/broker:1.2.3".into(),
            kafka_image: "apache/kafka:4.4.0".into(),
            broker_upgrades_max: 5,
            image_pull_policy: "IfNotPresent".into(),
            image_pull_secrets: Vec::new(),
            trust_domain: "cluster.local".into(),
            identity: "pinnace-system/pinnace-operator".into(),
            excluded_namespaces: vec!["kube-system".into(), "pinnace-system".into()],
            sidecars: upgrade::Policy {
                mode: upgrade::Mode::InPlace,
                image: "ghcr.io/pinnace/sidecar:2".into(),
                max_unavailable: upgrade::Amount::Pods(1),
                at_once_max: 10,
                deadline: Duration::from_secs(300),
                settings: "settings".into(),
            },
        },
    }
}
