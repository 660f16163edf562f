//! An API server in memory: what a client asks, over a line that may be slow, cut, or lose answers. What is kept and how
//! it changes is in `store`, watches are in `watching`. Every request is recorded.

mod line;
mod store;
mod watching;

pub(crate) use line::{Fault, Line};

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt as _, Full, combinators::UnsyncBoxBody};
use kube::{Client, client::Body};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    convert::Infallible,
    io,
    sync::{Arc, Mutex},
};
use store::Store;
use tokio::sync::Notify;

/// What a client gets for a request.
type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;

/// See the module. Clones share the state.
#[derive(Clone, Default)]
pub(crate) struct FakeApi {
    store: Arc<Mutex<Store>>,
    /// Wakes who waits for a change, in the order in which they came: a seed repeats it.
    changed: Arc<Notify>,
}

/// Tells of changes.
pub(crate) struct Changes {
    api: FakeApi,
    seen: u64,
}

impl Changes {
    /// Waits for the first change since the last call.
    pub(crate) async fn changed(&mut self) {
        loop {
            let notify = Arc::clone(&self.api.changed);
            let notified = notify.notified();
            tokio::pin!(notified);
            notified.as_mut().enable();
            let version = self.api.version();
            if std::mem::replace(&mut self.seen, version) != version {
                return;
            }
            notified.await;
        }
    }
}

impl FakeApi {
    /// One that holds these objects.
    pub(crate) fn with_yaml(yaml: &str) -> Self {
        let api = Self::default();
        for object in super::Objects::from_yaml(yaml).all {
            api.put(object);
        }
        api
    }

    fn with<T>(&self, work: impl FnOnce(&mut Store) -> T) -> T {
        let mut store = self.store.lock().unwrap();
        let before = store.version;
        let outcome = work(&mut store);
        if store.version != before {
            self.changed.notify_waiters();
        }
        outcome
    }

    /// Puts an object there, as if somebody else had applied it.
    pub(crate) fn put(&self, object: Value) {
        self.with(|store| store.put(object));
    }

    /// Changes an object as somebody else would; does nothing when it is not there.
    pub(crate) fn edit(&self, kind: &str, name: &str, change: impl FnOnce(&mut Value)) {
        if let Some(mut object) = self.find(kind, name) {
            change(&mut object);
            self.put(object);
        }
    }

    /// From now on the CRDs lack a field of the status, or `None`.
    pub(crate) fn undeclare(&self, field: Option<&'static str>) {
        self.with(|store| store.undeclared = field);
    }

    /// Deletes an object as somebody else would: finalizers hold it, and what it owns goes with it.
    pub(crate) fn delete(&self, kind: &str, name: &str) {
        if let Some(object) = self.find(kind, name) {
            self.with(|store| store.delete(&store::path_of(&object)));
        }
    }

    /// Forgets what happened so far: who watches must list again.
    pub(crate) fn expire(&self) {
        self.with(|store| {
            store.version += 1;
            store.forgotten = store.version;
        });
    }

    /// Tells of every change, from the first on.
    pub(crate) fn changes(&self) -> Changes {
        Changes { api: self.clone(), seen: 0 }
    }

    /// All objects.
    pub(crate) fn objects(&self) -> Vec<Value> {
        self.with(|store| store.objects.values().cloned().collect())
    }

    /// The object of this kind and name.
    pub(crate) fn find(&self, kind: &str, name: &str) -> Option<Value> {
        self.objects().into_iter().find(|object| object["kind"] == kind && object["metadata"]["name"] == name)
    }

    /// Events that were made.
    pub(crate) fn events(&self) -> Vec<Value> {
        self.with(|store| store.events.clone())
    }

    /// Everything that happened to objects, in its order: the version, and `ADDED`, `MODIFIED` or `DELETED` with the object.
    pub(crate) fn history(&self) -> Vec<(u64, Value)> {
        self.with(|store| store.history.iter().map(|(version, _, event)| (*version, event.clone())).collect())
    }

    /// The newest version.
    pub(crate) fn version(&self) -> u64 {
        self.with(|store| store.version)
    }

    /// All objects of a kind, and the version that they are of.
    pub(crate) fn snapshot(&self, kind: &str) -> (u64, Vec<Value>) {
        self.with(|store| {
            let of_kind = store.objects.values().filter(|object| object["kind"] == kind);
            (store.version, of_kind.cloned().collect())
        })
    }

