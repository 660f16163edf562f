//! Whatever is counted when: the limit holds over time, memory is bounded, and what is forgotten did not matter.

use proptest::prelude::*;

use super::*;

const WINDOWS: Windows = Windows { count: 4, seconds: 1 };

/// Values, each some milliseconds after the one before.
fn steps() -> impl Strategy<Value = Vec<(u64, u16)>> {
    proptest::collection::vec(
        (prop_oneof![Just(0_u64), 0..50_u64, 500..3_000_u64, 3_500..9_000_u64], 0..500_u16),
        1..120,
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Goal: while nobody is told to wait, no more than the limit came in all windows together; and what is kept does
    /// not grow with what came.
    #[test]
    fn the_limit_holds(steps in steps(), limit in 1..2_000_u32) {
        let limit = f64::from(limit);
        let (mut rate, mut now_ms, mut all) = (Rate::default(), 10_000_u64, Vec::new());
        for (after_ms, value) in steps {
            now_ms += after_ms;
            rate.record(f64::from(value), now_ms, WINDOWS);
            all.push((now_ms, f64::from(value)));
            let wait_ms = rate.wait_ms(0.0, limit, now_ms, WINDOWS);
            prop_assert!(wait_ms.is_finite() && wait_ms >= 0.0);
            let recent = all.iter().filter(|(at_ms, _)| at_ms + WINDOWS.span_ms() > now_ms);
            let sum: f64 = recent.map(|(_, value)| value).sum();
            // A window that is still half in the past counts as a whole.
            if wait_ms == 0.0 {
                prop_assert!(sum <= limit * (WINDOWS.span_seconds() + 1.0) + 0.001, "{sum} came");
            }
            // Nobody waits who is within the limit for all full windows.
            let known: f64 = rate.windows.iter().map(|window| window.sum).sum();
            if known <= limit * WINDOWS.full_seconds() {
                prop_assert_eq!(wait_ms, 0.0);
            }
            prop_assert!(rate.windows.len() <= 5);
        }
    }

    /// Goal: a rate that may be forgotten says what a new one says, whatever comes next.
    #[test]
    fn what_is_as_new_may_be_forgotten(before in steps(), after in steps(), idle_ms in 0..8_000_u64) {
        let (mut rate, mut now_ms) = (Rate::default(), 10_000_u64);
        for (after_ms, value) in before {
            now_ms += after_ms;
            rate.record(f64::from(value), now_ms, WINDOWS);
        }
        now_ms += idle_ms;
        prop_assume!(rate.is_as_new(now_ms, WINDOWS));
        let mut new = Rate::default();
        for (after_ms, value) in after {
            now_ms += after_ms;
            for rate in [&mut rate, &mut new] {
                rate.record(f64::from(value), now_ms, WINDOWS);
            }
            let told = |rate: &mut Rate| rate.wait_ms(0.0, 10.0, now_ms, WINDOWS);
            prop_assert_eq!(told(&mut rate), told(&mut new));
        }
    }
}

/// Goal: the figures are Kafka's. Ten full windows of one second and one that begins: 1 000 a second lets 10 000 pass
/// at once, and what is beyond is waited for in proportion.
#[test]
fn waits_are_kafkas() {
    let windows = Windows { count: 11, seconds: 1 };
    let mut rate = Rate::default();
    rate.record(10_000.0, 0, windows);
    assert_eq!(rate.wait_ms(0.0, 1_000.0, 0, windows), 0.0);
    assert_eq!(rate.wait_ms(5_000.0, 1_000.0, 0, windows), 5_000.0);
    rate.record(5_000.0, 0, windows);
    assert_eq!(rate.wait_ms(0.0, 1_000.0, 0, windows), 5_000.0);
    assert_eq!(rate.wait_ms(0.0, 1_000.0, 10_999, windows), (15_000.0_f64 - 10_999.0).round());
    assert!(!rate.is_empty(10_999, windows));
    assert!(rate.is_empty(11_000, windows));
}
