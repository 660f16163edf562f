//! What the API server keeps: objects by path and all that happened to them. As the real one: versions, generations,
//! uids, finalizers, owners whose children go with them, and server-side apply that takes away what its manager no longer
//! sets. Lists are taken whole, but for finalizers. What changes nothing makes no version.

use apply::{applied, merge_by_name, take_away};
use http::Method;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

mod apply;

type Query = BTreeMap<String, String>;

/// The content type, among what a request asks for.
pub(super) const CONTENT: &str = "content-type";

const MERGE: &str = "application/merge-patch+json";
const STRATEGIC: &str = "application/strategic-merge-patch+json";

/// See the module.
#[derive(Default)]
pub(super) struct Store {
    pub(super) objects: BTreeMap<String, Value>,
    pub(super) requests: Vec<String>,
    /// Events that were made; nobody watches them, and their series are among the requests alone.
    pub(super) events: Vec<Value>,
    pub(super) version: u64,
    /// What happened up to this version can no longer be watched.
    pub(super) forgotten: u64,
    /// Version, path, event.
    pub(super) history: Vec<(u64, String, Value)>,
    /// A field of a status that its CRD does not have.
    pub(super) undeclared: Option<&'static str>,
    /// Namespaces that are going.
    terminating: BTreeSet<String>,
    /// What each manager last applied, by path and manager.
    managed: BTreeMap<(String, String), Value>,
}

/// Which objects a list or a watch is about.
#[derive(Clone)]
pub(super) struct Selection {
    prefix: String,
    namespace: Option<String>,
    plural: String,
    labels: Vec<(String, String)>,
}

impl Selection {
    pub(super) fn new(path: &str, query: &Query) -> Self {
        let (prefix, rest) = match path.split_once("/namespaces/") {
            Some((prefix, rest)) => (prefix, rest.split_once('/')),
            None => (path.rsplit_once('/').map_or("", |(prefix, _)| prefix), None),
        };
        let plural = path.rsplit_once('/').map_or(path, |(_, plural)| plural);
        let selector = query.get("labelSelector").map(String::as_str).unwrap_or_default();
        let labels = selector.split(',').filter_map(|label| label.split_once('='));
        Self {
            prefix: prefix.to_owned(),
            namespace: rest.map(|(namespace, _)| namespace.to_owned()),
            plural: plural.to_owned(),
            labels: labels.map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
        }
    }

    fn takes(&self, path: &str, object: &Value) -> bool {
        let Some(rest) = path.strip_prefix(&self.prefix) else { return false };
        let place: Vec<&str> = rest.split('/').skip(1).collect();
        let (namespace, plural) = match place.as_slice() {
            ["namespaces", namespace, plural, _] => (Some(*namespace), *plural),
            [plural, _] => (None, *plural),
            _ => return false,
        };
        let labels = &object["metadata"]["labels"];
        plural == self.plural
            && (self.namespace.is_none() || self.namespace.as_deref() == namespace)
            && self.labels.iter().all(|(key, value)| labels[key] == *value)
    }
}

pub(super) fn path_of(object: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let version = text(&object["apiVersion"]);
    let prefix = if version.contains('/') { format!("/apis/{version}") } else { format!("/api/{version}") };
    let kind = text(&object["kind"]).to_lowercase();
    let name = text(&object["metadata"]["name"]);
    match object["metadata"]["namespace"].as_str() {
        Some(namespace) => format!("{prefix}/namespaces/{namespace}/{kind}s/{name}"),
        None => format!("{prefix}/{kind}s/{name}"),
    }
}

pub(super) fn failure(code: u16, reason: &str) -> (u16, Value) {
    (
        code,
        json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "code": code, "message": reason}),
    )
}

impl Store {
    pub(super) fn answer(
        &mut self,
        method: &Method,
        path: &str,
        (query, body): (&Query, Value),
    ) -> (u16, Value) {
        self.requests.push(format!("{method} {path}"));
        let (object_path, is_status) =
            path.strip_suffix("/status").map_or((path, false), |path| (path, true));
        match *method {
            Method::GET => self.get(object_path, query),
            Method::POST if path.ends_with("/events") => self.take_event(body),
            Method::PATCH if path.contains("/events/") => (200, body),
            Method::POST if path.ends_with("/eviction") => self.evict(path, &body),
            Method::POST if !self.is_open(path) => failure(403, "Forbidden"),
            Method::POST => {
                let path = format!("{path}/{}", body["metadata"]["name"].as_str().unwrap_or_default());
                if self.objects.contains_key(&path) {
                    return failure(409, "AlreadyExists");
                }
                (201, self.write(&path, body))
            }
            Method::PUT => {
                let Some(present) = self.objects.get(path) else { return failure(404, "NotFound") };
                if present["metadata"]["resourceVersion"] != body["metadata"]["resourceVersion"] {
                    return failure(409, "Conflict");
                }
                (200, self.write(path, body))
            }
            Method::PATCH => self.patch((object_path, is_status), query, body),
            Method::DELETE => self.delete_as_asked(path, &body),
            _ => failure(405, "MethodNotAllowed"),
        }
    }

