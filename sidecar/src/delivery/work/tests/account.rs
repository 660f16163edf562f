//! Histories of a desk, random ones and all short ones, followed by an account of every message that knows nothing of how
//! the desk works.

mod explore;

use super::*;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug, Clone)]
enum Step {
    Offer {
        count: u64,
        keyed: bool,
        block: bool,
    },
    Join,
    Take {
        who: usize,
        room: usize,
    },
    Credit {
        who: usize,
        more: u64,
    },
    Confirm {
        who: usize,
    },
    Ack {
        who: usize,
        every: usize,
    },
    Nack {
        who: usize,
        delay: u64,
    },
    Away {
        who: usize,
    },
    Back {
        who: usize,
        lost: usize,
    },
    Leave {
        who: usize,
    },
    /// The publisher ends in order, one connection after the other.
    Drain {
        who: usize,
    },
    Wait {
        seconds: u64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let who = 0..4_usize;
    prop_oneof![
        4 => (1..9_u64, any::<bool>(), any::<bool>())
            .prop_map(|(count, keyed, block)| Step::Offer { count, keyed, block }),
        1 => Just(Step::Join),
        6 => (who.clone(), 1..9_usize).prop_map(|(who, room)| Step::Take { who, room }),
        4 => (who.clone(), 1..9_u64).prop_map(|(who, more)| Step::Credit { who, more }),
        2 => who.clone().prop_map(|who| Step::Confirm { who }),
        3 => (who.clone(), 1..3_usize).prop_map(|(who, every)| Step::Ack { who, every }),
        1 => (who.clone(), 0..5_u64).prop_map(|(who, delay)| Step::Nack { who, delay }),
        1 => who.clone().prop_map(|who| Step::Away { who }),
        1 => (who.clone(), 0..3_usize).prop_map(|(who, lost)| Step::Back { who, lost }),
        1 => who.clone().prop_map(|who| Step::Leave { who }),
        1 => who.prop_map(|who| Step::Drain { who }),
        1 => (1..40_u64).prop_map(|seconds| Step::Wait { seconds }),
    ]
}

/// A receiver as it sees itself.
#[derive(Debug, Default)]
struct Peer {
    away: bool,
    /// Sent under these numbers, not settled; and when. What is overdue is forgotten.
    sent: BTreeMap<u64, (u64, Duration)>,
    last: u64,
    /// Came for sure.
    came: u64,
}

#[derive(Debug)]
struct World {
    desk: Desk,
    settle: Settle,
    peers: BTreeMap<u32, Peer>,
    joined: u32,
    now: Duration,
    sequence: u64,
    taken: BTreeSet<u64>,
    settled: BTreeSet<u64>,
    dropped: u64,
    refused: u64,
    /// How often each message was delivered, resumption not counted.
    attempts: BTreeMap<u64, u16>,
}

impl World {
    fn new(settle: Settle, shared: bool) -> Self {
        let mut world = Self {
            desk: desk(settle, 16, shared),
            settle,
            peers: BTreeMap::new(),
            joined: 0,
            now: NOW,
            sequence: 0,
            taken: BTreeSet::new(),
            settled: BTreeSet::new(),
            dropped: 0,
            refused: 0,
            attempts: BTreeMap::new(),
        };
        world.join();
        world
    }

    fn join(&mut self) {
        if self.desk.rules.shared || self.peers.is_empty() {
            self.joined += 1;
            // Some are nearer than others: it must not matter for what ends how.
            let distance = if self.joined.is_multiple_of(2) { Distance::SameNode } else { Distance::Far };
            self.desk.join(self.joined, distance, (4, 0));
            self.peers.insert(self.joined, Peer::default());
        }
    }

    fn who(&self, index: usize) -> Option<u32> {
        self.peers.keys().nth(index % self.peers.len().max(1)).copied()
    }

    fn act(&mut self, step: &Step) {
        match *step {
            Step::Offer { count, keyed, block } => (0..count).for_each(|_| self.offer(keyed, block)),
            Step::Join => self.join(),
            Step::Wait { seconds } => {
                self.now += Duration::from_secs(seconds);
                if self.settle == ACK {
                    let overdue = self.now - Duration::from_secs(30);
                    for peer in self.peers.values_mut() {
                        peer.sent.retain(|_, (_, since)| *since > overdue);
                    }
                }
                self.desk.expire(self.now);
            }
            Step::Take { who, .. }
            | Step::Credit { who, .. }
            | Step::Confirm { who }
            | Step::Ack { who, .. }
            | Step::Nack { who, .. }
            | Step::Away { who }
            | Step::Back { who, .. }
            | Step::Leave { who }
            | Step::Drain { who } => {
                if let Some(id) = self.who(who) {
                    self.act_for(id, step);
                }
            }
        }
        self.dropped += self.desk.poll_dropped().iter().map(|dropped| dropped.1).sum::<u64>();
    }

    fn offer(&mut self, keyed: bool, block: bool) {
        self.sequence += 1;
        let sequence = self.sequence;
        let key = keyed.then(|| format!("{}", sequence % 3));
        match self.desk.offer(&post(sequence, key.as_deref()), block) {
            Offered::Taken | Offered::Dropped => {
                self.taken.insert(sequence);
            }
            Offered::Full | Offered::Nobody => self.refused += 1,
        }
    }

