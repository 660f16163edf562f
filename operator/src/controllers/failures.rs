//! The pause before an object that failed is tried again: it grows with each failure of this object alone.

use control::ObjectName;
use runtime::backoff::Backoff;
use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(120);

/// Objects that failed last time. Bounded by the number of objects.
#[derive(Debug, Default)]
pub(super) struct Failures {
    objects: Mutex<HashMap<ObjectName, Backoff>>,
}

impl Failures {
    /// The pause before the next try.
    pub(super) fn failed(&self, name: &ObjectName) -> Duration {
        let mut objects = self.objects.lock().unwrap_or_else(PoisonError::into_inner);
        objects.entry(name.clone()).or_insert_with(|| Backoff::new(FIRST, LONGEST)).next_pause()
    }

    /// It is well again.
    pub(super) fn succeeded(&self, name: &ObjectName) {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
    }
}
