//! The only writer to Kubernetes. Controllers write through [`Writer`], which asks for the Lease first, skips
//! what is there already, and counts; the free functions are for what every replica must be able to write.
//!
//! Server-side apply with one field manager per controller, always forced: fields that we set are ours.

mod compare;
mod events;
mod evict;
mod undeclared;

#[cfg(test)]
mod tests;

pub use compare::is_applied;
pub(crate) use events::event;
pub use evict::Evicted;
use undeclared::Undeclared;

use crate::{
    cluster::fingerprint,
    leadership::{Leadership, NotLeader},
    metrics::ReconcileMetrics,
};
use control::ObjectName;
use k8s_openapi::{NamespaceResourceScope, api::core::v1::Pod};
use kube::{
    Api, Client, Resource,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions, PropagationPolicy},
    core::{DynamicObject, PartialObjectMeta},
    runtime::events::{Recorder, Reporter},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use std::{
    collections::{BTreeSet, HashMap},
    fmt::Debug,
    sync::{Arc, Mutex, PoisonError},
};

/// Why something was not written.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// Another replica writes.
    #[error(transparent)]
    NotLeader(#[from] NotLeader),
    /// The API server did not do it.
    #[error("failed to {verb} {kind} {name}: {source}")]
    Kubernetes {
        /// What was tried.
        verb: &'static str,
        /// The kind.
        kind: String,
        /// `NAMESPACE/NAME`.
        name: ObjectName,
        /// What it said.
        source: Box<kube::Error>,
    },
    /// The object could not be written as JSON.
    #[error("failed to write {0} as JSON")]
    Json(String, #[source] serde_json::Error),
}

impl ApplyError {
    /// Whether the API server says that the object is gone.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Kubernetes { source, .. } if is_code(source, 404))
    }

    /// What the API server said when it will not, whoever asks again: a quota, a policy, a webhook, a missing right.
    #[must_use]
    pub fn refusal(&self) -> Option<&str> {
        match self {
            Self::Kubernetes { source, .. } => match source.as_ref() {
                kube::Error::Api(status) if matches!(status.code, 400 | 403 | 422) => Some(&status.message),
                _ => None,
            },
            _ => None,
        }
    }

    /// Whether the object changed after it was read.
    #[must_use]
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Kubernetes { source, .. } if is_code(source, 409))
    }
}

fn message(error: &kube::Error) -> Option<&str> {
    match error {
        kube::Error::Api(status) => Some(&status.message),
        _ => None,
    }
}

fn is_code(error: &kube::Error, code: u16) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == code)
}

/// What became of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// It was as wanted already; nothing was sent.
    Unchanged,
    /// It was written.
    Written,
}

/// Kinds that live in a namespace and are known at compile time.
pub trait Namespaced:
    Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned + Send + Sync
{
}

impl<K> Namespaced for K where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned
        + Send
        + Sync
{
}

/// Writes for the controllers. Clones share what they remember.
#[derive(Clone)]
pub struct Writer {
    client: Client,
    leadership: Leadership,
    metrics: ReconcileMetrics,
    recorder: Recorder,
    reporter: Reporter,
    /// Prints of the statuses that were written, by uid: whole ones would take more memory than all else.
    statuses: Arc<Mutex<HashMap<String, u64>>>,
    undeclared: Arc<Undeclared>,
}

impl Writer {
    /// A writer under the name `instance` (the Pod) in Events.
    #[must_use]
    pub fn new(client: Client, leadership: Leadership, metrics: ReconcileMetrics, instance: &str) -> Self {
        let reporter =
            Reporter { controller: "pinnace-operator".to_owned(), instance: Some(instance.to_owned()) };
        let recorder = Recorder::new(client.clone(), reporter.clone());
        Self {
            client,
            leadership,
            metrics,
            recorder,
            reporter,
            statuses: Arc::default(),
            undeclared: Arc::default(),
        }
    }

    fn failed<K: Resource<DynamicType = ()>>(
        verb: &'static str,
        name: &ObjectName,
    ) -> impl FnOnce(kube::Error) -> ApplyError {
        let name = name.clone();
        move |source| ApplyError::Kubernetes {
            verb,
            kind: K::kind(&()).into_owned(),
            name,
            source: Box::new(source),
        }
    }

