//! The operator lives in the one namespace that it serves, and that namespace is deleted: Kubernetes ends the Pods of
//! a namespace first, so this process ends before the Topics go, and nobody would be left to free them. It frees them while it ends:
//! their Broker goes with the namespace, so there is nothing to clean up for. Anybody else's finalizer stays.

use crate::apply::{ApplyError, Writer};
use api::{Topic, labels::TOPIC_FINALIZER};
use futures::{StreamExt as _, stream};
use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client, api::ListParams, core::PartialObjectMeta};
use std::time::Duration;

/// A kubelet kills after 30 s.
const DEADLINE: Duration = Duration::from_secs(15);
/// How often what is left is looked at again: somebody may have written at the same time.
const ROUNDS: usize = 5;
/// Writes under way at once.
const CONCURRENCY: usize = 16;
/// Topics of one page of a list.
const PAGE_SIZE: u32 = 500;

/// Frees the Topics of `namespace` when it is being deleted. Call it when nothing reconciles any more and the Lease is
/// still held; a replica that does not hold it does nothing.
pub async fn free_topics(client: &Client, namespace: &str, writer: &Writer) {
    let freed = tokio::time::timeout(DEADLINE, free(client, namespace, writer)).await;
    let problem = match freed {
        Ok(Ok(0)) => return,
        Ok(Ok(count)) => {
            tracing::info!(namespace, count, "the namespace is being deleted: freed its Topics");
            return;
        }
        Ok(Err(ApplyError::NotLeader(_))) => return,
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("it took longer than {} s", DEADLINE.as_secs()),
    };
    tracing::error!(
        namespace,
        problem,
        "the namespace is being deleted and Topics may hold it; take the finalizer {TOPIC_FINALIZER} off them"
    );
}

async fn free(client: &Client, namespace: &str, writer: &Writer) -> Result<usize, ApplyError> {
    if !is_going(client, namespace).await? {
        return Ok(0);
    }
    let mut freed = 0;
    let mut last = Ok(());
    for _ in 0..ROUNDS {
        let held = held(client, namespace).await?;
        if held.is_empty() {
            return Ok(freed);
        }
        let writes = held.iter().map(|topic| writer.finalizer(topic, TOPIC_FINALIZER, false));
        let outcomes: Vec<_> = stream::iter(writes).buffer_unordered(CONCURRENCY).collect().await;
        for outcome in outcomes {
            match outcome {
                Ok(_) => freed += 1,
                Err(error @ ApplyError::NotLeader(_)) => return Err(error),
                // The next round reads it again.
                Err(error) => last = Err(error),
            }
        }
    }
    last.map(|()| freed)
}

async fn is_going(client: &Client, namespace: &str) -> Result<bool, ApplyError> {
    let found = Api::<Namespace>::all(client.clone()).get_metadata_opt(namespace).await;
    let found = found.map_err(|source| failed("read", "Namespace", namespace, source))?;
    Ok(found.is_none_or(|found| found.metadata.deletion_timestamp.is_some()))
}

/// The Topics that have our finalizer. The stores say nothing new any more when this is asked.
async fn held(client: &Client, namespace: &str) -> Result<Vec<PartialObjectMeta<Topic>>, ApplyError> {
    let topics = Api::<Topic>::namespaced(client.clone(), namespace);
    let mut page = ListParams::default().limit(PAGE_SIZE);
    let mut found = Vec::new();
    loop {
        let list = topics.list_metadata(&page).await;
        let list = list.map_err(|source| failed("list", "Topic", namespace, source))?;
        let is_held = |topic: &PartialObjectMeta<Topic>| {
            topic.metadata.finalizers.iter().flatten().any(|name| name == TOPIC_FINALIZER)
        };
        found.extend(list.items.into_iter().filter(is_held));
        match list.metadata.continue_.filter(|more| !more.is_empty()) {
            Some(more) => page = page.continue_token(&more),
            None => return Ok(found),
        }
    }
}

fn failed(verb: &'static str, kind: &str, namespace: &str, source: kube::Error) -> ApplyError {
    let name = control::ObjectName::new(namespace, "");
    ApplyError::Kubernetes { verb, kind: kind.to_owned(), name, source: Box::new(source) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        leadership::Leadership,
        testing::{FakeApi, leader, writer},
    };
    use serde_json::json;

    fn shop(going: bool) -> FakeApi {
        let mut yaml = String::from(
            "{apiVersion: v1, kind: Namespace, metadata: {name: shop, finalizers: [kubernetes]}}\n---\n",
        );
        for name in ["a", "b", "c"] {
            yaml += &format!(
                "{{apiVersion: pinnace.dev/v1alpha1, kind: Topic, metadata: {{name: {name}, namespace: shop, finalizers: [pinnace.dev/topic, other.dev/hold]}}, spec: {{}}}}\n---\n"
            );
        }
        yaml += "{apiVersion: pinnace.dev/v1alpha1, kind: Topic, metadata: {name: d, namespace: infra, finalizers: [pinnace.dev/topic]}, spec: {}}\n";
        let api = FakeApi::with_yaml(&yaml);
        if going {
            api.edit("Namespace", "shop", |namespace| {
                namespace["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
            });
        }
        api
    }

    fn finalizers(api: &FakeApi, name: &str) -> serde_json::Value {
        api.find("Topic", name).unwrap()["metadata"]["finalizers"].clone()
    }

    /// Goal: with the namespace its Topics are freed from our finalizer, and from no other; those of other namespaces are not.
    #[tokio::test]
    async fn topics_do_not_hold_a_namespace_that_goes() {
        let api = shop(true);
        free_topics(&api.client(), "shop", &writer(&api, leader())).await;
        for name in ["a", "b", "c"] {
            assert_eq!(finalizers(&api, name), json!(["other.dev/hold"]), "{name}");
        }
        assert_eq!(finalizers(&api, "d"), json!(["pinnace.dev/topic"]));
    }

    /// Goal: an operator that only restarts frees nothing, nor does a replica that does not lead.
    #[tokio::test]
    async fn topics_of_a_namespace_that_stays_are_held() {
        let api = shop(false);
        free_topics(&api.client(), "shop", &writer(&api, leader())).await;
        let going = shop(true);
        free_topics(&going.client(), "shop", &writer(&going, Leadership::new())).await;
        for api in [api, going] {
            assert_eq!(finalizers(&api, "a"), json!(["pinnace.dev/topic", "other.dev/hold"]));
            assert_eq!(api.take_writes(), Vec::<String>::new());
        }
    }
}
