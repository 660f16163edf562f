//! Many writes at a time, as from many teams at once. Each is tried again while the API server says that it is too
//! busy, and counted, so that the operator's own requests can be told from these.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use kube::api::{ApiResource, DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use runtime::backoff::Backoff;
use serde_json::Value;

use crate::objects::Wanted;

/// Writes at a time.
const CONCURRENCY: usize = 64;
/// How often one is tried.
const TRIES_MAX: u32 = 8;
const PAUSE_FIRST: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// What the API server answers when it has too much to do, or the webhooks do not answer.
const BUSY: [u16; 4] = [429, 500, 503, 504];

/// What is done to each object.
pub(crate) enum Deed {
    Create,
    /// A merge patch.
    Patch(Value),
    Delete,
}

/// See the module.
pub(crate) struct Crowd {
    client: Client,
    /// Requests by verb and resource, as the API server's metrics call them.
    requests: Mutex<BTreeMap<(String, String), u64>>,
}

impl Crowd {
    pub(crate) fn new(client: Client) -> Self {
        Self { client, requests: Mutex::default() }
    }

    /// Requests so far, by verb and resource.
    pub(crate) fn requests(&self) -> BTreeMap<(String, String), u64> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes a request that somebody else of this program makes.
    pub(crate) fn note(&self, verb: &str, resource: &str) {
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        *requests.entry((verb.to_owned(), resource.to_owned())).or_default() += 1;
    }

    /// Does the same to all of these.
    pub(crate) async fn work(&self, wanted: &[Wanted], resource: &ApiResource, deed: &Deed) -> Result<()> {
        stream::iter(wanted)
            .map(|one| async move { self.one(one, resource, deed).await.map(drop) })
            .buffer_unordered(CONCURRENCY)
            .try_collect()
            .await
    }

    /// Does it to one; gives its generation.
    pub(crate) async fn one(&self, wanted: &Wanted, resource: &ApiResource, deed: &Deed) -> Result<i64> {
        let mut backoff = Backoff::new(PAUSE_FIRST, PAUSE_MAX);
        loop {
            match self.once(wanted, resource, deed).await {
                Ok(generation) => return Ok(generation),
                Err(kube::Error::Api(status))
                    if BUSY.contains(&status.code) && backoff.tries() < TRIES_MAX =>
                {
                    tokio::time::sleep(backoff.next_pause()).await;
                }
                Err(error) => {
                    return Err(error).with_context(|| {
                        format!("failed to write {} {}/{}", resource.kind, wanted.namespace, wanted.name)
                    });
                }
            }
        }
    }

    async fn once(&self, wanted: &Wanted, resource: &ApiResource, deed: &Deed) -> Result<i64, kube::Error> {
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), &wanted.namespace, resource);
        let verb = match deed {
            Deed::Create => "POST",
            Deed::Patch(_) => "PATCH",
            Deed::Delete => "DELETE",
        };
        self.note(verb, &resource.plural);
        let written = match deed {
            Deed::Create => api.create(&PostParams::default(), &wanted.object(resource)).await?,
            Deed::Patch(patch) => {
                api.patch(&wanted.name, &PatchParams::default(), &Patch::Merge(patch)).await?
            }
            Deed::Delete => {
                api.delete(&wanted.name, &DeleteParams::default()).await?;
                return Ok(0);
            }
        };
        Ok(written.metadata.generation.unwrap_or_default())
    }
}
