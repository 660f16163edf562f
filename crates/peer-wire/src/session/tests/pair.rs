//! Two sessions and the wire between them.

use crate::frame::Subscribe;
use crate::limits;
use crate::locality::Locality;
use crate::message::Message;
use crate::session::{Event, Session, Settings};
use bytes::{Bytes, BytesMut};
use std::time::Duration;

pub(super) const PUBLISHER_EPOCH: u64 = 77;

pub(super) fn settings() -> Settings {
    Settings {
        sidecar: "shop/a".to_owned(),
        epoch: PUBLISHER_EPOCH,
        locality: Locality { node: "node-a".to_owned(), zone: "zone-1".to_owned() },
        version_max: limits::VERSION,
        heartbeat: Duration::from_secs(1),
        silence_max: Duration::from_secs(3),
        confirm_delay: Duration::from_millis(200),
    }
}

pub(super) fn subscribe(credit_messages: u32) -> Subscribe {
    Subscribe {
        namespace: "shop".to_owned(),
        name: "prices".to_owned(),
        message_bytes_max: 1 << 20,
        credit_messages,
        credit_bytes: 1 << 20,
        resume: None,
        replay: false,
        ordinal: None,
        prefixes: Vec::new(),
    }
}

pub(super) fn numbered(number: u64) -> Message {
    Message { parts: vec![Bytes::from(number.to_string())], ..Message::default() }
}

pub(super) struct Pair {
    pub(super) publisher: Session,
    pub(super) subscriber: Session,
    pub(super) now: Duration,
    /// Bytes of one read.
    pub(super) cut: usize,
    to_publisher: BytesMut,
    to_subscriber: BytesMut,
}

impl Pair {
    /// Both have said hello.
    pub(super) fn established() -> Self {
        Self::established_with(limits::VERSION, limits::VERSION)
    }

    /// The same, each with the newest version that it speaks.
    pub(super) fn established_with(publisher: u16, subscriber: u16) -> Self {
        let now = Duration::from_secs(1000);
        let own = Settings { version_max: publisher, ..settings() };
        let other =
            Settings { sidecar: "shop/b".to_owned(), epoch: 5, version_max: subscriber, ..settings() };
        let mut pair = Self {
            publisher: Session::new(own, now),
            subscriber: Session::new(other, now),
            now,
            cut: usize::MAX,
            to_publisher: BytesMut::new(),
            to_subscriber: BytesMut::new(),
        };
        pair.exchange();
        for (session, name) in [(&mut pair.publisher, "shop/b"), (&mut pair.subscriber, "shop/a")] {
            let Some(Event::Established(hello)) = session.poll_event() else { panic!("established") };
            assert_eq!(hello.sidecar, name);
        }
        pair
    }

    /// And subscription 1 stands, from sequence 0.
    pub(super) fn standing(credit_messages: u32) -> Self {
        let mut pair = Self::established();
        assert!(pair.subscriber.subscribe(1, subscribe(credit_messages)));
        pair.exchange();
        pair.publisher.accept(1, 0);
        pair.exchange();
        while pair.publisher.poll_event().is_some() {}
        while pair.subscriber.poll_event().is_some() {}
        pair
    }

    /// Carries all output over, in reads of `cut` bytes.
    pub(super) fn exchange(&mut self) {
        carry(&mut self.publisher, &mut self.subscriber, &mut self.to_subscriber, (self.now, self.cut));
        carry(&mut self.subscriber, &mut self.publisher, &mut self.to_publisher, (self.now, self.cut));
        carry(&mut self.publisher, &mut self.subscriber, &mut self.to_subscriber, (self.now, self.cut));
    }
}

fn carry(from: &mut Session, to: &mut Session, wire: &mut BytesMut, (now, cut): (Duration, usize)) {
    while let Some(chunk) = from.poll_output() {
        for part in chunk.chunks(cut) {
            wire.extend_from_slice(part);
            to.handle_input(wire, now).unwrap();
        }
    }
    assert_eq!(from.output_bytes(), 0);
}
