//! The 64 octets that open every connection. Refuses as early as the bytes allow.

use crate::SessionError;

/// Length of a greeting.
pub const GREETING_BYTES: usize = 64;

const SIGNATURE_END: usize = 9;
const MAJOR: usize = 10;
const MINOR: usize = 11;
const MECHANISM: std::ops::Range<usize> = 12..32;
const MECHANISM_NULL: &[u8; 20] = b"NULL\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
const MAJOR_MIN: u8 = 3;

/// What the peer's greeting said about its version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Version {
    /// 3 or more.
    pub major: u8,
    /// 0 or more.
    pub minor: u8,
}

impl Version {
    /// Whether the peer knows SUBSCRIBE and CANCEL as commands (3.1), or as messages (3.0).
    #[must_use]
    pub fn has_subscribe_commands(self) -> bool {
        self.major > MAJOR_MIN || self.minor >= 1
    }
}

/// Our greeting: 3.1, NULL, not as server.
pub(crate) fn encode() -> [u8; GREETING_BYTES] {
    let mut greeting = [0; GREETING_BYTES];
    let start: [(usize, u8); 4] = [(0, 0xff), (SIGNATURE_END, 0x7f), (MAJOR, MAJOR_MIN), (MINOR, 1)];
    for (index, byte) in start {
        if let Some(place) = greeting.get_mut(index) {
            *place = byte;
        }
    }
    if let Some(place) = greeting.get_mut(MECHANISM) {
        place.copy_from_slice(MECHANISM_NULL);
    }
    greeting
}

/// Reads what has come of a greeting: `None` while it is not complete.
///
/// # Errors
/// As soon as a byte is there that no acceptable greeting has.
pub(crate) fn decode(bytes: &[u8]) -> Result<Option<Version>, SessionError> {
    if bytes.first().is_some_and(|byte| *byte != 0xff) {
        return Err(SessionError::NotZmtp);
    }
    // libzmq itself looks at the lowest bit alone.
    if bytes.get(SIGNATURE_END).is_some_and(|byte| byte & 1 == 0) {
        return Err(SessionError::NotZmtp);
    }
    if let Some(major) = bytes.get(MAJOR)
        && *major < MAJOR_MIN
    {
        // The octet is a revision: 0 is ZMTP 1, 1 is ZMTP 2.
        return Err(SessionError::Version(major.saturating_add(1).min(2)));
    }
    if let Some(mechanism) = bytes.get(MECHANISM)
        && mechanism != MECHANISM_NULL
    {
        let name: Vec<u8> = mechanism.iter().copied().take_while(|byte| *byte != 0).collect();
        return Err(SessionError::Mechanism(name.escape_ascii().to_string()));
    }
    if bytes.len() < GREETING_BYTES {
        return Ok(None);
    }
    match (bytes.get(MAJOR), bytes.get(MINOR)) {
        (Some(major), Some(minor)) => Ok(Some(Version { major: *major, minor: *minor })),
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: our own greeting is accepted, whole only.
    #[test]
    fn accepts_its_own_greeting_once_complete() {
        let greeting = encode();
        for length in 0..GREETING_BYTES {
            assert_eq!(decode(&greeting[..length]), Ok(None), "{length} bytes");
        }
        assert_eq!(decode(&greeting), Ok(Some(Version { major: 3, minor: 1 })));
    }

    /// Goal: other versions and mechanisms are refused as soon as their byte is there, by name.
    #[test]
    fn refuses_what_it_cannot_speak() {
        assert_eq!(decode(b"G"), Err(SessionError::NotZmtp));
        let mut greeting = encode();
        greeting[10] = 1;
        assert_eq!(decode(&greeting[..11]), Err(SessionError::Version(2)));
        greeting[10] = 0;
        assert_eq!(decode(&greeting[..11]), Err(SessionError::Version(1)));
        greeting[10] = 4;
        assert_eq!(decode(&greeting), Ok(Some(Version { major: 4, minor: 1 })));
        greeting[12..17].copy_from_slice(b"CURVE");
        assert_eq!(decode(&greeting), Err(SessionError::Mechanism("CURVE".into())));
    }
}
