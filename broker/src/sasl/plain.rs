//! PLAIN (RFC 4616): a name and a password in one message. Reads the message, checks nothing.

/// Bytes of a name or a password at most.
const BYTES_MAX: usize = 1_024;

/// Who somebody says he is.
pub(crate) struct Claim<'a> {
    pub(crate) user: &'a str,
    pub(crate) password: &'a str,
}

/// Reads `[authzid] NUL authcid NUL passwd`. Acting for another user is not possible: both names must be one.
pub(crate) fn parse(token: &[u8]) -> Option<Claim<'_>> {
    let text = std::str::from_utf8(token).ok()?;
    let mut parts = text.split('\0');
    let (acting_for, user, password) = (parts.next()?, parts.next()?, parts.next()?);
    let is_fine = |part: &str| !part.is_empty() && part.len() <= BYTES_MAX;
    let one_user = acting_for.is_empty() || acting_for == user;
    (parts.next().is_none() && one_user && is_fine(user) && is_fine(password))
        .then_some(Claim { user, password })
}
