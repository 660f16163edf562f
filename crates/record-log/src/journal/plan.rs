//! Which logs of a round go through the journal, and which are synced in their own files. Pure.

/// A log with more bytes than this is synced in its own file: writing them twice would cost more than the sync
/// that is saved. Measured: see docs/adr/0005.
pub const LARGE_BYTES: u64 = 64 * 1024;
/// The same for a log that is alone: the journal saves no sync then, only the cost of growing a file.
pub const LARGE_ALONE_BYTES: u64 = 32 * 1024;
/// Bytes that one round writes into the journal at most.
pub const ROUND_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Says for each log, by its bytes to sync, whether it goes through the journal, which has `room` for so many.
/// Small logs come first into what room there is.
#[must_use]
pub fn plan(pending: &[u64], room: u64) -> Vec<bool> {
    let large = if pending.len() == 1 { LARGE_ALONE_BYTES } else { LARGE_BYTES };
    let small = |bytes: u64| bytes <= large;
    let mut room = room.min(ROUND_BYTES_MAX);
    let wanted: u64 = pending.iter().copied().filter(|bytes| small(*bytes)).sum();
    if wanted <= room {
        return pending.iter().map(|bytes| small(*bytes)).collect();
    }
    let mut order: Vec<usize> = (0..pending.len()).collect();
    order.sort_by_key(|at| pending.get(*at).copied());
    let mut chosen = vec![false; pending.len()];
    for at in order {
        let bytes = pending.get(at).copied().unwrap_or(u64::MAX);
        if !small(bytes) || bytes > room {
            break;
        }
        room -= bytes;
        if let Some(place) = chosen.get_mut(at) {
            *place = true;
        }
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: many small logs share the journal, a hot one keeps to its own file, alone or in company.
    #[test]
    fn hot_logs_are_not_written_twice() {
        assert_eq!(plan(&[200, 900_000, 300], 1 << 24), [true, false, true]);
        assert_eq!(plan(&[1_100], 1 << 24), [true]);
        assert_eq!(plan(&[40_000], 1 << 24), [false]);
        assert_eq!(plan(&[40_000, 10], 1 << 24), [true, true]);
        assert_eq!(plan(&[900_000], 1 << 24), [false]);
        assert!(plan(&[], 0).is_empty());
    }

    /// Goal: without room nothing goes there, with little room the smallest do, and never more than fits.
    #[test]
    fn room_is_kept() {
        assert_eq!(plan(&[1, 2, 3], 0), [false; 3]);
        assert_eq!(plan(&[500, 100, 300], 450), [false, true, true]);
        let many = vec![60_000; 1_000];
        let chosen = plan(&many, 1 << 40).iter().filter(|chosen| **chosen).count();
        assert_eq!(chosen as u64, ROUND_BYTES_MAX / 60_000);
    }
}
