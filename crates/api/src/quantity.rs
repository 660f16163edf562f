//! Sizes as Kubernetes writes them (`10Gi`), read into bytes. No rounding in silence: a fraction of a byte rounds up.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::{borrow::Cow, fmt, str::FromStr};

/// Pattern of the schema. Written once here, checked again by the parser.
const PATTERN: &str = r"^[0-9]{1,19}(\.[0-9]{1,9})?(Ki|Mi|Gi|Ti|Pi|k|M|G|T|P)?$";
const LENGTH_MAX: usize = 32;

/// A size. It keeps the text it was read from, so that it is written back unchanged.
#[derive(Clone, PartialEq, Eq)]
pub struct Quantity {
    text: String,
    bytes: u64,
}

/// Why a text is not a size.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    /// Not a number with one of the known suffixes.
    #[error(
        "`{0}` is not a size: write a number with one of the suffixes Ki, Mi, Gi, Ti, Pi, k, M, G, T, P or none"
    )]
    Malformed(String),
    /// More than 2^63 - 1 bytes.
    #[error("`{0}` is too large: the limit is 8191Pi")]
    TooLarge(String),
}

impl Quantity {
    /// The size in bytes, at most `i64::MAX`.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// A size of so many bytes, written with the largest binary suffix that divides it.
    #[must_use]
    pub fn from_bytes(bytes: u64) -> Self {
        let suffixes = [("Pi", 50), ("Ti", 40), ("Gi", 30), ("Mi", 20), ("Ki", 10)];
        let text = suffixes
            .iter()
            .find(|(_, shift)| bytes != 0 && bytes.is_multiple_of(1 << shift))
            .map_or_else(|| bytes.to_string(), |(suffix, shift)| format!("{}{suffix}", bytes >> shift));
        Self { text, bytes }
    }

    /// A rounded size for people (`1.4Gi`), for status fields that would else change with every byte.
    #[must_use]
    pub fn rounded(bytes: u64) -> Self {
        for (suffix, shift) in [("Pi", 50_u32), ("Ti", 40), ("Gi", 30), ("Mi", 20), ("Ki", 10)] {
            let unit = 1_u64 << shift;
            if bytes >= unit {
                let tenths = u128::from(bytes) * 10 / u128::from(unit);
                let text = format!("{}.{}{suffix}", tenths / 10, tenths % 10).replace(".0", "");
                return text.parse().expect("digits, an optional fraction and a suffix");
            }
        }
        Self { text: bytes.to_string(), bytes }
    }

    /// The text it was read from.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

fn unit_bytes(suffix: &str) -> Option<u128> {
    let unit: u64 = match suffix {
        "" => 1,
        "Ki" => 1 << 10,
        "Mi" => 1 << 20,
        "Gi" => 1 << 30,
        "Ti" => 1 << 40,
        "Pi" => 1 << 50,
        "k" => 1_000,
        "M" => 1_000_000,
        "G" => 1_000_000_000,
        "T" => 1_000_000_000_000,
        "P" => 1_000_000_000_000_000,
        _ => return None,
    };
    Some(u128::from(unit))
}

impl FromStr for Quantity {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let malformed = || QuantityError::Malformed(text.chars().take(LENGTH_MAX).collect());
        let number_length = text
            .find(|character: char| !character.is_ascii_digit() && character != '.')
            .unwrap_or(text.len());
        let (number, suffix) = text.split_at(number_length);
        let (whole, fraction) = number.split_once('.').map_or((number, None), |(w, f)| (w, Some(f)));
        if whole.is_empty() || whole.len() > 19 {
            return Err(malformed());
        }
        let fraction = match fraction {
            None => "",
            Some(digits) if digits.is_empty() || digits.len() > 9 || digits.contains('.') => {
                return Err(malformed());
            }
            Some(digits) => digits,
        };
        let unit = unit_bytes(suffix).ok_or_else(malformed)?;
        let scale = 10_u128.pow(u32::try_from(fraction.len()).map_err(|_| malformed())?);
        let digits: u128 = format!("{whole}{fraction}").parse().map_err(|_| malformed())?;
        let bytes = digits
            .checked_mul(unit)
            .and_then(|scaled| u64::try_from(scaled.div_ceil(scale)).ok())
            .filter(|bytes| i64::try_from(*bytes).is_ok())
            .ok_or_else(|| QuantityError::TooLarge(text.to_owned()))?;
        Ok(Self { text: text.to_owned(), bytes })
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl fmt::Debug for Quantity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Quantity({})", self.text)
    }
}

impl Serialize for Quantity {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for Quantity {
    fn schema_name() -> Cow<'static, str> {
        "Quantity".into()
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

    /// Goal: sizes read as Kubernetes reads them, fractions round up, limits hold.
    #[test]
    fn reads_sizes() {
        let bytes = |text: &str| text.parse::<Quantity>().map(|quantity| quantity.bytes());
        assert_eq!(bytes("0"), Ok(0));
        assert_eq!(bytes("1500"), Ok(1500));
        assert_eq!(bytes("10Gi"), Ok(10 << 30));
        assert_eq!(bytes("1.5k"), Ok(1500));
        assert_eq!(bytes("1.0001k"), Ok(1001));
        assert_eq!(bytes("8191Pi"), Ok(8191 << 50));
        assert!(matches!(bytes("8192Pi"), Err(QuantityError::TooLarge(_))));
        for wrong in ["", "Gi", ".5Gi", "1.Gi", "1.2.3", "10Gb", "-1", "1e3", "1 Gi", "99999999999999999999"]
        {
            assert!(matches!(bytes(wrong), Err(QuantityError::Malformed(_))), "{wrong}");
        }
    }

    /// Goal: sizes for people are short and stable.
    #[test]
    fn rounds_for_people() {
        assert_eq!(Quantity::rounded(1023).as_str(), "1023");
        assert_eq!(Quantity::rounded(1 << 30).as_str(), "1Gi");
        assert_eq!(Quantity::rounded(3 << 29).as_str(), "1.5Gi");
        assert_eq!(Quantity::from_bytes(20 << 30).as_str(), "20Gi");
        assert_eq!(Quantity::from_bytes(1025).as_str(), "1025");
        assert_eq!(Quantity::from_bytes(0).as_str(), "0");
    }

    proptest! {
        /// Goal: what is written reads back to the same number, and no text panics.
        #[test]
        fn round_trip(bytes in 0..=i64::MAX as u64, text in ".{0,40}") {
            prop_assert_eq!(Quantity::from_bytes(bytes).as_str().parse::<Quantity>().unwrap().bytes(), bytes);
            prop_assert!(Quantity::rounded(bytes).bytes() <= bytes.saturating_add(1));
            drop(text.parse::<Quantity>());
        }
    }
}
