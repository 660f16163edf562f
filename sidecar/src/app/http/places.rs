//! Where a stream of events stands, as the id of an event: `Last-Event-ID` brings it back. Pure.
//!
//! One place is `NAMESPACE/POD/EPOCH/SEQUENCE`; a stream with messages of more than one publisher has one for each, with
//! commas between them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::messaging::{Position, Problem, ProblemKind, Resumed};

/// Publishers of one stream whose places are told; a stream with more has no ids.
const PUBLISHERS_MAX: usize = 64;

/// The last message of each publisher.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Places {
    by_publisher: BTreeMap<Arc<str>, (u64, u64)>,
}

impl Places {
    /// A message went to the client. Messages of Topics have no publisher, and no place here.
    pub(super) fn note(&mut self, position: &Position) {
        if !position.publisher.is_empty() && self.by_publisher.len() <= PUBLISHERS_MAX {
            let sequence = u64::try_from(position.offset).unwrap_or(0);
            self.by_publisher.insert(Arc::clone(&position.publisher), (position.epoch, sequence));
        }
    }

    /// Whether there is an id.
    pub(super) fn is_known(&self) -> bool {
        (1..=PUBLISHERS_MAX).contains(&self.by_publisher.len())
    }

    /// Reads an id.
    ///
    /// # Errors
    /// `InvalidArgument` when this door did not write it.
    pub(super) fn parse(text: &str) -> Result<Self, Problem> {
        let mut places = Self::default();
        for place in text.split(',') {
            let (publisher, at) = read(place).ok_or_else(|| not_an_id(text))?;
            places.by_publisher.insert(publisher, at);
            if places.by_publisher.len() > PUBLISHERS_MAX {
                return Err(not_an_id(text));
            }
        }
        Ok(places)
    }

    pub(super) fn resumed(&self) -> Vec<Resumed> {
        let resumed = |(publisher, (epoch, received)): (&Arc<str>, &(u64, u64))| Resumed {
            publisher: Arc::clone(publisher),
            epoch: *epoch,
            received: *received,
        };
        self.by_publisher.iter().map(resumed).collect()
    }
}

fn read(place: &str) -> Option<(Arc<str>, (u64, u64))> {
    let mut fields = place.trim().rsplitn(3, '/');
    let sequence: u64 = fields.next()?.parse().ok()?;
    let epoch = fields.next()?.parse().ok()?;
    let publisher = fields.next().filter(|publisher| !publisher.is_empty())?;
    i64::try_from(sequence).ok()?;
    Some((Arc::from(publisher), (epoch, sequence)))
}

fn not_an_id(text: &str) -> Problem {
    let shown: String = text.chars().take(100).collect();
    let text = format!(
        "Last-Event-ID: {shown:?} is no id of an event of a Channel: send the last one as it came, or leave it out"
    );
    Problem::new(ProblemKind::InvalidArgument, text)
}

impl fmt::Display for Places {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (publisher, (epoch, sequence))) in self.by_publisher.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            write!(formatter, "{comma}{publisher}/{epoch}/{sequence}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn position(publisher: &str, epoch: u64, offset: i64) -> Position {
        Position { partition: 0, offset, publisher: publisher.into(), epoch }
    }

    /// Goal: an id names the last message of each publisher, and is left out where it would name none or too many.
    #[test]
    fn ids_name_the_last_of_each_publisher() {
        let mut places = Places::default();
        assert!(!places.is_known());
        places.note(&position("shop/web-0", 7, 41));
        places.note(&position("shop/web-1", 8, 2));
        places.note(&position("shop/web-0", 7, 42));
        assert_eq!(places.to_string(), "shop/web-0/7/42,shop/web-1/8/2");
        let wanted = Resumed { publisher: "shop/web-0".into(), epoch: 7, received: 42 };
        assert_eq!(places.resumed()[0], wanted);
        let mut topic = Places::default();
        topic.note(&position("", 0, 5));
        assert!(!topic.is_known());
        for number in 0..200 {
            places.note(&position(&format!("shop/more-{number}"), 1, 1));
        }
        assert!(!places.is_known() && places.by_publisher.len() <= PUBLISHERS_MAX + 1);
    }

    /// Goal: what this door did not write is refused, with what to do.
    #[test]
    fn other_texts_are_refused() {
        let many: Vec<String> = (0..65).map(|number| format!("shop/a-{number}/1/1")).collect();
        let texts = [
            "",
            "7",
            "shop/web-0",
            "shop/web-0/7/x",
            "/7/1",
            "a/1/-1",
            "a/1/9223372036854775808",
            ",",
            "a/1/1,",
        ];
        for text in texts.into_iter().map(str::to_owned).chain([many.join(",")]) {
            let problem = Places::parse(&text).unwrap_err();
            assert_eq!(problem.kind, ProblemKind::InvalidArgument, "{text}");
            assert!(problem.message.contains("leave it out"), "{problem}");
        }
    }

    proptest! {
        /// Goal: an id is read as it was written, and no text makes the door panic.
        #[test]
        fn ids_come_back(all in proptest::collection::vec(("[a-z]{1,9}/[a-z0-9-]{1,9}", any::<u64>(), 0..i64::MAX), 1..9), text in "\\PC{0,60}") {
            let mut places = Places::default();
            for (publisher, epoch, offset) in all {
                places.note(&position(&publisher, epoch, offset));
            }
            prop_assert_eq!(Places::parse(&places.to_string()).unwrap(), places);
            drop(Places::parse(&text));
        }
    }
}
