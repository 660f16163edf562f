//! SaslHandshake (key 17): chooses how to authenticate.

use crate::api_key::ApiKey;
use crate::schema::{Request, always, message};

message! {
    /// The request: chooses how to authenticate.
    SaslHandshakeRequest, versions 0..=1, flexible i16::MAX;
    /// The SASL mechanism chosen by the client.
    mechanism: String, always();
}

impl Request for SaslHandshakeRequest {
    const API_KEY: ApiKey = ApiKey::SaslHandshake;
    type Response = SaslHandshakeResponse;
}

message! {
    /// The answer to [`SaslHandshakeRequest`].
    SaslHandshakeResponse, versions 0..=1, flexible i16::MAX;
    /// The error code, or 0 if there was no error.
    error_code: i16, always();
    /// The mechanisms enabled in the server.
    mechanisms: Vec<String>, always();
}
