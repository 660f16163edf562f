//! Reads along what goes over one line, after docs/protocol/peer-wire.md alone: it shares no code with the protocol's own
//! reader. Credit counts for a publisher from when it has read it, and against it when it writes.

use super::world::World;
use std::sync::Arc;

/// What a publisher may still send, as it was told.
#[derive(Debug, Default)]
struct Allowed {
    messages: u64,
    bytes: i128,
    last: u64,
}

/// One frame.
struct Frame {
    kind: u8,
    flags: u8,
    id: u32,
    length: usize,
    body: Vec<u8>,
}

/// Puts frames together from pieces.
#[derive(Default)]
struct Frames {
    bytes: Vec<u8>,
    last_words: bool,
}

impl Frames {
    fn feed(&mut self, piece: &[u8]) -> Vec<Frame> {
        self.bytes.extend_from_slice(piece);
        let mut frames = Vec::new();
        while self.bytes.len() >= 10 {
            let length = size(&self.bytes, 0, 4) + 4;
            if self.bytes.len() < length {
                break;
            }
            let rest = self.bytes.split_off(length);
            let whole = std::mem::replace(&mut self.bytes, rest);
            frames.push(Frame {
                kind: whole[4],
                flags: whole[5],
                id: u32::try_from(number(&whole, 6, 4)).unwrap_or(0),
                length,
                body: whole[10..].to_vec(),
            });
        }
        frames
    }
}

/// A big-endian number.
fn number(bytes: &[u8], at: usize, length: usize) -> u64 {
    bytes[at..at + length].iter().fold(0, |sum, byte| (sum << 8) | u64::from(*byte))
}

fn size(bytes: &[u8], at: usize, length: usize) -> usize {
    usize::try_from(number(bytes, at, length)).unwrap_or(usize::MAX)
}

/// See the head of the file.
pub(super) struct Tap {
    world: Arc<World>,
    ends: [u64; 2],
    /// By the side that writes.
    written: [Frames; 2],
    read: [Frames; 2],
    /// By the side that publishes, and the subscription's id.
    allowed: [std::collections::BTreeMap<u32, Allowed>; 2],
}

impl Tap {
    pub(super) fn new(world: Arc<World>, ends: [u64; 2]) -> Self {
        Self {
            world,
            ends,
            written: Default::default(),
            read: Default::default(),
            allowed: Default::default(),
        }
    }

    fn wrong(&self, side: usize, id: u32, what: &str) {
        let [from, to] = [self.ends[side], self.ends[1 - side]];
        self.world.wrong(&format!("on the wire from process {from} to {to}, subscription {id}: {what}"));
    }

    fn log(&self, side: usize, does: &str, frame: &Frame) {
        let (own, other, Frame { kind, id, .. }) = (self.ends[side], self.ends[1 - side], frame);
        let number = if frame.body.len() >= 8 { number(&frame.body, 0, 8) } else { 0 };
        self.world.log(format_args!(
            "process {own} {does} at {other}: kind {kind}, subscription {id}, {number:#x}"
        ));
    }

    /// `side` has put these bytes on the line.
    pub(super) fn written(&mut self, side: usize, piece: &[u8]) {
        for frame in self.written[side].feed(piece) {
            self.log(side, "writes", &frame);
            if self.written[side].last_words {
                self.wrong(side, frame.id, "a frame after the goodbye");
            }
            match frame.kind {
                // What follows comes after the number in the answer.
                3 => {
                    let received = number(&frame.body, 0, 8);
                    if let Some(allowed) = self.allowed[side].get_mut(&frame.id) {
                        allowed.last = received;
                    }
                }
                7 => self.sent(side, &frame),
                8 => self.told(side, &frame),
                9 | 13 => drop(self.allowed[side].remove(&frame.id)),
                12 => {
                    self.written[side].last_words = true;
                    if frame.body[0] == 4 {
                        let text = String::from_utf8_lossy(&frame.body[3..]).into_owned();
                        self.wrong(side, frame.id, &format!("goodbye, the protocol was broken: {text}"));
                    }
                }
                _ => {}
            }
        }
    }

    fn sent(&mut self, side: usize, frame: &Frame) {
        let sequence = number(&frame.body, 0, 8);
        let Some(allowed) = self.allowed[side].get_mut(&frame.id) else {
            return self.wrong(side, frame.id, "a message without a subscription");
        };
        let broke = allowed.messages == 0 || allowed.bytes <= 0 || sequence <= allowed.last;
        if broke {
            let text = format!("message {sequence} with {allowed:?}");
            return self.wrong(side, frame.id, &text);
        }
        allowed.messages -= 1;
        allowed.bytes -= frame.length as i128;
        allowed.last = sequence;
    }

    fn told(&mut self, side: usize, frame: &Frame) {
        let numbered = frame.flags & 1 != 0;
        let at = if numbered { 8 } else { 0 };
        let (first, last, messages) =
            (number(&frame.body, at, 8), number(&frame.body, at + 8, 8), number(&frame.body, at + 16, 8));
        let (least, most) =
            if numbered { (number(&frame.body, 0, 8), number(&frame.body, 0, 8)) } else { (first, last) };
        let Some(allowed) = self.allowed[side].get_mut(&frame.id) else {
            return self.wrong(side, frame.id, "a gap without a subscription");
        };
        let goes_on = least > allowed.last;
        allowed.last = most;
        if !goes_on || first > last || messages > last - first + 1 {
            self.wrong(
                side,
                frame.id,
                &format!("a gap of {messages} from {first} to {last}, number {least}"),
            );
        }
    }

    /// What `side` has written has come to the other one.
    pub(super) fn read(&mut self, side: usize, piece: &[u8]) {
        let publisher = 1 - side;
        for frame in self.read[side].feed(piece) {
            self.log(1 - side, "reads", &frame);
            match frame.kind {
                2 => {
                    let allowed = subscribed(&frame);
                    self.allowed[publisher].insert(frame.id, allowed);
                }
                3 => {
                    let received = number(&frame.body, 0, 8);
                    self.world.begun((self.ends[publisher], frame.id), self.ends[side], received);
                }
                6 => {
                    let (messages, bytes) = (number(&frame.body, 0, 4), number(&frame.body, 4, 8));
                    if let Some(allowed) = self.allowed[publisher].get_mut(&frame.id) {
                        allowed.messages += messages;
                        allowed.bytes += i128::from(bytes);
                    }
                }
                _ => {}
            }
        }
    }
}

/// What a Subscribe allows at once.
fn subscribed(frame: &Frame) -> Allowed {
    let namespace = size(&frame.body, 0, 2);
    let name = size(&frame.body, 2 + namespace, 2);
    let at = 4 + namespace + name + 4;
    Allowed {
        messages: number(&frame.body, at, 4),
        bytes: i128::from(number(&frame.body, at + 4, 8)),
        last: 0,
    }
}
