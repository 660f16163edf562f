//! What leads a reply back to who asked, and what waits for one. Pure.
//!
//! REQ and REP sockets, and DEALER and ROUTER in their place, put an envelope before what they say: all frames up to
//! and including the first empty one. A reply carries the envelope of its request. It must not be looked into: who
//! made it reads it, nobody else.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use bytes::{Bytes, BytesMut};

/// Bytes of one envelope: many hops of routers, each with the longest identity there is.
pub const ENVELOPE_BYTES_MAX: usize = 8 * 1024;
/// Frames of one envelope.
pub const ENVELOPE_FRAMES_MAX: usize = 64;

static EMPTY: Bytes = Bytes::new();

/// More in front of the first empty frame than what is kept while a request waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "{frames} frames of {size} bytes are in front of the first empty frame; at most {ENVELOPE_FRAMES_MAX} of \
     {ENVELOPE_BYTES_MAX} bytes may be"
)]
pub struct EnvelopeTooLarge {
    /// Frames, the empty one included.
    pub frames: usize,
    /// Bytes of all of them.
    pub size: usize,
}

/// The frames up to and including the first empty one; none at all where a message has no empty frame.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Envelope {
    frames: Vec<Bytes>,
}

impl Envelope {
    /// Takes a message apart: the envelope, and the body behind it. A message without an empty frame is all body.
    ///
    /// # Errors
    /// When the envelope is above its limits.
    pub fn split(mut frames: Vec<Bytes>) -> Result<(Self, Vec<Bytes>), EnvelopeTooLarge> {
        let Some(last) = frames.iter().position(Bytes::is_empty) else {
            return Ok((Self::default(), frames));
        };
        let body = frames.split_off(last.saturating_add(1));
        let size = frames.iter().fold(0_usize, |size, frame| size.saturating_add(frame.len()));
        if size > ENVELOPE_BYTES_MAX || frames.len() > ENVELOPE_FRAMES_MAX {
            return Err(EnvelopeTooLarge { frames: frames.len(), size });
        }
        Ok((Self { frames: own(frames, size) }, body))
    }

    /// The envelope that names a request.
    #[must_use]
    pub fn of_id(id: u64) -> Self {
        Self { frames: vec![Bytes::copy_from_slice(&id.to_be_bytes()), Bytes::new()] }
    }

    /// The request that it names, if it is one of [`Self::of_id`].
    #[must_use]
    pub fn id(&self) -> Option<u64> {
        let [id, end] = &self.frames[..] else { return None };
        let id = <[u8; 8]>::try_from(&id[..]).ok()?;
        end.is_empty().then(|| u64::from_be_bytes(id))
    }

    /// Puts it before a body. A body without frames is one empty frame: a message ends with the frame behind its
    /// envelope, and REP drops one that has none.
    pub fn join<'a>(&'a self, body: &'a [Bytes]) -> impl Iterator<Item = &'a Bytes> {
        let nothing = body.is_empty().then_some(&EMPTY);
        self.frames.iter().chain(body).chain(nothing)
    }
}

/// Copies the frames into one piece of their own: a slice would keep a whole read buffer alive.
fn own(frames: Vec<Bytes>, size: usize) -> Vec<Bytes> {
    if size == 0 {
        return vec![Bytes::new(); frames.len()];
    }
    let mut all = BytesMut::with_capacity(size);
    for frame in &frames {
        all.extend_from_slice(frame);
    }
    let mut all = all.freeze();
    frames.iter().map(|frame| all.split_to(frame.len())).collect()
}

/// What a reply answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Matched {
    /// A request that waited for it.
    Waiting,
    /// One that no longer waits: its time is over, or it was answered before.
    Late,
    /// None that there ever was.
    Unknown,
}

/// Requests that wait for a reply, each until its time. Ids ascend.
#[derive(Debug)]
pub struct Waiting {
    limit: usize,
    last: Option<u64>,
    until: BTreeMap<u64, Instant>,
    /// The same by time.
    times: BTreeSet<(Instant, u64)>,
}

impl Waiting {
    /// None yet, and never more than `limit`.
    #[must_use]
    pub const fn new(limit: usize) -> Self {
        Self { limit, last: None, until: BTreeMap::new(), times: BTreeSet::new() }
    }

    /// Adds a request. Returns whether it was: not one too many, nor one with an id that is not above all before.
    #[must_use]
    pub fn add(&mut self, id: u64, until: Instant) -> bool {
        if self.until.len() >= self.limit || self.last.is_some_and(|last| id <= last) {
            return false;
        }
        self.last = Some(id);
        self.until.insert(id, until);
        self.times.insert((until, id));
        true
    }

    /// A reply has come.
    pub fn take(&mut self, id: u64) -> Matched {
        match self.until.remove(&id) {
            Some(until) => {
                self.times.remove(&(until, id));
                Matched::Waiting
            }
            None if self.last.is_some_and(|last| id <= last) => Matched::Late,
            None => Matched::Unknown,
        }
    }

    /// Forgets those whose time has come by `now`; returns how many.
    pub fn expire(&mut self, now: Instant) -> usize {
        let mut count = 0_usize;
        while let Some((until, id)) = self.times.first().copied().filter(|(until, _)| *until <= now) {
            self.times.remove(&(until, id));
            self.until.remove(&id);
            count = count.saturating_add(1);
        }
        count
    }

    /// When [`Self::expire`] is due; `None` = nothing waits.
    #[must_use]
    pub fn next_expiry(&self) -> Option<Instant> {
        self.times.first().map(|(until, _)| *until)
    }

    /// How many wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.until.len()
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.until.is_empty()
    }
}

#[cfg(test)]
mod tests;
