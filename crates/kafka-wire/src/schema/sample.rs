//! Test only: values of every message, filled from a seed, legal in a given version.

use bytes::Bytes;
use uuid::Uuid;

use super::Place;
use crate::primitives::{Float64, Scope};

/// A small generator, so that a seed repeats a message.
pub(crate) struct Source(u64);

impl Source {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn length(&mut self) -> usize {
        usize::from(self.next().to_le_bytes()[3] % 4)
    }

    fn one_in_four(&mut self) -> bool {
        self.length() == 0
    }
}

/// A type that can be made from a seed.
pub(crate) trait Sample {
    fn sample(source: &mut Source, scope: Scope) -> Self;
}

/// Fills a field if its version has it.
pub(crate) fn fill<T: Sample>(slot: &mut T, source: &mut Source, place: Place) {
    if place.rule.holds(place.version) {
        *slot = T::sample(source, place.scope());
    }
}

macro_rules! integers {
    ($($type:ty),*) => {
        $(impl Sample for $type {
            fn sample(source: &mut Source, _scope: Scope) -> Self {
                let mut bytes = [0; size_of::<Self>()];
                let random = source.next().to_le_bytes();
                bytes.copy_from_slice(&random[..size_of::<Self>()]);
                Self::from_le_bytes(bytes)
            }
        })*
    };
}

integers!(i8, i16, u16, i32, u32, i64);

impl Sample for Float64 {
    fn sample(source: &mut Source, _scope: Scope) -> Self {
        // Finite, so that the oracle's comparison by value holds.
        Self::from(f64::from(i32::from_le_bytes([source.next().to_le_bytes()[0], 1, 2, 3])) / 7.0)
    }
}

impl Sample for bool {
    fn sample(source: &mut Source, _scope: Scope) -> Self {
        source.next() & 2 == 0
    }
}

impl Sample for Uuid {
    fn sample(source: &mut Source, _scope: Scope) -> Self {
        Self::from_u64_pair(source.next(), source.next())
    }
}

impl Sample for String {
    fn sample(source: &mut Source, _scope: Scope) -> Self {
        "grüße-kafka".chars().skip(source.length()).take(source.length() * 3).collect()
    }
}

impl Sample for Bytes {
    fn sample(source: &mut Source, _scope: Scope) -> Self {
        // Now and then large enough to be carried uncopied.
        let repeat = if source.one_in_four() { 700 } else { 1 };
        Self::from(source.next().to_le_bytes().repeat(repeat * source.length()))
    }
}

impl<T: Sample> Sample for Vec<T> {
    fn sample(source: &mut Source, scope: Scope) -> Self {
        (0..source.length()).map(|_| T::sample(source, scope)).collect()
    }
}

impl<T: Sample> Sample for Option<T> {
    fn sample(source: &mut Source, scope: Scope) -> Self {
        if scope.nullable && source.one_in_four() { None } else { Some(T::sample(source, scope)) }
    }
}

/// Takes a value of which a test wants nothing but that it came about.
pub(crate) fn used<T>(value: T) {
    drop(std::hint::black_box(value));
}
