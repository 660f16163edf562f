//! What a connection may say before it is known who speaks, and when that has to be proved again.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use kafka_wire::{
    ApiKey, Encoded, ErrorCode, Reader, RequestHeader, Writer, frame,
    messages::{
        SaslAuthenticateRequest, SaslAuthenticateResponse, SaslHandshakeRequest, SaslHandshakeResponse,
    },
};
use runtime::clock;

use crate::access::Principal;

use super::{Exchange, Failure, Mechanism, Step, Verifier};

/// Bytes of a frame before somebody is known: nobody unknown makes us hold more.
pub(crate) const FRAME_BYTES_MAX: usize = 64 * 1024;
/// From this version on tokens travel in requests of their own.
const TOKENS_IN_REQUESTS_SINCE: i16 = 1;

/// What all gates of the broker share.
pub(crate) struct Rules {
    pub(crate) mechanisms: Vec<Mechanism>,
    pub(crate) verifier: Arc<Verifier>,
    /// A session lasts so long at most; 0 is without end.
    pub(crate) session_ms_max: i64,
    pub(crate) failure_delay: Duration,
}

/// What is done with a frame.
pub(crate) enum Admitted {
    /// It is a request like any other.
    Request(Bytes),
    /// It was for the gate.
    Answer(Encoded),
    /// It was for the gate, and the caller is this user now.
    User(Encoded, Principal),
    /// The connection ends, after this answer.
    Refused(Option<Encoded>, String),
}

enum Stage {
    /// Nothing is chosen yet, or all is settled.
    Idle,
    /// Tokens are awaited; `raw` without requests around them.
    Tokens { exchange: Exchange, mechanism: Mechanism, raw: bool },
}

/// A user who is in.
struct Session {
    user: String,
    mechanism: Mechanism,
    expires_ms: Option<i64>,
}

/// One connection's gate.
pub(crate) struct Gate {
    rules: Arc<Rules>,
    /// Access rules hold for who comes in here.
    authorized: bool,
    stage: Stage,
    session: Option<Session>,
}

impl Gate {
    pub(crate) fn new(rules: Arc<Rules>, authorized: bool) -> Self {
        Self { rules, authorized, stage: Stage::Idle, session: None }
    }

    /// Whether it is known who speaks.
    pub(crate) fn is_open(&self) -> bool {
        self.session.is_some()
    }

    pub(crate) fn failure_delay(&self) -> Duration {
        self.rules.failure_delay
    }

    /// Looks at a frame. An error means that the connection ends without an answer.
    pub(crate) fn admit(&mut self, frame: Bytes, now_ms: i64) -> Result<Admitted, String> {
        if matches!(self.stage, Stage::Tokens { raw: true, .. }) {
            return Ok(self.take_raw(&frame, now_ms));
        }
        let code = frame.first_chunk::<2>().map(|code| i16::from_be_bytes(*code));
        match code.and_then(ApiKey::from_code) {
            Some(ApiKey::SaslHandshake) => self.handshake(frame),
            Some(ApiKey::SaslAuthenticate) => self.authenticate(frame, now_ms),
            Some(ApiKey::ApiVersions) => Ok(Admitted::Request(frame)),
            _ => match &self.session {
                None => Err("a request came before authentication".to_owned()),
                Some(session) if session.expires_ms.is_some_and(|expires| expires <= now_ms) => {
                    Err("the session has expired, and was not authenticated again".to_owned())
                }
                Some(_) => Ok(Admitted::Request(frame)),
            },
        }
    }

    fn handshake(&mut self, frame: Bytes) -> Result<Admitted, String> {
        let (header, request) = read::<SaslHandshakeRequest>(frame)?;
        let enabled = |mechanism: &Mechanism| self.rules.mechanisms.contains(mechanism);
        let wanted = Mechanism::from_name(&request.mechanism).filter(enabled);
        let raw = header.api_version < TOKENS_IN_REQUESTS_SINCE;
        let code = match (wanted, &self.session) {
            (None, _) => ErrorCode::UnsupportedSaslMechanism,
            // Bare tokens cannot be told from requests that are under way; and who is in stays who he is.
            (Some(_), Some(_)) if raw => ErrorCode::IllegalSaslState,
            (Some(mechanism), Some(session)) if mechanism != session.mechanism => ErrorCode::IllegalSaslState,
            (Some(mechanism), _) => {
                self.stage = Stage::Tokens { exchange: Exchange::new(mechanism), mechanism, raw };
                ErrorCode::None
            }
        };
        let mechanisms = self.rules.mechanisms.iter().map(|mechanism| mechanism.name().to_owned()).collect();
        let answer = SaslHandshakeResponse { error_code: code.code(), mechanisms };
        let answer = encode::<SaslHandshakeRequest>(&answer, &header)?;
        match code {
            ErrorCode::None => Ok(Admitted::Answer(answer)),
            _ => {
                Ok(Admitted::Refused(Some(answer), format!("SASL mechanism {:?} refused", request.mechanism)))
            }
        }
    }

