//! The judge finds each kind of lie.

use super::{Acknowledged, Line, Message};

fn message(writer: u32, number: u32) -> Message {
    Message { writer, number }
}

/// Two writers sent ten each.
fn line() -> Line {
    let mut line = Line::default();
    assert_eq!((line.send(1, 10), line.send(2, 10), line.send(1, 0)), (0, 0, 10));
    line
}

fn acknowledged(writer: u32, number: u32, count: u32, offset: i64) -> Acknowledged {
    Acknowledged { first: message(writer, number), count, offset, life: 1 }
}

/// Goal: a log that holds what was acknowledged, in order, passes, read once and again.
#[test]
fn an_honest_log_passes() {
    let mut line = line();
    line.acknowledge(acknowledged(1, 0, 2, 0));
    line.acknowledge(acknowledged(2, 0, 1, 2));
    for (offset, message) in [(0, message(1, 0)), (1, message(1, 1)), (2, message(2, 0)), (3, message(1, 2))]
    {
        line.read(offset, message).unwrap();
    }
    line.read(1, message(1, 1)).unwrap();
    line.settle(2).unwrap();
    assert_eq!((line.proven, line.frontier()), (3, 4));
}

/// Goal: what was never sent, came twice, came too early or left a hole is refused.
#[test]
fn a_log_that_lies_is_refused() {
    let refused = |offset, wrong| {
        let mut line = line();
        line.read(0, message(1, 0)).unwrap();
        line.read(offset, wrong).unwrap_err()
    };
    assert!(refused(1, message(1, 10)).contains("never sent"));
    assert!(refused(1, message(3, 0)).contains("never sent"));
    assert!(refused(1, message(1, 0)).contains("twice"));
    assert!(refused(1, message(1, 2)).contains("earlier"));
    assert!(refused(1, message(2, 1)).contains("earlier"));
    assert!(refused(2, message(1, 1)).contains("follows"));
    assert!(refused(0, message(2, 0)).contains("had"));
}

/// Goal: an acknowledged message that is lost or at another offset is found; one of the same life may still come.
#[test]
fn a_lost_acknowledgement_is_found() {
    let mut lost = line();
    lost.acknowledge(acknowledged(1, 0, 1, 0));
    lost.settle(1).unwrap();
    assert!(lost.settle(2).unwrap_err().contains("not there"));

    let mut moved = line();
    moved.acknowledge(acknowledged(2, 0, 1, 0));
    moved.read(0, message(1, 0)).unwrap();
    moved.read(1, message(2, 0)).unwrap();
    assert!(moved.settle(2).unwrap_err().contains("not at its offset"));
}

/// Goal: a log may let go of its beginning, forgets nobody else's order by it, and never takes it back.
#[test]
fn the_start_moves_forward_only() {
    let mut line = line();
    line.acknowledge(acknowledged(1, 0, 1, 0));
    line.acknowledge(acknowledged(1, 1, 1, 1));
    for number in 0..3 {
        line.read(i64::from(number), message(1, number)).unwrap();
    }
    line.starts_at(1).unwrap();
    line.settle(2).unwrap();
    assert_eq!((line.proven, line.expired), (1, 1));
    assert!(line.starts_at(0).unwrap_err().contains("began at 1"));
    assert!(line.read(3, message(1, 2)).unwrap_err().contains("twice"));
    line.starts_at(5).unwrap();
    line.read(5, message(1, 5)).unwrap();
    assert!(line.read(6, message(1, 7)).is_err());
}
