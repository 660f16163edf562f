//! Who may write: one Lease, taken now, renewed, given back at the end. A write asks [`Leadership::check`] first.
//!
//! Times are compared on this machine's monotonic clock alone: another replica takes the Lease only after
//! it saw it unrenewed for its whole duration, and this one stops writing a margin before that.

#[cfg(test)]
mod tests;

use crate::apply;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
};
use kube::{Api, api::ObjectMeta};
use runtime::{
    clock::{self, Instant},
    shutdown::Shutdown,
};
use std::{sync::Arc, time::Duration};
use tokio::sync::watch;

/// How long the Lease holds without renewal.
const LEASE_DURATION: Duration = Duration::from_secs(15);
/// Writing stops so long after the last renewal.
const WRITE_WINDOW: Duration = Duration::from_secs(10);
/// How often it is renewed, or looked at.
const PERIOD: Duration = Duration::from_secs(3);

/// This replica does not hold the Lease, or has not renewed it in time.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
#[error("this replica does not hold the lease: another one writes")]
pub struct NotLeader;

/// Whether this replica may write. Clones share it.
#[derive(Clone, Debug)]
pub struct Leadership {
    renewed: Arc<watch::Sender<Option<Instant>>>,
}

impl Default for Leadership {
    fn default() -> Self {
        Self::new()
    }
}

impl Leadership {
    /// A replica that may not write yet.
    #[must_use]
    pub fn new() -> Self {
        Self { renewed: Arc::new(watch::Sender::new(None)) }
    }

    /// Whether a write may begin now.
    ///
    /// # Errors
    /// When the Lease is not held, or was renewed too long ago.
    pub fn check(&self) -> Result<(), NotLeader> {
        let renewed = *self.renewed.borrow();
        renewed
            .filter(|at| clock::now().saturating_duration_since(*at) < WRITE_WINDOW)
            .map(|_| ())
            .ok_or(NotLeader)
    }

    /// The same as a question.
    #[must_use]
    pub fn is_leader(&self) -> bool {
        self.check().is_ok()
    }

    /// Waits until this replica holds the Lease.
    pub async fn acquired(&self) {
        let mut renewed = self.renewed.subscribe();
        // The sender lives in self.
        drop(renewed.wait_for(Option::is_some).await);
    }

    pub(crate) fn renewed_at(&self, at: Option<Instant>) {
        self.renewed.send_replace(at);
    }
}

/// The Lease was taken by another replica, or could not be renewed in time.
#[derive(Debug, thiserror::Error)]
pub enum Lost {
    /// Somebody else holds it.
    #[error("lost the lease to {0}: this replica ends, so that nothing is written twice")]
    Taken(String),
    /// The API server did not take the renewal in time.
    #[error("the lease could not be renewed in time: this replica ends; is the API server reachable?")]
    Expired,
}

/// Takes and keeps one Lease.
pub struct Elector {
    /// Where the Lease is.
    pub leases: Api<Lease>,
    /// Its name.
    pub name: String,
    /// The name of this replica: its Pod.
    pub identity: String,
    /// Who is told.
    pub leadership: Leadership,
    /// 1 while it is held.
    pub gauge: prometheus::IntGauge,
}

/// What another holder's Lease looked like, and when that was first seen.
struct Sighting {
    record: Option<String>,
    since: Instant,
}

