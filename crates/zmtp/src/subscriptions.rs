//! The prefixes that one SUB peer asked for, counted as ZeroMQ counts them: two subscribes to
//! the same prefix need two cancels.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;

/// What a subscribe or cancel did to the set of prefixes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// The set has one prefix more or less.
    Set,
    /// Only a count changed, or nothing.
    None,
}

/// The peer wants more prefixes than the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("more than {0} different prefixes on one socket")]
pub struct SubscriptionsFull(pub usize);

/// The counted union of prefixes.
#[derive(Debug)]
pub struct Subscriptions {
    counts: HashMap<Bytes, u32>,
    /// How many prefixes have this length: a match looks up one slice per length.
    lengths: BTreeMap<usize, usize>,
    prefixes_max: usize,
}

impl Subscriptions {
    /// None yet, and never more than `prefixes_max` different ones.
    #[must_use]
    pub fn new(prefixes_max: usize) -> Self {
        Self { counts: HashMap::new(), lengths: BTreeMap::new(), prefixes_max }
    }

    /// Counts one subscribe.
    ///
    /// # Errors
    /// When the prefix is new and the limit is reached.
    pub fn subscribe(&mut self, prefix: &Bytes) -> Result<Change, SubscriptionsFull> {
        if let Some(count) = self.counts.get_mut(prefix) {
            *count = count.saturating_add(1);
            return Ok(Change::None);
        }
        if self.counts.len() >= self.prefixes_max {
            return Err(SubscriptionsFull(self.prefixes_max));
        }
        // A copy of its own: a slice would keep the whole read buffer alive.
        self.counts.insert(Bytes::copy_from_slice(prefix), 1);
        let length = self.lengths.entry(prefix.len()).or_default();
        *length = length.saturating_add(1);
        Ok(Change::Set)
    }

    /// Counts one cancel; a cancel of what was never asked for is ignored, as libzmq does.
    pub fn cancel(&mut self, prefix: &Bytes) -> Change {
        let Some(count) = self.counts.get_mut(prefix) else {
            return Change::None;
        };
        *count = count.saturating_sub(1);
        if *count > 0 {
            return Change::None;
        }
        self.counts.remove(prefix);
        if let Some(length) = self.lengths.get_mut(&prefix.len()) {
            *length = length.saturating_sub(1);
            if *length == 0 {
                self.lengths.remove(&prefix.len());
            }
        }
        Change::Set
    }

    /// Whether the subject starts with one of the prefixes.
    #[must_use]
    pub fn matches(&self, subject: &[u8]) -> bool {
        self.lengths
            .keys()
            .map_while(|length| subject.get(..*length))
            .any(|start| start.is_empty() || self.counts.contains_key(start))
    }

    /// Whether nothing is asked for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    /// The different prefixes, sorted.
    #[must_use]
    pub fn prefixes(&self) -> Vec<Bytes> {
        let mut prefixes: Vec<Bytes> = self.counts.keys().cloned().collect();
        prefixes.sort_unstable();
        prefixes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: prefixes are counted: two subscribes need two cancels, and a stray cancel is nothing.
    #[test]
    fn counts_prefixes() {
        let mut subscriptions = Subscriptions::new(2);
        let prefix = Bytes::from_static(b"eu.");
        assert_eq!(subscriptions.subscribe(&prefix), Ok(Change::Set));
        assert_eq!(subscriptions.subscribe(&prefix), Ok(Change::None));
        assert_eq!(subscriptions.cancel(&prefix), Change::None);
        assert!(subscriptions.matches(b"eu.de"));
        assert_eq!(subscriptions.cancel(&prefix), Change::Set);
        assert!(!subscriptions.matches(b"eu.de"));
        assert!(subscriptions.is_empty());
        assert_eq!(subscriptions.cancel(&prefix), Change::None);
    }

    /// Goal: a subject matches by prefix, the empty prefix matches all, and the limit holds.
    #[test]
    fn matches_by_prefix_and_is_bounded() {
        let mut subscriptions = Subscriptions::new(2);
        assert!(!subscriptions.matches(b""));
        subscriptions.subscribe(&Bytes::from_static(b"abc")).unwrap();
        assert!(subscriptions.matches(b"abcd") && subscriptions.matches(b"abc"));
        assert!(!subscriptions.matches(b"ab") && !subscriptions.matches(b"xabc"));
        subscriptions.subscribe(&Bytes::new()).unwrap();
        assert!(subscriptions.matches(b"") && subscriptions.matches(b"x"));
        assert_eq!(subscriptions.subscribe(&Bytes::from_static(b"y")), Err(SubscriptionsFull(2)));
        assert_eq!(subscriptions.prefixes(), [Bytes::new(), Bytes::from_static(b"abc")]);
    }
}