    fn authenticate(&mut self, frame: Bytes, now_ms: i64) -> Result<Admitted, String> {
        let (header, request) = read::<SaslAuthenticateRequest>(frame)?;
        if matches!(self.stage, Stage::Idle) {
            let answer = SaslAuthenticateResponse {
                error_code: ErrorCode::IllegalSaslState.code(),
                error_message: Some("SaslAuthenticate must follow SaslHandshake".to_owned()),
                ..Default::default()
            };
            let answer = encode::<SaslAuthenticateRequest>(&answer, &header)?;
            return Ok(Admitted::Refused(Some(answer), "authentication without a handshake".to_owned()));
        }
        let answer =
            |response: SaslAuthenticateResponse| encode::<SaslAuthenticateRequest>(&response, &header);
        match self.take(&request.auth_bytes, now_ms) {
            Ok((reply, None)) => {
                let auth_bytes = Bytes::from(reply);
                answer(SaslAuthenticateResponse { auth_bytes, error_message: None, ..Default::default() })
                    .map(Admitted::Answer)
            }
            Ok((reply, Some((user, session_lifetime_ms)))) => {
                let auth_bytes = Bytes::from(reply);
                let response = SaslAuthenticateResponse {
                    auth_bytes,
                    error_message: None,
                    session_lifetime_ms,
                    error_code: 0,
                };
                Ok(Admitted::User(answer(response)?, Principal::user(&user, self.authorized)))
            }
            Err(failure) => {
                let response = SaslAuthenticateResponse {
                    error_code: ErrorCode::SaslAuthenticationFailed.code(),
                    error_message: Some(failure.to_string()),
                    ..Default::default()
                };
                Ok(Admitted::Refused(Some(answer(response)?), failure.to_string()))
            }
        }
    }

    fn take_raw(&mut self, token: &[u8], now_ms: i64) -> Admitted {
        let encode = |reply: Vec<u8>| {
            let mut writer = Writer::new();
            writer.slice(&reply);
            Encoded::from_writer(writer)
        };
        let taken = match self.take(token, now_ms) {
            Ok((reply, user)) => encode(reply).map(|reply| (reply, user)).map_err(|error| error.to_string()),
            Err(failure) => Err(failure.to_string()),
        };
        match taken {
            Ok((reply, None)) => Admitted::Answer(reply),
            Ok((reply, Some((user, _)))) => Admitted::User(reply, Principal::user(&user, self.authorized)),
            Err(reason) => Admitted::Refused(None, reason),
        }
    }

    /// Takes a token: the reply, and once all is proved the user with the session's time in milliseconds.
    fn take(&mut self, token: &[u8], now_ms: i64) -> Result<Taken, Failure> {
        let Stage::Tokens { exchange, mechanism, .. } = &mut self.stage else {
            return Err(Failure("Authentication failed: no mechanism is chosen".to_owned()));
        };
        let mechanism = *mechanism;
        let (reply, user, token_expires_ms) = match exchange.step(token, &self.rules.verifier)? {
            Step::Continue(reply) => return Ok((reply, None)),
            Step::Done { reply, user, expires_ms } => (reply, user, expires_ms),
        };
        if self.session.as_ref().is_some_and(|session| session.user != user) {
            return Err(Failure(
                "Authentication failed: the user changed during re-authentication".to_owned(),
            ));
        }
        let by_setting =
            (self.rules.session_ms_max > 0).then(|| now_ms.saturating_add(self.rules.session_ms_max));
        let expires_ms = [by_setting, token_expires_ms].into_iter().flatten().min();
        let lifetime_ms = expires_ms.map_or(0, |expires| expires.saturating_sub(now_ms).max(1));
        self.stage = Stage::Idle;
        self.session = Some(Session { user: user.clone(), mechanism, expires_ms });
        Ok((reply, Some((user, lifetime_ms))))
    }
}

/// A reply, and who is in by it for how long.
type Taken = (Vec<u8>, Option<(String, i64)>);

/// Now, as sessions count it.
pub(crate) fn now_ms() -> i64 {
    clock::unix_ms()
}

fn read<R: kafka_wire::Request>(frame: Bytes) -> Result<(RequestHeader, R), String> {
    let mut reader = Reader::new(frame);
    let header = RequestHeader::decode(&mut reader).map_err(|error| error.to_string())?;
    if !(R::VERSION_MIN..=R::VERSION_MAX).contains(&header.api_version) {
        return Err(format!("{} version {} is not supported", R::NAME, header.api_version));
    }
    let request = R::decode(&mut reader, header.api_version).map_err(|error| error.to_string())?;
    Ok((header, request))
}

fn encode<R: kafka_wire::Request>(answer: &R::Response, header: &RequestHeader) -> Result<Encoded, String> {
    frame::response::<R>(answer, header.api_version, header.correlation_id).map_err(|error| error.to_string())
}
