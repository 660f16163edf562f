//! The roots of the certificate authority, kept in one Secret of the operator's namespace.
//!
//! Every replica reads it; whoever comes first makes it, and a second maker reads what the first
//! one wrote. A step of a change of root is written over the version that was read and over no
//! other, so two replicas cannot undo each other.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use api::labels;
use control_plane::{Authority, AuthorityError, StoredRoot, authority::ROOT_LIFETIME};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::ObjectMeta;
use kube::{Api, Client};
use tokio::sync::watch;

use crate::apply;
use crate::leadership::Leadership;

/// Certificates of all roots, oldest first: what everybody may know.
const CERTIFICATES: &str = "ca.crt";
/// Their keys in the same order: what nobody else may know.
const KEYS: &str = "ca.key";
const PEM_END: &str = "-----END";
/// How often the Secret is read again, at the least.
const REFRESH_PERIOD: Duration = Duration::from_secs(600);

/// Why the roots could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum RootsError {
    /// The API server did not do it.
    #[error("failed to {action} Secret {name} with the roots: {source}")]
    Kubernetes {
        /// What was tried.
        action: &'static str,
        /// `NAMESPACE/NAME`.
        name: String,
        /// What it said.
        source: Box<kube::Error>,
    },
    /// What is stored makes no authority.
    #[error(
        "failed to use Secret {name}: {source}; restore it from a backup, or delete it and restart the operator for new roots, then every Pod with a sidecar"
    )]
    Stored {
        /// `NAMESPACE/NAME`.
        name: String,
        /// What is wrong with it.
        source: AuthorityError,
    },
    /// Another replica leads by now.
    #[error(transparent)]
    NotLeader(#[from] crate::leadership::NotLeader),
    /// A key could not be made.
    #[error("failed to make a root")]
    Make(#[source] AuthorityError),
}

/// Where the roots are kept.
#[derive(Clone)]
pub struct Store {
    secrets: Api<Secret>,
    namespace: String,
    name: String,
    trust_domain: String,
    root_lifetime: Duration,
}

/// The roots as this replica knows them. Clones share them.
#[derive(Clone)]
pub struct Roots {
    store: Store,
    current: Arc<watch::Sender<Arc<Authority>>>,
}

impl Store {
    /// The Secret `name` of `namespace`.
    #[must_use]
    pub fn new(client: Client, namespace: &str, name: &str, trust_domain: &str) -> Self {
        Self {
            secrets: Api::namespaced(client, namespace),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            trust_domain: trust_domain.to_owned(),
            root_lifetime: ROOT_LIFETIME,
        }
    }

    /// Roots to come live for so long.
    #[must_use]
    pub fn with_root_lifetime(mut self, root_lifetime: Duration) -> Self {
        self.root_lifetime = root_lifetime;
        self
    }

    fn failed(&self, action: &'static str) -> impl Fn(kube::Error) -> RootsError {
        let name = self.full_name();
        move |source| RootsError::Kubernetes { action, name: name.clone(), source: Box::new(source) }
    }

    fn full_name(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }

    fn read(&self, secret: &Secret) -> Result<Authority, RootsError> {
        Authority::load(&self.trust_domain, stored(secret))
            .map(|authority| authority.with_root_lifetime(self.root_lifetime))
            .map_err(|source| RootsError::Stored { name: self.full_name(), source })
    }

    fn secret(&self, authority: &Authority, resource_version: Option<String>) -> Secret {
        let metadata = ObjectMeta {
            name: Some(self.name.clone()),
            namespace: Some(self.namespace.clone()),
            resource_version,
            labels: Some(BTreeMap::from([(labels::MANAGED_BY.to_owned(), labels::MANAGER.to_owned())])),
            ..ObjectMeta::default()
        };
        Secret {
            metadata,
            data: Some(data(authority)),
            type_: Some("Opaque".to_owned()),
            ..Secret::default()
        }
    }

    /// Reads the roots, and makes them where nobody has.
    async fn load_or_create(&self, now: i64) -> Result<Authority, RootsError> {
        if let Some(secret) = self.secrets.get_opt(&self.name).await.map_err(self.failed("read"))? {
            return self.read(&secret);
        }
        let authority =
            Authority::create_with(&self.trust_domain, self.root_lifetime, now).map_err(RootsError::Make)?;
        let secret = self.secret(&authority, None);
        match apply::create_once(&self.secrets, &secret).await.map_err(self.failed("make"))? {
            apply::Once::Created(_) => {
                tracing::info!(secret = self.full_name(), "made the root of the certificate authority");
                Ok(authority)
            }
            apply::Once::AlreadyThere(theirs) => self.read(&theirs),
        }
    }
}

impl Roots {
    /// Reads the roots, and makes them where nobody has.
    ///
    /// # Errors
    /// When the Secret cannot be read or written, or holds no roots.
    pub async fn open(store: Store) -> Result<Self, RootsError> {
        let authority = store.load_or_create(runtime::clock::unix_seconds()).await?;
        Ok(Self { store, current: Arc::new(watch::Sender::new(Arc::new(authority))) })
    }

    /// The roots in use.
    #[must_use]
    pub fn current(&self) -> Arc<Authority> {
        self.current.borrow().clone()
    }

    /// Hears of every change.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Arc<Authority>> {
        self.current.subscribe()
    }

    /// Reads the Secret again; the leader also takes the next step of a change of root when one
    /// is due.
    ///
    /// # Errors
    /// When the Secret is gone, unreadable, or was written by somebody else meanwhile: the roots
    /// in use stay, and the next call tries again.
    pub async fn refresh(&self, leadership: &Leadership) -> Result<(), RootsError> {
        let now = runtime::clock::unix_seconds();
        let Some(secret) =
            self.store.secrets.get_opt(&self.store.name).await.map_err(self.store.failed("read"))?
        else {
            // Somebody deleted it under us. The roots in use are the only ones that anybody trusts.
            return if leadership.is_leader() { leadership.write(self.restore()).await? } else { Ok(()) };
        };
        let mut authority = self.store.read(&secret)?;
        if leadership.is_leader()
            && let Some(next) = authority.advanced(now).map_err(RootsError::Make)?
        {
            let changed = self.store.secret(&next, secret.metadata.resource_version);
            let writing = apply::replace(&self.store.secrets, &changed);
            leadership.write(writing).await?.map_err(self.store.failed("change"))?;
            tracing::info!(secret = self.store.full_name(), "took a step of the change of root");
            authority = next;
        }
        self.current.send_if_modified(|current| {
            let changed = current.stored() != authority.stored();
            if changed {
                *current = Arc::new(authority);
            }
            changed
        });
        Ok(())
    }

    /// Reads the Secret again from time to time. Runs for ever; drop it to end it.
    pub async fn keep(self, leadership: Leadership) {
        loop {
            tokio::time::sleep(self.current().check_period().min(REFRESH_PERIOD)).await;
            if let Err(error) = self.refresh(&leadership).await {
                tracing::warn!(%error, "the roots were not read again");
            }
        }
    }

    async fn restore(&self) -> Result<(), RootsError> {
        let secret = self.store.secret(&self.current(), None);
        apply::create_once(&self.store.secrets, &secret).await.map_err(self.store.failed("restore"))?;
        tracing::warn!(
            secret = self.store.full_name(),
            "the Secret with the roots was deleted; wrote it again"
        );
        Ok(())
    }
}

