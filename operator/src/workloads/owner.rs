//! The workload that a person knows: the Deployment behind a ReplicaSet, the CronJob behind a Job. Reads only, and only
//! when there is something to tell.

use crate::apply::{ApplyError, Namespaced, Writer};
use control::ObjectName;
use k8s_openapi::{
    api::{apps::v1::ReplicaSet, batch::v1::Job, core::v1::ObjectReference},
    apimachinery::pkg::apis::meta::v1::OwnerReference,
};

/// Who controls `made_by`, where that is somebody else; otherwise, or when it cannot be read, `made_by` itself.
pub(super) async fn workload(writer: &Writer, namespace: &str, made_by: &OwnerReference) -> ObjectReference {
    let found = match (made_by.api_version.as_str(), made_by.kind.as_str()) {
        ("apps/v1", "ReplicaSet") => controller_of::<ReplicaSet>(writer, namespace, made_by).await,
        ("batch/v1", "Job") => controller_of::<Job>(writer, namespace, made_by).await,
        _ => Ok(None),
    };
    let owner = found.unwrap_or_else(|error| {
        tracing::debug!(%error, "the workload is not known; its Pods' controller is told");
        None
    });
    let owner = owner.unwrap_or_else(|| made_by.clone());
    ObjectReference {
        api_version: Some(owner.api_version),
        kind: Some(owner.kind),
        name: Some(owner.name),
        namespace: Some(namespace.to_owned()),
        uid: Some(owner.uid),
        ..ObjectReference::default()
    }
}

async fn controller_of<K: Namespaced>(
    writer: &Writer,
    namespace: &str,
    made_by: &OwnerReference,
) -> Result<Option<OwnerReference>, ApplyError> {
    let found = writer.read_metadata::<K>(&ObjectName::new(namespace, &made_by.name)).await?;
    let owners = found.and_then(|object| object.metadata.owner_references).unwrap_or_default();
    Ok(owners.into_iter().find(|owner| owner.controller == Some(true)))
}
