//! The contents of messages: whoever reads one can tell whose it is, and that all of it is as it was sent.

use bytes::Bytes;
use kafka_wire::records::Record;

use testkit::chance::Chance;
use testkit::history::Message;

/// Bytes of most fillings, and of a few.
const FILLING: u64 = 240;
const FILLING_LARGE: u64 = 6_000;

/// The record of a message.
pub(crate) fn record(track: usize, message: Message, timestamp_ms: i64) -> Record {
    let Message { writer, number } = message;
    let mut chance = Chance::new(u64::from(writer) << 32 | u64::from(number), track as u64);
    let limit = if chance.one_in(40) { FILLING_LARGE } else { FILLING };
    let length = usize::try_from(chance.below(limit)).unwrap_or(0);
    let mut value = format!("{track} {writer} {number} ").into_bytes();
    let filling = std::iter::repeat_with(|| chance.next().to_le_bytes()).flatten();
    value.extend(filling.take(length));
    Record {
        timestamp_ms,
        key: Some(Bytes::from(writer.to_be_bytes().to_vec())),
        value: Some(Bytes::from(value)),
        ..Record::default()
    }
}

/// Which message of the track this is, if it is one and whole.
pub(crate) fn message(track: usize, found: &Record) -> Result<Message, String> {
    let value = found.value.as_deref().unwrap_or_default();
    let wrong = || format!("offset {} has a value that nobody sent", found.offset);
    let mut words = value.splitn(4, |byte| *byte == b' ').map(|word| std::str::from_utf8(word).ok());
    let mut word = || words.next().flatten();
    let of_track: usize = word().and_then(|word| word.parse().ok()).ok_or_else(wrong)?;
    let writer = word().and_then(|word| word.parse().ok()).ok_or_else(wrong)?;
    let number = word().and_then(|word| word.parse().ok()).ok_or_else(wrong)?;
    let message = Message { writer, number };
    let sent = record(track, message, found.timestamp_ms);
    if of_track == track && sent.value == found.value && sent.key == found.key {
        return Ok(message);
    }
    Err(wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: a message is known by its bytes; one changed byte, another track or another key is noticed.
    #[test]
    fn a_message_proves_itself() {
        let sent = Message { writer: 7, number: 41 };
        let record = record(3, sent, 5);
        assert_eq!(message(3, &record), Ok(sent));
        assert!(message(4, &record).is_err());
        let mut bytes = record.value.clone().unwrap().to_vec();
        *bytes.last_mut().unwrap() ^= 1;
        assert!(message(3, &Record { value: Some(bytes.into()), ..record.clone() }).is_err());
        assert!(message(3, &Record { key: None, ..record }).is_err());
    }
}
