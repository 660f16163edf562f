//! What is to be done outside of the lock, in order: storing, and the answers that wait for it.

use std::pin::Pin;

use kafka_wire::ErrorCode;
use tokio::sync::oneshot;

use super::{JoinAnswer, SyncAnswer};
use crate::store::StoreError;

pub(super) type Stored = Pin<Box<dyn Future<Output = Result<(), StoreError>> + Send>>;

/// One thing to do.
pub(super) enum Step {
    Join(oneshot::Sender<JoinAnswer>, JoinAnswer),
    Sync(oneshot::Sender<SyncAnswer>, SyncAnswer),
    /// What follows is said only when this ended well.
    Stored(Stored),
}

impl Step {
    /// Answers; the one who waits may be gone.
    pub(super) fn say(self, stored: bool) {
        match self {
            Self::Join(sender, answer) => drop(sender.send(if stored {
                answer
            } else {
                Err((ErrorCode::CoordinatorNotAvailable, String::new()))
            })),
            Self::Sync(sender, answer) => {
                drop(sender.send(if stored { answer } else { Err(ErrorCode::CoordinatorNotAvailable) }));
            }
            Self::Stored(_) => {}
        }
    }
}

/// Does the steps; says whether all was stored.
pub(super) async fn perform(steps: Vec<Step>) -> Result<(), ErrorCode> {
    let mut stored = true;
    for step in steps {
        if let Step::Stored(writing) = step {
            let outcome = writing.await;
            stored = outcome.is_ok();
            if let Err(error) = outcome {
                tracing::error!(error = crate::error_text(&error), "cannot store a group");
            }
        } else {
            step.say(stored);
        }
    }
    if stored { Ok(()) } else { Err(ErrorCode::CoordinatorNotAvailable) }
}
