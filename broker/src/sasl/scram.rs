//! SCRAM (RFC 5802 and 7677), the server's side: pure, with the server's nonce given from outside.

use std::num::NonZeroU32;

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use ring::{digest, hmac, pbkdf2};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq as _;

/// Kafka's bounds for iterations.
pub(crate) const ITERATIONS_MIN: i32 = 4_096;
pub(crate) const ITERATIONS_MAX: i32 = 16_384;
/// Bytes of a client's message at most.
const MESSAGE_BYTES_MAX: usize = 4_096;

/// The hash of a mechanism, with Kafka's code for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) enum Hash {
    Sha256 = 1,
    Sha512 = 2,
}

impl Hash {
    pub(crate) const ALL: [Self; 2] = [Self::Sha256, Self::Sha512];

    pub(crate) fn from_code(code: i8) -> Option<Self> {
        Self::ALL.into_iter().find(|hash| hash.code() == code)
    }

    pub(crate) fn code(self) -> i8 {
        self as i8
    }

    pub(crate) fn bytes(self) -> usize {
        self.digest().output_len()
    }

    fn digest(self) -> &'static digest::Algorithm {
        match self {
            Self::Sha256 => &digest::SHA256,
            Self::Sha512 => &digest::SHA512,
        }
    }

    fn pbkdf2(self) -> pbkdf2::Algorithm {
        match self {
            Self::Sha256 => pbkdf2::PBKDF2_HMAC_SHA256,
            Self::Sha512 => pbkdf2::PBKDF2_HMAC_SHA512,
        }
    }

    fn hmac(self, key: &[u8], text: &[u8]) -> Vec<u8> {
        let algorithm = match self {
            Self::Sha256 => hmac::HMAC_SHA256,
            Self::Sha512 => hmac::HMAC_SHA512,
        };
        hmac::sign(&hmac::Key::new(algorithm, key), text).as_ref().to_vec()
    }
}

/// What the server keeps of a password: enough to check it, not enough to be the user elsewhere.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Credential {
    pub(crate) salt: Vec<u8>,
    pub(crate) iterations: i32,
    stored_key: Vec<u8>,
    server_key: Vec<u8>,
}

impl Credential {
    /// From what a client derived of the password (Kafka's `AlterUserScramCredentials`).
    pub(crate) fn from_salted(hash: Hash, salted_password: &[u8], salt: Vec<u8>, iterations: i32) -> Self {
        let client_key = hash.hmac(salted_password, b"Client Key");
        let stored_key = digest::digest(hash.digest(), &client_key).as_ref().to_vec();
        let server_key = hash.hmac(salted_password, b"Server Key");
        Self { salt, iterations, stored_key, server_key }
    }

    /// From the password itself.
    pub(crate) fn from_password(hash: Hash, password: &str, salt: Vec<u8>) -> Self {
        let mut salted = vec![0; hash.bytes()];
        let rounds = NonZeroU32::new(ITERATIONS_MIN.unsigned_abs()).unwrap_or(NonZeroU32::MIN);
        pbkdf2::derive(hash.pbkdf2(), rounds, &salt, password.as_bytes(), &mut salted);
        Self::from_salted(hash, &salted, salt, ITERATIONS_MIN)
    }

    /// One that no password fits, so that unknown users look like known ones.
    pub(crate) fn of_nobody(hash: Hash, salt: Vec<u8>) -> Self {
        let never = || vec![0; hash.bytes()];
        Self { salt, iterations: ITERATIONS_MIN, stored_key: never(), server_key: never() }
    }
}

/// The client's first message.
pub(crate) struct First {
    pub(crate) user: String,
    /// What the client said about channel binding and acting for others; it must say it again.
    header: String,
    bare: String,
    nonce: String,
}

