//! Pure: what a replica has seen of the Lease, and for how long → whether it may take it.

use super::LEASE_DURATION;
use k8s_openapi::api::coordination::v1::Lease;
use runtime::clock::Instant;
use std::time::Duration;

/// Nobody is made to wait longer, whatever stands in a Lease.
const DURATION_MAX: Duration = Duration::from_secs(60);

/// Who holds a Lease that was just made. Whoever held one that was deleted may not know it yet, so a new one is nobody's
/// until it has been seen for its whole duration.
pub(super) const NOBODY: &str = "nobody-yet";

/// What follows from a look at the Lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It says that we hold it.
    Ours,
    /// Its holder gave it back, or has not renewed it for its whole duration.
    Free,
    /// Somebody else has it, and for so long at least.
    Theirs(String, Duration),
}

/// Since when the Lease has looked as it does.
#[derive(Clone, Debug, Default)]
pub(super) struct Sighting {
    last: Option<(Option<String>, Instant)>,
}

impl Sighting {
    /// Looks at what was read at `now`.
    pub(super) fn look(&mut self, lease: &Lease, identity: &str, now: Instant) -> Verdict {
        let seen = lease.metadata.resource_version.clone();
        let since = match &self.last {
            Some((last, since)) if *last == seen => *since,
            _ => now,
        };
        self.last = Some((seen, since));
        let holder = match holder(lease) {
            None => return Verdict::Free,
            Some(holder) if holder == identity => return Verdict::Ours,
            Some(holder) => holder,
        };
        let passed = now.saturating_duration_since(since);
        match duration_of(lease).checked_sub(passed).filter(|left| !left.is_zero()) {
            Some(left) => Verdict::Theirs(holder, left),
            None => Verdict::Free,
        }
    }
}

/// How long a Lease holds: as long as its holder says, who may be of another version, and never shorter than ours.
fn duration_of(lease: &Lease) -> Duration {
    let said = lease.spec.as_ref().and_then(|spec| spec.lease_duration_seconds);
    let said = Duration::from_secs(said.and_then(|seconds| u64::try_from(seconds).ok()).unwrap_or(0));
    said.clamp(LEASE_DURATION, DURATION_MAX)
}

pub(super) fn holder(lease: &Lease) -> Option<String> {
    lease.spec.as_ref()?.holder_identity.clone().filter(|holder| !holder.is_empty())
}
