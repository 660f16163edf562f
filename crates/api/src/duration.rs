//! Times as people write them (`7d`, `1h30m`, `500ms`), read into milliseconds.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::{borrow::Cow, fmt, str::FromStr};

const PATTERN: &str = r"^([0-9]{1,12}(ms|s|m|h|d))+$";
const LENGTH_MAX: usize = 32;
/// Longest time that is accepted: a hundred years, in milliseconds.
pub const MILLISECONDS_MAX: u64 = 100 * 365 * 24 * 60 * 60 * 1000;

/// A length of time. It keeps the text it was read from, so that it is written back unchanged.
#[derive(Clone, PartialEq, Eq)]
pub struct Duration {
    text: String,
    milliseconds: u64,
}

/// Why a text is not a length of time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// Not numbers with one of the known units.
    #[error("`{0}` is not a time: write numbers with units, such as 500ms, 30s, 5m, 1h30m or 7d")]
    Malformed(String),
    /// More than a hundred years.
    #[error("`{0}` is too long: the limit is 36500d")]
    TooLong(String),
}

impl Duration {
    /// The time in milliseconds, at most [`MILLISECONDS_MAX`].
    #[must_use]
    pub fn milliseconds(&self) -> u64 {
        self.milliseconds
    }

    /// The same as the standard library's type.
    #[must_use]
    pub fn to_std(&self) -> std::time::Duration {
        std::time::Duration::from_millis(self.milliseconds)
    }

    /// The text it was read from.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

fn unit_milliseconds(unit: &str) -> Option<u64> {
    match unit {
        "ms" => Some(1),
        "s" => Some(1_000),
        "m" => Some(60_000),
        "h" => Some(3_600_000),
        "d" => Some(86_400_000),
        _ => None,
    }
}

impl FromStr for Duration {
    type Err = DurationError;

    fn from_str(text: &str) -> Result<Self, DurationError> {
        let malformed = || DurationError::Malformed(text.chars().take(LENGTH_MAX).collect());
        let too_long = || DurationError::TooLong(text.to_owned());
        if text.is_empty() || text.len() > LENGTH_MAX {
            return Err(malformed());
        }
        let mut rest = text;
        let mut total: u64 = 0;
        while !rest.is_empty() {
            let digits_length =
                rest.find(|character: char| !character.is_ascii_digit()).ok_or_else(malformed)?;
            let (digits, after) = rest.split_at(digits_length);
            let unit_length = after.find(|character: char| character.is_ascii_digit()).unwrap_or(after.len());
            let (unit, after) = after.split_at(unit_length);
            if digits.is_empty() || digits.len() > 12 {
                return Err(malformed());
            }
            let number: u64 = digits.parse().map_err(|_| malformed())?;
            let unit = unit_milliseconds(unit).ok_or_else(malformed)?;
            total = number.checked_mul(unit).and_then(|part| total.checked_add(part)).ok_or_else(too_long)?;
            rest = after;
        }
        if total > MILLISECONDS_MAX {
            return Err(too_long());
        }
        Ok(Self { text: text.to_owned(), milliseconds: total })
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl fmt::Debug for Duration {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Duration({})", self.text)
    }
}

impl Serialize for Duration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for Duration {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "pattern": PATTERN, "maxLength": LENGTH_MAX})
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Goal: times read as people mean them, and limits hold.
    #[test]
    fn reads_times() {
        let milliseconds = |text: &str| text.parse::<Duration>().map(|duration| duration.milliseconds());
        assert_eq!(milliseconds("0s"), Ok(0));
        assert_eq!(milliseconds("500ms"), Ok(500));
        assert_eq!(milliseconds("1h30m"), Ok(5_400_000));
        assert_eq!(milliseconds("7d"), Ok(604_800_000));
        assert_eq!(milliseconds("36500d"), Ok(MILLISECONDS_MAX));
        assert!(matches!(milliseconds("36501d"), Err(DurationError::TooLong(_))));
        assert!(matches!(milliseconds("999999999999d"), Err(DurationError::TooLong(_))));
        for wrong in ["", "5", "s", "5 s", "-5s", "1.5h", "5w", "5S", "1h30", "é"] {
            assert!(matches!(milliseconds(wrong), Err(DurationError::Malformed(_))), "{wrong}");
        }
    }

    proptest! {
        /// Goal: no text panics, and what is accepted is written back unchanged.
        #[test]
        fn round_trip(text in "([0-9]{1,3}(ms|s|m|h|d|x)){0,4}|.{0,40}") {
            if let Ok(duration) = text.parse::<Duration>() {
                prop_assert_eq!(duration.as_str(), text);
            }
        }
    }
}
