//! Pure: what the engine says of its disk and its partitions → parts of Ready and the sizes of the status.

use crate::health::{Health, Said};
use api::{
    broker::{StorageStatus, conditions::*},
    condition::{Part, State, find},
    quantity::Quantity,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

/// Where the words about disks are.
const GUIDE: &str = "see docs/operations/disk.md";

/// The parts that the engine tells of.
pub(super) fn parts(before: &[Condition], is_running: bool, said: &Said, pod: &str) -> [Part; 2] {
    let unknown =
        |reason, message: &str| [DISK_HAS_ROOM, DATA_INTACT].map(|kind| Part::unknown(kind, reason, message));
    if !is_running {
        return unknown(REASON_STARTING, "no node is ready yet");
    }
    match said {
        Said::So(health) => [room(health), intact(health, pod)],
        // A leader that has just begun knows nothing, and takes nothing back.
        Said::NotYet => [DISK_HAS_ROOM, DATA_INTACT].map(|kind| {
            kept(before, kind)
                .unwrap_or_else(|| Part::unknown(kind, REASON_NOT_TOLD, "waits for the engine to tell"))
        }),
        Said::Silent { why, .. } => unknown(
            REASON_NOT_TOLD,
            &format!(
                "{why}; look at the log of pod {pod} and at network policies: the operator asks again by itself"
            ),
        ),
    }
}

fn room(health: &Health) -> Part {
    if health.disk_nearly_full {
        return Part::bad(
            DISK_HAS_ROOM,
            REASON_DISK_NEARLY_FULL,
            format!(
                "the disk is nearly full: Produce is refused with an error that clients retry, all else goes on. Make room: grow \
                 spec.storage.size, shorten spec.retention of Topics, or delete Topics that nobody needs; it heals by itself ({GUIDE})"
            ),
        );
    }
    Part::good(DISK_HAS_ROOM, REASON_HAS_ROOM, "there is room for messages")
}

fn intact(health: &Health, pod: &str) -> Part {
    match health.read_only_partitions {
        0 => Part::good(DATA_INTACT, REASON_INTACT, "all partitions take messages"),
        count => Part::bad(
            DATA_INTACT,
            REASON_PARTITIONS_READ_ONLY,
            format!(
                "read-only for damage or a failed disk: {count} partitions, which the log of pod {pod} names with file and reason; put \
                 the files back or give the records up ({GUIDE})"
            ),
        ),
    }
}

/// What was told before, as far as it was told.
fn kept(before: &[Condition], kind: &'static str) -> Option<Part> {
    let known = [REASON_HAS_ROOM, REASON_DISK_NEARLY_FULL, REASON_INTACT, REASON_PARTITIONS_READ_ONLY];
    let before = find(before, kind)?;
    let reason = known.into_iter().find(|reason| *reason == before.reason)?;
    let state = match before.status.as_str() {
        "True" => State::True,
        "False" => State::False,
        _ => return None,
    };
    Some(Part { kind, state, reason, message: before.message.clone() })
}

/// Capacity is that of the volume claim; what is used only the engine knows, and while it does not tell, it is what it was.
pub(super) fn storage(
    before: Option<&StorageStatus>,
    capacity: Option<String>,
    said: &Said,
) -> Option<StorageStatus> {
    let (used, used_percent) = match said {
        Said::So(health) => (Some(Quantity::rounded(health.used_bytes).to_string()), percent(health)),
        Said::NotYet | Said::Silent { .. } => {
            (before.and_then(|before| before.used.clone()), before.and_then(|before| before.used_percent))
        }
    };
    let is_known = capacity.is_some() || used.is_some();
    is_known.then_some(StorageStatus { capacity, used, used_percent })
}

/// As df tells it: rounded up. Of the file system, which may be another size than the claim.
fn percent(health: &Health) -> Option<i32> {
    let hundredfold = u128::from(health.used_bytes) * 100;
    i32::try_from(
        hundredfold.checked_add(u128::from(health.capacity_bytes).checked_sub(1)?)?
            / u128::from(health.capacity_bytes),
    )
    .ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::condition::{conditions, is_ready};
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    const WELL: Health = Health {
        capacity_bytes: 10 << 30,
        used_bytes: 3 << 30,
        disk_nearly_full: false,
        read_only_partitions: 0,
    };

    fn told(health: Health) -> [Part; 2] {
        parts(&[], true, &Said::So(health), "default-broker-0")
    }

    fn states(parts: &[Part; 2]) -> [(State, &'static str); 2] {
        [0, 1].map(|at| (parts[at].state, parts[at].reason))
    }

    fn time() -> Time {
        Time(jiff::Timestamp::default())
    }

    /// Goal: each thing that the engine tells is a condition of its own, which names the next step when it is not well.
    #[test]
    fn what_is_told_is_a_condition() {
        assert_eq!(states(&told(WELL)), [(State::True, "HasRoom"), (State::True, "Intact")]);
        let full = told(Health { disk_nearly_full: true, ..WELL });
        assert_eq!(states(&full), [(State::False, "DiskNearlyFull"), (State::True, "Intact")]);
        for step in ["spec.storage.size", "spec.retention", "docs/operations/disk.md"] {
            assert!(full[0].message.contains(step), "{}", full[0].message);
        }
        let hurt = told(Health { read_only_partitions: 2, ..WELL });
        assert_eq!(states(&hurt), [(State::True, "HasRoom"), (State::False, "PartitionsReadOnly")]);
        assert!(
            hurt[1].message.contains("2 partitions, which the log of pod default-broker-0"),
            "{}",
            hurt[1].message
        );
    }

    /// Goal: nothing is claimed that nobody told: not of a node that does not run, not of an engine that is silent. A new
    /// leader takes back nothing that was told to the last one.
    #[test]
    fn what_is_not_told_is_unknown() {
        let unknown = |reason| [(State::Unknown, reason); 2];
        assert_eq!(states(&parts(&[], false, &Said::So(WELL), "p")), unknown("Starting"));
        let silent = Said::Silent { kind: "x", why: "nobody is there".into() };
        let parts_silent = parts(&[], true, &silent, "p");
        assert_eq!(states(&parts_silent), unknown("NotTold"));
        assert!(
            parts_silent[0].message.starts_with("nobody is there; look at"),
            "{}",
            parts_silent[0].message
        );
        assert_eq!(states(&parts(&[], true, &Said::NotYet, "p")), unknown("NotTold"));
        let full = told(Health { disk_nearly_full: true, ..WELL });
        let before = conditions(&[], &full, Some(1), &time());
        assert!(!is_ready(&before, Some(1)));
        assert_eq!(parts(&before, true, &Said::NotYet, "p"), full);
        let before = conditions(&[], &parts_silent, Some(1), &time());
        assert_eq!(parts(&before, true, &Said::NotYet, "p")[0].message, "waits for the engine to tell");
    }

    /// Goal: capacity is the claim's, what is used the engine's, rounded; it stays while the engine does not tell.
    #[test]
    fn sizes_are_rounded() {
        let claim = || Some("10Gi".to_owned());
        let seen = storage(None, claim(), &Said::So(Health { used_bytes: 1_234_567_890, ..WELL })).unwrap();
        assert_eq!((seen.capacity.as_deref(), seen.used.as_deref()), (Some("10Gi"), Some("1.1Gi")));
        assert_eq!(seen.used_percent, Some(12));
        assert_eq!(storage(Some(&seen), claim(), &Said::NotYet), Some(seen.clone()));
        let silent = Said::Silent { kind: "x", why: String::new() };
        let grown = storage(Some(&seen), Some("20Gi".into()), &silent).unwrap();
        assert_eq!((grown.capacity.as_deref(), grown.used), (Some("20Gi"), seen.used));
        assert_eq!(storage(None, None, &Said::NotYet), None);
        let largest = i64::MAX as u64;
        let odd = |capacity_bytes, used_bytes| Said::So(Health { capacity_bytes, used_bytes, ..WELL });
        assert_eq!(storage(None, None, &odd(largest, largest)).unwrap().used_percent, Some(100));
        assert_eq!(storage(None, None, &odd(0, 0)).unwrap().used_percent, None);
    }
}
