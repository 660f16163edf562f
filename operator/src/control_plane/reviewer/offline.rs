//! Whose token is this? Answered without a question to the API server for each: by its public keys, which every service
//! account may read, and the Pods that are watched anyway. For an operator that has no right over the whole cluster, which a
//! TokenReview asks for.
//!
//! What a TokenReview would check is checked: signature, issuer, audience, times, the Pod with its uid, and
//! its service account. Not seen are a service account that was deleted under its Pod, and tokens of an earlier issuer.

mod keys;
#[cfg(test)]
mod tests;

use super::{AUDIENCE, TOKEN_BYTES_MAX};
use crate::cluster::{Kind, LabelledPod};
use control::ObjectName;
use control_plane::{Identity, ReviewError, TokenReviewer};
use futures::{FutureExt as _, future::BoxFuture};
use jsonwebtoken::{Algorithm, Validation};
use keys::{Key, Keys};
use kube::{Client, Resource as _};
use runtime::clock;
use serde::Deserialize;

/// What may sign: never a shared secret, and never nothing.
const ALGORITHMS: [Algorithm; 8] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::ES256,
    Algorithm::ES384,
];
/// A token that ended is believed for so long.
const LEEWAY_SECONDS: i64 = 30;
/// So much may the API server's clock be ahead of ours: what it has just issued is no worse for it.
const AHEAD_SECONDS: i64 = 900;
/// A Pod that is being deleted is believed for so long after its time to end is over, as a TokenReview does.
const DELETED_SECONDS: i64 = 60;

/// See the module.
pub struct OfflineReviewer {
    keys: Keys,
    pods: Kind<LabelledPod>,
}

/// What a token says of itself, where it is looked at.
#[derive(Debug, Deserialize)]
struct Claims {
    sub: String,
    exp: i64,
    nbf: Option<i64>,
    #[serde(rename = "kubernetes.io")]
    bound: Bound,
}

/// Whom the API server bound it to.
#[derive(Debug, Deserialize)]
struct Bound {
    namespace: String,
    serviceaccount: Account,
    pod: Option<BoundPod>,
}

#[derive(Debug, Deserialize)]
struct Account {
    name: String,
}

#[derive(Debug, Deserialize)]
struct BoundPod {
    name: String,
    uid: String,
}

impl OfflineReviewer {
    /// Reads the keys through `client` when the first token comes, and looks for Pods in `pods`.
    #[must_use]
    pub fn new(client: Client, pods: Kind<LabelledPod>) -> Self {
        Self { keys: Keys::new(client), pods }
    }

    async fn check(&self, token: &str) -> Result<Identity, ReviewError> {
        if token.len() > TOKEN_BYTES_MAX {
            let problem = format!("it has {} bytes; the limit is {TOKEN_BYTES_MAX}", token.len());
            return Err(ReviewError::Refused(problem));
        }
        let refused = |problem: String| {
            ReviewError::Refused(format!("{problem}; is it the token that Pinnace projects into the Pod?"))
        };
        let header = jsonwebtoken::decode_header(token)
            .map_err(|error| refused(format!("it is no signed token: {error}")))?;
        if !ALGORITHMS.contains(&header.alg) {
            return Err(refused(format!("{:?} is not how an API server signs", header.alg)));
        }
        let id = header.kid.ok_or_else(|| refused("it does not say which key signed it".to_owned()))?;
        let key = self.keys.find(&id).await?;
        let claims = verify(token, header.alg, &key).map_err(refused)?;
        in_time(&claims, clock::unix_seconds()).map_err(refused)?;
        match self.pods.ready().now_or_never() {
            Some(Ok(())) => self.judge(&claims).map_err(ReviewError::Refused),
            _ => Err(ReviewError::Unavailable("the Pods are not known yet".to_owned())),
        }
    }

    /// Whether the token's Pod runs, and as whom the token says.
    fn judge(&self, claims: &Claims) -> Result<Identity, String> {
        let Bound { namespace, serviceaccount: Account { name: account }, pod } = &claims.bound;
        if claims.sub != format!("system:serviceaccount:{namespace}:{account}") {
            return Err(format!("{:?} is not the service account {namespace}/{account}", claims.sub));
        }
        let Some(bound) = pod else {
            return Err(format!("the token of {namespace}/{account} is bound to no Pod"));
        };
        let name = ObjectName::new(namespace, &bound.name);
        let Some(pod) = self.pods.get(&name) else {
            let hint = "it is gone, in a namespace that this operator does not serve, or without the label that asks for a sidecar";
            return Err(format!("no Pod {name} is known here: {hint}"));
        };
        if pod.meta().uid.as_deref() != Some(bound.uid.as_str()) {
            return Err(format!("Pod {name} is another one by now"));
        }
        let ends = pod.meta().deletion_timestamp.as_ref().map(|time| time.0.as_second());
        if ends.is_some_and(|ends| ends.saturating_add(DELETED_SECONDS) < clock::unix_seconds()) {
            return Err(format!("Pod {name} is deleted"));
        }
        if *pod.service_account != **account {
            return Err(format!("Pod {name} runs as {}, and not as {account}", pod.service_account));
        }
        Ok(Identity::new(namespace, account))
    }
}

impl TokenReviewer for OfflineReviewer {
    fn review<'a>(&'a self, token: &'a str) -> BoxFuture<'a, Result<Identity, ReviewError>> {
        self.check(token).boxed()
    }
}

/// Signature, issuer and audience.
fn verify(token: &str, algorithm: Algorithm, key: &Key) -> Result<Claims, String> {
    if !key.signs(algorithm) {
        return Err(format!("its key does not sign with {algorithm:?}"));
    }
    let mut validation = Validation::new(algorithm);
    validation.set_audience(&[AUDIENCE]);
    validation.set_issuer(&[&key.issuer]);
    validation.set_required_spec_claims(&["iss", "aud", "sub"]);
    // By our own clock, and with types that cannot be read as "not there".
    validation.validate_exp = false;
    let verified = jsonwebtoken::decode::<Claims>(token, &key.decoding, &validation);
    verified.map(|verified| verified.claims).map_err(|error| {
        use jsonwebtoken::errors::ErrorKind;
        match error.kind() {
            ErrorKind::InvalidAudience => format!("it is not meant for audience {AUDIENCE}"),
            ErrorKind::InvalidIssuer => format!("{} did not issue it", key.issuer),
            ErrorKind::InvalidSignature => "its signature is wrong".to_owned(),
            _ => format!("it cannot be read: {error}"),
        }
    })
}

fn in_time(claims: &Claims, now: i64) -> Result<(), String> {
    if claims.exp.saturating_add(LEEWAY_SECONDS) < now {
        return Err("it has expired".to_owned());
    }
    if claims.nbf.is_some_and(|begins| begins.saturating_sub(AHEAD_SECONDS) > now) {
        return Err("it is not valid yet".to_owned());
    }
    Ok(())
}
