//! What the cluster holds, as this replica watches it: one watch and one store per kind, shared by controllers,
//! webhook and control plane. Reads only.

mod bell;
mod follow;
mod homes;
mod namespace;
mod pod;

#[cfg(test)]
mod tests;

pub use bell::Bell;
pub use follow::{Change, Follow, fingerprint};
pub use homes::Homes;
pub use pod::{Begun, LabelledPod, Sidecar};

use crate::{guard::Guarded, scope::Scope, users};
use api::{Broker, Channel, Subscription, Topic};
use control::ObjectName;
use futures::{FutureExt as _, StreamExt as _, stream::BoxStream};
use k8s_openapi::api::{
    apps::v1::StatefulSet,
    core::v1::{Namespace, PersistentVolumeClaim, ServiceAccount},
};
use kube::{
    Api, Client, Resource,
    core::{NamespaceResourceScope, ObjectMeta, PartialObjectMeta},
    runtime::{WatchStreamExt as _, reflector, watcher},
};
use runtime::tasks::{OnError, Tasks};
use serde::de::DeserializeOwned;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
    hash::Hash,
    sync::Arc,
};
use tokio::sync::broadcast;

/// Changes that a slow follower may be behind before it looks at the whole store again.
const CHANGES_MAX: usize = 1024;

/// What the watch of a kind brings.
type Events<R> = BoxStream<'static, watcher::Result<watcher::Event<R>>>;

/// One kind: the store, and who changed.
#[derive(Debug)]
pub struct Kind<R: Resource<DynamicType = ()> + 'static> {
    store: reflector::Store<R>,
    changes: broadcast::Sender<Notice>,
}

impl<R: Resource<DynamicType = ()> + 'static> Clone for Kind<R> {
    fn clone(&self) -> Self {
        Self { store: self.store.clone(), changes: self.changes.clone() }
    }
}

/// What followers are told.
#[derive(Clone, Debug)]
enum Notice {
    /// This object is new, changed or gone.
    One(ObjectName),
    /// Anything may have changed.
    Any,
}

/// Every kind that the operator reads.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// How far it looks: there is nothing else in the stores.
    pub scope: Scope,
    /// Topics.
    pub topics: Kind<Guarded<Topic>>,
    /// Where each of them lives.
    pub homes: Homes,
    /// Channels.
    pub channels: Kind<Guarded<Channel>>,
    /// Brokers.
    pub brokers: Kind<Guarded<Broker>>,
    /// Subscriptions.
    pub subscriptions: Kind<Guarded<Subscription>>,
    /// Namespaces, without spec and status: those that are served.
    pub namespaces: Kind<PartialObjectMeta<Namespace>>,
    /// StatefulSets of ours.
    pub stateful_sets: Kind<StatefulSet>,
    /// Volume claims of ours.
    pub volume_claims: Kind<PersistentVolumeClaim>,
    /// Pods that ask for a sidecar.
    pub pods: Kind<LabelledPod>,
    /// Service accounts, by name.
    pub service_accounts: Kind<PartialObjectMeta<ServiceAccount>>,
}

/// The watch of a kind ended, which it must not.
#[derive(Debug, thiserror::Error)]
#[error("the watch of {0} ended")]
struct WatchEnded(String);

/// Name of an object; empty namespace for those that have none.
pub fn name_of(object: &impl Resource) -> ObjectName {
    let meta = object.meta();
    ObjectName::new(meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default())
}

