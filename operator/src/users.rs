//! Which users a namespace lets its Pods run as, where it says so. Pure.
//!
//! OpenShift gives each namespace a range of user ids of its own and refuses Pods that run as anybody else
//! (`SecurityContextConstraints`, strategy `MustRunAsRange`).

/// Annotation of a namespace: `FIRST/COUNT` or `FIRST-LAST`.
pub(crate) const UID_RANGE: &str = "openshift.io/sa.scc.uid-range";

/// The last user of a range: apps are given the first, and a sidecar that is another user than its app cannot be looked
/// into by it.
///
/// # Errors
/// When it is no range, with what to write.
pub(crate) fn last_of(range: &str) -> Result<u32, String> {
    let parse = |text: &str| text.trim().parse::<u32>().ok();
    let counted = range.split_once('/').and_then(|(first, count)| {
        let last = parse(count)?.checked_sub(1)?;
        parse(first)?.checked_add(last)
    });
    let bounded = || {
        let (first, last) = range.split_once('-')?;
        let (first, last) = (parse(first)?, parse(last)?);
        (first <= last).then_some(last)
    };
    let last = counted.or_else(bounded).filter(|last| *last > 0);
    last.ok_or_else(|| {
        format!("{range:?} is no range of user ids; write FIRST/COUNT, for example 1000650000/10000")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: both ways to write a range are read; what is none, or holds root alone, is told and never taken for a user.
    #[test]
    fn ranges_end_where_they_say() {
        assert_eq!(last_of("1000650000/10000"), Ok(1_000_659_999));
        assert_eq!(last_of("1000/1"), Ok(1000));
        assert_eq!(last_of("1000-1999"), Ok(1999));
        for wrong in
            ["", "1000", "1000/0", "0/1", "2000-1000", "-5", "a/b", "4294967295/2", "1/2/3", "1000/-1"]
        {
            assert!(last_of(wrong).is_err_and(|said| said.contains("FIRST/COUNT")), "{wrong}");
        }
    }
}
