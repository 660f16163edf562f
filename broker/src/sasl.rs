//! Proving who one is: the mechanisms as state machines over tokens, and what they check against.
//!
//! Nothing here reads a socket; what a token was, and a password, is never logged.

pub(crate) mod gate;
pub(crate) mod oauth;
pub(crate) mod plain;
pub(crate) mod scram;
pub(crate) mod users;

use std::sync::Arc;

use users::Users;

/// A way to authenticate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Mechanism {
    Plain,
    Scram(scram::Hash),
    OAuthBearer,
}

/// All of them, by their names.
const MECHANISMS: [(&str, Mechanism); 4] = [
    ("PLAIN", Mechanism::Plain),
    ("SCRAM-SHA-256", Mechanism::Scram(scram::Hash::Sha256)),
    ("SCRAM-SHA-512", Mechanism::Scram(scram::Hash::Sha512)),
    ("OAUTHBEARER", Mechanism::OAuthBearer),
];

impl Mechanism {
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        MECHANISMS.iter().find(|(known, _)| *known == name).map(|(_, mechanism)| *mechanism)
    }

    pub(crate) fn name(self) -> &'static str {
        MECHANISMS.iter().find(|(_, mechanism)| *mechanism == self).map_or("", |(name, _)| name)
    }
}

/// Who does not get in, in words for the client: nothing that helps to guess.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0}")]
pub(crate) struct Failure(pub(crate) String);

impl Failure {
    fn credentials(mechanism: Mechanism) -> Self {
        Self(format!("Authentication failed: invalid credentials with SASL mechanism {}", mechanism.name()))
    }

    fn malformed(mechanism: Mechanism) -> Self {
        Self(format!("Authentication failed: a message of {} cannot be read", mechanism.name()))
    }
}

/// What comes of a token.
pub(crate) enum Step {
    /// The server's token; the client goes on.
    Continue(Vec<u8>),
    /// The server's last token, and who it is.
    Done { reply: Vec<u8>, user: String, expires_ms: Option<i64> },
}

/// What mechanisms check against.
pub(crate) struct Verifier {
    pub(crate) users: Users,
    /// Read again when its file changes.
    pub(crate) keys: Option<oauth::Keys>,
}

/// An authentication under way.
pub(crate) enum Exchange {
    Plain,
    Scram(scram::Hash),
    ScramFinal(Box<scram::Challenge>),
    OAuthBearer,
    /// The token was refused and the client was told why; all that it may do is to say that it heard.
    OAuthRefused,
}

impl Exchange {
    pub(crate) fn new(mechanism: Mechanism) -> Self {
        match mechanism {
            Mechanism::Plain => Self::Plain,
            Mechanism::Scram(hash) => Self::Scram(hash),
            Mechanism::OAuthBearer => Self::OAuthBearer,
        }
    }

    /// Takes the client's next token.
    pub(crate) fn step(&mut self, token: &[u8], verifier: &Arc<Verifier>) -> Result<Step, Failure> {
        let done = |reply: Vec<u8>, user: String| Ok(Step::Done { reply, user, expires_ms: None });
        match self {
            Self::Plain => {
                let claim = plain::parse(token).ok_or_else(|| Failure::malformed(Mechanism::Plain))?;
                let user = claim.user.to_owned();
                if verifier.users.has_password(claim.user, claim.password) {
                    return done(Vec::new(), user);
                }
                Err(Failure::credentials(Mechanism::Plain))
            }
            Self::Scram(hash) => {
                let hash = *hash;
                let malformed = || Failure::malformed(Mechanism::Scram(hash));
                let first = scram::First::parse(token).ok_or_else(malformed)?;
                let credential = verifier.users.credential(&first.user, hash);
                let challenge = scram::Challenge::new(hash, first, credential, &runtime::random::token());
                let reply = challenge.server_first().as_bytes().to_vec();
                *self = Self::ScramFinal(Box::new(challenge));
                Ok(Step::Continue(reply))
            }
            Self::ScramFinal(challenge) => {
                let failure = || Failure::credentials(Mechanism::Scram(challenge.hash()));
                let reply = challenge.finish(token).ok_or_else(failure)?;
                done(reply, challenge.user().to_owned())
            }
            Self::OAuthBearer => {
                let malformed = || Failure::malformed(Mechanism::OAuthBearer);
                let token = oauth::parse(token).ok_or_else(malformed)?;
                let keys = verifier.keys.as_ref().ok_or_else(malformed)?;
                match keys.verify(&token) {
                    Ok(bearer) => Ok(Step::Done {
                        reply: Vec::new(),
                        user: bearer.user,
                        expires_ms: Some(bearer.expires_ms),
                    }),
                    Err(reason) => {
                        tracing::debug!(%reason, "refused a bearer token");
                        *self = Self::OAuthRefused;
                        Ok(Step::Continue(br#"{"status":"invalid_token"}"#.to_vec()))
                    }
                }
            }
            Self::OAuthRefused => Err(Failure::credentials(Mechanism::OAuthBearer)),
        }
    }
}

#[cfg(test)]
mod tests;
