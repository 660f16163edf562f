//! Who may write. One Lease, kept by [`Elector`]; whether its window is open, as everybody sees it, is [`Leadership`]. What
//! writes, to Kubernetes or to a broker, goes through [`Leadership::write`].
//!
//! The arithmetic, on each machine's own monotonic clock:
//! - a renewal counts from when it was **asked** for, and opens the window for `WRITE_WINDOW` (3 s);
//! - a write begins inside the window, and is dropped where it stands when the window closes;
//! - another replica takes the Lease when it has **seen** it unchanged for `LEASE_DURATION` (4 s), and nobody sees a
//!   renewal before it was asked for.
//!
//! So 1 s lies between the last byte that one leader sends and the first that the next one sends: for what is on its way,
//! and for clocks that go up to a quarter too fast or too slow. Nobody waits longer than a look (0.4 s) to see the last
//! renewal and 4 s from there, so a killed leader is followed within 4.4 s and a few requests; one that ends in order
//! gives the Lease back and is followed at the next look. A Lease that is new, or was deleted under its holder, is nobody's
//! for `LEASE_DURATION`, since somebody may still hold the one that was. A holder's own word on how long its Lease lasts is kept if it is
//! longer than ours, as that of an earlier version is.

mod elector;
mod sighting;

#[cfg(test)]
mod tests;

pub use elector::Elector;

use runtime::clock::{self, Instant};
use std::{future::Future, sync::Arc, time::Duration};
use tokio::sync::watch;

/// How long the Lease holds after it was last seen to change.
const LEASE_DURATION: Duration = Duration::from_secs(4);
/// Writing stops so long after the last renewal was asked for.
const WRITE_WINDOW: Duration = Duration::from_secs(3);
/// How often it is renewed.
const RENEW_PERIOD: Duration = Duration::from_secs(1);
/// How often others look at it.
const LOOK_PERIOD: Duration = Duration::from_millis(400);
/// A request for the Lease that takes longer failed: the window leaves time for another.
const REQUEST_DEADLINE: Duration = Duration::from_millis(1200);
/// A term that could not be renewed for so long ends: who cannot see the API server does not know who leads.
const LAPSE_MAX: Duration = Duration::from_secs(30);

/// This replica does not hold the Lease, or has not renewed it in time.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
#[error("this replica does not hold the lease: another one writes")]
pub struct NotLeader;

/// When a renewal that the API server took was asked for.
#[derive(Clone, Copy, Debug)]
struct Renewal {
    at: Instant,
    wall_ms: i64,
}

impl Renewal {
    fn now() -> Self {
        Self { at: clock::now(), wall_ms: clock::unix_ms() }
    }

    /// What is left of the window. The monotonic clock decides; the other one can only close it, for a machine that slept
    /// and did not count the time. `None` when it is closed.
    fn left(&self) -> Option<Duration> {
        let slept_ms = clock::unix_ms().saturating_sub(self.wall_ms);
        let slept = Duration::from_millis(u64::try_from(slept_ms).unwrap_or(0));
        let passed = clock::now().saturating_duration_since(self.at).max(slept);
        WRITE_WINDOW.checked_sub(passed).filter(|left| !left.is_zero())
    }
}

/// Whether this replica may write. Clones share it.
///
/// A term begins when the Lease is taken and ends when somebody else has it; in between, the window closes
/// while the API server does not answer and opens again afterwards.
#[derive(Clone, Debug)]
pub struct Leadership {
    state: Arc<watch::Sender<State>>,
}

#[derive(Clone, Copy, Debug, Default)]
struct State {
    /// The last renewal of the term; `None` when there is no term.
    renewal: Option<Renewal>,
    /// Terms that are over.
    over: u64,
}

/// One term of this replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Term(u64);

impl Default for Leadership {
    fn default() -> Self {
        Self::new()
    }
}

impl Leadership {
    /// A replica that may not write yet.
    #[must_use]
    pub fn new() -> Self {
        Self { state: Arc::default() }
    }

    /// A replica that may always write.
    #[cfg(test)]
    pub(crate) fn always() -> Self {
        let leadership = Self::new();
        let century = Duration::from_secs(100 * 365 * 86_400);
        let renewal = Renewal { at: clock::now() + century, wall_ms: i64::MAX };
        leadership.renewed(renewal);
        leadership
    }

    fn left(&self) -> Option<Duration> {
        self.state.borrow().renewal.as_ref().and_then(Renewal::left)
    }

    /// Whether a write may begin now.
    ///
    /// # Errors
    /// When the Lease is not held, or was renewed too long ago.
    pub fn check(&self) -> Result<(), NotLeader> {
        self.left().map(|_| ()).ok_or(NotLeader)
    }

    /// The same as a question.
    #[must_use]
    pub fn is_leader(&self) -> bool {
        self.check().is_ok()
    }

    /// Writes: does not begin unless this replica may, and drops what has not ended when it no longer may. The only way to
    /// change anything outside this process.
    ///
    /// # Errors
    /// When this replica may not, or may no longer, write. What was dropped may still have been done.
    pub async fn write<T>(&self, work: impl Future<Output = T>) -> Result<T, NotLeader> {
        self.check()?;
        tokio::select! {
            biased;
            outcome = work => Ok(outcome),
            () = self.closed() => Err(NotLeader),
        }
    }

    /// Waits until the window closes.
    async fn closed(&self) {
        let mut state = self.state.subscribe();
        while let Some(left) = self.left() {
            tokio::select! {
                () = tokio::time::sleep(left) => {}
                // The sender lives in self.
                _ = state.changed() => {}
            }
        }
    }

    /// Waits until the window is open: at the start of a term, and again after a lapse.
    pub async fn writable(&self) -> Term {
        let mut state = self.state.subscribe();
        loop {
            let over = state.borrow_and_update().over;
            if self.is_leader() {
                return Term(over);
            }
            // The sender lives in self.
            drop(state.changed().await);
        }
    }

    /// Waits until the term is over, whether or not another one has begun.
    pub async fn ended(&self, term: Term) {
        let mut state = self.state.subscribe();
        // The sender lives in self.
        drop(state.wait_for(|state| state.over != term.0).await);
    }

    fn renewed(&self, renewal: Renewal) {
        self.state.send_modify(|state| state.renewal = Some(renewal));
    }

    /// Ends the term, if there is one.
    fn end(&self) {
        self.state.send_if_modified(|state| {
            let lasted = state.renewal.take().is_some();
            state.over = state.over.saturating_add(u64::from(lasted));
            lasted
        });
    }
}