    fn written<K: Resource<DynamicType = ()>>(&self, verb: &'static str, name: &ObjectName) {
        let kind = K::kind(&());
        tracing::debug!(kind = %kind, name = %name, verb, "wrote");
        self.metrics.written(&kind, verb);
    }

    /// Reads an object that no store holds.
    ///
    /// # Errors
    /// When the API server does not answer.
    pub async fn read<K: Namespaced>(&self, name: &ObjectName) -> Result<Option<K>, ApplyError> {
        let api = Api::<K>::namespaced(self.client.clone(), &name.namespace);
        api.get_opt(&name.name).await.map_err(Self::failed::<K>("read", name))
    }

    /// Reads the metadata of an object that no store holds.
    ///
    /// # Errors
    /// When the API server does not answer.
    pub async fn read_metadata<K: Namespaced>(
        &self,
        name: &ObjectName,
    ) -> Result<Option<PartialObjectMeta<K>>, ApplyError> {
        let api = Api::<K>::namespaced(self.client.clone(), &name.namespace);
        api.get_metadata_opt(&name.name).await.map_err(Self::failed::<K>("read", name))
    }

    /// Makes or changes an object so that it has all fields of `wanted`. It must carry name and namespace.
    ///
    /// # Errors
    /// When this replica may not write, or the API server refuses.
    pub async fn apply<K: Namespaced + Serialize>(
        &self,
        manager: &str,
        wanted: &K,
    ) -> Result<Applied, ApplyError> {
        let name = crate::cluster::name_of(wanted);
        let api = Api::<K>::namespaced(self.client.clone(), &name.namespace);
        let wanted = compare::with_hash(wanted).map_err(|error| ApplyError::Json(name.to_string(), error))?;
        let dynamic = api_of::<K>(&self.client, &name.namespace);
        let present = dynamic.get_opt(&name.name).await.map_err(Self::failed::<K>("read", &name))?;
        let present = present.and_then(|object| serde_json::to_value(object).ok());
        if present.is_some_and(|present| is_applied(&wanted, &present)) {
            return Ok(Applied::Unchanged);
        }
        let params = PatchParams::apply(manager).force();
        let patch = Patch::Apply(&wanted);
        let writing = api.patch(&name.name, &params, &patch);
        self.leadership.write(writing).await?.map_err(Self::failed::<K>("apply", &name))?;
        self.written::<K>("apply", &name);
        Ok(Applied::Written)
    }

    /// Writes the status of `object`, unless it is what is there and what was last written. Fields that an older CRD does
    /// not have are left out.
    ///
    /// # Errors
    /// When this replica may not write, or the API server refuses.
    pub async fn status<K: Namespaced>(
        &self,
        manager: &str,
        object: &K,
        (before, status): (&Value, &Value),
    ) -> Result<Applied, ApplyError> {
        let name = crate::cluster::name_of(object);
        let uid = object.meta().uid.clone().unwrap_or_default();
        let print = fingerprint(&status.to_string());
        let last = self.lock_statuses().get(&uid).copied();
        let (kind, undeclared) = (K::kind(&()), &self.undeclared);
        if *before == undeclared.without(&kind, status) && last.is_none_or(|last| last == print) {
            return Ok(Applied::Unchanged);
        }
        match self.write_status(manager, object, status).await? {
            Err(error) => {
                let rest = message(&error).and_then(|message| undeclared.learn(&kind, message, status));
                let Some(rest) = rest else {
                    return Err(Self::failed::<K>("write the status of", &name)(error));
                };
                let written = self.write_status(manager, object, &rest).await?;
                written.map_err(Self::failed::<K>("write the status of", &name))?;
            }
            Ok(_) => undeclared.forget(&kind),
        }
        self.lock_statuses().insert(uid, print);
        self.written::<K>("status", &name);
        Ok(Applied::Written)
    }

    async fn write_status<K: Namespaced>(
        &self,
        manager: &str,
        object: &K,
        status: &Value,
    ) -> Result<kube::Result<DynamicObject>, NotLeader> {
        let name = crate::cluster::name_of(object);
        let patch = json!({
            "apiVersion": K::api_version(&()), "kind": K::kind(&()),
            "metadata": {"name": name.name, "namespace": name.namespace, "uid": object.meta().uid},
            "status": status,
        });
        let api = api_of::<K>(&self.client, &name.namespace);
        let params = PatchParams::apply(&format!("{manager}-status")).force();
        let patch = Patch::Apply(&patch);
        self.leadership.write(api.patch_status(&name.name, &params, &patch)).await
    }

