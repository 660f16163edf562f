//! What a watch tells: all objects, then changes in their order, later than they happen; now and then all objects anew.

use super::world::{World, below};
use crate::testing::Changes;
use futures::{
    StreamExt as _,
    stream::{self, BoxStream},
};
use kube::{Resource, runtime::watcher};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::VecDeque;

/// One of so many changes finds the watch broken.
const BREAKS: u64 = 40;

struct Feed<R> {
    world: World,
    kind: &'static str,
    /// What has been told; `None` when all must be told anew.
    told: Option<u64>,
    pending: VecDeque<watcher::Event<R>>,
    changes: Changes,
}

/// The watch of one kind.
pub(super) fn feed<R>(
    world: &World,
    kind: &'static str,
) -> BoxStream<'static, watcher::Result<watcher::Event<R>>>
where
    R: Resource<DynamicType = ()> + Clone + DeserializeOwned + Send + 'static,
{
    let feed = Feed {
        world: world.clone(),
        kind,
        told: None,
        pending: VecDeque::new(),
        changes: world.api.changes(),
    };
    stream::unfold(feed, |mut feed| async move {
        let event = feed.next().await;
        Some((Ok(event), feed))
    })
    .boxed()
}

fn decoded<R: DeserializeOwned>(object: &Value) -> R {
    serde_json::from_value(object.clone()).unwrap()
}

impl<R: DeserializeOwned> Feed<R> {
    async fn next(&mut self) -> watcher::Event<R> {
        loop {
            if let Some(event) = self.pending.pop_front() {
                return event;
            }
            match self.told {
                None => self.list().await,
                Some(_) if self.world.is_stormy() && below(BREAKS) == 0 => self.told = None,
                Some(version) => self.hear(version).await,
            }
        }
    }

    async fn list(&mut self) {
        tokio::time::sleep(self.world.lag()).await;
        let (version, objects) = self.world.api.snapshot(self.kind);
        self.told = Some(version);
        self.pending.push_back(watcher::Event::Init);
        self.pending.extend(objects.iter().map(|object| watcher::Event::InitApply(decoded(object))));
        self.pending.push_back(watcher::Event::InitDone);
    }

    async fn hear(&mut self, version: u64) {
        let Some((version, event)) = self.world.api.first_after(version, self.kind) else {
            return self.changes.changed().await;
        };
        tokio::time::sleep(self.world.lag()).await;
        let object = decoded(&event["object"]);
        self.pending.push_back(match event["type"].as_str() {
            Some("DELETED") => watcher::Event::Delete(object),
            _ => watcher::Event::Apply(object),
        });
        self.told = Some(version);
    }
}
