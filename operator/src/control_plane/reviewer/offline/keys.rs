//! The API server's public keys, as it shows them to every service account (ClusterRole
//! `system:service-account-issuer-discovery`). Kept; read again for a key that is not known, and from time to time, since
//! keys are taken away too. However many tokens come, and whatever they say, the API server is asked twice within a
//! pause at most.

use control_plane::ReviewError;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use jsonwebtoken::{
    Algorithm, DecodingKey,
    jwk::{Jwk, KeyAlgorithm},
};
use kube::{Client, client::Body};
use runtime::clock::{self, Instant};
use serde::Deserialize;
use serde_json::Value;
use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};
use tokio::sync::Mutex;

const CONFIGURATION: &str = "/.well-known/openid-configuration";
const KEYS: &str = "/openid/v1/jwks";
/// An API server has a handful of keys, of 1 KiB or less.
const BODY_BYTES_MAX: usize = 256 * 1024;
const KEYS_MAX: usize = 64;
/// Both requests together; a sidecar waits meanwhile.
const DEADLINE: Duration = Duration::from_secs(10);
/// From one reading to the next, whatever tokens say.
const PAUSE: Duration = Duration::from_secs(10);
/// They are read again when they are so old, at the next token.
const FRESH: Duration = Duration::from_secs(300);
/// Nobody is believed by keys that could not be read again for so long.
const STALE: Duration = Duration::from_secs(3600);

/// One public key.
pub(super) struct Key {
    /// Who issues what it signs.
    pub(super) issuer: String,
    /// For checking signatures.
    pub(super) decoding: DecodingKey,
    /// What it signs with, where the API server says so.
    algorithm: Option<KeyAlgorithm>,
}

impl Key {
    /// Whether it signs with this algorithm, as far as is known; the signature tells the rest.
    pub(super) fn signs(&self, algorithm: Algorithm) -> bool {
        self.algorithm.is_none_or(|known| known.to_string() == format!("{algorithm:?}"))
    }
}

/// What was read, and when.
struct Known {
    keys: HashMap<String, Arc<Key>>,
    at: Instant,
}

/// See the module.
pub(super) struct Keys {
    client: Client,
    known: RwLock<Option<Arc<Known>>>,
    /// When they were last asked for, and what went wrong then. Whoever holds it asks.
    asked: Mutex<Option<(Instant, Option<String>)>>,
}

/// The part of the configuration that is looked at.
#[derive(Deserialize)]
struct Configuration {
    issuer: String,
}

#[derive(Deserialize)]
struct KeySet {
    keys: Vec<Value>,
}

impl Keys {
    pub(super) fn new(client: Client) -> Self {
        Self { client, known: RwLock::default(), asked: Mutex::default() }
    }

    /// The key of this id.
    pub(super) async fn find(&self, id: &str) -> Result<Arc<Key>, ReviewError> {
        if let Some(key) = self.known_for(FRESH).and_then(|known| known.keys.get(id).cloned()) {
            return Ok(key);
        }
        let problem = self.read_again(id).await;
        let Some(known) = self.known_for(STALE) else {
            let problem = problem.unwrap_or_else(|| "they are too old".to_owned());
            return Err(ReviewError::Unavailable(format!("the API server's keys are not known: {problem}")));
        };
        match known.keys.get(id) {
            Some(key) => Ok(Arc::clone(key)),
            // Not for ever: the key may be newer than what could be read.
            None if problem.is_some() => {
                Err(ReviewError::Unavailable("it is signed by a key that could not be looked for".to_owned()))
            }
            None => Err(ReviewError::Refused("it is signed by no key of this API server".to_owned())),
        }
    }

    /// What is known, if it is not older than that.
    fn known_for(&self, age: Duration) -> Option<Arc<Known>> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner).clone();
        known.filter(|known| clock::now().saturating_duration_since(known.at) < age)
    }

    /// Reads them again unless somebody just has; what went wrong.
    async fn read_again(&self, id: &str) -> Option<String> {
        let mut asked = self.asked.lock().await;
        // Somebody may have, while this one waited.
        if self.known_for(FRESH).is_some_and(|known| known.keys.contains_key(id)) {
            return None;
        }
        if let Some((at, problem)) = asked.as_ref()
            && clock::now().saturating_duration_since(*at) < PAUSE
        {
            return problem.clone();
        }
        let read = tokio::time::timeout(DEADLINE, read(&self.client)).await;
        let read = read.unwrap_or_else(|_| Err("it did not answer in time".to_owned()));
        let problem = match read {
            Ok(keys) => {
                tracing::debug!(count = keys.len(), "read the API server's keys");
                let known = Arc::new(Known { keys, at: clock::now() });
                *self.known.write().unwrap_or_else(PoisonError::into_inner) = Some(known);
                None
            }
            Err(problem) => {
                tracing::warn!(
                    problem,
                    "failed to read the API server's keys; trying again with the next token"
                );
                Some(problem)
            }
        };
        *asked = Some((clock::now(), problem.clone()));
        problem
    }
}

async fn read(client: &Client) -> Result<HashMap<String, Arc<Key>>, String> {
    let configuration: Configuration = get(client, CONFIGURATION).await?;
    let set: KeySet = get(client, KEYS).await?;
    if set.keys.len() > KEYS_MAX {
        return Err(format!("{KEYS} shows {} keys; the limit is {KEYS_MAX}", set.keys.len()));
    }
    // One that cannot be read, such as one of a new kind, is no reason not to know the others.
    let keys: HashMap<_, _> =
        set.keys.into_iter().filter_map(|key| read_key(key, &configuration.issuer)).collect();
    if keys.is_empty() { Err(format!("{KEYS} shows no key that can be used")) } else { Ok(keys) }
}

fn read_key(key: Value, issuer: &str) -> Option<(String, Arc<Key>)> {
    let key: Jwk = serde_json::from_value(key).ok()?;
    let decoding = DecodingKey::from_jwk(&key).ok()?;
    let read = Key { issuer: issuer.to_owned(), decoding, algorithm: key.common.key_algorithm };
    Some((key.common.key_id?, Arc::new(read)))
}

async fn get<T: serde::de::DeserializeOwned>(client: &Client, path: &str) -> Result<T, String> {
    let request = Request::get(path).body(Body::empty()).map_err(|error| error.to_string())?;
    let answer = client.send(request).await.map_err(|error| format!("GET {path}: {error}"))?;
    let status = answer.status();
    if status != StatusCode::OK {
        return Err(format!(
            "GET {path}: {status}; every service account may by ClusterRoleBinding system:service-account-issuer-discovery"
        ));
    }
    let body = Limited::new(answer.into_body(), BODY_BYTES_MAX).collect().await;
    let body = body.map_err(|error| format!("GET {path}: {error}"))?.to_bytes();
    serde_json::from_slice(&body).map_err(|error| format!("GET {path} is not what it should be: {error}"))
}
