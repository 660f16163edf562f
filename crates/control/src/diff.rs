//! Which sidecars' views an input may have changed. Marking one too many costs a computation;
//! marking one too few is a stale view, which the property test in `index/tests.rs` looks for.

use std::collections::BTreeSet;

/// Sidecars whose view must be computed again.
#[derive(Debug, Default)]
pub(crate) struct Dirty {
    sidecars: BTreeSet<String>,
}

impl Dirty {
    pub(crate) fn mark(&mut self, sidecar: &str) {
        if !self.sidecars.contains(sidecar) {
            self.sidecars.insert(sidecar.to_owned());
        }
    }

    pub(crate) fn forget(&mut self, sidecar: &str) {
        self.sidecars.remove(sidecar);
    }

    /// Takes those for which `ready` holds; the others stay marked.
    pub(crate) fn take(&mut self, ready: impl Fn(&str) -> bool) -> Vec<String> {
        let (taken, kept) = std::mem::take(&mut self.sidecars).into_iter().partition(|name| ready(name));
        self.sidecars = kept;
        Vec::from_iter::<BTreeSet<String>>(taken)
    }
}

/// What is in exactly one of two sets.
pub(crate) fn symmetric<'a, T: Ord>(old: &'a BTreeSet<T>, new: &'a BTreeSet<T>) -> Vec<&'a T> {
    old.symmetric_difference(new).collect()
}