    /// Forgets the status of an object that is gone.
    pub fn forget(&self, uid: Option<&str>) {
        self.lock_statuses().remove(uid.unwrap_or_default());
    }

    fn lock_statuses(&self) -> std::sync::MutexGuard<'_, HashMap<String, u64>> {
        self.statuses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds our finalizer, or with `wanted` false takes it away.
    ///
    /// # Errors
    /// When this replica may not write, or the API server refuses.
    pub async fn finalizer<K: Namespaced>(
        &self,
        object: &K,
        finalizer: &str,
        wanted: bool,
    ) -> Result<Applied, ApplyError> {
        let present =
            object.meta().finalizers.as_ref().is_some_and(|list| list.iter().any(|name| name == finalizer));
        if present == wanted {
            return Ok(Applied::Unchanged);
        }
        let name = crate::cluster::name_of(object);
        let api = api_of::<K>(&self.client, &name.namespace);
        let outcome = if wanted {
            // The uid keeps an apply from touching a namesake that was made meanwhile.
            let patch = json!({
                "apiVersion": K::api_version(&()), "kind": K::kind(&()),
                "metadata": {
                    "name": name.name, "namespace": name.namespace,
                    "uid": object.meta().uid, "finalizers": [finalizer],
                },
            });
            let params = PatchParams::apply("pinnace-finalizer").force();
            self.leadership.write(api.patch(&name.name, &params, &Patch::Apply(&patch))).await?
        } else {
            // Not an apply: that takes away only what it had put there, and a restored object forgot who did. Over
            // the version that was read and no other, so that nobody else's finalizer is lost.
            let others = object.meta().finalizers.iter().flatten().filter(|name| *name != finalizer);
            let patch = json!({"metadata": {
                "uid": object.meta().uid, "resourceVersion": object.meta().resource_version,
                "finalizers": others.collect::<Vec<_>>(),
            }});
            let params =
                PatchParams { field_manager: Some("pinnace-finalizer".into()), ..PatchParams::default() };
            self.leadership.write(api.patch(&name.name, &params, &Patch::Merge(&patch))).await?
        };
        match outcome {
            Err(error) if !wanted && is_code(&error, 404) => Ok(Applied::Unchanged),
            Err(error) => Err(Self::failed::<K>("change the finalizers of", &name)(error)),
            Ok(_) => {
                self.written::<K>("finalizer", &name);
                Ok(Applied::Written)
            }
        }
    }

    /// Changes some fields of an object that belongs to somebody else; `patch` names the version that was read, and no
    /// other is changed.
    ///
    /// # Errors
    /// When this replica may not write, the object changed meanwhile, or the API server refuses.
    pub async fn amend<K: Namespaced>(
        &self,
        manager: &str,
        name: &ObjectName,
        patch: &Value,
    ) -> Result<K, ApplyError> {
        let api = Api::<K>::namespaced(self.client.clone(), &name.namespace);
        let params = PatchParams { field_manager: Some(manager.to_owned()), ..PatchParams::default() };
        let patch = Patch::Strategic(patch);
        let writing = api.patch(&name.name, &params, &patch);
        let amended = self.leadership.write(writing).await?.map_err(Self::failed::<K>("change", name))?;
        self.written::<K>("amend", name);
        Ok(amended)
    }

    /// Deletes the objects of kind `K` with these labels that `owner` owns and that are not in `keep`.
    ///
    /// # Errors
    /// When this replica may not write, or the API server refuses.
    pub async fn prune<K: Namespaced>(
        &self,
        (namespace, labels): (&str, &str),
        owner_uid: &str,
        keep: &BTreeSet<String>,
    ) -> Result<(), ApplyError> {
        let api = Api::<K>::namespaced(self.client.clone(), namespace);
        let all = ObjectName::new(namespace, labels);
        let found = api.list_metadata(&ListParams::default().labels(labels)).await;
        for object in found.map_err(Self::failed::<K>("list", &all))?.items {
            let name = crate::cluster::name_of(&object);
            let owners = object.metadata.owner_references.iter().flatten();
            if keep.contains(&name.name) || !owners.into_iter().any(|owner| owner.uid == owner_uid) {
                continue;
            }
            let preconditions = Preconditions { uid: object.metadata.uid.clone(), resource_version: None };
            let params = DeleteParams {
                preconditions: Some(preconditions),
                propagation_policy: Some(PropagationPolicy::Background),
                ..DeleteParams::default()
            };
            match self.leadership.write(api.delete(&name.name, &params)).await? {
                Err(error) if !is_code(&error, 404) => return Err(Self::failed::<K>("delete", &name)(error)),
                _ => self.written::<K>("delete", &name),
            }
        }
        Ok(())
    }

