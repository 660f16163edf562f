//! Which things a request names more than once. One pass: a request may name millions.

use std::{collections::HashSet, hash::Hash};

/// Those of `named` that come more than once.
pub(crate) fn repeated<T: Eq + Hash + Copy>(named: impl Iterator<Item = T>) -> HashSet<T> {
    let mut seen = HashSet::new();
    named.filter(|it| !seen.insert(*it)).collect()
}

#[cfg(test)]
mod tests {
    use super::repeated;

    /// Goal: what comes twice or three times is told once, what comes once is not told.
    #[test]
    fn only_what_comes_again_is_told() {
        let told = repeated(["a", "b", "a", "c", "c", "c"].into_iter());
        assert_eq!(told, ["a", "c"].into());
    }
}