    /// The first thing that happened to an object of a kind after a version.
    pub(crate) fn first_after(&self, version: u64, kind: &str) -> Option<(u64, Value)> {
        self.with(|store| {
            let from = store.history.partition_point(|(at, _, _)| *at <= version);
            let mut news = store.history.get(from..).unwrap_or_default().iter();
            let first = news.find(|(_, _, event)| event["object"]["kind"] == kind)?;
            Some((first.0, first.2.clone()))
        })
    }

    /// Changes an object of a namespace as somebody else would; does nothing when it is not there.
    pub(crate) fn edit_in(&self, namespace: &str, kind: &str, name: &str, change: impl FnOnce(&mut Value)) {
        if let Some(mut object) = self.find_in(namespace, kind, name) {
            change(&mut object);
            self.put(object);
        }
    }

    /// Deletes an object of a namespace as somebody else would.
    pub(crate) fn delete_in(&self, namespace: &str, kind: &str, name: &str) {
        if let Some(object) = self.find_in(namespace, kind, name) {
            self.with(|store| store.delete(&store::path_of(&object)));
        }
    }

    fn find_in(&self, namespace: &str, kind: &str, name: &str) -> Option<Value> {
        self.objects().into_iter().find(|object| {
            let metadata = &object["metadata"];
            object["kind"] == kind && metadata["name"] == name && metadata["namespace"] == namespace
        })
    }

    /// Deletes a namespace with all that is in it; it goes when nothing is left.
    pub(crate) fn terminate(&self, namespace: &str) {
        self.with(|store| store.terminate(namespace));
    }

    /// Whether objects can be made in a namespace.
    pub(crate) fn takes_objects(&self, namespace: &str) -> bool {
        self.with(|store| store.takes_objects(namespace))
    }

    /// Requests since the last call but for watches, as `VERB path`.
    pub(crate) fn take_requests(&self) -> Vec<String> {
        self.with(|store| std::mem::take(&mut store.requests))
    }

    /// Writes since the last call, as `VERB path`.
    pub(crate) fn take_writes(&self) -> Vec<String> {
        self.take_requests().into_iter().filter(|request| !request.starts_with("GET")).collect()
    }

    /// Events that were made since the last call: the reason and the note of each.
    pub(crate) fn take_events(&self) -> Vec<(String, String)> {
        let events = self.with(|store| std::mem::take(&mut store.events));
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        events.iter().map(|event| (text(&event["reason"]), text(&event["note"]))).collect()
    }

    /// A client that speaks to it.
    pub(crate) fn client(&self) -> Client {
        self.client_over(&Line::default())
    }

    /// A client at the other end of a line.
    pub(crate) fn client_over(&self, line: &Line) -> Client {
        let (api, line) = (self.clone(), line.clone());
        let service = tower::service_fn(move |request: Request<Body>| {
            let (api, line) = (api.clone(), line.clone());
            async move { api.serve(&line, request).await }
        });
        Client::new(service, "default")
    }

    async fn serve(&self, line: &Line, request: Request<Body>) -> Result<Answer, io::Error> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
        let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
        let path = parts.uri.path().to_owned();
        let mut query = query(parts.uri.query().unwrap_or_default());
        let content = parts.headers.get(http::header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        query.insert(store::CONTENT.to_owned(), content.unwrap_or_default().to_owned());
        line.travel().await?;
        if parts.method == Method::GET && query.get("watch").is_some_and(|watch| watch != "false") {
            return Ok(self.watch(line, &path, &query));
        }
        let fault = line.fault(&format!("{} {path}", parts.method));
        if let Some(Fault::Refused(code)) = fault {
            return Ok(json(store::failure(code, "Simulated")));
        }
        let answer = self.with(|store| store.answer(&parts.method, &path, (&query, body)));
        if matches!(fault, Some(Fault::AnswerLost)) {
            tokio::time::sleep(line::TIMEOUT).await;
            return Err(io::ErrorKind::TimedOut.into());
        }
        line.travel().await?;
        Ok(json(answer))
    }
}

fn json((code, answer): (u16, Value)) -> Answer {
    let body = Full::new(Bytes::from(serde_json::to_vec(&answer).unwrap()));
    Response::builder().status(code).body(UnsyncBoxBody::new(body)).unwrap()
}

fn query(text: &str) -> BTreeMap<String, String> {
    let plain = |text: &str| text.replace("%2F", "/").replace("%3D", "=").replace("%2C", ",");
    let pairs = text.split('&').filter_map(|pair| pair.split_once('='));
    pairs.map(|(key, value)| (plain(key), plain(value))).collect()
}
