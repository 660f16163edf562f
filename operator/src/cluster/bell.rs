//! Tells that something of a kind changed, and not what: for who looks at the whole store anyway.

use super::Notice;
use tokio::sync::broadcast::{
    self,
    error::{RecvError, TryRecvError},
};

/// See the module.
#[derive(Debug)]
pub struct Bell(broadcast::Receiver<Notice>);

impl Bell {
    pub(super) fn new(notices: broadcast::Receiver<Notice>) -> Self {
        Self(notices)
    }

    /// Waits for a change; all that happened up to now are one. False when the watch ended.
    pub async fn rung(&mut self) -> bool {
        let first = self.0.recv().await;
        while matches!(self.0.try_recv(), Ok(_) | Err(TryRecvError::Lagged(_))) {}
        !matches!(first, Err(RecvError::Closed))
    }
}
