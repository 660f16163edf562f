//! Whose token is this? The operator asks the Kubernetes API; local mode looks into a table.

use control::Identity;
use futures::future::BoxFuture;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// Why a token was not taken.
#[derive(Debug, thiserror::Error)]
pub enum ReviewError {
    /// It is not valid here; another try will not help.
    #[error("the token was refused: {0}")]
    Refused(String),
    /// Nobody could be asked; try again.
    #[error("the token could not be checked: {0}")]
    Unavailable(String),
}

/// Tells whose token it is.
pub trait TokenReviewer: Send + Sync + 'static {
    /// The service account that `token` proves, for the audience `pinnace`.
    fn review<'a>(&'a self, token: &'a str) -> BoxFuture<'a, Result<Identity, ReviewError>>;
}

/// Tokens that were handed out by this very process.
#[derive(Debug, Default)]
pub struct TokenTable {
    tokens: Mutex<BTreeMap<String, Identity>>,
}

impl TokenTable {
    /// Nobody.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A new token for `identity`, of 128 random bits.
    pub fn hand_out(&self, identity: Identity) -> String {
        let token = runtime::random::token();
        self.lock().insert(token.clone(), identity);
        token
    }

    /// `token` is no longer good.
    pub fn withdraw(&self, token: &str) {
        self.lock().remove(token);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Identity>> {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TokenReviewer for TokenTable {
    fn review<'a>(&'a self, token: &'a str) -> BoxFuture<'a, Result<Identity, ReviewError>> {
        let found = self.lock().get(token).cloned();
        let unknown = || ReviewError::Refused("it was not handed out by this process".to_owned());
        Box::pin(std::future::ready(found.ok_or_else(unknown)))
    }
}