    fn delete_as_asked(&mut self, path: &str, options: &Value) -> (u16, Value) {
        let Some(present) = self.objects.get(path) else { return failure(404, "NotFound") };
        let wanted = &options["preconditions"]["uid"];
        if !wanted.is_null() && present["metadata"]["uid"] != *wanted {
            return failure(409, "Conflict");
        }
        self.delete(path);
        (200, json!({"kind": "Status", "apiVersion": "v1", "status": "Success"}))
    }

    /// A PodDisruptionBudget that allows none is one that says so in its status.
    fn evict(&mut self, path: &str, eviction: &Value) -> (u16, Value) {
        let spent = |object: &Value| {
            object["kind"] == "PodDisruptionBudget" && object["status"]["disruptionsAllowed"] == 0
        };
        if self.objects.values().any(spent) {
            return failure(429, "TooManyRequests");
        }
        self.delete_as_asked(path.trim_end_matches("/eviction"), &eviction["deleteOptions"])
    }

    fn take_event(&mut self, event: Value) -> (u16, Value) {
        let same = |other: &Value| {
            ["name", "namespace"].iter().all(|key| other["metadata"][key] == event["metadata"][key])
        };
        if self.events.iter().any(same) {
            return failure(409, "AlreadyExists");
        }
        self.events.push(event.clone());
        (201, event)
    }

    fn get(&self, path: &str, query: &Query) -> (u16, Value) {
        if let Some(object) = self.objects.get(path) {
            return (200, object.clone());
        }
        let parts = path.split('/').skip(1).collect::<Vec<_>>();
        let versioned = if parts.first() == Some(&"api") { 2 } else { 3 };
        let is_collection = matches!(parts.get(versioned..), Some([_] | ["namespaces", _, _]));
        if !is_collection {
            return failure(404, "NotFound");
        }
        let selection = Selection::new(path, query);
        let chosen = self.objects.iter().filter(|(path, object)| selection.takes(path, object));
        let items: Vec<&Value> = chosen.map(|(_, object)| object).collect();
        let metadata = json!({"resourceVersion": self.version.to_string()});
        (200, json!({"kind": "List", "apiVersion": "v1", "metadata": metadata, "items": items}))
    }

    fn patch(&mut self, (path, is_status): (&str, bool), query: &Query, mut body: Value) -> (u16, Value) {
        let present = self.objects.get(path);
        let uid = &body["metadata"]["uid"];
        match present {
            None if is_status => return failure(404, "NotFound"),
            None if !uid.is_null() => return failure(409, "Conflict"),
            None if !self.is_open(path) => return failure(403, "Forbidden"),
            Some(present) if !uid.is_null() && *uid != present["metadata"]["uid"] => {
                return failure(409, "Conflict");
            }
            _ => {}
        }
        let mut object = present.cloned().unwrap_or(Value::Null);
        let content = query.get(CONTENT).map(String::as_str).unwrap_or_default();
        if [MERGE, STRATEGIC].contains(&content) {
            let version = &body["metadata"]["resourceVersion"];
            if object.is_null() {
                return failure(404, "NotFound");
            }
            if !version.is_null() && *version != object["metadata"]["resourceVersion"] {
                return failure(409, "Conflict");
            }
            if content == STRATEGIC {
                merge_by_name(&object, &mut body);
            }
            json_patch::merge(&mut object, &body);
        } else if is_status {
            if let Some(field) = self.undeclared.filter(|field| !body["status"][*field].is_null()) {
                return failure(500, &format!("a patch: .status.{field}: field not declared in schema"));
            }
            object["status"] = body["status"].clone();
        } else {
            let manager = query.get("fieldManager").cloned().unwrap_or_default();
            let before = self.managed.insert((path.to_owned(), manager), body.clone());
            take_away(&mut object, &before.unwrap_or(Value::Null), &body);
            applied(&mut object, &body);
        }
        (200, self.write(path, object))
    }

    /// As somebody else's apply of a whole object.
    pub(super) fn put(&mut self, object: Value) {
        self.write(&path_of(&object), object);
    }

    /// Writes an object, if it differs; the metadata that is the server's is kept or made.
    fn write(&mut self, path: &str, mut object: Value) -> Value {
        let present = self.objects.get(path).cloned();
        self.complete(path, &mut object, present.as_ref());
        if let Some(present) = &present {
            object["metadata"]["resourceVersion"] = present["metadata"]["resourceVersion"].clone();
            if *present == object {
                return object;
            }
        }
        let finalizers = object["metadata"]["finalizers"].as_array();
        let is_gone =
            !object["metadata"]["deletionTimestamp"].is_null() && finalizers.is_none_or(Vec::is_empty);
        if is_gone {
            self.remove(path);
            return object;
        }
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        let kind = if present.is_some() { "MODIFIED" } else { "ADDED" };
        self.history.push((self.version, path.to_owned(), json!({"type": kind, "object": object})));
        self.objects.insert(path.to_owned(), object.clone());
        object
    }

