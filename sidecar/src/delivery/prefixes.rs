//! Which subjects a subscription wants. Pure.

use bytes::Bytes;

/// A set of prefixes of which none begins with another, sorted: one search decides.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Prefixes(Vec<Bytes>);

impl Prefixes {
    /// None = all subjects.
    pub(crate) fn new(mut prefixes: Vec<Bytes>) -> Self {
        prefixes.sort_unstable();
        let mut kept: Vec<Bytes> = Vec::with_capacity(prefixes.len());
        for prefix in prefixes {
            if prefix.is_empty() {
                return Self::default();
            }
            if kept.last().is_none_or(|last| !prefix.starts_with(last)) {
                kept.push(prefix);
            }
        }
        Self(kept)
    }

    /// Whether every subject matches.
    pub(crate) const fn is_all(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn matches(&self, subject: &[u8]) -> bool {
        if self.is_all() {
            return true;
        }
        let after = self.0.partition_point(|prefix| **prefix <= *subject);
        // Only the greatest prefix that is not above the subject can begin it.
        after
            .checked_sub(1)
            .and_then(|index| self.0.get(index))
            .is_some_and(|prefix| subject.starts_with(prefix))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    proptest! {
        /// Goal: the search finds exactly what trying every prefix finds.
        #[test]
        fn search_equals_trying_all(
            prefixes in vec(vec(0..3_u8, 0..4), 0..8), subjects in vec(vec(0..3_u8, 0..6), 1..20),
        ) {
            let set = Prefixes::new(prefixes.iter().map(|prefix| Bytes::copy_from_slice(prefix)).collect());
            for subject in subjects {
                let wanted = prefixes.is_empty() || prefixes.iter().any(|prefix| subject.starts_with(prefix));
                prop_assert_eq!(set.matches(&subject), wanted, "{:?} {:?}", prefixes, subject);
            }
        }
    }
}
