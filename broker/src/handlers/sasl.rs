//! SaslHandshake and SaslAuthenticate where nobody is asked to authenticate: the gate before answers all others.

use kafka_wire::{
    ErrorCode,
    messages::{
        SaslAuthenticateRequest, SaslAuthenticateResponse, SaslHandshakeRequest, SaslHandshakeResponse,
    },
};

use crate::broker::Context;

pub(crate) async fn handshake(_: Context, _: SaslHandshakeRequest, _: i16) -> SaslHandshakeResponse {
    SaslHandshakeResponse { error_code: ErrorCode::IllegalSaslState.code(), ..Default::default() }
}

pub(crate) async fn authenticate(_: Context, _: SaslAuthenticateRequest, _: i16) -> SaslAuthenticateResponse {
    SaslAuthenticateResponse {
        error_code: ErrorCode::IllegalSaslState.code(),
        error_message: Some("this connection does not use SASL".to_owned()),
        ..Default::default()
    }
}
