//! The rules one by one, and any interleaving of two producers, time, crashes and half-done ends against a model.

use kafka_wire::ErrorCode;

use super::{EPOCH_LAST, End, Init, Producer, Started, State, Transaction};

mod model;

const NOW_MS: i64 = 1_000;

fn init(expected: Option<Producer>, spare_id: Option<i64>) -> Init {
    Init { timeout_ms: 500, expected, spare_id }
}

/// A transactional id that somebody has started with.
fn started() -> (Transaction, Producer) {
    let mut transaction = Transaction::new(7, NOW_MS);
    let Ok(Started::Ready(producer)) = transaction.handle_init(init(None, None), NOW_MS) else {
        panic!("it was new");
    };
    (transaction, producer)
}

fn place(index: i32) -> (String, i32) {
    ("orders".to_owned(), index)
}

fn open(transaction: &mut Transaction, producer: Producer) {
    transaction.handle_add_places(producer, vec![place(0)], NOW_MS).unwrap();
}

/// Goal: starting again fences, and with an open transaction only after that is aborted.
#[test]
fn a_second_start_fences_the_first() {
    let (mut transaction, first) = started();
    assert_eq!(first, Producer { id: 7, epoch: 0 });
    open(&mut transaction, first);
    assert_eq!(transaction.handle_init(init(None, None), NOW_MS), Ok(Started::Aborting));
    assert_eq!(transaction.handle_init(init(None, None), NOW_MS), Err(ErrorCode::ConcurrentTransactions));
    assert_eq!(transaction.handle_end(first, true, None, NOW_MS), Err(ErrorCode::ProducerFenced));
    assert_eq!(transaction.handle_end(first, true, Some(None), NOW_MS), Err(ErrorCode::ProducerFenced));
    let ending = transaction.ending().unwrap();
    assert_eq!((ending.committed, ending.producer.epoch), (false, 1), "the markers fence as well");
    transaction.handle_marked(NOW_MS);
    let second = transaction.handle_init(init(None, None), NOW_MS);
    assert_eq!(second, Ok(Started::Ready(Producer { id: 7, epoch: 2 })));
    assert_eq!(transaction.check(first), Err(ErrorCode::ProducerFenced));
    assert_eq!(transaction.check(Producer { id: 8, epoch: 2 }), Err(ErrorCode::InvalidProducerIdMapping));
}

/// Goal: in the first version of the protocol an end keeps the epoch, comes again with the same answer, and the other
/// end is refused.
#[test]
fn ends_of_the_first_version() {
    let (mut transaction, producer) = started();
    let end =
        |transaction: &mut Transaction, committed| transaction.handle_end(producer, committed, None, NOW_MS);
    assert_eq!(end(&mut transaction, true), Err(ErrorCode::InvalidTxnState), "nothing has begun");
    open(&mut transaction, producer);
    assert_eq!(end(&mut transaction, true), Ok(End::Begun(producer)));
    assert_eq!(end(&mut transaction, true), Err(ErrorCode::ConcurrentTransactions));
    assert_eq!(end(&mut transaction, false), Err(ErrorCode::InvalidTxnState));
    assert_eq!(transaction.check(producer), Err(ErrorCode::ConcurrentTransactions));
    transaction.handle_marked(NOW_MS);
    assert_eq!(transaction.state(), State::CompleteCommit);
    assert_eq!(end(&mut transaction, true), Ok(End::Already(producer)));
    assert_eq!(end(&mut transaction, false), Err(ErrorCode::InvalidTxnState));
    assert!(transaction.places().is_empty());
}

/// Goal: in the second version each end comes with the next epoch, an end that comes again with the old one gets the
/// same answer, and aborting what never began renews the epoch.
#[test]
fn ends_of_the_second_version() {
    let (mut transaction, producer) = started();
    let next = Producer { epoch: 1, ..producer };
    open(&mut transaction, producer);
    assert_eq!(transaction.handle_end(producer, true, Some(None), NOW_MS), Ok(End::Begun(next)));
    let again = transaction.handle_end(producer, true, Some(None), NOW_MS);
    assert_eq!(again, Err(ErrorCode::ConcurrentTransactions));
    let other = transaction.handle_end(producer, false, Some(None), NOW_MS);
    assert_eq!(other, Err(ErrorCode::InvalidTxnState));
    assert_eq!(transaction.ending().unwrap().producer, next, "its markers carry the new epoch");
    transaction.handle_marked(NOW_MS);
    assert_eq!(transaction.handle_end(producer, true, Some(None), NOW_MS), Ok(End::Already(next)));
    assert_eq!(transaction.handle_end(producer, false, Some(None), NOW_MS), Err(ErrorCode::InvalidTxnState));
    assert_eq!(transaction.handle_end(next, true, Some(None), NOW_MS), Err(ErrorCode::InvalidTxnState));
    let renewed = Producer { epoch: 2, ..producer };
    assert_eq!(transaction.handle_end(next, false, Some(None), NOW_MS), Ok(End::Begun(renewed)));
    assert_eq!(transaction.check(producer), Err(ErrorCode::ProducerFenced));
}