fn data(authority: &Authority) -> BTreeMap<String, ByteString> {
    let roots = authority.stored();
    let certificates: String = roots.iter().map(|root| root.certificate_pem.as_str()).collect();
    let keys: String = roots.iter().map(|root| root.key_pem.as_str()).collect();
    BTreeMap::from([
        (CERTIFICATES.to_owned(), ByteString(certificates.into_bytes())),
        (KEYS.to_owned(), ByteString(keys.into_bytes())),
    ])
}

/// The roots in a Secret; one without its key is left out, and a Secret without any gives none.
fn stored(secret: &Secret) -> Vec<StoredRoot> {
    let blocks = |key: &str| {
        let bytes = secret.data.as_ref().and_then(|data| data.get(key));
        bytes.map_or_else(Vec::new, |bytes| pem_blocks(&String::from_utf8_lossy(&bytes.0)))
    };
    let pairs = blocks(CERTIFICATES).into_iter().zip(blocks(KEYS));
    pairs.map(|(certificate_pem, key_pem)| StoredRoot { certificate_pem, key_pem }).collect()
}

/// Splits a text of PEM blocks; each keeps its lines.
fn pem_blocks(text: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut block = String::new();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        block.push_str(line);
        block.push('\n');
        if line.starts_with(PEM_END) {
            blocks.push(std::mem::take(&mut block));
        }
    }
    blocks
}
