//! A Channel's message as a record of a Topic: what it is, and where it comes from. Pure.

use crate::durable::parts;
use crate::messaging::{ChannelName, Message};
use bytes::Bytes;
use std::sync::Arc;

/// The digits of a sequence number or an epoch.
const NUMBER_BYTES_MAX: usize = 20;
/// What a batch with one record adds (Kafka's record format 2): its own 61 bytes, and lengths, deltas and a timestamp.
const RECORD_BYTES: usize = 61 + 40;
/// The two lengths of a header.
const HEADER_BYTES_MAX: usize = 10;
/// The headers that are added.
const HEADERS: usize = 5;
/// What a header for the sizes of parts takes: its name, and for each part a size of ten digits and a comma.
const SIZES_NAME_BYTES: usize = 18;
const SIZE_BYTES_MAX: usize = 11;

const CHANNEL: &str = "pinnace-channel";
const PUBLISHER: &str = "pinnace-publisher";
const EPOCH: &str = "pinnace-epoch";
const SEQUENCE: &str = "pinnace-sequence";

/// One Channel of one publisher.
#[derive(Debug, Clone)]
pub(super) struct Origin {
    pub(super) channel: ChannelName,
    /// `NAMESPACE/POD`.
    pub(super) publisher: Arc<str>,
    pub(super) epoch: u64,
}

impl Origin {
    /// The message with one part, and headers that say where it comes from: together they name it for ever, so that a
    /// reader knows a copy that was written twice.
    pub(super) fn record(&self, message: &Message, sequence: u64) -> Message {
        let mut record = parts::fold(message);
        let ChannelName { namespace, name } = &self.channel;
        let origin = [
            (CHANNEL, format!("{namespace}/{name}")),
            (PUBLISHER, self.publisher.to_string()),
            (EPOCH, self.epoch.to_string()),
            (SEQUENCE, sequence.to_string()),
        ];
        record.headers.extend(origin.map(|(name, value)| (name.to_owned(), Bytes::from(value))));
        record
    }

    /// The sequence number and the message, if the record is a copy of one of this publisher's. Other headers stay.
    pub(super) fn opened(&self, mut record: Message) -> Option<(u64, Message)> {
        let mut take = |wanted: &str| {
            let place = record.headers.iter().rposition(|(name, _)| name == wanted)?;
            String::from_utf8(record.headers.remove(place).1.to_vec()).ok()
        };
        let ChannelName { namespace, name } = &self.channel;
        let ours = take(CHANNEL)? == format!("{namespace}/{name}")
            && take(PUBLISHER)? == *self.publisher
            && take(EPOCH)? == self.epoch.to_string();
        let sequence = take(SEQUENCE)?.parse().ok()?;
        ours.then_some((sequence, record))
    }

    /// The most bytes that [`Self::record`] and a batch for it add to a message.
    pub(super) fn bytes_max(&self, message: &Message) -> usize {
        let ChannelName { namespace, name } = &self.channel;
        let names = [CHANNEL, PUBLISHER, EPOCH, SEQUENCE].map(str::len).iter().sum::<usize>();
        let values = namespace.len() + 1 + name.len() + self.publisher.len() + 2 * NUMBER_BYTES_MAX;
        let sizes = match message.parts.len() {
            1 => 0,
            count => SIZES_NAME_BYTES.saturating_add(count.saturating_mul(SIZE_BYTES_MAX)),
        };
        let lengths = message.headers.len().saturating_add(HEADERS).saturating_mul(HEADER_BYTES_MAX);
        RECORD_BYTES
            .saturating_add(names)
            .saturating_add(values)
            .saturating_add(sizes)
            .saturating_add(lengths)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Goal: what is added never exceeds what was reckoned with, and comes off again, for one's own records alone.
        #[test]
        fn the_bound_holds(sizes in prop::collection::vec(0_usize..2000, 0..6), sequence: u64, epoch: u64) {
            let origin = Origin {
                channel: ChannelName { namespace: "shop".into(), name: "prices".into() },
                publisher: "shop/publisher-0".into(),
                epoch,
            };
            let parts = sizes.into_iter().map(|size| Bytes::from(vec![0; size])).collect();
            let message = Message { parts, ..Message::default() };
            let record = origin.record(&message, sequence);
            let (opened, copy) = origin.opened(record).unwrap();
            prop_assert_eq!(opened, sequence);
            prop_assert_eq!(copy, parts::fold(&message));
            let other = Origin { epoch: epoch.wrapping_add(1), ..origin.clone() };
            prop_assert_eq!(other.opened(origin.record(&message, sequence)), None);
            let added = origin.record(&message, sequence).size_bytes() - message.size_bytes();
            prop_assert!(added <= origin.bytes_max(&message), "{added}");
        }
    }
}
