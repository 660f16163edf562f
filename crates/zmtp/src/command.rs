//! Commands: READY, ERROR, SUBSCRIBE, CANCEL, PING, PONG. A pure codec over one frame's body.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::SessionError;

const CONTEXT_BYTES_MAX: usize = 16;
const REASON_BYTES_MAX: usize = 255;

/// One property of READY.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Property {
    /// Compared without regard to case; 1 to 255 bytes.
    pub name: Bytes,
    /// Any bytes.
    pub value: Bytes,
}

/// A command of ZMTP 3.1 with the NULL mechanism.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// The handshake: who is speaking.
    Ready(Vec<Property>),
    /// The peer refuses us, with a reason of at most 255 bytes.
    Error(Bytes),
    /// Wants subjects that start with this.
    Subscribe(Bytes),
    /// No longer wants them.
    Cancel(Bytes),
    /// Are you there? `ttl_ms` 0 = no promise; the context comes back in the PONG.
    Ping {
        /// Milliseconds (on the wire: tenths of a second) of silence after which the sender wants to be cut.
        ttl_ms: u32,
        /// At most 16 bytes.
        context: Bytes,
    },
    /// The answer to a PING.
    Pong(Bytes),
    /// A name this crate does not know; its data is dropped.
    Unknown(Bytes),
}

impl Command {
    /// Reads the body of a command frame.
    ///
    /// # Errors
    /// When lengths inside do not add up.
    pub fn decode(mut body: Bytes) -> Result<Self, SessionError> {
        let name = short(&mut body).ok_or(SessionError::Malformed("nameless"))?;
        Ok(match &name[..] {
            b"READY" => Self::Ready(properties(body)?),
            b"ERROR" => Self::Error(short(&mut body).ok_or(SessionError::Malformed("ERROR"))?),
            b"SUBSCRIBE" => Self::Subscribe(body),
            b"CANCEL" => Self::Cancel(body),
            b"PING" => {
                if body.len() < 2 || body.len() > CONTEXT_BYTES_MAX.saturating_add(2) {
                    return Err(SessionError::Malformed("PING"));
                }
                let ttl_ms = u32::from(body.get_u16()).saturating_mul(100);
                Self::Ping { ttl_ms, context: body }
            }
            b"PONG" if body.len() > CONTEXT_BYTES_MAX => return Err(SessionError::Malformed("PONG")),
            b"PONG" => Self::Pong(body),
            _ => Self::Unknown(name),
        })
    }

    /// Writes the body of a command frame. Names and reasons are cut to the 255 bytes that fit.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        match self {
            Self::Ready(properties) => {
                put_short(&mut out, b"READY");
                for Property { name, value } in properties {
                    put_short(&mut out, name);
                    out.put_u32(u32::try_from(value.len()).unwrap_or(u32::MAX));
                    out.put_slice(value);
                }
            }
            Self::Error(reason) => {
                put_short(&mut out, b"ERROR");
                put_short(&mut out, reason);
            }
            Self::Subscribe(prefix) => {
                put_short(&mut out, b"SUBSCRIBE");
                out.put_slice(prefix);
            }
            Self::Cancel(prefix) => {
                put_short(&mut out, b"CANCEL");
                out.put_slice(prefix);
            }
            Self::Ping { ttl_ms, context } => {
                put_short(&mut out, b"PING");
                out.put_u16(u16::try_from(ttl_ms.div_ceil(100)).unwrap_or(u16::MAX));
                out.put_slice(context);
            }
            Self::Pong(context) => {
                put_short(&mut out, b"PONG");
                out.put_slice(context);
            }
            Self::Unknown(name) => put_short(&mut out, name),
        }
        out.freeze()
    }
}

fn put_short(out: &mut BytesMut, bytes: &[u8]) {
    let cut = bytes.get(..bytes.len().min(REASON_BYTES_MAX)).unwrap_or_default();
    out.put_u8(u8::try_from(cut.len()).unwrap_or(u8::MAX));
    out.put_slice(cut);
}

/// Bytes behind a length of one octet.
fn short(body: &mut Bytes) -> Option<Bytes> {
    let length = usize::from(body.try_get_u8().ok()?);
    (body.len() >= length).then(|| body.split_to(length))
}

fn properties(mut body: Bytes) -> Result<Vec<Property>, SessionError> {
    let mut properties = Vec::new();
    while body.has_remaining() {
        let name =
            short(&mut body).filter(|name| !name.is_empty()).ok_or(SessionError::Malformed("READY"))?;
        let length = body.try_get_u32().ok().and_then(|length| usize::try_from(length).ok());
        let value = match length {
            Some(length) if length <= body.len() => body.split_to(length),
            _ => return Err(SessionError::Malformed("READY")),
        };
        properties.push(Property { name, value });
    }
    Ok(properties)
}

#[cfg(test)]
mod tests;
