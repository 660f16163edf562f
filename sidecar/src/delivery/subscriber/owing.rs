//! What one subscription owes to one publisher of a numbered subscription: acks, nacks and replies, until the
//! connection takes them. Bounded by what the publisher sent. Also the half of a subscriber that deals with them.

use super::{Remote, Source, Subscriber};
use crate::delivery::calls::failure_of;
use crate::delivery::work::spans_of;
use crate::messaging::{Message, Problem, Receipt};
use peer_wire::{Failure, Gap, Span};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// See the head of the file.
#[derive(Debug, Default)]
pub(super) struct Owing {
    acks: BTreeSet<u64>,
    /// By the delay in milliseconds.
    nacks: BTreeMap<u32, BTreeSet<u64>>,
    replies: Vec<(u64, Result<Message, Failure>)>,
}

/// What goes out together.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Taken {
    pub(super) acks: Vec<Span>,
    pub(super) nacks: Vec<(u32, Vec<Span>)>,
    pub(super) replies: Vec<(u64, Result<Message, Failure>)>,
}

impl Owing {
    pub(super) fn take(&mut self) -> Taken {
        Taken {
            acks: spans_of(std::mem::take(&mut self.acks)),
            nacks: std::mem::take(&mut self.nacks)
                .into_iter()
                .map(|(delay_ms, numbers)| (delay_ms, spans_of(numbers)))
                .collect(),
            replies: std::mem::take(&mut self.replies),
        }
    }

    fn settle(&mut self, number: u64, again: Option<u32>) {
        match again {
            None => {
                self.acks.insert(number);
            }
            Some(delay_ms) => {
                self.nacks.entry(delay_ms).or_default().insert(number);
            }
        }
    }
}

/// When messages are acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Acks {
    /// Never: the Channel does not ask for it.
    None,
    /// When the door comes back for more.
    WhenTaken,
    /// When the app says so.
    ByApp,
}

fn delay_ms(delay: Duration) -> u32 {
    u32::try_from(delay.as_millis()).unwrap_or(u32::MAX)
}

impl Subscriber {
    /// Whether the app has to acknowledge.
    pub(crate) fn acks(&self) -> Acks {
        self.acks
    }

    /// The app is done with these, or wants them again after a delay.
    pub(crate) fn settle(&self, receipts: &[Receipt], again: Option<Duration>) {
        let mut local = Vec::new();
        {
            let mut state = self.lock();
            let mut woken: BTreeSet<Arc<str>> = BTreeSet::new();
            for receipt in receipts {
                if receipt.epoch == self.own_epoch && receipt.publisher == self.own {
                    local.push(receipt.number);
                } else if let Some(remote) = remote_of(&mut state.remotes, receipt) {
                    remote.owing.settle(receipt.number, again.map(delay_ms));
                    woken.insert(Arc::clone(&receipt.publisher));
                }
            }
            for publisher in woken {
                if let Some(remote) = state.remotes.get(&publisher) {
                    remote.wake(self.id);
                }
            }
        }
        let Some(seat) = self.local.seat().filter(|_| !local.is_empty()) else { return };
        local.sort_unstable();
        let spans = spans_of(local);
        match again {
            None => seat.ack(&spans),
            Some(delay) => {
                let now = self.core.upgrade().map(|core| core.now()).unwrap_or_default();
                seat.nack(&spans, delay, now);
            }
        }
    }

    /// The app answers a request.
    pub(crate) fn reply(&self, receipt: &Receipt, outcome: Result<Message, Problem>) {
        if receipt.epoch == self.own_epoch && receipt.publisher == self.own {
            let sequence = self.local.seat().and_then(|seat| seat.reply(receipt.number));
            if let Some(core) = self.core.upgrade() {
                core.answered(&self.name, sequence, outcome);
            }
            return;
        }
        let mut state = self.lock();
        let Some(remote) = remote_of(&mut state.remotes, receipt) else { return };
        remote.owing.replies.push((receipt.number, outcome.map_err(failure_of)));
        remote.wake(self.id);
    }

    pub(crate) fn numbered_gap(&self, from: Source<'_>, number: u64, gap: Gap) {
        self.with(from, |remote| remote.numbered_gap(number, gap));
        self.ready.notify_one();
    }
}

/// The publisher of a receipt, if it is still the process that sent it.
fn remote_of<'a>(remotes: &'a mut BTreeMap<Arc<str>, Remote>, receipt: &Receipt) -> Option<&'a mut Remote> {
    remotes.get_mut(&receipt.publisher).filter(|remote| remote.epoch == receipt.epoch)
}
