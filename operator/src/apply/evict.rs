//! Pods that are to start again: asked for as a drain asks, so that a PodDisruptionBudget sees both. What is asked and what the
//! answer means; pure but for the list.

use super::{ApplyError, Writer, is_code, message};
use control::ObjectName;
use k8s_openapi::{
    api::{core::v1::Pod, policy::v1::Eviction},
    apimachinery::pkg::apis::meta::v1::{DeleteOptions, ObjectMeta, Preconditions},
};
use kube::{Api, api::ListParams};

/// What became of an eviction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Evicted {
    /// The Pod goes.
    Going,
    /// It is gone, or another one of its name is there.
    Gone,
    /// A PodDisruptionBudget does not allow it now: what the API server said.
    NotNow(String),
}

/// That of the Pod with this uid. The `evict` of kube 5 names the options `delete_options`, which the API server does not read.
pub(super) fn eviction(name: &ObjectName, uid: &str) -> Eviction {
    let (name, namespace) = (Some(name.name.clone()), Some(name.namespace.clone()));
    let preconditions = Preconditions { uid: Some(uid.to_owned()), ..Preconditions::default() };
    Eviction {
        delete_options: Some(DeleteOptions {
            preconditions: Some(preconditions),
            ..DeleteOptions::default()
        }),
        metadata: ObjectMeta { name, namespace, ..ObjectMeta::default() },
    }
}

pub(super) fn outcome<T>(answer: Result<T, kube::Error>) -> Result<Evicted, kube::Error> {
    match answer {
        Ok(_) => Ok(Evicted::Going),
        Err(error) if is_code(&error, 404) || is_code(&error, 409) => Ok(Evicted::Gone),
        Err(error) if is_code(&error, 429) => {
            Ok(Evicted::NotNow(message(&error).unwrap_or_default().to_owned()))
        }
        Err(error) => Err(error),
    }
}

impl Writer {
    /// The Pods of a namespace with these labels.
    ///
    /// # Errors
    /// When the API server does not answer.
    pub async fn pods(&self, namespace: &str, labels: &str) -> Result<Vec<Pod>, ApplyError> {
        let api = Api::<Pod>::namespaced(self.client.clone(), namespace);
        let found = api.list(&ListParams::default().labels(labels)).await;
        Ok(found.map_err(Self::failed::<Pod>("list", &ObjectName::new(namespace, labels)))?.items)
    }
}
