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
use tokio::sync::watch;

/// What a client gets for a request.
type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;

/// See the module. Clones share the state.
#[derive(Clone)]
pub(crate) struct FakeApi {
    store: Arc<Mutex<Store>>,
    /// The newest version, for watches.
    changed: Arc<watch::Sender<u64>>,
}

impl Default for FakeApi {
    fn default() -> Self {
        Self { store: Arc::default(), changed: Arc::new(watch::Sender::new(0)) }
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
        let outcome = work(&mut store);
        let version = store.version;
        drop(store);
        self.changed.send_if_modified(|known| std::mem::replace(known, version) != version);
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
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        let mut changes = self.changed.subscribe();
        changes.mark_changed();
        changes
    }

    /// All objects.
    pub(crate) fn objects(&self) -> Vec<Value> {
        self.with(|store| store.objects.values().cloned().collect())
    }

    /// The object of this kind and name.
    pub(crate) fn find(&self, kind: &str, name: &str) -> Option<Value> {
        self.objects().into_iter().find(|object| object["kind"] == kind && object["metadata"]["name"] == name)
    }

    /// Everything that happened to objects, in its order: `ADDED`, `MODIFIED` or `DELETED`, and the object.
    pub(crate) fn history(&self) -> Vec<Value> {
        self.with(|store| store.history.iter().map(|(_, _, event)| event.clone()).collect())
    }

    /// Writes since the last call, as `VERB path`.
    pub(crate) fn take_writes(&self) -> Vec<String> {
        let requests = self.with(|store| std::mem::take(&mut store.requests));
        requests.into_iter().filter(|request| !request.starts_with("GET")).collect()
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
