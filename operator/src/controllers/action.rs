//! When an object is looked at again without a change.

use kube::runtime::controller;
use std::time::Duration;

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Action(Option<Duration>);

impl Action {
    /// Not before something changes.
    #[must_use]
    pub const fn await_change() -> Self {
        Self(None)
    }

    /// After so long at the latest.
    #[must_use]
    pub const fn requeue(pause: Duration) -> Self {
        Self(Some(pause))
    }

    /// After how long, if at all.
    #[cfg(test)]
    pub(crate) const fn pause(self) -> Option<Duration> {
        self.0
    }
}

impl From<Action> for controller::Action {
    fn from(action: Action) -> Self {
        action.0.map_or_else(Self::await_change, Self::requeue)
    }
}
