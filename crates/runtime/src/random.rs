//! The only place that draws random numbers.

use std::cell::RefCell;
use std::time::Duration;

use rand::{RngCore as _, SeedableRng as _, rngs::StdRng};

thread_local! {
    static SEEDED: RefCell<Option<StdRng>> = const { RefCell::new(None) };
}

/// From now on this thread draws what follows from `seed`. For simulations: no program calls it.
pub fn seed(seed: u64) {
    SEEDED.set(Some(StdRng::seed_from_u64(seed)));
}

fn fill(bytes: &mut [u8]) {
    SEEDED.with_borrow_mut(|seeded| match seeded {
        Some(seeded) => seeded.fill_bytes(bytes),
        None => rand::rng().fill_bytes(bytes),
    });
}

/// Sixteen random bytes from the operating system's generator, for ids and epochs.
#[must_use]
pub fn bytes16() -> [u8; 16] {
    let mut bytes = [0; 16];
    fill(&mut bytes);
    bytes
}

/// A random number, for ids and epochs.
#[must_use]
pub fn number() -> u64 {
    let mut bytes = [0; 8];
    fill(&mut bytes);
    u64::from_le_bytes(bytes)
}

/// A random fraction in `0.0..1.0`, for jitter.
#[must_use]
pub fn fraction() -> f64 {
    // Fifty-three bits are what a double holds.
    (number() >> 11) as f64 / (1_u64 << 53) as f64
}

/// Between three quarters of a period and all of it, so that those who began together do not stay together.
#[must_use]
pub fn jittered(period: Duration) -> Duration {
    period.mul_f64(0.75 + fraction() / 4.0)
}

/// Thirty-two hexadecimal digits that nobody can guess, for tokens of local mode.
#[must_use]
pub fn token() -> String {
    bytes16().iter().map(|byte| format!("{byte:02x}")).collect()
}