    /// Has the Pod with this uid go, if its PodDisruptionBudget allows it.
    ///
    /// # Errors
    /// When this replica may not write, or the API server refuses.
    pub async fn evict(&self, name: &ObjectName, uid: &str) -> Result<Evicted, ApplyError> {
        let api = Api::<Pod>::namespaced(self.client.clone(), &name.namespace);
        let (eviction, params) = (evict::eviction(name, uid), PostParams::default());
        let asking = api.create_subresource::<_, Value>("eviction", &name.name, &params, &eviction);
        let answer = self.leadership.write(asking).await?;
        let evicted = evict::outcome(answer).map_err(Self::failed::<Pod>("evict", name))?;
        if evicted == Evicted::Going {
            self.written::<Pod>("evict", name);
        }
        Ok(evicted)
    }

    /// Makes an object unless there is one of its name, which is left alone.
    ///
    /// # Errors
    /// When this replica may not write, or the API server refuses.
    pub async fn create<K: Namespaced + Serialize>(&self, object: &K) -> Result<Applied, ApplyError> {
        let name = crate::cluster::name_of(object);
        let api = Api::<K>::namespaced(self.client.clone(), &name.namespace);
        let created = self.leadership.write(create_once(&api, object)).await?;
        match created.map_err(Self::failed::<K>("create", &name))? {
            Once::Created(_) => {
                self.written::<K>("create", &name);
                Ok(Applied::Written)
            }
            Once::AlreadyThere(_) => Ok(Applied::Unchanged),
        }
    }
}

fn api_of<K: Resource<DynamicType = ()>>(client: &Client, namespace: &str) -> Api<DynamicObject> {
    let resource = kube::api::ApiResource::erase::<K>(&());
    Api::namespaced_with(client.clone(), namespace, &resource)
}

/// What [`create_once`] found.
#[derive(Debug)]
pub enum Once<K> {
    /// It was made, and looks so.
    Created(K),
    /// Somebody else had made it; this is theirs.
    AlreadyThere(K),
}

/// Makes an object that several replicas may want to make at once. Asks for no Lease.
///
/// # Errors
/// When the API server refuses for another reason than that it is there.
pub async fn create_once<K>(api: &Api<K>, object: &K) -> Result<Once<K>, kube::Error>
where
    K: Resource + Clone + Debug + DeserializeOwned + Serialize,
{
    match create_unless_there(api, object).await? {
        Some(made) => Ok(Once::Created(made)),
        None => Ok(Once::AlreadyThere(api.get(object.meta().name.as_deref().unwrap_or_default()).await?)),
    }
}

/// `None` when there is one of this name.
async fn create_unless_there<K>(api: &Api<K>, object: &K) -> Result<Option<K>, kube::Error>
where
    K: Clone + Debug + DeserializeOwned + Serialize,
{
    match api.create(&PostParams::default(), object).await {
        Ok(made) => Ok(Some(made)),
        Err(error) if is_code(&error, 409) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Writes an object over the version that was read, and over no other. Asks for no Lease.
///
/// # Errors
/// When it changed meanwhile (code 409) or the API server refuses.
pub async fn replace<K>(api: &Api<K>, object: &K) -> Result<K, kube::Error>
where
    K: Resource + Clone + Debug + DeserializeOwned + Serialize,
{
    api.replace(object.meta().name.as_deref().unwrap_or_default(), &PostParams::default(), object).await
}

/// Applies some fields of an object that belongs to somebody else. Asks for no Lease.
///
/// # Errors
/// When the API server refuses.
pub async fn apply_part<K>(api: &Api<K>, part: &K, manager: &str) -> Result<K, kube::Error>
where
    K: Resource + Clone + Debug + DeserializeOwned + Serialize,
{
    let params = PatchParams::apply(manager).force();
    api.patch(part.meta().name.as_deref().unwrap_or_default(), &params, &Patch::Apply(part)).await
}
