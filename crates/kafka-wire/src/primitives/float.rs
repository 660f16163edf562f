//! A 64-bit float that is compared by its bits, so that messages with one are compared like all others.

use super::{DecodeError, EncodeError, Field, Reader, Scope, Writer};

/// A float as it is on the wire.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Float64 {
    bits: i64,
}

impl Float64 {
    /// Its value; any bits are some value, among them infinities and what is not a number.
    #[must_use]
    pub const fn get(self) -> f64 {
        f64::from_bits(self.bits.cast_unsigned())
    }
}

impl From<f64> for Float64 {
    fn from(value: f64) -> Self {
        Self { bits: value.to_bits().cast_signed() }
    }
}

impl Field for Float64 {
    fn decode_field(reader: &mut Reader, scope: Scope) -> Result<Self, DecodeError> {
        i64::decode_field(reader, scope).map(|bits| Self { bits })
    }

    fn encode_field(&self, writer: &mut Writer, scope: Scope) -> Result<(), EncodeError> {
        self.bits.encode_field(writer, scope)
    }
}
