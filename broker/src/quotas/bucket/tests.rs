//! What is taken from a bucket: no more than it may hold and what grew since, and one overdraft.

use proptest::prelude::*;

use super::*;

const WINDOWS: Windows = Windows { count: 3, seconds: 2 };

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Goal: who only takes when nothing is owed gets the burst, the limit over time, and his last change. Who waits
    /// as long as he is told owes nothing. A bucket that may be forgotten is full.
    #[test]
    fn the_limit_holds(
        steps in proptest::collection::vec((0..4_000_u64, 1..100_u16), 1..100),
        limit in 1..50_u32,
    ) {
        let limit = f64::from(limit);
        let (mut bucket, mut now_ms, mut taken) = (Bucket::default(), 5_000_u64, 0.0);
        for (after_ms, wanted) in steps {
            now_ms += after_ms;
            let wait_ms = bucket.wait_ms(limit, now_ms, WINDOWS);
            let tokens = bucket.tokens(limit, now_ms, WINDOWS);
            prop_assert_eq!(bucket.is_as_new(now_ms, WINDOWS), tokens >= limit * WINDOWS.span_seconds());
            if tokens < 0.0 {
                prop_assert!(wait_ms >= 0.0);
                let later_ms = now_ms + u64::from(crate::quotas::whole(wait_ms).unsigned_abs()) + 1;
                prop_assert!(bucket.tokens(limit, later_ms, WINDOWS) >= 0.0);
                continue;
            }
            prop_assert_eq!(wait_ms, 0.0);
            let seconds = std::time::Duration::from_millis(now_ms - 5_000).as_secs_f64();
            prop_assert!(taken <= limit * (WINDOWS.span_seconds() + seconds) + 0.001);
            bucket.take(f64::from(wanted), limit, now_ms, WINDOWS);
            taken += f64::from(wanted);
        }
    }
}
