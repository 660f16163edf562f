//! Messages, gaps and ends as JSON. Pure.
//!
//! ```json
//! {"type": "message", "id": 1, "attempt": 1,
//!  "position": {"partition": 0, "offset": 42, "publisher": "shop/web-0", "epoch": "7"},
//!  "timestampMs": 1790000000000, "subject": "eu.de", "key": "k",
//!  "headers": [{"name": "content-type", "value": "text/plain"}], "parts": ["hello", {"base64": "/w=="}]}
//! {"type": "gap", "publisher": "shop/web-0", "epoch": "7", "first": 43, "last": 50, "messages": 8, "reason": "dropped_newest"}
//! {"type": "end", "code": "UNAVAILABLE", "reason": "…"}
//! ```
//! Bytes that are UTF-8 are a string, others are `{"base64": …}`. `epoch` is a string because
//! JSON numbers lose the last of its 64 bits; `key` is left out when there is none; for Topics
//! `publisher` and `epoch` are left out.

use std::io::Write as _;

use base64::Engine as _;
use bytes::{BufMut as _, Bytes, BytesMut};
use serde::Serialize;

use super::places::Places;
use super::problem::Refusal;
use crate::app::session::{Gap, Item};
use crate::durable::Delivery;
use crate::messaging::Position;

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Line<'a> {
    Message {
        id: u64,
        attempt: u32,
        position: Place<'a>,
        #[serde(rename = "timestampMs")]
        timestamp_ms: i64,
        subject: Text<'a>,
        #[serde(skip_serializing_if = "Option::is_none")]
        key: Option<Text<'a>>,
        headers: Vec<Header<'a>>,
        parts: Vec<Text<'a>>,
    },
    Gap {
        publisher: &'a str,
        epoch: String,
        first: i64,
        last: i64,
        messages: u64,
        reason: &'a str,
    },
    End {
        code: &'a str,
        reason: &'a str,
    },
}

#[derive(Serialize)]
struct Place<'a> {
    partition: i32,
    offset: i64,
    #[serde(skip_serializing_if = "str::is_empty")]
    publisher: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    epoch: Option<String>,
}

#[derive(Serialize)]
struct Header<'a> {
    name: &'a str,
    value: Text<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Text<'a> {
    Utf8(&'a str),
    Binary { base64: String },
}

fn text(bytes: &[u8]) -> Text<'_> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Text::Utf8(text),
        Err(_) => Text::Binary { base64: base64::engine::general_purpose::STANDARD.encode(bytes) },
    }
}

/// How items are laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    /// Server-sent events: `event:` is the type, `data:` the JSON.
    Events,
    /// One JSON object a line.
    Lines,
}

/// A position, as the answer to a publish.
pub(super) fn position(position: &Position) -> Bytes {
    Bytes::from(serde_json::to_vec(&place(position)).unwrap_or_default())
}

fn place(position: &Position) -> Place<'_> {
    let channel = !position.publisher.is_empty();
    Place {
        partition: position.partition,
        offset: position.offset,
        publisher: &position.publisher,
        epoch: channel.then(|| position.epoch.to_string()),
    }
}

/// A whole batch in one piece. Events of messages carry where the stream stands, in an `id:` line. Gaps carry none: who
/// resumes is told of them again, or gets what is kept.
pub(super) fn items(layout: Layout, items: Vec<Item>, places: &mut Places) -> Bytes {
    let mut out = BytesMut::new();
    for item in items {
        match item {
            Item::Delivery(delivery) => {
                places.note(&delivery.position);
                if layout == Layout::Events && places.is_known() {
                    // Writing to memory does not fail.
                    drop(writeln!((&mut out).writer(), "id: {places}"));
                }
                write(layout, "message", &message(&delivery), &mut out);
            }
            Item::Gap(gap) => write(layout, "gap", &missed(&gap), &mut out),
            Item::End(problem) => {
                let refusal = Refusal::from(problem);
                write(layout, "end", &Line::End { code: refusal.code, reason: &refusal.detail }, &mut out);
            }
        }
    }
    out.freeze()
}

fn message(delivery: &Delivery) -> Line<'_> {
    let message = &delivery.message;
    Line::Message {
        id: delivery.id,
        attempt: delivery.attempt,
        position: place(&delivery.position),
        timestamp_ms: message.timestamp_ms,
        subject: text(&message.subject),
        key: message.key.as_deref().map(text),
        headers: message.headers.iter().map(|(name, value)| Header { name, value: text(value) }).collect(),
        parts: message.parts.iter().map(|part| text(part)).collect(),
    }
}

fn missed(gap: &Gap) -> Line<'_> {
    Line::Gap {
        publisher: &gap.publisher,
        epoch: gap.epoch.to_string(),
        first: gap.first,
        last: gap.last,
        messages: gap.messages,
        reason: gap.reason,
    }
}

fn write(layout: Layout, event: &str, line: &Line<'_>, out: &mut BytesMut) {
    let mut writer = out.writer();
    // Writing to memory does not fail, and every field above has a form in JSON.
    if layout == Layout::Events {
        drop(write!(writer, "event: {event}\ndata: "));
    }
    drop(serde_json::to_writer(&mut writer, line));
    drop(writer.write_all(if layout == Layout::Events { b"\n\n" } else { b"\n" }));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messaging::{Message, Problem, ProblemKind};
    use serde_json::{Value, json};

    fn delivery() -> Item {
        Item::Delivery(Delivery {
            id: 3,
            position: Position { partition: 0, offset: 42, publisher: "shop/web-0".into(), epoch: u64::MAX },
            message: Message {
                subject: Bytes::from_static(b"eu"),
                key: None,
                headers: vec![("a".into(), Bytes::from_static(b"line\nbreak"))],
                parts: vec![Bytes::from_static(b"hello"), Bytes::from_static(&[0xff])],
                timestamp_ms: 7,
            },
            attempt: 1,
        })
    }

    /// Goal: the documented shape, one line each, with bytes that are no text as base64.
    #[test]
    fn lines_have_the_documented_shape() {
        let end = Item::End(Problem::new(ProblemKind::Unavailable, "gone"));
        let out = items(Layout::Lines, vec![delivery(), end], &mut Places::default());
        let lines: Vec<Value> = out
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| serde_json::from_slice(line).unwrap())
            .collect();
        assert_eq!(
            lines,
            [
                json!({"type": "message", "id": 3, "attempt": 1, "timestampMs": 7, "subject": "eu",
                "position": {"partition": 0, "offset": 42, "publisher": "shop/web-0", "epoch": "18446744073709551615"},
                "headers": [{"name": "a", "value": "line\nbreak"}], "parts": ["hello", {"base64": "/w=="}]}),
                json!({"type": "end", "code": "UNAVAILABLE", "reason": "gone"}),
            ]
        );
    }

    /// Goal: an event is one `id:`, one `event:` and one `data:` line, whatever the payload holds.
    #[test]
    fn events_are_not_broken_by_line_breaks() {
        let out = items(Layout::Events, vec![delivery()], &mut Places::default());
        let text = std::str::from_utf8(&out).unwrap();
        let id = format!("id: shop/web-0/{}/42\n", u64::MAX);
        assert!(text.starts_with(&(id + "event: message\ndata: {")) && text.ends_with("}\n\n"));
        assert_eq!(text.lines().count(), 4);
    }
}
