//! Names that are right by construction: read once, never checked again.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::{borrow::Cow, fmt, marker::PhantomData, str::FromStr};

/// What a kind of name must look like.
pub trait NameRule {
    /// What it names, for error texts.
    const WHAT: &'static str;
    /// Pattern for the schema; [`NameRule::allows`] says the same in code.
    const PATTERN: &'static str;
    /// Longest name, in bytes.
    const LENGTH_MAX: usize;
    /// What is allowed, for error texts.
    const ALLOWED: &'static str;
    /// Whether a text that is neither empty nor too long is such a name.
    fn allows(text: &str) -> bool;
}

/// A name that follows the rule `R`.
pub struct Name<R> {
    text: String,
    rule: PhantomData<R>,
}

/// Why a text is not such a name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not the name of a {what}: use {allowed}, at most {length_max} characters")]
pub struct NameError {
    text: String,
    what: &'static str,
    allowed: &'static str,
    length_max: usize,
}

/// Rule of [`NamespaceName`].
#[derive(Debug)]
pub struct NamespaceRule;
/// Rule of [`ObjectName`].
#[derive(Debug)]
pub struct ObjectRule;
/// Rule of [`ServiceAccountName`].
#[derive(Debug)]
pub struct ServiceAccountRule;
/// Rule of [`LogName`].
#[derive(Debug)]
pub struct LogRule;

/// Name of a namespace.
pub type NamespaceName = Name<NamespaceRule>;
/// Name of a Topic, Channel, Broker or Subscription. It has no dots, since `orders.shop` means `orders` of namespace `shop`.
pub type ObjectName = Name<ObjectRule>;
/// Name of a service account.
pub type ServiceAccountName = Name<ServiceAccountRule>;
/// Name of a topic on the broker, by Kafka's rules.
pub type LogName = Name<LogRule>;

const LABEL_PATTERN: &str = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$";
const LABEL_ALLOWED: &str = "lower-case letters, digits and '-', starting and ending with a letter or digit";

fn is_label(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    text.bytes().all(|byte| inner(byte) || byte == b'-')
        && text.bytes().next().is_some_and(inner)
        && text.bytes().last().is_some_and(inner)
}

impl NameRule for NamespaceRule {
    const WHAT: &'static str = "namespace";
    const PATTERN: &'static str = LABEL_PATTERN;
    const LENGTH_MAX: usize = 63;
    const ALLOWED: &'static str = LABEL_ALLOWED;
    fn allows(text: &str) -> bool {
        is_label(text)
    }
}

impl NameRule for ObjectRule {
    const WHAT: &'static str = "pinnace object";
    const PATTERN: &'static str = LABEL_PATTERN;
    const LENGTH_MAX: usize = 63;
    const ALLOWED: &'static str = LABEL_ALLOWED;
    fn allows(text: &str) -> bool {
        is_label(text)
    }
}

impl NameRule for ServiceAccountRule {
    const WHAT: &'static str = "service account";
    const PATTERN: &'static str = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";
    const LENGTH_MAX: usize = 253;
    const ALLOWED: &'static str =
        "lower-case letters, digits, '-' and '.', each part starting and ending with a letter or digit";
    fn allows(text: &str) -> bool {
        text.split('.').all(is_label)
    }
}

impl NameRule for LogRule {
    const WHAT: &'static str = "topic on a broker";
    const PATTERN: &'static str = "^[a-zA-Z0-9._-]+$";
    const LENGTH_MAX: usize = 249;
    const ALLOWED: &'static str = "letters, digits, '.', '_' and '-', but not '.' or '..' alone";
    fn allows(text: &str) -> bool {
        text != "."
            && text != ".."
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
    }
}

impl<R> Name<R> {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl<R: NameRule> FromStr for Name<R> {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if text.is_empty() || text.len() > R::LENGTH_MAX || !R::allows(text) {
            return Err(NameError {
                text: text.chars().take(64).collect(),
                what: R::WHAT,
                allowed: R::ALLOWED,
                length_max: R::LENGTH_MAX,
            });
        }
        Ok(Self { text: text.to_owned(), rule: PhantomData })
    }
}

impl<R> Clone for Name<R> {
    fn clone(&self) -> Self {
        Self { text: self.text.clone(), rule: PhantomData }
    }
}

impl<R> PartialEq for Name<R> {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl<R> Eq for Name<R> {}

impl<R> PartialOrd for Name<R> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<R> Ord for Name<R> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.text.cmp(&other.text)
    }
}

impl<R> std::hash::Hash for Name<R> {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

impl<R> fmt::Display for Name<R> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl<R> fmt::Debug for Name<R> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?}", self.text)
    }
}

impl<R> AsRef<str> for Name<R> {
    fn as_ref(&self) -> &str {
        &self.text
    }
}

impl<R> Serialize for Name<R> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de, R: NameRule> Deserialize<'de> for Name<R> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl<R: NameRule> JsonSchema for Name<R> {
    fn schema_name() -> Cow<'static, str> {
        R::WHAT.into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "pattern": R::PATTERN, "minLength": 1, "maxLength": R::LENGTH_MAX})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: each rule takes what Kubernetes or Kafka takes, and says what is allowed when it refuses.
    #[test]
    fn names_follow_their_rule() {
        assert!("orders-2".parse::<ObjectName>().is_ok());
        for wrong in ["", "-a", "a-", "A", "a.b", "a_b", &"a".repeat(64)] {
            assert!(wrong.parse::<ObjectName>().is_err(), "{wrong}");
            assert!(wrong.parse::<NamespaceName>().is_err(), "{wrong}");
        }
        assert!("build.bot".parse::<ServiceAccountName>().is_ok());
        assert!("build..bot".parse::<ServiceAccountName>().is_err());
        assert!("Shop.orders_v2".parse::<LogName>().is_ok());
        for wrong in ["", ".", "..", "a/b", "a b", &"a".repeat(250)] {
            assert!(wrong.parse::<LogName>().is_err(), "{wrong}");
        }
        let text = "a.b".parse::<ObjectName>().unwrap_err().to_string();
        assert!(text.contains("`a.b`") && text.contains("lower-case"), "{text}");
    }
}