impl Elector {
    /// Runs until the shutdown begins; then gives the Lease back.
    ///
    /// # Errors
    /// When a Lease that was held is lost.
    pub async fn run(self, shutdown: Shutdown) -> Result<(), Lost> {
        let mut sighting = Sighting { record: None, since: clock::now() };
        let mut held_since_renewal: Option<Instant> = None;
        loop {
            let asked = clock::now();
            match self.step(&mut sighting).await {
                Ok(None) => {
                    if held_since_renewal.is_none() {
                        tracing::info!(lease = self.name, identity = self.identity, "took the lease");
                    }
                    held_since_renewal = Some(asked);
                    self.leadership.renewed_at(Some(asked));
                    self.gauge.set(1);
                }
                Ok(Some(holder)) if held_since_renewal.is_some() => {
                    return Err(self.lost(Lost::Taken(holder)));
                }
                Ok(Some(_)) => {}
                Err(error) => tracing::warn!(lease = self.name, %error, "failed to renew the lease"),
            }
            if held_since_renewal.is_some_and(|at| clock::now().saturating_duration_since(at) > WRITE_WINDOW)
            {
                return Err(self.lost(Lost::Expired));
            }
            if shutdown.or(tokio::time::sleep(PERIOD)).await.is_none() {
                if held_since_renewal.is_some() {
                    self.release().await;
                }
                return Ok(());
            }
        }
    }

    fn lost(&self, why: Lost) -> Lost {
        self.leadership.renewed_at(None);
        self.gauge.set(0);
        why
    }

    /// `None`: the Lease is ours and renewed. Else who holds it.
    async fn step(&self, sighting: &mut Sighting) -> Result<Option<String>, kube::Error> {
        let Some(lease) = self.leases.get_opt(&self.name).await? else {
            let created = apply::create_once(&self.leases, &self.renewed(None)).await?;
            return Ok(match created {
                apply::Once::Created => None,
                apply::Once::AlreadyThere(theirs) => Some(holder(&theirs).unwrap_or_default()),
            });
        };
        let holder = holder(&lease);
        let ours = holder.as_deref() == Some(self.identity.as_str());
        let version = lease.metadata.resource_version.clone();
        if sighting.record != version {
            *sighting = Sighting { record: version, since: clock::now() };
        }
        let expired = clock::now().saturating_duration_since(sighting.since) > LEASE_DURATION;
        match holder {
            Some(holder) if !ours && !expired => Ok(Some(holder)),
            _ => {
                apply::replace(&self.leases, &self.renewed(Some(&lease))).await?;
                Ok(None)
            }
        }
    }

    fn renewed(&self, present: Option<&Lease>) -> Lease {
        let now = MicroTime(wall_clock());
        let before = present.and_then(|lease| lease.spec.clone()).unwrap_or_default();
        let ours = before.holder_identity.as_deref() == Some(self.identity.as_str());
        let transitions = before.lease_transitions.unwrap_or(0);
        let spec = LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(LEASE_DURATION.as_secs()).ok(),
            acquire_time: if ours { before.acquire_time } else { Some(now.clone()) },
            renew_time: Some(now),
            lease_transitions: Some(if ours { transitions } else { transitions.saturating_add(1) }),
            ..LeaseSpec::default()
        };
        Lease { metadata: self.metadata(present), spec: Some(spec) }
    }

    fn metadata(&self, present: Option<&Lease>) -> ObjectMeta {
        ObjectMeta {
            name: Some(self.name.clone()),
            resource_version: present.and_then(|lease| lease.metadata.resource_version.clone()),
            ..ObjectMeta::default()
        }
    }

    /// Gives the Lease back, so that the next replica need not wait for its end.
    async fn release(&self) {
        self.leadership.renewed_at(None);
        self.gauge.set(0);
        let given_back = async {
            let mut lease = self.leases.get(&self.name).await?;
            if holder(&lease).as_deref() == Some(self.identity.as_str())
                && let Some(spec) = lease.spec.as_mut()
            {
                spec.holder_identity = None;
                apply::replace(&self.leases, &lease).await?;
            }
            Ok::<_, kube::Error>(())
        };
        if let Err(error) = given_back.await {
            tracing::warn!(lease = self.name, %error, "the lease was not given back; the next replica waits for its end");
        }
    }
}

fn holder(lease: &Lease) -> Option<String> {
    lease.spec.as_ref()?.holder_identity.clone().filter(|holder| !holder.is_empty())
}

/// Wall-clock time for fields that people read.
pub(crate) fn wall_clock() -> jiff::Timestamp {
    jiff::Timestamp::from_millisecond(clock::unix_ms()).unwrap_or_default()
}