impl First {
    /// Reads `n,[a=NAME],n=NAME,r=NONCE`. Channel binding, extensions that must be understood, and acting for
    /// another user are refused.
    pub(crate) fn parse(token: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(token).ok().filter(|text| text.len() <= MESSAGE_BYTES_MAX)?;
        let mut parts = text.splitn(3, ',');
        let (binding, acting_for, bare) = (parts.next()?, parts.next()?, parts.next()?);
        if !matches!(binding, "n" | "y") {
            return None;
        }
        let mut fields = bare.split(',');
        let user = unescape(fields.next()?.strip_prefix("n=")?)?;
        let nonce = fields.next()?.strip_prefix("r=")?.to_owned();
        // Kafka's clients ask for delegation tokens by an extension; there are none here.
        let asks_for_token = fields.any(|field| field.eq_ignore_ascii_case("tokenauth=true"));
        let one_user = match acting_for.strip_prefix("a=") {
            Some(other) => unescape(other)? == user,
            None => acting_for.is_empty(),
        };
        let is_printable = |text: &str| text.bytes().all(|byte| matches!(byte, 0x21..=0x7e));
        let fine =
            one_user && !asks_for_token && !user.is_empty() && !nonce.is_empty() && is_printable(&nonce);
        let header = format!("{binding},{acting_for},");
        fine.then(|| Self { user, header, bare: bare.to_owned(), nonce })
    }
}

/// `=2C` and `=3D` stand for the comma and the equals sign; any other `=` is wrong.
fn unescape(name: &str) -> Option<String> {
    let mut parts = name.split('=');
    let mut text = parts.next()?.to_owned();
    for part in parts {
        let (sign, rest) = (part.get(..2)?, part.get(2..)?);
        text.push(match sign {
            "2C" => ',',
            "3D" => '=',
            _ => return None,
        });
        text.push_str(rest);
    }
    Some(text)
}

/// The server has asked; the client has to prove that it knows the password.
pub(crate) struct Challenge {
    hash: Hash,
    first: First,
    credential: Credential,
    nonce: String,
    server_first: String,
}

impl Challenge {
    pub(crate) fn new(hash: Hash, first: First, credential: Credential, server_nonce: &str) -> Self {
        let nonce = format!("{}{server_nonce}", first.nonce);
        let server_first =
            format!("r={nonce},s={},i={}", BASE64.encode(&credential.salt), credential.iterations);
        Self { hash, first, credential, nonce, server_first }
    }

    pub(crate) fn server_first(&self) -> &str {
        &self.server_first
    }

    pub(crate) fn hash(&self) -> Hash {
        self.hash
    }

    pub(crate) fn user(&self) -> &str {
        &self.first.user
    }

    /// The server's last message if the client's `c=…,r=…,p=…` proves the password.
    pub(crate) fn finish(&self, token: &[u8]) -> Option<Vec<u8>> {
        let text = std::str::from_utf8(token).ok().filter(|text| text.len() <= MESSAGE_BYTES_MAX)?;
        let (without_proof, proof) = text.rsplit_once(",p=")?;
        let mut fields = without_proof.split(',');
        let binding = fields.next()?.strip_prefix("c=")?;
        let nonce = fields.next()?.strip_prefix("r=")?;
        // librdkafka before 2.6 puts its own nonce before the whole one again, and Kafka lets it; the proof covers it.
        if binding != BASE64.encode(&self.first.header) || !nonce.ends_with(&self.nonce) {
            return None;
        }
        let proof = BASE64.decode(proof).ok().filter(|proof| proof.len() == self.hash.bytes())?;
        let auth = format!("{},{},{without_proof}", self.first.bare, self.server_first);
        let signature = self.hash.hmac(&self.credential.stored_key, auth.as_bytes());
        let client_key: Vec<u8> = proof.iter().zip(&signature).map(|(one, two)| one ^ two).collect();
        let hashed = digest::digest(self.hash.digest(), &client_key);
        if !bool::from(hashed.as_ref().ct_eq(&self.credential.stored_key)) {
            return None;
        }
        let verifier = self.hash.hmac(&self.credential.server_key, auth.as_bytes());
        Some(format!("v={}", BASE64.encode(verifier)).into_bytes())
    }
}
