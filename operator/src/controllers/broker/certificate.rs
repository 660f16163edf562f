//! The server's certificate: kept while it is good, made anew before it ends or when the roots change.

use super::{
    engine,
    objects::{nodes_name, secret, service_name},
};
use api::{Broker, broker::Engine};
use control::ObjectName;
use control_plane::{Authority, AuthorityError, authority::ServerNames};
use k8s_openapi::api::core::v1::Secret;
use runtime::tls::Material;
use std::time::Duration;

/// How long a certificate lives.
pub(super) const LIFETIME: Duration = Duration::from_secs(90 * 86_400);
/// It is made anew when less than this part of it is left.
const LEFT_PART: i64 = 3;

/// A server's certificate with its key and the roots to trust, PEM.
#[derive(Clone)]
pub(super) struct Certificate {
    pub(super) chain_pem: String,
    pub(super) key_pem: String,
    pub(super) bundle_pem: String,
    /// When to make another, in seconds since the Unix epoch.
    renew_at: i64,
}

impl Certificate {
    /// When to make another, from `now`.
    pub(super) fn renew_in(&self, now: i64) -> Duration {
        Duration::from_secs(u64::try_from(self.renew_at.saturating_sub(now)).unwrap_or(0).max(1))
    }
}

/// The certificate in the Secret that is there, if it is still good, else a new one.
pub(super) fn current(
    (broker, own): (&Broker, &ObjectName),
    present: Option<&Secret>,
    authority: &Authority,
    now: i64,
) -> Result<Certificate, AuthorityError> {
    let bundle_pem = authority.bundle_pem();
    let lifetime = i64::try_from(authority.lifetime(LIFETIME, now).as_secs()).unwrap_or(i64::MAX);
    let renew_at = |not_after: i64| not_after.saturating_sub(lifetime / LEFT_PART);
    let kept = present
        .and_then(|present| read(present, renew_at))
        .filter(|found| found.bundle_pem == bundle_pem && found.renew_at > now);
    if let Some(kept) = kept {
        return Ok(kept);
    }
    let issued = authority.issue_server(&names(broker, own), LIFETIME, now)?;
    Ok(Certificate {
        chain_pem: issued.chain_pem,
        key_pem: issued.key_pem,
        bundle_pem,
        renew_at: renew_at(issued.not_after),
    })
}

fn names(broker: &Broker, own: &ObjectName) -> ServerNames {
    let service = service_name(&own.name);
    let nodes = nodes_name(&own.name);
    let namespace = &own.namespace;
    ServerNames {
        dns: vec![
            format!("{service}.{namespace}.svc"),
            service,
            format!("*.{nodes}.{namespace}.svc"),
            "localhost".to_owned(),
        ],
        // Its nodes dial one another.
        client: (broker.spec.engine == Engine::Kafka).then(|| engine::principal(own)),
        ..ServerNames::default()
    }
}

fn read(present: &Secret, renew_at: impl Fn(i64) -> i64) -> Option<Certificate> {
    let data = present.data.as_ref()?;
    let text = |key: &str| String::from_utf8(data.get(key)?.0.clone()).ok();
    let (chain_pem, key_pem, bundle_pem) = (text(secret::CHAIN)?, text(secret::KEY)?, text(secret::BUNDLE)?);
    let not_after = Material::from_pem(&chain_pem, &key_pem, &bundle_pem).ok()?.not_after()?;
    Some(Certificate { chain_pem, key_pem, bundle_pem, renew_at: renew_at(not_after) })
}
