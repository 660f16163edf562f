//! The last stable offset and the aborted list, against a model that looks at every record.

use proptest::prelude::*;

use super::Transactions;

/// Goal: what is open holds readers back at its first record, and what is closed does so until the marker is durable.
#[test]
fn readers_stop_at_the_first_open_transaction() {
    let mut transactions = Transactions::default();
    assert_eq!(transactions.last_stable(0, 10), 10);
    transactions.began(3, 1);
    transactions.began(5, 2);
    assert_eq!(transactions.last_stable(0, 10), 3);
    transactions.ended(3, 10, true);
    assert_eq!(transactions.last_stable(0, 10), 3, "the marker is not durable");
    assert_eq!(transactions.last_stable(0, 11), 5);
    assert_eq!(transactions.last_stable(7, 11), 7, "records before the start are nobody's");
    transactions.ended(5, 11, false);
    assert_eq!(transactions.last_stable(0, 12), 12);
    assert_eq!(transactions.aborted_between(0, 5), vec![]);
    assert_eq!(transactions.aborted_between(8, 9).len(), 1, "it began before what is read");
    assert_eq!(transactions.aborted_between(12, 20), vec![]);
    transactions.forget_before(12);
    assert_eq!(transactions.aborted_between(0, 20), vec![]);
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Write(i64),
    End(i64, bool),
    Durable,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (0..4_i64).prop_map(Step::Write),
        2 => (0..4_i64, any::<bool>()).prop_map(|(producer, committed)| Step::End(producer, committed)),
        1 => Just(Step::Durable),
    ];
    proptest::collection::vec(step, 0..80)
}

/// What became of the record at each offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Open(i64),
    Aborted(i64, i64),
    Committed(i64),
    Marker,
}

/// Each record's producer and fate, and the durable end.
fn run(steps: &[Step], transactions: &mut Transactions) -> (Vec<Fate>, i64) {
    let mut log: Vec<Fate> = Vec::new();
    let mut durable = 0;
    for step in steps {
        let end = i64::try_from(log.len()).unwrap();
        match *step {
            Step::Durable => durable = end,
            Step::Write(producer) => {
                if !log.contains(&Fate::Open(producer)) {
                    transactions.began(end, producer);
                }
                log.push(Fate::Open(producer));
            }
            Step::End(producer, committed) => {
                let first = log.iter().position(|fate| *fate == Fate::Open(producer));
                if let Some(first) = first {
                    transactions.ended(i64::try_from(first).unwrap(), end, committed);
                }
                for fate in &mut log {
                    if *fate == Fate::Open(producer) {
                        *fate = if committed { Fate::Committed(end) } else { Fate::Aborted(producer, end) };
                    }
                }
                log.push(Fate::Marker);
            }
        }
    }
    (log, durable)
}

proptest! {
    /// Goal: whatever the order of writes and ends, below the last stable offset all is decided by durable markers, at
    /// it something is not, and a range's aborted list names exactly the aborted records in it.
    #[test]
    fn the_model_agrees(steps in steps(), from in 0..80_i64, length in 1..80_i64) {
        let mut transactions = Transactions::default();
        let (log, durable) = run(&steps, &mut transactions);
        let decided = |fate: &Fate| match fate {
            Fate::Open(_) => false,
            Fate::Aborted(_, marker) | Fate::Committed(marker) => *marker < durable,
            Fate::Marker => true,
        };
        let first = log.iter().position(|fate| !decided(fate)).map_or(durable, |at| i64::try_from(at).unwrap());
        let stable = transactions.last_stable(0, durable);
        prop_assert_eq!(stable, first.min(durable));
        let to = (from + length).min(stable);
        let listed = transactions.aborted_between(from, to);
        for (offset, fate) in (0..).zip(&log).filter(|(offset, _)| (from..to).contains(offset)) {
            let named = listed.iter().filter(|aborted| (aborted.first_offset..=aborted.last_offset).contains(&offset));
            match fate {
                Fate::Aborted(producer, _) => {
                    prop_assert_eq!(named.filter(|aborted| aborted.producer_id == *producer).count(), 1);
                }
                Fate::Committed(marker) => {
                    prop_assert_eq!(named.filter(|aborted| aborted.last_offset == *marker).count(), 0);
                }
                _ => {}
            }
        }
        if from < to {
            prop_assert!(listed.iter().all(|aborted| aborted.first_offset < to && aborted.last_offset >= from));
        }
    }
}
