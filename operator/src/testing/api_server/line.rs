//! The way from one client to the API server.

use std::{
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

/// A client gives up after so long.
pub(super) const TIMEOUT: Duration = Duration::from_secs(30);

/// What goes wrong with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It is refused with this code, and nothing was done.
    Refused(u16),
    /// It is done, and the answer is lost.
    AnswerLost,
}

/// Whether something goes wrong with a request, `VERB path`.
type Faults = Arc<dyn Fn(&str) -> Option<Fault> + Send + Sync>;

#[derive(Default)]
struct State {
    delay: Duration,
    is_cut: bool,
    faults: Option<Faults>,
}

/// See the module. Clones share the state.
#[derive(Clone, Default)]
pub(crate) struct Line(Arc<Mutex<State>>);

impl Line {
    /// Everything takes so long, there and back.
    pub(crate) fn delay(&self, delay: Duration) {
        self.0.lock().unwrap().delay = delay;
    }

    /// Nothing comes through, or everything again.
    pub(crate) fn cut(&self, is_cut: bool) {
        self.0.lock().unwrap().is_cut = is_cut;
    }

    /// Asks before each request whether it goes wrong.
    pub(crate) fn disturb(&self, faults: Option<Faults>) {
        self.0.lock().unwrap().faults = faults;
    }

    pub(super) fn fault(&self, request: &str) -> Option<Fault> {
        let faults = self.0.lock().unwrap().faults.clone();
        faults.and_then(|faults| faults(request))
    }

    pub(super) fn is_cut(&self) -> bool {
        self.0.lock().unwrap().is_cut
    }

    /// One way.
    pub(super) async fn travel(&self) -> Result<(), io::Error> {
        let delay = self.0.lock().unwrap().delay;
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        if self.is_cut() {
            tokio::time::sleep(TIMEOUT).await;
            return Err(io::ErrorKind::TimedOut.into());
        }
        Ok(())
    }
}
