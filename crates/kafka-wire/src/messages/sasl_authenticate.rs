//! SaslAuthenticate (key 36): carries the bytes of an authentication.

use bytes::Bytes;

use crate::api_key::ApiKey;
use crate::schema::{Request, always, message, since};

message! {
    /// The request: carries the client's bytes of an authentication.
    SaslAuthenticateRequest, versions 0..=2, flexible 2;
    /// The SASL authentication bytes from the client, as defined by the SASL mechanism.
    auth_bytes: Bytes, always();
}

impl Request for SaslAuthenticateRequest {
    const API_KEY: ApiKey = ApiKey::SaslAuthenticate;
    type Response = SaslAuthenticateResponse;
}

message! {
    /// The answer to [`SaslAuthenticateRequest`].
    SaslAuthenticateResponse, versions 0..=2, flexible 2;
    /// The error code, or 0 if there was no error.
    error_code: i16, always();
    /// The error message, or null if there was no error.
    error_message: Option<String> = Some(Default::default()), always();
    /// The SASL authentication bytes from the server, as defined by the SASL mechanism.
    auth_bytes: Bytes, always();
    /// Number of milliseconds after which only re-authentication over the existing connection to create a new
    /// session can occur.
    session_lifetime_ms: i64, since(1).ignorable();
}