    fn act_for(&mut self, id: u32, step: &Step) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        match *step {
            Step::Take { room, .. } if !peer.away => self.take(id, room),
            Step::Credit { more, .. } if !peer.away => self.desk.credit(id, more),
            Step::Confirm { .. } if !peer.away => {
                peer.came = peer.last;
                self.desk.confirm(id, peer.last);
                if self.settle == Settle::Receipt {
                    let came = std::mem::take(&mut peer.sent);
                    self.settled.extend(came.into_values().map(|sent| sent.0));
                }
            }
            Step::Ack { every, .. } if !peer.away && self.settle == ACK => {
                let numbers: Vec<u64> = peer.sent.keys().copied().step_by(every).collect();
                for number in &numbers {
                    let (sequence, _) = peer.sent.remove(number).unwrap();
                    self.settled.insert(sequence);
                }
                self.desk.ack(id, &spans_of(numbers));
            }
            Step::Nack { delay, .. } if !peer.away && self.settle == ACK => {
                let numbers: Vec<u64> = peer.sent.keys().copied().take(2).collect();
                peer.sent.retain(|number, _| !numbers.contains(number));
                self.desk.nack(id, &spans_of(numbers), (Duration::from_secs(delay), self.now));
            }
            Step::Away { .. } => {
                peer.away = true;
                self.desk.away(id);
            }
            Step::Back { lost, .. } if peer.away => {
                let received = peer.last.saturating_sub(lost as u64).max(peer.came);
                peer.away = false;
                for (_, (sequence, _)) in peer.sent.split_off(&(received + 1)) {
                    *self.attempts.get_mut(&sequence).unwrap() -= 1;
                }
                if self.settle == Settle::Receipt {
                    let came = std::mem::take(&mut peer.sent);
                    self.settled.extend(came.into_values().map(|sent| sent.0));
                }
                peer.came = received;
                assert_eq!(self.desk.back(id, received, 4), received);
                peer.last = received;
            }
            Step::Leave { .. } if self.desk.rules.shared => {
                self.peers.remove(&id);
                self.desk.leave(id, None);
            }
            Step::Drain { .. } if self.desk.rules.shared && !peer.away => {
                // Without acknowledgement, what was sent is written before the goodbye, and comes.
                let sent = self.peers.remove(&id).unwrap_or_default().sent;
                if self.settle == Settle::Receipt {
                    self.settled.extend(sent.into_values().map(|sent| sent.0));
                }
                self.desk.leave(id, Some(GapReason::Shutdown));
            }
            _ => {}
        }
    }

    fn take(&mut self, id: u32, room: usize) {
        let mut inbox = Inbox::of(room);
        self.desk.take(id, &mut inbox, (true, self.now));
        let peer = self.peers.get_mut(&id).unwrap();
        for (number, sequence, attempt) in inbox.messages {
            assert!(number > peer.last, "numbers go up");
            peer.last = number;
            assert!(self.taken.contains(&sequence), "{sequence} was never taken");
            assert!(!self.settled.contains(&sequence), "{sequence} comes after it was settled");
            let so_far = self.attempts.entry(sequence).or_default();
            *so_far += 1;
            let most = if self.settle == ACK { 3 } else { 1 };
            assert!(
                attempt <= most && *so_far <= most,
                "{sequence}: attempt {attempt}, delivered {so_far} times"
            );
            peer.sent.insert(number, (sequence, self.now));
        }
        peer.last = peer.last.max(self.desk.receivers.get(&id).map_or(0, |receiver| receiver.number));
    }

    /// Everybody reads and acknowledges until nothing is left.
    fn finish(&mut self) {
        self.join();
        for _ in 0..200 {
            let ids: Vec<u32> = self.peers.keys().copied().collect();
            for id in ids {
                for step in [
                    Step::Back { who: 0, lost: 0 },
                    Step::Credit { who: 0, more: 64 },
                    Step::Take { who: 0, room: 64 },
                    Step::Confirm { who: 0 },
                    Step::Ack { who: 0, every: 1 },
                ] {
                    self.act_for(id, &step);
                }
            }
            self.act(&Step::Wait { seconds: 40 });
            if self.desk.load() == Amount::default() && self.desk.due().is_none() {
                break;
            }
        }
        let load = self.desk.load();
        assert_eq!((self.desk.waiting(), load), (0, Amount::default()), "nothing is left");
        assert_eq!(self.desk.due(), None);
        assert_eq!(
            self.taken.len() as u64,
            self.settled.len() as u64 + self.dropped,
            "settled or counted as dropped"
        );
    }
}

proptest! {
    /// Goal: whatever receivers do, every message that was taken ends settled once or dropped and counted; it is tried no
    /// more often than allowed, and never again after its ack; and what is held stays within the buffer.
    #[test]
    fn every_message_ends_settled_or_counted(
        steps in proptest::collection::vec(step(), 1..120), acknowledged in any::<bool>(), shared in any::<bool>(),
    ) {
        let mut world = World::new(if acknowledged { ACK } else { Settle::Receipt }, shared);
        for step in &steps {
            world.act(step);
        }
        world.finish();
    }
}
