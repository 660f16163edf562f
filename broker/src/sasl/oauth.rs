//! OAUTHBEARER (RFC 7628): a signed token of somebody else's, checked against a file of public keys.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
};

use jsonwebtoken::{Algorithm, DecodingKey, Validation, jwk::JwkSet};

/// Bytes of a token at most.
const TOKEN_BYTES_MAX: usize = 16 * 1024;
/// Keys in a file at most.
const KEYS_MAX: usize = 64;
/// What may sign: never a shared secret.
const ALGORITHMS: [Algorithm; 2] = [Algorithm::RS256, Algorithm::ES256];

/// What a token must say.
#[derive(Clone, Debug)]
pub(crate) struct Expected {
    pub(crate) audience: Vec<String>,
    pub(crate) issuer: Option<String>,
    /// The claim that is the user's name.
    pub(crate) user_claim: String,
    pub(crate) clock_skew_seconds: u64,
}

/// Whom a token names, and until when.
#[derive(Debug)]
pub(crate) struct Bearer {
    pub(crate) user: String,
    pub(crate) expires_ms: i64,
}

/// The public keys in use.
pub(crate) struct Keys {
    pub(crate) file: PathBuf,
    expected: Expected,
    keys: RwLock<Arc<JwkSet>>,
}

impl Keys {
    pub(crate) fn open(file: &Path, expected: Expected) -> Result<Self, String> {
        let keys = RwLock::new(Arc::new(read(file)?));
        Ok(Self { file: file.to_owned(), expected, keys })
    }

    /// Uses the file as it is now; what cannot be read leaves the old keys in use.
    pub(crate) fn read_again(&self) -> Result<(), String> {
        let keys = Arc::new(read(&self.file)?);
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = keys;
        Ok(())
    }

    /// Checks signature, times, audience and issuer; the error says why not and nothing of the token.
    pub(crate) fn verify(&self, token: &str) -> Result<Bearer, String> {
        let keys = Arc::clone(&self.keys.read().unwrap_or_else(PoisonError::into_inner));
        let header = jsonwebtoken::decode_header(token).map_err(|error| error.to_string())?;
        if !ALGORITHMS.contains(&header.alg) {
            return Err(format!("{:?} is not allowed", header.alg));
        }
        let key = match &header.kid {
            Some(id) => keys.find(id),
            None => keys.keys.first().filter(|_| keys.keys.len() == 1),
        };
        let key =
            DecodingKey::from_jwk(key.ok_or("the key is unknown")?).map_err(|error| error.to_string())?;
        let mut validation = Validation::new(header.alg);
        validation.leeway = self.expected.clock_skew_seconds;
        validation.validate_nbf = true;
        validation.validate_aud = !self.expected.audience.is_empty();
        let mut required = vec!["exp"];
        if validation.validate_aud {
            validation.set_audience(&self.expected.audience);
            required.push("aud");
        }
        if let Some(issuer) = &self.expected.issuer {
            validation.set_issuer(&[issuer]);
            required.push("iss");
        }
        validation.set_required_spec_claims(&required);
        let claims = jsonwebtoken::decode::<serde_json::Value>(token, &key, &validation);
        let claims = claims.map_err(|error| error.to_string())?.claims;
        let text = |name: &str| claims.get(name).and_then(serde_json::Value::as_str);
        let user = text(&self.expected.user_claim).filter(|user| !user.is_empty() && user.len() <= 1_000);
        let user = user.ok_or("there is no claim with a user")?.to_owned();
        let expires =
            claims.get("exp").and_then(serde_json::Value::as_i64).ok_or("exp is not a whole number")?;
        Ok(Bearer { user, expires_ms: expires.saturating_mul(1_000) })
    }
}

fn read(file: &Path) -> Result<JwkSet, String> {
    let text = std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    let keys: JwkSet =
        serde_json::from_str(&text).map_err(|error| format!("{} is not a JWKS: {error}", file.display()))?;
    if keys.keys.is_empty() || keys.keys.len() > KEYS_MAX {
        return Err(format!("{} must hold 1 to {KEYS_MAX} keys", file.display()));
    }
    Ok(keys)
}

/// Reads `n,[a=NAME],^Aauth=Bearer TOKEN^A…^A^A`.
pub(crate) fn parse(message: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(message).ok().filter(|text| text.len() <= TOKEN_BYTES_MAX)?;
    let mut parts = text.split('\x01');
    let header = parts.next()?;
    // Acting for another user is not possible.
    if header != "n,," {
        return None;
    }
    let auth = parts.find_map(|part| part.strip_prefix("auth="))?;
    let (scheme, token) = auth.split_once(' ')?;
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then(|| token.trim().to_owned())
}
