//! What the broker tells of itself to who follows it on the admin port: how full its disk is, and how many partitions
//! take no writes. Sizes and counts, which the metrics tell as well; no names. Told when it has changed in a way that
//! somebody would act on, and no more often than somebody can.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use runtime::{
    clock::{self, Instant},
    health::Lines,
};
use serde::Serialize;
use tokio::sync::watch;

/// Where it is told.
const PATH: &str = "/v1/health";
/// The operator is one follower; the others are people and whoever replaces it.
const FOLLOWERS_MAX: usize = 8;
/// What is used must have changed by this part of the disk.
const PARTS: u64 = 100;
/// It is told no more often than this. All else is told at once.
const USED_PAUSE: Duration = Duration::from_secs(10);

/// The disk of the data folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Storage {
    pub(crate) capacity_bytes: u64,
    pub(crate) used_bytes: u64,
}

/// One line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Health {
    pub(crate) storage: Storage,
    /// Whether produce requests are refused.
    pub(crate) disk_nearly_full: bool,
    /// How many partitions take no writes because of damage or a failed disk.
    pub(crate) read_only_partitions: u64,
}

impl Health {
    /// Whether this is worth telling to who knows `told`, which was said `since`.
    fn is_news(&self, told: &Self, since: Duration) -> bool {
        let capacity = self.storage.capacity_bytes;
        let moved = self.storage.used_bytes.abs_diff(told.storage.used_bytes);
        let same_but_used =
            Self { storage: Storage { capacity_bytes: capacity, ..told.storage }, ..*self } == *told;
        !same_but_used || (moved > 0 && moved >= capacity / PARTS && since >= USED_PAUSE)
    }
}

/// Says it. Nobody may be listening.
#[derive(Debug, Default)]
pub(crate) struct Teller {
    line: watch::Sender<Bytes>,
    told: Mutex<Option<(Health, Instant)>>,
}

impl Teller {
    /// What followers get.
    pub(crate) fn lines(&self) -> Lines {
        Lines::new(PATH, FOLLOWERS_MAX, self.line.subscribe())
    }

    /// So it is now. Called often.
    pub(crate) fn tell(&self, health: Health) {
        let now = clock::now();
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.is_some_and(|(told, at)| !health.is_news(&told, now.saturating_duration_since(at))) {
            return;
        }
        let mut line = match serde_json::to_vec(&health) {
            Ok(line) => line,
            Err(error) => return tracing::error!(%error, "cannot write down how the broker is"),
        };
        line.push(b'\n');
        self.line.send_replace(line.into());
        *told = Some((health, now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn health(used_bytes: u64) -> Health {
        let storage = Storage { capacity_bytes: 10_000, used_bytes };
        Health { storage, disk_nearly_full: false, read_only_partitions: 0 }
    }

    /// Goal: what is used is told when it moved by a hundredth of the disk, and not twice in ten seconds; all else at once.
    #[test]
    fn only_news_is_told() {
        let (soon, late) = (Duration::from_secs(9), Duration::from_secs(10));
        let told = health(5_000);
        for (now, since, is_news) in [
            (told, late, false),
            (health(5_099), late, false),
            (health(4_901), late, false),
            (health(5_100), soon, false),
            (health(5_100), late, true),
            (health(4_900), late, true),
            (Health { disk_nearly_full: true, ..told }, Duration::ZERO, true),
            (Health { read_only_partitions: 1, ..told }, Duration::ZERO, true),
            (
                Health { storage: Storage { capacity_bytes: 20_000, ..told.storage }, ..told },
                Duration::ZERO,
                true,
            ),
        ] {
            assert_eq!(now.is_news(&told, since), is_news, "{now:?} after {since:?}");
        }
        // A disk of which nothing is known is not told again and again.
        let empty = Health { storage: Storage { capacity_bytes: 0, used_bytes: 0 }, ..told };
        assert!(!empty.is_news(&empty, late));
    }

    /// Goal: a line is what the operator reads, and one that brings no news is not sent.
    #[test]
    fn a_line_is_told_once() {
        let teller = Teller::default();
        let mut heard = teller.line.subscribe();
        teller.tell(health(5_000));
        assert!(heard.has_changed().unwrap());
        let line = r#"{"storage":{"capacityBytes":10000,"usedBytes":5000},"diskNearlyFull":false,"readOnlyPartitions":0}"#;
        assert_eq!(*heard.borrow_and_update(), format!("{line}\n"));
        teller.tell(health(5_050));
        assert!(!heard.has_changed().unwrap());
        teller.tell(Health { disk_nearly_full: true, ..health(5_050) });
        assert!(heard.has_changed().unwrap());
    }
}
