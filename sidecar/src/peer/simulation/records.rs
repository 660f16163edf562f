//! What apps were told, and what they had asked for: all that the judge knows.

use crate::messaging::{ChannelName, Resumed};
use crate::metrics::{Metrics, ObjectLabels};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// What became of a publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Its process died before there was an answer.
    Unknown,
    /// All of it, from this number on.
    Taken(u64),
    /// A leading part.
    Part(u64),
}

/// Messages that were published together: ids `first_id..first_id + count`.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) first_id: u64,
    pub(super) count: u64,
    pub(super) begun: Duration,
    pub(super) ended: Option<Duration>,
    pub(super) outcome: Outcome,
}

/// What one process published to one Channel.
#[derive(Debug, Default)]
pub(super) struct Numbering {
    pub(super) batches: Vec<Batch>,
    pub(super) next_id: u64,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    Crashed,
    Drained,
}

/// One process of a node.
pub(super) struct Life {
    pub(super) node: usize,
    pub(super) epoch: u64,
    pub(super) metrics: Metrics,
    pub(super) ended: Option<(Duration, Ending)>,
}

impl Life {
    /// What it counted as dropped, for that reason.
    pub(super) fn dropped(&self, name: &ChannelName, reason: &str) -> u64 {
        let [kind, namespace, name] = ObjectLabels::from(name).values();
        self.metrics.dropped.with_label_values(&[kind, namespace, name, reason]).get()
    }

    /// For any reason that a message may be dropped for.
    pub(super) fn dropped_at_all(&self, name: &ChannelName) -> u64 {
        let reasons = ["dropped_newest", "disconnected", "shutdown", "attempts_exhausted", "too_large"];
        reasons.iter().map(|reason| self.dropped(name, reason)).sum()
    }
}

/// What came to an app.
#[derive(Debug, Clone)]
pub(super) enum Event {
    Message { publisher: Arc<str>, epoch: u64, offset: u64, sent: Sent, attempt: u32 },
    Gap { publisher: Arc<str>, epoch: u64, first: u64, last: u64, messages: u64, reason: &'static str },
}

/// Which message it is: what its payload says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Sent {
    pub(super) scene: usize,
    pub(super) process: u64,
    pub(super) id: u64,
}

/// One subscription of an app.
#[derive(Debug)]
pub(super) struct Taking {
    pub(super) scene: usize,
    pub(super) process: u64,
    /// As its sidecar counts subscriptions.
    pub(super) id: u32,
    /// Subjects that begin with it; empty = all.
    pub(super) prefix: &'static str,
    /// It begins with what is kept.
    pub(super) kept: bool,
    /// It goes on where an earlier one of the same app stood.
    pub(super) resumed: Vec<Resumed>,
    pub(super) opened: Duration,
    pub(super) closed: Option<Duration>,
    pub(super) events: Vec<Event>,
    /// What the app was done with.
    pub(super) acked: BTreeSet<Sent>,
}

impl Taking {
    /// How far the app is at each publisher.
    pub(super) fn stands(&self) -> Vec<Resumed> {
        let mut stands: BTreeMap<Arc<str>, Resumed> = BTreeMap::new();
        for event in &self.events {
            let (Event::Message { publisher, epoch, offset: received, .. }
            | Event::Gap { publisher, epoch, last: received, .. }) = event;
            let (publisher, epoch, received) = (Arc::clone(publisher), *epoch, *received);
            stands.insert(Arc::clone(&publisher), Resumed { publisher, epoch, received });
        }
        stands.into_values().collect()
    }
}

/// See the head of the file.
#[derive(Default)]
pub(super) struct Records {
    pub(super) lives: BTreeMap<u64, Life>,
    /// By Channel and process.
    pub(super) numberings: BTreeMap<(usize, u64), Numbering>,
    pub(super) takings: Vec<Taking>,
}

/// The subject of the message with that id: some begin with others.
pub(super) const fn subject_of(id: u64) -> &'static str {
    match id.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 61 {
        0 | 1 => "a",
        2 | 3 => "ab",
        4 => "abc",
        5 => "b",
        _ => "c",
    }
}

impl Sent {
    /// The payload, filled up to `size`.
    pub(super) fn payload(self, size: usize) -> Bytes {
        let mut text = format!("{}/{}/{}/", self.scene, self.process, self.id);
        while text.len() < size {
            text.push('.');
        }
        Bytes::from(text)
    }

    pub(super) fn parse(payload: &[u8]) -> Option<Self> {
        let mut fields = std::str::from_utf8(payload).ok()?.split('/');
        let scene = fields.next()?.parse().ok()?;
        let process = fields.next()?.parse().ok()?;
        let id = fields.next()?.parse().ok()?;
        Some(Self { scene, process, id })
    }
}
