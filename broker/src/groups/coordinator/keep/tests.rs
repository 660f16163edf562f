//! When offsets are forgotten.

use std::collections::BTreeSet;

use super::{Age, Committed, Subscribed, is_over};

/// Goal: offsets age from the commit or from when the group emptied, never while they are in use, and by what
/// their committer said if it said so.
#[test]
fn offsets_age() {
    let place = ("topic".to_owned(), 0);
    let at = |committed_ms: i64, expire_ms: Option<i64>| Committed {
        offset: 1,
        leader_epoch: 0,
        metadata: String::new(),
        committed_ms,
        expire_ms,
    };
    let over = |age: &Age, committed: &Committed| is_over(age, &place, committed, (1_000, 100));
    let nobody = Age::Committed(Subscribed::To(BTreeSet::new()));
    assert!(over(&nobody, &at(900, None)));
    assert!(!over(&nobody, &at(901, None)));
    assert!(!over(&nobody, &at(0, Some(1_001))), "its committer wanted longer");
    assert!(over(&nobody, &at(999, Some(1_000))));
    assert!(!over(&Age::Since(901), &at(0, None)), "the group emptied not long ago");
    assert!(over(&Age::Since(900), &at(0, None)));
    let in_use = Age::Committed(Subscribed::To(BTreeSet::from(["topic".to_owned()])));
    for age in [in_use, Age::Never, Age::Committed(Subscribed::Unknown)] {
        assert!(!over(&age, &at(0, Some(1))));
    }
}
