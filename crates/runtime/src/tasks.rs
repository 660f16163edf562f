//! The only place that starts tasks: each has a name, a policy for its failure, and an end.

use crate::shutdown::Shutdown;
use std::fmt::Display;
use std::future::Future;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;

/// What the failure or panic of a task means for the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnError {
    /// It is logged; the others go on. For work that belongs to one connection or one object.
    Log,
    /// It is logged and the process shuts down in order. For parts that nothing works without.
    Shutdown,
}

/// The tasks of one owner. Clones share them.
#[derive(Debug, Clone)]
pub struct Tasks {
    tracker: TaskTracker,
    shutdown: Shutdown,
}

/// Aborts its task when dropped. For tasks that live as long as a value.
#[derive(Debug)]
pub struct TaskGuard(JoinHandle<()>);

impl Drop for TaskGuard {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl TaskGuard {
    /// Waits for the task's own end.
    pub async fn ended(&mut self) {
        // A join error is an abort or a panic; both were logged where they happened.
        drop((&mut self.0).await);
    }
}

impl Tasks {
    /// Tasks that end with `shutdown`.
    #[must_use]
    pub fn new(shutdown: Shutdown) -> Self {
        Self { tracker: TaskTracker::new(), shutdown }
    }

    /// What ends them.
    #[must_use]
    pub const fn shutdown(&self) -> &Shutdown {
        &self.shutdown
    }

    /// Starts a task that watches the shutdown itself and ends by returning.
    #[expect(clippy::disallowed_methods, reason = "this is the door that the ban points to")]
    pub fn spawn<E: Display + Send + 'static>(
        &self,
        name: &'static str,
        on_error: OnError,
        work: impl Future<Output = Result<(), E>> + Send + 'static,
    ) -> JoinHandle<()> {
        let watch = Watch { name, on_error, shutdown: self.shutdown.clone(), ended: false };
        let span = tracing::info_span!("task", name);
        let task = async move {
            let mut watch = watch;
            if let Err(error) = work.await {
                tracing::error!(task = name, %error, "task failed");
                watch.apply_policy();
            }
            watch.ended = true;
        };
        tokio::spawn(self.tracker.track_future(task.instrument(span)))
    }

    /// Starts a task that is dropped where it stands when the shutdown begins. For work that may
    /// end between any two awaits.
    pub fn spawn_until_shutdown(
        &self,
        name: &'static str,
        work: impl Future<Output = ()> + Send + 'static,
    ) -> JoinHandle<()> {
        let shutdown = self.shutdown.clone();
        self.spawn(name, OnError::Log, async move {
            shutdown.or(work).await;
            Ok::<_, std::convert::Infallible>(())
        })
    }

    /// Like [`Self::spawn_until_shutdown`], and also aborted when the guard is dropped.
    pub fn spawn_guarded(
        &self,
        name: &'static str,
        work: impl Future<Output = ()> + Send + 'static,
    ) -> TaskGuard {
        TaskGuard(self.spawn_until_shutdown(name, work))
    }

    /// How many have not ended.
    #[must_use]
    pub fn count(&self) -> usize {
        self.tracker.len()
    }

    /// Waits until all have ended, at most `deadline`; returns how many had not.
    pub async fn drain(&self, deadline: Duration) -> usize {
        self.tracker.close();
        if tokio::time::timeout(deadline, self.tracker.wait()).await.is_err() {
            tracing::warn!(left = self.tracker.len(), "tasks did not end within the deadline");
        }
        self.tracker.len()
    }
}

/// Notices a panic: then the future is dropped without having set `ended`.
struct Watch {
    name: &'static str,
    on_error: OnError,
    shutdown: Shutdown,
    ended: bool,
}

impl Watch {
    fn apply_policy(&self) {
        if self.on_error == OnError::Shutdown {
            self.shutdown.begin();
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if !self.ended && std::thread::panicking() {
            tracing::error!(task = self.name, "task panicked");
            self.apply_policy();
        }
    }
}

/// Starts a named operating-system thread, for work that blocks or needs a runtime of its own.
///
/// # Errors
/// When the system refuses another thread.
pub fn spawn_thread<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> std::io::Result<std::thread::JoinHandle<T>> {
    std::thread::Builder::new().name(name.to_owned()).spawn(work)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: the failure of a part that nothing works without ends the process in order; the
    /// failure of a lesser one does not.
    #[tokio::test]
    async fn policy_decides_what_a_failure_means() {
        let tasks = Tasks::new(Shutdown::new());
        let lesser = tasks.spawn("lesser", OnError::Log, async { Err("no") });
        lesser.await.unwrap();
        assert!(!tasks.shutdown().has_begun());
        let vital = tasks.spawn("vital", OnError::Shutdown, async { Err("no") });
        vital.await.unwrap();
        assert!(tasks.shutdown().has_begun());
    }

    /// Goal: a panic is a failure too, and draining counts what did not end.
    #[tokio::test]
    async fn panics_count_and_drain_reports_what_is_left() {
        let tasks = Tasks::new(Shutdown::new());
        let vital = tasks.spawn("vital", OnError::Shutdown, async {
            assert!(std::hint::black_box(false), "on purpose");
            Ok::<_, std::convert::Infallible>(())
        });
        assert!(vital.await.is_err());
        assert!(tasks.shutdown().has_begun());

        let tasks = Tasks::new(Shutdown::new());
        drop(tasks.spawn("stuck", OnError::Log, std::future::pending::<Result<(), String>>()));
        drop(tasks.spawn_until_shutdown("polite", std::future::pending()));
        tasks.shutdown().begin();
        assert_eq!(tasks.drain(Duration::from_millis(50)).await, 1);
    }
}
