//! What is measured: a table of cases, each with the ways that it is taken on. Measures nothing.

use super::way::Way;
use crate::bench::Part;

/// What the apps of a case do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Work {
    /// From publishers to subscribers, at so many messages a second or flat out.
    Flow { publishers: usize, subscribers: usize, pace: Option<u32> },
    /// One message at a time, there and back.
    Trip,
    /// From one publisher to so many subscribers, so many of them at one sidecar.
    FanOut { subscribers: usize, per_sidecar: usize },
    /// Nothing, for so many seconds.
    Idle { seconds: u32 },
}

/// One thing to measure on one way.
#[derive(Clone, Debug)]
pub(super) struct Case {
    pub(super) part: Part,
    /// What its figures are called, behind the name of the way.
    pub(super) name: String,
    pub(super) way: Way,
    pub(super) pattern: &'static str,
    pub(super) work: Work,
    pub(super) bytes: u32,
    /// Messages of each publisher, or round trips.
    pub(super) count: u32,
    /// Only in the first round.
    pub(super) once: bool,
}

/// Sizes, what they are called, and the messages that take about a second and a half.
const SIZES: [(&str, u32, u32); 5] = [
    ("16_bytes", 16, 5_000_000),
    ("100_bytes", 100, 5_000_000),
    ("1_kib", 1024, 1_000_000),
    ("16_kib", 16 * 1024, 60_000),
    ("1_mib", 1024 * 1024, 1_000),
];
/// The size that the other cases have.
const BYTES: u32 = 100;
const ROUND_TRIPS: u32 = 20_000;
const PACES: [u32; 3] = [1_000, 10_000, 100_000];
const PACED_SECONDS: u32 = 3;
/// What many means where one speaks to many, or many to one.
const MANY: usize = 8;
const MANY_MESSAGES: u32 = 1_000_000;
/// Subscribers of the fan-out, each with a sidecar of its own, and what is sent to all of them.
const FAN_OUT_SUBSCRIBERS: usize = 200;
const FAN_OUT_MESSAGES: u32 = 50_000;
const IDLE_SECONDS: u32 = 10;
const PUBSUB: &str = "pubsub";

/// All of them, in the order of a round.
pub(super) fn all(quick: bool) -> Vec<Case> {
    let mut cases = Vec::new();
    cases.extend(memory(quick));
    cases.extend(latency());
    cases.extend(open_loop(quick));
    cases.extend(throughput());
    cases.extend(shapes());
    cases.push(fan_out(quick));
    if quick {
        for case in cases.iter_mut().filter(|case| case.part != Part::OpenLoop) {
            case.count = (case.count / 25).max(50);
        }
    }
    cases
}

fn case(part: Part, name: impl Into<String>, way: Way, work: Work) -> Case {
    Case { part, name: name.into(), way, pattern: PUBSUB, work, bytes: BYTES, count: 0, once: false }
}

fn memory(quick: bool) -> [Case; 1] {
    let seconds = if quick { 2 } else { IDLE_SECONDS };
    [Case { once: true, ..case(Part::Memory, "idle", Way::Batching, Work::Idle { seconds }) }]
}

fn latency() -> Vec<Case> {
    let ways = [
        Way::Tcp,
        Way::Unix,
        Way::Libzmq,
        Way::Nats,
        Way::Relays,
        Way::Sidecars,
        Way::Batching,
        Way::Grpc,
        Way::Http,
    ];
    let trip = |way: Way| Case {
        count: if way == Way::Http { ROUND_TRIPS / 4 } else { ROUND_TRIPS },
        ..case(Part::Latency, "round_trip", way, Work::Trip)
    };
    let request = |way| Case { name: "request".to_owned(), pattern: "request", ..trip(way) };
    ways.map(trip).into_iter().chain([Way::Libzmq, Way::Sidecars].map(request)).collect()
}

fn open_loop(quick: bool) -> Vec<Case> {
    let mut cases = Vec::new();
    for pace in PACES {
        let work = Work::Flow { publishers: 1, subscribers: 1, pace: Some(pace) };
        let count = if quick { pace } else { pace * PACED_SECONDS };
        for way in [Way::Libzmq, Way::Nats, Way::Relays, Way::Sidecars, Way::Batching, Way::Grpc] {
            let name = format!("at_{pace}_per_second");
            cases.push(Case { count, ..case(Part::OpenLoop, name, way, work) });
        }
    }
    cases
}

fn throughput() -> Vec<Case> {
    const EVERY_SIZE: [Way; 6] =
        [Way::Libzmq, Way::Nats, Way::Relays, Way::Sidecars, Way::Batching, Way::Grpc];
    const FLOORS: [Way; 2] = [Way::Tcp, Way::Unix];
    let work = Work::Flow { publishers: 1, subscribers: 1, pace: None };
    let mut cases = Vec::new();
    for (name, bytes, count) in SIZES {
        let floors = if matches!(bytes, BYTES | 1024) { FLOORS.as_slice() } else { &[] };
        let http = if bytes == BYTES { [Way::Http].as_slice() } else { &[] };
        for way in [floors, &EVERY_SIZE, http].concat() {
            let count = count / way.slowness();
            cases.push(Case { bytes, count, ..case(Part::Throughput, name, way, work) });
        }
        if bytes == BYTES {
            for way in [Way::Libzmq, Way::Sidecars, Way::Batching] {
                let name = format!("pipeline_{name}");
                cases.push(Case { pattern: "pipeline", count, ..case(Part::Throughput, name, way, work) });
            }
        }
    }
    cases
}

fn shapes() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, publishers, subscribers) in [("1_to_8", 1, MANY), ("8_to_1", MANY, 1)] {
        let work = Work::Flow { publishers, subscribers, pace: None };
        let count = if publishers == 1 { MANY_MESSAGES } else { MANY_MESSAGES / 4 };
        for way in [Way::Libzmq, Way::Nats, Way::Relays, Way::Sidecars, Way::Batching, Way::Grpc] {
            let count = count / way.slowness();
            cases.push(Case { count, ..case(Part::Shapes, name, way, work) });
        }
    }
    cases
}

fn fan_out(quick: bool) -> Case {
    let (subscribers, per_sidecar) = if quick { (20, 2) } else { (FAN_OUT_SUBSCRIBERS, 1) };
    let work = Work::FanOut { subscribers, per_sidecar };
    Case { count: FAN_OUT_MESSAGES, once: true, ..case(Part::FanOut, "fan_out", Way::Batching, work) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// Goal: no two cases share their figures, and each part has some.
    #[test]
    fn cases_are_told_apart() {
        for quick in [false, true] {
            let cases = all(quick);
            let names: BTreeSet<String> =
                cases.iter().map(|case| format!("{} {}", case.way.name(), case.name)).collect();
            assert_eq!(names.len(), cases.len());
            for part in Part::CHANNEL {
                assert!(cases.iter().any(|case| case.part == part), "{part:?}");
            }
            assert!(cases.iter().all(|case| case.count > 0 || matches!(case.work, Work::Idle { .. })));
        }
    }
}