/// Goal: when the epochs run out there is a new id, for who ends and for who starts, also when the answer was lost.
#[test]
fn a_new_id_follows_the_last_epoch() {
    let (mut transaction, producer) = started();
    transaction.head.producer.epoch = EPOCH_LAST;
    let last = Producer { epoch: EPOCH_LAST, ..producer };
    assert!(transaction.needs_id());
    open(&mut transaction, last);
    let renewed = Producer { id: 99, epoch: 0 };
    assert_eq!(transaction.handle_end(last, true, Some(Some(99)), NOW_MS), Ok(End::Begun(renewed)));
    assert_eq!(transaction.ending().unwrap().producer, Producer { id: 7, epoch: i16::MAX });
    transaction.handle_marked(NOW_MS);
    assert_eq!(transaction.head().producer, renewed);
    assert_eq!(transaction.handle_end(last, true, Some(None), NOW_MS), Ok(End::Already(renewed)));
    transaction.head.producer.epoch = EPOCH_LAST;
    let last = Producer { id: 99, epoch: EPOCH_LAST };
    let started = transaction.handle_init(init(Some(last), Some(100)), NOW_MS);
    assert_eq!(started, Ok(Started::Ready(Producer { id: 100, epoch: 0 })));
    let again = transaction.handle_init(init(Some(last), None), NOW_MS);
    assert_eq!(again, Ok(Started::Ready(Producer { id: 100, epoch: 0 })));
}

/// Goal: a producer that says who it is gets its next epoch, once; another one does not.
#[test]
fn only_the_producer_itself_renews_its_epoch() {
    let (mut transaction, producer) = started();
    let next = Ok(Started::Ready(Producer { epoch: 1, ..producer }));
    assert_eq!(transaction.handle_init(init(Some(producer), None), NOW_MS), next);
    assert_eq!(transaction.handle_init(init(Some(producer), None), NOW_MS), next, "the answer was lost");
    let stranger = Producer { id: 8, epoch: 1 };
    assert_eq!(transaction.handle_init(init(Some(stranger), None), NOW_MS), Err(ErrorCode::ProducerFenced));
    let old = Producer { id: 7, epoch: 5 };
    assert_eq!(transaction.handle_init(init(Some(old), None), NOW_MS), Err(ErrorCode::ProducerFenced));
}

/// Goal: a transaction that is open too long is aborted and its producer fenced; an id that is idle too long expires,
/// one with an open transaction never.
#[test]
fn time_ends_what_is_forgotten() {
    let (mut transaction, producer) = started();
    assert_eq!(transaction.poll_timeout(), None);
    open(&mut transaction, producer);
    assert_eq!(transaction.poll_timeout(), Some(NOW_MS + 500));
    assert!(!transaction.handle_timeout(NOW_MS + 499));
    assert!(!transaction.is_expired(i64::MAX));
    assert!(transaction.handle_timeout(NOW_MS + 500));
    assert_eq!(transaction.handle_end(producer, true, None, NOW_MS), Err(ErrorCode::ProducerFenced));
    transaction.handle_marked(NOW_MS + 501);
    assert!(transaction.is_expired(NOW_MS + 502) && !transaction.is_expired(NOW_MS + 501));
    transaction.handle_expired();
    assert_eq!(transaction.check(producer), Err(ErrorCode::InvalidProducerIdMapping));
}

/// Goal: a partition counts only while the transaction that it was added to is open.
#[test]
fn partitions_belong_to_open_transactions() {
    let (mut transaction, producer) = started();
    let missing = Err(ErrorCode::TransactionAbortable);
    assert_eq!(transaction.check_place(producer, &place(0)), missing);
    open(&mut transaction, producer);
    assert_eq!(transaction.check_place(producer, &place(0)), Ok(()));
    assert_eq!(transaction.check_place(producer, &place(1)), missing);
    assert_eq!(transaction.check_group(producer, "group"), missing);
    transaction.handle_add_group(producer, "group", NOW_MS).unwrap();
    assert_eq!(transaction.check_group(producer, "group"), Ok(()));
    assert_eq!(transaction.size_with(&[place(0), place(1)]), 3);
    transaction.handle_end(producer, false, None, NOW_MS).unwrap();
    transaction.handle_marked(NOW_MS);
    assert_eq!(transaction.check_place(producer, &place(0)), missing);
}