impl<R> Kind<R>
where
    R: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    pub(crate) fn watch(name: &'static str, tasks: &Tasks, events: Events<R>) -> Self {
        let (store, writer) = reflector::store();
        let (changes, _) = broadcast::channel(CHANGES_MAX);
        let kind = Self { store, changes: changes.clone() };
        let shutdown = tasks.shutdown().clone();
        drop(tasks.spawn(name, OnError::Shutdown, async move {
            match shutdown.or(drive(name, events, writer, changes)).await {
                Some(()) if !shutdown.has_begun() => Err(WatchEnded(name.to_owned())),
                _ => Ok(()),
            }
        }));
        kind
    }

    /// A store that never changes.
    #[cfg(test)]
    pub(crate) fn fixed(objects: Vec<R>) -> Self {
        let (store, mut writer) = reflector::store();
        let listed = objects.into_iter().map(watcher::Event::InitApply);
        let events = [watcher::Event::Init].into_iter().chain(listed).chain([watcher::Event::InitDone]);
        events.for_each(|event| writer.apply_watcher_event(&event));
        Self { store, changes: broadcast::channel(1).0 }
    }

    /// Waits until the store holds all objects.
    ///
    /// # Errors
    /// When the watch ended.
    pub async fn ready(&self) -> Result<(), reflector::store::WriterDropped> {
        self.store.wait_until_ready().await
    }

    /// The object of this name.
    #[must_use]
    pub fn get(&self, name: &ObjectName) -> Option<Arc<R>> {
        let mut key = reflector::ObjectRef::new(&name.name);
        if !name.namespace.is_empty() {
            key = key.within(&name.namespace);
        }
        self.store.get(&key)
    }

    /// All objects.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<R>> {
        self.store.state()
    }

    /// The store, for the controller runtime.
    #[must_use]
    pub fn store(&self) -> reflector::Store<R> {
        self.store.clone()
    }

    /// Rings at every change from now on.
    #[must_use]
    pub fn bell(&self) -> Bell {
        Bell::new(self.changes.subscribe())
    }

    /// Every object now and every change from now on, as far as `print` tells versions apart.
    #[must_use]
    pub fn follow(&self, print: fn(&R) -> u64) -> Follow<R> {
        Follow::new(self.clone(), self.changes.subscribe(), print)
    }
}

async fn drive<R>(
    name: &'static str,
    mut events: Events<R>,
    mut writer: reflector::store::Writer<R>,
    changes: broadcast::Sender<Notice>,
) where
    R: Resource<DynamicType = ()> + Clone + Debug + Send + Sync + 'static,
    R::DynamicType: Eq + Hash,
{
    while let Some(event) = events.next().await {
        let event = match event {
            Ok(event) => event,
            Err(error) => {
                tracing::warn!(kind = name, %error, "watch failed; trying again");
                continue;
            }
        };
        writer.apply_watcher_event(&event);
        let notice = match &event {
            watcher::Event::Apply(object) | watcher::Event::Delete(object) => Notice::One(name_of(object)),
            watcher::Event::InitDone => Notice::Any,
            watcher::Event::Init | watcher::Event::InitApply(_) => continue,
        };
        // Fails only while nobody follows.
        drop(changes.send(notice));
    }
}

/// Pages of lists: a spike of memory is bounded by it.
const PAGE_SIZE: u32 = 500;

/// What of the API server is watched, and by whom.
struct Watches<'a> {
    client: &'a Client,
    scope: &'a Scope,
    tasks: &'a Tasks,
}

impl Watches<'_> {
    fn start<R>(&self, name: &'static str, labels: &str) -> Kind<R>
    where
        R: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + Debug
            + DeserializeOwned
            + Send
            + Sync
            + 'static,
    {
        Kind::watch(name, self.tasks, listed(self.scope.api(self.client), labels))
    }

    /// There are many, and of each its name alone is kept.
    fn service_accounts(&self) -> Events<PartialObjectMeta<ServiceAccount>> {
        let keep_name = |account: &mut PartialObjectMeta<ServiceAccount>| {
            let all = std::mem::take(&mut account.metadata);
            let (name, namespace, uid, resource_version) =
                (all.name, all.namespace, all.uid, all.resource_version);
            account.metadata = ObjectMeta { name, namespace, uid, resource_version, ..ObjectMeta::default() };
        };
        listed(self.scope.api(self.client), "").modify(keep_name).boxed()
    }

    fn namespaces(&self) -> Events<PartialObjectMeta<Namespace>> {
        match self.scope {
            Scope::Cluster => listed(Api::all(self.client.clone()), ""),
            Scope::Namespace(name) => namespace::polled(self.client, name),
        }
    }
}

/// A list and what changes after it, for ever.
fn listed<R>(objects: Api<R>, labels: &str) -> Events<R>
where
    R: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    let config = watcher::Config::default().page_size(PAGE_SIZE).labels(labels);
    watcher(objects, config).default_backoff().boxed()
}