    fn complete(&self, path: &str, object: &mut Value, present: Option<&Value>) {
        // A Namespace itself has none.
        let inside = path.split_once("/namespaces/").and_then(|(_, rest)| rest.split_once('/'));
        if let Some((namespace, _)) = inside {
            object["metadata"]["namespace"] = json!(namespace);
        }
        let empty = Value::Null;
        let before = present.unwrap_or(&empty);
        let kept = |key: &str| before["metadata"][key].clone();
        if object["metadata"]["uid"].is_null() {
            let uid = kept("uid");
            object["metadata"]["uid"] =
                if uid.is_null() { json!(format!("uid-{}", self.version + 1)) } else { uid };
        }
        if present.is_none() && object["metadata"]["generation"].is_null() {
            object["metadata"]["generation"] = json!(1);
        }
        for key in ["creationTimestamp", "deletionTimestamp", "generation"] {
            let value = kept(key);
            if object["metadata"][key].is_null()
                && !value.is_null()
                && let Some(metadata) = object["metadata"].as_object_mut()
            {
                metadata.insert(key.to_owned(), value);
            }
        }
        if present.is_some() && before["spec"] != object["spec"] {
            let generation = before["metadata"]["generation"].as_u64().unwrap_or(0);
            object["metadata"]["generation"] = json!(generation + 1);
        }
        if let Some(metadata) = object["metadata"].as_object_mut() {
            metadata.retain(|_, value| !value.is_null());
        }
    }

    /// Finalizers hold it; without, it goes, and what it owns with it.
    pub(super) fn delete(&mut self, path: &str) {
        let Some(present) = self.objects.get(path) else { return };
        let held = present["metadata"]["finalizers"].as_array().is_some_and(|names| !names.is_empty());
        if !held {
            return self.remove(path);
        }
        if present["metadata"]["deletionTimestamp"].is_null() {
            let mut object = present.clone();
            let generation = object["metadata"]["generation"].as_u64().unwrap_or(0);
            object["metadata"]["generation"] = json!(generation + 1);
            object["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
            self.write(path, object);
        }
    }

    /// Whether a path is in no namespace that is going.
    fn is_open(&self, path: &str) -> bool {
        let inside = path.split_once("/namespaces/").and_then(|(_, rest)| rest.split_once('/'));
        inside.is_none_or(|(namespace, _)| !self.terminating.contains(namespace))
    }

    pub(super) fn takes_objects(&self, namespace: &str) -> bool {
        let path = format!("/api/v1/namespaces/{namespace}");
        self.objects.contains_key(&path) && !self.terminating.contains(namespace)
    }

    pub(super) fn terminate(&mut self, namespace: &str) {
        self.terminating.insert(namespace.to_owned());
        for path in self.inside(namespace) {
            self.delete(&path);
        }
        self.close_namespaces();
    }

    fn inside(&self, namespace: &str) -> Vec<String> {
        let part = format!("/namespaces/{namespace}/");
        self.objects.keys().filter(|path| path.contains(&part)).cloned().collect()
    }

    fn close_namespaces(&mut self) {
        let empty: Vec<String> =
            self.terminating.iter().filter(|namespace| self.inside(namespace).is_empty()).cloned().collect();
        for namespace in empty {
            self.terminating.remove(&namespace);
            self.remove(&format!("/api/v1/namespaces/{namespace}"));
        }
    }

    fn remove(&mut self, path: &str) {
        let Some(mut object) = self.objects.remove(path) else { return };
        self.managed.retain(|(of, _), _| of != path);
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        let uid = object["metadata"]["uid"].clone();
        self.history.push((self.version, path.to_owned(), json!({"type": "DELETED", "object": object})));
        let owned = |object: &Value| {
            let owners = object["metadata"]["ownerReferences"].as_array();
            owners.is_some_and(|owners| owners.iter().any(|owner| owner["uid"] == uid))
        };
        let children: Vec<String> =
            self.objects.iter().filter(|(_, object)| owned(object)).map(|(path, _)| path.clone()).collect();
        for child in children {
            self.delete(&child);
        }
        self.close_namespaces();
    }

    /// What happened after a version to the objects of a selection.
    pub(super) fn since(&self, version: u64, selection: &Selection) -> Vec<(u64, Value)> {
        let from = self.history.partition_point(|(at, _, _)| *at <= version);
        let news = self.history.get(from..).unwrap_or_default().iter();
        let mine = news.filter(|(_, path, event)| selection.takes(path, &event["object"]));
        mine.map(|(at, _, event)| (*at, event.clone())).collect()
    }
}
