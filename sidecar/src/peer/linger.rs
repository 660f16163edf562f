//! Publishers that a view does not name any more are still heard for a moment. Pure.
//!
//! A view speaks of what was reported a moment ago: an app that ends a subscription and begins another gets a view that
//! knows of neither before it gets one that knows of the second. To cut the second in between would lose messages.

use crate::view::PeerView;
use std::collections::BTreeMap;
use std::time::Duration;

/// How long a publisher is heard without being named: as long as a report and its view take on a slow day.
const LINGER_MAX: Duration = Duration::from_secs(5);

/// What is wanted from whom: subscriptions by id.
pub(super) type Desired<T> = BTreeMap<PeerView, BTreeMap<u32, T>>;

/// What was wanted last, and since when the view does not name it.
pub(super) struct Linger<T> {
    last: Desired<T>,
    absent: BTreeMap<(PeerView, u32), Duration>,
}

impl<T: Clone> Linger<T> {
    pub(super) const fn new() -> Self {
        Self { last: BTreeMap::new(), absent: BTreeMap::new() }
    }

    /// Adds to what a view wants what was wanted before and `may_stay`. Returns when to look again.
    pub(super) fn keep(
        &mut self,
        desired: &mut Desired<T>,
        may_stay: impl Fn(&PeerView, &T) -> bool,
        now: Duration,
    ) -> Option<Duration> {
        let mut absent = BTreeMap::new();
        for (peer, wanted) in &self.last {
            for (id, subscriber) in wanted {
                if is_wanted(desired, &peer.sidecar, *id) || !may_stay(peer, subscriber) {
                    continue;
                }
                let key = (peer.clone(), *id);
                let since = self.absent.get(&key).copied().unwrap_or(now);
                if now.saturating_sub(since) < LINGER_MAX {
                    absent.insert(key, since);
                }
            }
        }
        for (peer, id) in absent.keys() {
            if let Some(subscriber) = self.last.get(peer).and_then(|wanted| wanted.get(id)) {
                desired.entry(peer.clone()).or_default().insert(*id, subscriber.clone());
            }
        }
        self.last = desired.clone();
        self.absent = absent;
        self.absent.values().min().map(|since| *since + LINGER_MAX)
    }
}

/// Whether the view wants it from that sidecar, at whatever address.
fn is_wanted<T>(desired: &Desired<T>, sidecar: &str, id: u32) -> bool {
    desired.iter().any(|(peer, wanted)| *peer.sidecar == *sidecar && wanted.contains_key(&id))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(sidecar: &str, address: &str) -> PeerView {
        PeerView { sidecar: sidecar.into(), address: address.into(), identity: "shop/pricing".into() }
    }

    fn wanted(peers: &[(&PeerView, u32)]) -> Desired<()> {
        let mut desired = Desired::new();
        for (peer, id) in peers {
            desired.entry(PeerView::clone(peer)).or_default().insert(*id, ());
        }
        desired
    }

    fn second(number: u64) -> Duration {
        Duration::from_secs(number)
    }

    /// Goal: what a view leaves out is kept until it is named again, or for five seconds.
    #[test]
    fn what_is_left_out_stays_for_a_moment() {
        let left = peer("shop/left", "10.0.0.1:7401");
        let (all, none) = (wanted(&[(&left, 1)]), wanted(&[]));
        let mut linger = Linger::new();
        let mut keep = |view: &Desired<()>, now| {
            let mut desired = view.clone();
            let due = linger.keep(&mut desired, |_, ()| true, now);
            (desired, due)
        };
        assert_eq!(keep(&all, second(0)), (all.clone(), None));
        assert_eq!(keep(&none, second(10)), (all.clone(), Some(second(15))));
        assert_eq!(keep(&none, second(14)), (all.clone(), Some(second(15))));
        assert_eq!(keep(&all, second(14)), (all.clone(), None));
        assert_eq!(keep(&none, second(16)), (all.clone(), Some(second(21))), "it counts anew");
        assert_eq!(keep(&none, second(21)), (none.clone(), None));
        assert_eq!(keep(&none, second(22)), (none.clone(), None), "it does not come back");
    }

    /// Goal: what may not stay, or is wanted from the same sidecar at another address, goes at once.
    #[test]
    fn what_may_not_stay_goes_at_once() {
        let (old, new) = (peer("shop/left", "10.0.0.1:7401"), peer("shop/left", "10.0.0.2:7401"));
        let mut linger = Linger::new();
        let mut desired = wanted(&[(&old, 1), (&old, 2)]);
        linger.keep(&mut desired, |_, ()| true, second(0));
        let mut desired = wanted(&[(&new, 1)]);
        linger.keep(&mut desired, |_, ()| true, second(1));
        assert_eq!(desired, wanted(&[(&new, 1), (&old, 2)]));
        let mut desired = wanted(&[(&new, 1)]);
        assert_eq!(linger.keep(&mut desired, |_, ()| false, second(2)), None);
        assert_eq!(desired, wanted(&[(&new, 1)]));
    }
}