impl Cluster {
    /// Starts all watches.
    #[must_use]
    pub fn watch(client: &Client, scope: &Scope, tasks: &Tasks) -> Self {
        let ours = format!("{}={}", api::labels::MANAGED_BY, api::labels::MANAGER);
        let asking = format!("{}=true", api::labels::INJECT);
        let homes = Homes::default();
        let topics = homes.hear(listed(scope.api(client), ""));
        let watches = Watches { client, scope, tasks };
        Self {
            scope: scope.clone(),
            topics: Kind::watch("topics", tasks, topics),
            homes,
            channels: watches.start("channels", ""),
            brokers: watches.start("brokers", ""),
            subscriptions: watches.start("subscriptions", ""),
            namespaces: Kind::watch("namespaces", tasks, watches.namespaces()),
            stateful_sets: watches.start("statefulsets", &ours),
            volume_claims: watches.start("persistentvolumeclaims", &ours),
            pods: watches.start("pods", &asking),
            service_accounts: Kind::watch("serviceaccounts", tasks, watches.service_accounts()),
        }
    }

    /// Waits until every store holds all objects, but for those of Pods and of service accounts: little needs them, so who
    /// gave the operator no right to watch them has an operator all the same.
    ///
    /// # Errors
    /// When a watch ended.
    pub async fn ready(&self) -> Result<(), reflector::store::WriterDropped> {
        self.topics.ready().await?;
        self.channels.ready().await?;
        self.brokers.ready().await?;
        self.subscriptions.ready().await?;
        self.namespaces.ready().await?;
        self.stateful_sets.ready().await?;
        self.volume_claims.ready().await
    }

    /// The names of the service accounts of these namespaces; `None` while they are not known.
    #[must_use]
    pub fn accounts_of(&self, namespaces: &BTreeSet<&str>) -> Option<BTreeMap<String, BTreeSet<String>>> {
        let mut found: BTreeMap<String, BTreeSet<String>> =
            namespaces.iter().map(|name| ((*name).to_owned(), BTreeSet::new())).collect();
        if found.is_empty() {
            return Some(found);
        }
        self.service_accounts.ready().now_or_never()?.ok()?;
        for account in self.service_accounts.all() {
            let account = name_of(account.as_ref());
            if let Some(names) = found.get_mut(&account.namespace) {
                names.insert(account.name);
            }
        }
        Some(found)
    }

    /// A Broker that could be decoded.
    #[must_use]
    pub fn broker(&self, name: &ObjectName) -> Option<Arc<Broker>> {
        self.brokers.get(name)?.decoded().cloned()
    }

    /// The Topics that claim this name on this Broker.
    #[must_use]
    pub fn topics_claiming(&self, broker: &ObjectName, name: &str) -> Vec<Arc<Topic>> {
        self.homes.claimants(broker, name).iter().filter_map(|topic| self.topic(topic)).collect()
    }

    /// The Topics on this Broker, in the order of their names.
    #[must_use]
    pub fn topics_on(&self, broker: &ObjectName) -> Vec<Arc<Topic>> {
        self.homes.on(broker).iter().filter_map(|topic| self.topic(topic)).collect()
    }

    fn topic(&self, name: &ObjectName) -> Option<Arc<Topic>> {
        self.topics.get(name)?.decoded().cloned()
    }

    /// All Topics that could be decoded.
    #[must_use]
    pub fn decoded_topics(&self) -> Vec<Arc<Topic>> {
        self.topics.all().iter().filter_map(|topic| topic.decoded().cloned()).collect()
    }

    /// Labels of a namespace; `None` when it is gone.
    #[must_use]
    pub fn namespace_labels(&self, namespace: &str) -> Option<BTreeMap<String, String>> {
        let found = self.namespaces.get(&ObjectName::new("", namespace))?;
        Some(found.metadata.labels.clone().unwrap_or_default())
    }

    /// What a namespace says of the users that its Pods may run as.
    #[must_use]
    pub fn uid_range(&self, namespace: &str) -> Option<String> {
        let found = self.namespaces.get(&ObjectName::new("", namespace))?;
        found.metadata.annotations.as_ref()?.get(users::UID_RANGE).cloned()
    }
}
