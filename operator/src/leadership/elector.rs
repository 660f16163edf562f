//! Takes and keeps one Lease. Never ends by itself: who lost it, or does not reach the API server, takes part again.

use super::{
    LAPSE_MAX, LEASE_DURATION, LOOK_PERIOD, Leadership, RENEW_PERIOD, REQUEST_DEADLINE, Renewal,
    sighting::{NOBODY, Sighting, Verdict, holder},
};
use crate::apply;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
};
use kube::{Api, api::ObjectMeta};
use runtime::{clock, random::jittered, shutdown::Shutdown};
use std::{convert::Infallible, time::Duration};

/// How often the API server is asked when it does not answer.
const RETRY_PERIOD: Duration = Duration::from_millis(250);

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
    /// 1 while this replica may write.
    pub gauge: prometheus::IntGauge,
}

/// What came of one request for the Lease.
enum Outcome {
    /// It is ours; this is its version, and when it was asked for.
    Held(Box<Lease>, Renewal),
    /// Somebody else has it, or nobody yet may take it; look again after so long at the latest.
    Theirs(String, Duration),
    /// Somebody was faster, or there was none; who has it is seen at the next look.
    Lost,
}

/// A request for the Lease failed, or nobody knows whether it did.
#[derive(Debug, thiserror::Error)]
enum Unanswered {
    #[error("the API server did not answer within {} ms", REQUEST_DEADLINE.as_millis())]
    Late,
    #[error(transparent)]
    Refused(kube::Error),
}

/// What is known from one request to the next.
#[derive(Default)]
struct Memory {
    sighting: Sighting,
    /// The Lease as we last wrote it, while the term lasts.
    held: Option<Lease>,
    /// When the last renewal of the term was asked for.
    renewal: Option<Renewal>,
    /// The API server did not answer the last request.
    silent: bool,
}

impl Elector {
    /// Runs until the shutdown begins; then gives the Lease back.
    ///
    /// # Errors
    /// Never.
    pub async fn run(self, shutdown: Shutdown) -> Result<(), Infallible> {
        let mut memory = Memory::default();
        loop {
            // Not dropped when the shutdown begins: what it writes must be known before it is given back.
            let pause = match self.step(&mut memory).await {
                Ok(outcome) => self.follow(&mut memory, outcome),
                Err(error) => self.unanswered(&mut memory, &error),
            };
            if shutdown.or(tokio::time::sleep(pause)).await.is_none() {
                break;
            }
        }
        self.release(memory.held.as_ref()).await;
        Ok(())
    }

    /// Tells what is known now; returns when to ask again.
    fn follow(&self, memory: &mut Memory, outcome: Outcome) -> Duration {
        memory.silent = false;
        match outcome {
            Outcome::Held(lease, asked) => {
                if memory.renewal.is_none() {
                    tracing::info!(lease = self.name, identity = self.identity, "took the lease");
                }
                (memory.held, memory.renewal) = (Some(*lease), Some(asked));
                self.leadership.renewed(asked);
                self.gauge.set(1);
                let passed = clock::now().saturating_duration_since(asked.at);
                jittered(RENEW_PERIOD).saturating_sub(passed)
            }
            Outcome::Theirs(holder, left) => {
                self.end_term(memory, &holder);
                left.min(jittered(LOOK_PERIOD))
            }
            Outcome::Lost => {
                self.end_term(memory, "another replica");
                jittered(LOOK_PERIOD)
            }
        }
    }

    /// The API server did not answer: the window closes by itself, and the term waits for a while.
    fn unanswered(&self, memory: &mut Memory, error: &Unanswered) -> Duration {
        if !std::mem::replace(&mut memory.silent, true) {
            tracing::warn!(lease = self.name, %error, "failed to look at the lease; asking again until it works");
        }
        if !self.leadership.is_leader() {
            self.gauge.set(0);
        }
        let lapse = memory.renewal.map(|last| clock::now().saturating_duration_since(last.at));
        if lapse.is_some_and(|lapse| lapse > LAPSE_MAX) {
            self.end_term(memory, "nobody known: the API server does not answer");
        }
        jittered(RETRY_PERIOD)
    }

