//! The only place that draws random numbers.

use rand::Rng as _;

/// Sixteen random bytes from the operating system's generator, for ids and epochs.
#[must_use]
pub fn bytes16() -> [u8; 16] {
    let mut bytes = [0; 16];
    rand::rng().fill(&mut bytes);
    bytes
}

/// A random number, for ids and epochs.
#[must_use]
pub fn number() -> u64 {
    rand::rng().random()
}

/// A random fraction in `0.0..1.0`, for jitter.
#[must_use]
pub fn fraction() -> f64 {
    rand::rng().random_range(0.0..1.0)
}

/// Thirty-two hexadecimal digits that nobody can guess, for tokens of local mode.
#[must_use]
pub fn token() -> String {
    bytes16().iter().map(|byte| format!("{byte:02x}")).collect()
}
