//! Repeats, gaps, epochs and the wrap of sequence numbers.

use kafka_wire::ErrorCode;
use record_log::batch::{self, BatchHeader};

use super::{Producers, Verdict};

fn header(epoch: i16, sequence: i32, count: i32, base_offset: i64) -> BatchHeader {
    let mut header = batch::header(&batch::wrap(b"x", 7).unwrap()).unwrap();
    header.producer_id = 9;
    header.producer_epoch = epoch;
    header.base_sequence = sequence;
    header.last_offset_delta = count - 1;
    header.base_offset = base_offset;
    header
}

/// Goal: each of the last five batches is recognised when it comes again, an older one is a gap.
#[test]
fn the_last_five_batches_are_remembered() {
    let mut producers = Producers::default();
    for number in 0..7 {
        let header = header(0, number * 10, 10, i64::from(number) * 100);
        assert_eq!(producers.check(&header, false), Ok(Verdict::Next));
        producers.took(&header, None, 0);
    }
    for number in 2..7 {
        let again = header(0, number * 10, 10, 0);
        let at = i64::from(number) * 100;
        assert_eq!(producers.check(&again, false), Ok(Verdict::Repeat(at, at + 9)));
    }
    assert_eq!(producers.check(&header(0, 10, 10, 0), false), Err(ErrorCode::OutOfOrderSequenceNumber));
    assert_eq!(producers.check(&header(0, 60, 9, 0), false), Err(ErrorCode::OutOfOrderSequenceNumber));
    assert_eq!(producers.check(&header(0, 71, 1, 0), false), Err(ErrorCode::OutOfOrderSequenceNumber));
}

/// Goal: a new epoch starts at 0, an old one is refused, an unknown producer may start anywhere.
#[test]
fn epochs_fence() {
    let mut producers = Producers::default();
    assert_eq!(producers.check(&header(3, 50, 1, 0), false), Ok(Verdict::Next));
    producers.took(&header(3, 50, 1, 0), None, 0);
    assert_eq!(producers.check(&header(2, 51, 1, 0), false), Err(ErrorCode::InvalidProducerEpoch));
    assert_eq!(producers.check(&header(4, 51, 1, 0), false), Err(ErrorCode::OutOfOrderSequenceNumber));
    assert_eq!(producers.check(&header(4, 0, 1, 0), false), Ok(Verdict::Next));
}

/// Goal: sequence numbers go round after the largest.
#[test]
fn sequences_wrap() {
    let mut producers = Producers::default();
    producers.took(&header(0, i32::MAX - 1, 2, 0), None, 0);
    assert_eq!(producers.check(&header(0, 0, 5, 0), false), Ok(Verdict::Next));
    producers.took(&header(0, 0, 5, 2), None, 0);
    producers.took(&header(0, 5, 1, 7), None, 0);
    let across = header(0, i32::MAX - 1, 2, 0);
    assert_eq!(producers.check(&across, false), Ok(Verdict::Repeat(0, 1)));
}

/// Goal: in transactions of the second version a producer that is not known starts at 0.
#[test]
fn new_transactions_start_at_zero() {
    let producers = Producers::default();
    assert_eq!(producers.check(&header(0, 7, 1, 0), true), Err(ErrorCode::OutOfOrderSequenceNumber));
    assert_eq!(producers.check(&header(0, 0, 1, 0), true), Ok(Verdict::Next));
}

/// Goal: one producer more than there is room for costs the one that was quiet longest, and that is counted once.
#[test]
fn evictions_are_counted() {
    let mut producers = Producers::default();
    let mut took = |producer_id: i64| {
        producers.took(&BatchHeader { producer_id, ..header(0, 0, 1, producer_id) }, None, producer_id);
        producers.take_evicted()
    };
    assert_eq!((0..100_000).map(&mut took).sum::<u64>(), 0);
    assert_eq!((took(99_999), took(100_000), took(100_000)), (0, 1, 0));
    assert_eq!(producers.known().filter(|known| known.producer_id == 0).count(), 0);
}