    fn end_term(&self, memory: &mut Memory, holder: &str) {
        memory.held = None;
        if memory.renewal.take().is_some() {
            tracing::warn!(
                lease = self.name,
                holder,
                "the lease is somebody else's: this replica writes no more"
            );
        }
        self.leadership.end();
        self.gauge.set(0);
    }

    async fn step(&self, memory: &mut Memory) -> Result<Outcome, Unanswered> {
        if let Some(held) = &memory.held {
            match self.replace(held).await? {
                Outcome::Lost => {}
                kept => return Ok(kept),
            }
            // Our own renewal whose answer was lost, somebody else, or a Lease that was deleted.
        }
        let Some(lease) = in_time(self.leases.get_opt(&self.name)).await? else {
            in_time(apply::create_once(&self.leases, &self.signed(NOBODY, None))).await?;
            return Ok(Outcome::Lost);
        };
        match memory.sighting.look(&lease, &self.identity, clock::now()) {
            Verdict::Ours | Verdict::Free => self.replace(&lease).await,
            Verdict::Theirs(holder, left) => Ok(Outcome::Theirs(holder, left)),
        }
    }

    /// Writes our name and the time over the version that was read, and over no other.
    async fn replace(&self, present: &Lease) -> Result<Outcome, Unanswered> {
        let asked = Renewal::now();
        let lease = self.signed(&self.identity, Some(present));
        match in_time(apply::replace(&self.leases, &lease)).await {
            Ok(lease) => Ok(Outcome::Held(Box::new(lease), asked)),
            Err(Unanswered::Refused(kube::Error::Api(status))) if matches!(status.code, 404 | 409) => {
                Ok(Outcome::Lost)
            }
            Err(error) => Err(error),
        }
    }

    fn signed(&self, identity: &str, present: Option<&Lease>) -> Lease {
        let now = MicroTime(wall_clock());
        let before = present.and_then(|lease| lease.spec.clone()).unwrap_or_default();
        let ours = before.holder_identity.as_deref() == Some(identity);
        let transitions = before.lease_transitions.unwrap_or(0);
        let spec = LeaseSpec {
            holder_identity: Some(identity.to_owned()),
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

    /// Gives the Lease back, so that the next replica need not wait for its end. What still writes is dropped first.
    async fn release(&self, held: Option<&Lease>) {
        self.leadership.end();
        self.gauge.set(0);
        let Some(held) = held else { return };
        let given_back = async {
            if in_time(apply::replace(&self.leases, &free(held))).await.is_ok() {
                return Ok(());
            }
            // A renewal may be the newest version without our knowing it.
            let lease = in_time(self.leases.get(&self.name)).await?;
            if holder(&lease).as_deref() == Some(self.identity.as_str()) {
                in_time(apply::replace(&self.leases, &free(&lease))).await?;
            }
            Ok::<_, Unanswered>(())
        };
        match given_back.await {
            Ok(()) => tracing::info!(lease = self.name, "gave the lease back"),
            Err(error) => {
                tracing::warn!(lease = self.name, %error, "the lease was not given back; the next replica waits for its end");
            }
        }
    }
}

/// The same Lease without a holder.
fn free(lease: &Lease) -> Lease {
    let mut lease = lease.clone();
    if let Some(spec) = lease.spec.as_mut() {
        spec.holder_identity = None;
    }
    lease
}

async fn in_time<T>(request: impl Future<Output = Result<T, kube::Error>>) -> Result<T, Unanswered> {
    let answer = tokio::time::timeout(REQUEST_DEADLINE, request).await;
    answer.map_err(|_| Unanswered::Late)?.map_err(Unanswered::Refused)
}

/// Wall-clock time for fields that people read.
pub(crate) fn wall_clock() -> jiff::Timestamp {
    jiff::Timestamp::from_millisecond(clock::unix_ms()).unwrap_or_default()
}
