//! How each Rust type that a message may hold is read and written.
//!
//! The type alone decides the wire form together with [`Scope`]; which versions have the field is
//! the business of the message tables.

use bytes::Bytes;
use uuid::Uuid;

use super::{DecodeError, EncodeError, Fault, Reader, Writer};
use crate::schema::Message;

/// Elements for which room is made before the first one has been decoded.
const ELEMENTS_RESERVED_MAX: usize = 1024;

/// What a value's wire form depends on, besides its type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scope {
    /// Version of the message.
    pub version: i16,
    /// Compact lengths and tagged fields (KIP-482).
    pub flexible: bool,
    /// Whether this version allows null here.
    pub nullable: bool,
    /// Message and field, for errors.
    pub field: &'static str,
}

/// A type that a message may hold.
pub trait Field: Sized {
    /// Reads the value.
    fn decode_field(reader: &mut Reader, scope: Scope) -> Result<Self, DecodeError>;

    /// Writes the value.
    fn encode_field(&self, writer: &mut Writer, scope: Scope) -> Result<(), EncodeError>;
}

/// Types of fixed size differ only in the two methods that read and write them.
macro_rules! fixed {
    ($($type:ty: $method:ident;)*) => {
        $(impl Field for $type {
            fn decode_field(reader: &mut Reader, scope: Scope) -> Result<Self, DecodeError> {
                reader.$method().map_err(|fault| fault.in_field(scope.field))
            }

            fn encode_field(&self, writer: &mut Writer, _scope: Scope) -> Result<(), EncodeError> {
                writer.$method(*self);
                Ok(())
            }
        })*
    };
}

fixed! {
    bool: boolean;
    i8: int8;
    i16: int16;
    u16: uint16;
    i32: int32;
    u32: uint32;
    i64: int64;
    Uuid: uuid;
}

/// Null, where it is allowed; null that is not allowed is an error.
fn null_if_allowed<T>(scope: Scope) -> Result<Option<T>, DecodeError> {
    if scope.nullable { Ok(None) } else { Err(Fault::Null.in_field(scope.field)) }
}

/// What stands for `None`: null, or an empty value in versions that have no null.
fn or_empty<T>(value: Option<T>, empty: T, scope: Scope) -> Option<T> {
    match value {
        None if !scope.nullable => Some(empty),
        other => other,
    }
}

impl Field for String {
    fn decode_field(reader: &mut Reader, scope: Scope) -> Result<Self, DecodeError> {
        reader
            .string(scope.flexible)
            .and_then(|text| text.ok_or(Fault::Null))
            .map_err(|fault| fault.in_field(scope.field))
    }

    fn encode_field(&self, writer: &mut Writer, scope: Scope) -> Result<(), EncodeError> {
        writer.string(Some(self), scope.flexible)
    }
}

impl Field for Option<String> {
    fn decode_field(reader: &mut Reader, scope: Scope) -> Result<Self, DecodeError> {
        let text = reader.string(scope.flexible).map_err(|fault| fault.in_field(scope.field))?;
        text.map_or_else(|| null_if_allowed(scope), |text| Ok(Some(text)))
    }

    fn encode_field(&self, writer: &mut Writer, scope: Scope) -> Result<(), EncodeError> {
        writer.string(or_empty(self.as_deref(), "", scope), scope.flexible)
    }
}

impl Field for Bytes {
    fn decode_field(reader: &mut Reader, scope: Scope) -> Result<Self, DecodeError> {
        reader
            .byte_string(scope.flexible)
            .and_then(|bytes| bytes.ok_or(Fault::Null))
            .map_err(|fault| fault.in_field(scope.field))
    }

    fn encode_field(&self, writer: &mut Writer, scope: Scope) -> Result<(), EncodeError> {
        writer.byte_string(Some(self), scope.flexible)
    }
}

impl Field for Option<Bytes> {
    fn decode_field(reader: &mut Reader, scope: Scope) -> Result<Self, DecodeError> {
        let bytes = reader.byte_string(scope.flexible).map_err(|fault| fault.in_field(scope.field))?;
        bytes.map_or_else(|| null_if_allowed(scope), |bytes| Ok(Some(bytes)))
    }

    fn encode_field(&self, writer: &mut Writer, scope: Scope) -> Result<(), EncodeError> {
        writer.byte_string(or_empty(self.as_ref(), &Bytes::new(), scope), scope.flexible)
    }
}

fn decode_array<T: Field>(reader: &mut Reader, scope: Scope) -> Result<Option<Vec<T>>, DecodeError> {
    let count = reader.array_length::<T>(scope.flexible).map_err(|fault| fault.in_field(scope.field))?;
    let Some(count) = count else { return Ok(None) };
    let inner = Scope { nullable: false, ..scope };
    let mut elements = Vec::with_capacity(count.min(ELEMENTS_RESERVED_MAX));
    for _ in 0..count {
        elements.push(T::decode_field(reader, inner)?);
    }
    Ok(Some(elements))
}

fn encode_array<T: Field>(
    elements: Option<&[T]>,
    writer: &mut Writer,
    scope: Scope,
) -> Result<(), EncodeError> {
    writer.array_length(elements.map(<[T]>::len), scope.flexible)?;
    let inner = Scope { nullable: false, ..scope };
    elements.unwrap_or_default().iter().try_for_each(|element| element.encode_field(writer, inner))
}

impl<T: Field> Field for Vec<T> {
    fn decode_field(reader: &mut Reader, scope: Scope) -> Result<Self, DecodeError> {
        decode_array(reader, scope)?.ok_or_else(|| Fault::Null.in_field(scope.field))
    }

    fn encode_field(&self, writer: &mut Writer, scope: Scope) -> Result<(), EncodeError> {
        encode_array(Some(self), writer, scope)
    }
}

impl<T: Field> Field for Option<Vec<T>> {
    fn decode_field(reader: &mut Reader, scope: Scope) -> Result<Self, DecodeError> {
        let elements = decode_array(reader, scope)?;
        elements.map_or_else(|| null_if_allowed(scope), |elements| Ok(Some(elements)))
    }

    fn encode_field(&self, writer: &mut Writer, scope: Scope) -> Result<(), EncodeError> {
        encode_array(or_empty(self.as_deref(), &[], scope), writer, scope)
    }
}

/// A structure that may be null: a byte says whether it is there.
impl<T: Message> Field for Option<T> {
    fn decode_field(reader: &mut Reader, scope: Scope) -> Result<Self, DecodeError> {
        if reader.int8().map_err(|fault| fault.in_field(scope.field))? < 0 {
            return null_if_allowed(scope);
        }
        T::decode(reader, scope.version).map(Some)
    }

    fn encode_field(&self, writer: &mut Writer, scope: Scope) -> Result<(), EncodeError> {
        match self {
            Some(value) => {
                writer.int8(1);
                value.encode(writer, scope.version)
            }
            None if scope.nullable => {
                writer.int8(-1);
                Ok(())
            }
            None => Err(EncodeError::FieldUnavailable { field: scope.field, version: scope.version }),
        }
    }
}
