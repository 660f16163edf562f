//! Equal values are kept once, as long as somebody holds them.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Weak};

/// Prints that are known before the first look for values that nobody holds any more.
const SWEEP_FIRST: usize = 64;

/// See the module.
#[derive(Debug)]
pub(super) struct Pool<T> {
    held: HashMap<u64, Vec<Weak<T>>>,
    sweep_at: usize,
}

impl<T> Default for Pool<T> {
    fn default() -> Self {
        Self { held: HashMap::new(), sweep_at: SWEEP_FIRST }
    }
}

impl<T: Eq + Hash> Pool<T> {
    /// The one that is held already, or this one.
    pub(super) fn share(&mut self, value: Arc<T>) -> Arc<T> {
        let mut hasher = DefaultHasher::new();
        value.hash(&mut hasher);
        let alike = self.held.entry(hasher.finish()).or_default();
        if let Some(found) = alike.iter().filter_map(Weak::upgrade).find(|held| *held == value) {
            return found;
        }
        alike.retain(|held| held.strong_count() > 0);
        alike.push(Arc::downgrade(&value));
        if self.held.len() >= self.sweep_at {
            self.held.retain(|_, alike| alike.iter().any(|held| held.strong_count() > 0));
            self.sweep_at = (self.held.len() * 2).max(SWEEP_FIRST);
        }
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: equal values are one, others are not, and what nobody holds is not kept.
    #[test]
    fn equal_values_are_kept_once() {
        let mut pool = Pool::default();
        let first = pool.share(Arc::new("view".to_owned()));
        let second = pool.share(Arc::new("view".to_owned()));
        assert!(Arc::ptr_eq(&first, &second));
        assert!(!Arc::ptr_eq(&first, &pool.share(Arc::new("other".to_owned()))));
        for number in 0..10 * SWEEP_FIRST {
            drop(pool.share(Arc::new(number.to_string())));
        }
        assert!(pool.held.len() <= SWEEP_FIRST, "{} are kept", pool.held.len());
        assert!(Arc::ptr_eq(&first, &pool.share(Arc::new("view".to_owned()))), "what is held stays known");
    }
}
