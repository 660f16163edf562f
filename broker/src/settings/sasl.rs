//! Settings about authentication, under Kafka's names where Kafka has them.

use std::{path::PathBuf, time::Duration};

use super::{SettingsError, number};
use crate::sasl::{Mechanism, oauth::Expected, scram::Hash};

/// How callers prove who they are.
#[derive(Clone, Debug)]
pub(crate) struct SaslSettings {
    /// Empty: nobody is asked.
    pub(crate) mechanisms: Vec<Mechanism>,
    /// The listener without TLS asks as well.
    pub(crate) on_plain_listener: bool,
    /// Lines NAME=PASSWORD.
    pub(crate) users_file: Option<PathBuf>,
    /// Public keys for OAUTHBEARER.
    pub(crate) keys_file: Option<PathBuf>,
    pub(crate) expected: Expected,
    /// 0 is without end.
    pub(crate) session_ms_max: i64,
    pub(crate) failure_delay: Duration,
}

impl Default for SaslSettings {
    fn default() -> Self {
        Self {
            mechanisms: Vec::new(),
            on_plain_listener: false,
            users_file: None,
            keys_file: None,
            expected: Expected {
                audience: Vec::new(),
                issuer: None,
                user_claim: "sub".to_owned(),
                clock_skew_seconds: 30,
            },
            session_ms_max: 0,
            failure_delay: Duration::from_millis(100),
        }
    }
}

impl SaslSettings {
    /// Takes a setting; false when it is not one of these.
    pub(super) fn set(&mut self, key: &str, value: &str) -> Result<bool, SettingsError> {
        let wrong = |reason: &str| SettingsError::Value {
            key: key.to_owned(),
            value: value.to_owned(),
            reason: reason.to_owned(),
        };
        let list = || value.split(',').map(str::trim).filter(|part| !part.is_empty());
        match key {
            "sasl.enabled.mechanisms" => {
                let known = list().map(Mechanism::from_name).collect::<Option<_>>();
                self.mechanisms = known.ok_or_else(|| {
                    wrong("it must list PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER, with commas between")
                })?;
            }
            "listener.security.protocol.map" => {
                self.on_plain_listener = match value {
                    "PLAINTEXT:PLAINTEXT" => false,
                    "PLAINTEXT:SASL_PLAINTEXT" => true,
                    _ => return Err(wrong("it must be PLAINTEXT:PLAINTEXT or PLAINTEXT:SASL_PLAINTEXT")),
                };
            }
            "sasl.users.file" => self.users_file = Some(PathBuf::from(value)),
            "sasl.oauthbearer.jwks.endpoint.url" => {
                let file = value.strip_prefix("file:").map(|rest| rest.strip_prefix("//").unwrap_or(rest));
                let file = file.filter(|file| file.starts_with('/'));
                self.keys_file =
                    Some(file.ok_or_else(|| wrong("it must be a file: URL, as file:///keys.json"))?.into());
            }
            "sasl.oauthbearer.expected.audience" => {
                self.expected.audience = list().map(str::to_owned).collect();
            }
            "sasl.oauthbearer.expected.issuer" => self.expected.issuer = Some(value.to_owned()),
            "sasl.oauthbearer.sub.claim.name" => self.expected.user_claim = value.to_owned(),
            "sasl.oauthbearer.clock.skew.seconds" => {
                self.expected.clock_skew_seconds = number(key, value, 0, 3_600)?;
            }
            "connections.max.reauth.ms" => {
                let ms = number(key, value, 0, 365 * 24 * 3_600_000)?;
                self.session_ms_max = i64::try_from(ms).unwrap_or(i64::MAX);
            }
            "connection.failed.authentication.delay.ms" => {
                self.failure_delay = Duration::from_millis(number(key, value, 0, 10_000)?);
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// The hashes for which passwords of the users file are prepared.
    pub(crate) fn hashes(&self) -> Vec<Hash> {
        let is_on = |hash: &Hash| self.mechanisms.contains(&Mechanism::Scram(*hash));
        Hash::ALL.into_iter().filter(is_on).collect()
    }

    /// What cannot go together.
    pub(super) fn check(&self) -> Result<(), SettingsError> {
        let missing = |key: &str, reason: &str| SettingsError::Value {
            key: key.to_owned(),
            value: String::new(),
            reason: reason.to_owned(),
        };
        let has = |mechanism| self.mechanisms.contains(&mechanism);
        if self.on_plain_listener && self.mechanisms.is_empty() {
            return Err(missing("sasl.enabled.mechanisms", "SASL_PLAINTEXT needs at least one mechanism"));
        }
        if has(Mechanism::Plain) && self.users_file.is_none() {
            return Err(missing("sasl.users.file", "the mechanism PLAIN needs a file of users"));
        }
        if has(Mechanism::OAuthBearer) != self.keys_file.is_some() {
            let text = "OAUTHBEARER needs it, and nothing else does";
            return Err(missing("sasl.oauthbearer.jwks.endpoint.url", text));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::settings::Settings;

    /// Goal: what the page about security shows is taken as it stands there.
    #[test]
    fn the_examples_of_the_docs_are_valid() {
        let page = include_str!("../../../docs/operations/security.md");
        let blocks: Vec<&str> =
            page.split("```properties\n").skip(1).map(|it| it.split("```").next().unwrap()).collect();
        assert_eq!(blocks.len(), 3);
        for block in blocks {
            Settings::default().read(block).unwrap_or_else(|error| panic!("{error}:\n{block}"));
        }
    }

    /// Goal: settings that lack what they need are refused by the name of what is missing.
    #[test]
    fn what_is_missing_is_named() {
        for (text, missing) in [
            ("sasl.enabled.mechanisms=PLAIN", "sasl.users.file"),
            ("sasl.enabled.mechanisms=OAUTHBEARER", "jwks"),
            ("listener.security.protocol.map=PLAINTEXT:SASL_PLAINTEXT", "sasl.enabled.mechanisms"),
            ("sasl.enabled.mechanisms=GSSAPI", "SCRAM-SHA-256"),
            ("sasl.oauthbearer.jwks.endpoint.url=https://x", "file:"),
        ] {
            let error = Settings::default().read(text).unwrap_err().to_string();
            assert!(error.contains(missing), "{text}: {error}");
        }
    }
}
