//! What can go wrong between us and a broker, and whether trying again may help.

use std::time::Duration;

use kafka_wire::{ApiKey, DecodeError, EncodeError, ErrorCode};

/// An administrative call that failed.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// No bootstrap address could be reached.
    #[error("failed to connect to broker {address}")]
    Connect {
        /// The address, `HOST:PORT`.
        address: String,
        /// Why.
        source: std::io::Error,
    },
    /// The own certificate or the trust bundle cannot be used.
    #[error("failed to prepare TLS towards broker {address}")]
    Credentials {
        /// The address, `HOST:PORT`.
        address: String,
        /// Why.
        source: runtime::tls::TlsError,
    },
    /// There is nothing to connect to.
    #[error("no bootstrap address given: expected at least one HOST:PORT")]
    NoBootstrap,
    /// A bootstrap address is not of the form `HOST:PORT`.
    #[error("bootstrap address {0:?} is not of the form HOST:PORT")]
    Address(String),
    /// The broker did not answer in time.
    #[error("no answer to {api} within {deadline:?}")]
    Deadline {
        /// The API that was called.
        api: ApiKey,
        /// How long was waited.
        deadline: Duration,
    },
    /// The connection broke during a call.
    #[error("connection to broker {address} broke during {api}")]
    Broken {
        /// The address, `HOST:PORT`.
        address: String,
        /// The API that was called.
        api: ApiKey,
        /// Why.
        source: std::io::Error,
    },
    /// The broker's answer is not Kafka's protocol.
    #[error("broker's answer to {api} cannot be understood: {reason}")]
    Protocol {
        /// The API that was called.
        api: ApiKey,
        /// What is wrong with it.
        reason: String,
    },
    /// The broker does not serve a version that we speak.
    #[error("broker serves {api} in versions {theirs:?}, we speak {ours:?}")]
    Unsupported {
        /// The API that was called.
        api: ApiKey,
        /// First and last version here.
        ours: (i16, i16),
        /// First and last version there; none if it does not serve the API.
        theirs: Option<(i16, i16)>,
    },
    /// The request cannot be written in the version that both speak.
    #[error("failed to write {api} request")]
    Encode {
        /// The API that was called.
        api: ApiKey,
        /// Why.
        source: EncodeError,
    },
    /// The broker understood and refused.
    #[error("broker refused to {action}: {name} ({code}): {message}")]
    Refused {
        /// What was asked, with the object's name.
        action: String,
        /// Kafka's error code.
        code: i16,
        /// Its name.
        name: &'static str,
        /// The broker's own words, or Kafka's description of the code.
        message: String,
        /// Whether the same call may succeed later.
        retriable: bool,
    },
    /// The broker left out what was asked for.
    #[error("broker's answer to {api} says nothing about {object}")]
    Silent {
        /// The API that was called.
        api: ApiKey,
        /// What was asked for.
        object: String,
    },
}

impl AdminError {
    /// Whether the same call may succeed later, without anybody changing what is asked.
    #[must_use]
    pub const fn is_retriable(&self) -> bool {
        match self {
            Self::Connect { .. } | Self::Credentials { .. } | Self::Deadline { .. } | Self::Broken { .. } => {
                true
            }
            Self::Refused { retriable, .. } => *retriable,
            Self::NoBootstrap
            | Self::Address(_)
            | Self::Protocol { .. }
            | Self::Unsupported { .. }
            | Self::Encode { .. }
            | Self::Silent { .. } => false,
        }
    }

    /// Kafka's code, if the broker refused with one that is known.
    #[must_use]
    pub const fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Refused { code, .. } => ErrorCode::from_code(*code),
            _ => None,
        }
    }

    pub(crate) fn decode(api: ApiKey, error: &DecodeError) -> Self {
        Self::Protocol { api, reason: error.to_string() }
    }
}

/// Turns an answer's code into success or a refusal to do `action`.
pub(crate) fn check(
    code: i16,
    message: Option<String>,
    action: impl FnOnce() -> String,
) -> Result<(), AdminError> {
    if code == 0 {
        return Ok(());
    }
    let known = ErrorCode::from_code(code);
    let message = message.filter(|message| !message.is_empty());
    Err(AdminError::Refused {
        action: action(),
        code,
        name: known.map_or("unknown code", ErrorCode::name),
        message: message.unwrap_or_else(|| known.map_or("", ErrorCode::description).to_owned()),
        retriable: known.is_some_and(ErrorCode::is_retriable),
    })
}
