//! How a message is written down: a table of fields, as in Kafka's own schema files.
//!
//! Kafka describes about 90 structures by field, type, versions, nullable versions, tag and default.
//! Each needs a type, a decoder and an encoder that agree in every version. A function cannot make
//! a type from such a table and writing both directions by hand is where they come to disagree, so
//! this crate has one macro, [`message`]; everything it does per field is in the functions below.
//! A nullable structure is an `Option` of one; it is no element of arrays.

use crate::api_key::ApiKey;
use crate::primitives::{DecodeError, EncodeError, Fault, Field, Reader, Scope, Writer};

/// A structure with versions.
pub trait Message: Sized {
    /// Its name in Kafka's schemas.
    const NAME: &'static str;
    /// First version.
    const VERSION_MIN: i16;
    /// Last version.
    const VERSION_MAX: i16;
    /// First version with compact lengths and tagged fields; `i16::MAX` if there is none.
    const FLEXIBLE_MIN: i16;

    /// Reads the message in the given version.
    fn decode(reader: &mut Reader, version: i16) -> Result<Self, DecodeError>;

    /// Writes the message in the given version.
    fn encode(&self, writer: &mut Writer, version: i16) -> Result<(), EncodeError>;

    /// Its field `throttle_time_ms`, when it has one: for how long its receiver should send nothing.
    fn throttle_time_ms(&mut self) -> Option<&mut i32>;
}

/// A message that asks for another one.
pub trait Request: Message {
    /// The API that it calls.
    const API_KEY: ApiKey;
    /// What comes back, in the same version.
    type Response: Message;
}

/// In which versions a field exists, may be null, and how it is carried.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rule {
    first: i16,
    last: i16,
    nullable_first: i16,
    tag: Option<u32>,
    ignorable: bool,
}

/// A field of every version.
pub(crate) const fn always() -> Rule {
    since(0)
}

/// A field from version `first` on.
pub(crate) const fn since(first: i16) -> Rule {
    between(first, i16::MAX)
}

/// A field of the versions `first..=last`.
pub(crate) const fn between(first: i16, last: i16) -> Rule {
    Rule { first, last, nullable_first: 0, tag: None, ignorable: false }
}

impl Rule {
    /// Null is allowed only from version `first` on. Only for types that have a null.
    pub(crate) const fn null_since(mut self, first: i16) -> Self {
        self.nullable_first = first;
        self
    }

    /// Carried as a tagged field, left out when it has its default value.
    pub(crate) const fn tag(mut self, tag: u32) -> Self {
        self.tag = Some(tag);
        self
    }

    /// Dropped without an error in versions that have no such field.
    pub(crate) const fn ignorable(mut self) -> Self {
        self.ignorable = true;
        self
    }

    pub(crate) const fn holds(self, version: i16) -> bool {
        self.first <= version && version <= self.last
    }

    const fn scope(self, field: &'static str, version: i16, flexible: bool) -> Scope {
        Scope { version, flexible, nullable: version >= self.nullable_first, field }
    }
}

/// The place of one field in one message of one version.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    pub(crate) field: &'static str,
    pub(crate) rule: Rule,
    pub(crate) version: i16,
    pub(crate) flexible: bool,
}

impl Place {
    const fn scope(self) -> Scope {
        self.rule.scope(self.field, self.version, self.flexible)
    }
}

/// Reads a field into its slot unless it is tagged or not of this version.
pub(crate) fn decode_untagged<T: Field>(
    slot: &mut T,
    reader: &mut Reader,
    place: Place,
) -> Result<(), DecodeError> {
    if place.rule.tag.is_none() && place.rule.holds(place.version) {
        *slot = T::decode_field(reader, place.scope())?;
    }
    Ok(())
}

/// Reads a field into its slot if it is the one with this tag.
pub(crate) fn decode_tagged<T: Field>(
    slot: &mut T,
    tag: u32,
    reader: &mut Reader,
    place: Place,
) -> Result<(), DecodeError> {
    if place.rule.tag == Some(tag) && place.rule.holds(place.version) {
        *slot = T::decode_field(reader, place.scope())?;
    }
    Ok(())
}

/// Writes a field unless it is tagged; refuses to lose one that this version cannot carry.
pub(crate) fn encode_untagged<T: Field + PartialEq>(
    value: &T,
    default: &T,
    writer: &mut Writer,
    place: Place,
) -> Result<(), EncodeError> {
    if !place.rule.holds(place.version) {
        if place.rule.ignorable || value == default {
            return Ok(());
        }
        return Err(EncodeError::FieldUnavailable { field: place.field, version: place.version });
    }
    if place.rule.tag.is_none() { value.encode_field(writer, place.scope()) } else { Ok(()) }
}

/// Adds a tagged field to the list unless it has its default value.
pub(crate) fn collect_tagged<T: Field + PartialEq>(
    value: &T,
    default: &T,
    tagged: &mut Vec<(u32, Writer)>,
    place: Place,
) -> Result<(), EncodeError> {
    let Some(tag) = place.rule.tag else { return Ok(()) };
    if place.rule.holds(place.version) && value != default {
        let mut body = Writer::new();
        value.encode_field(&mut body, place.scope())?;
        tagged.push((tag, body));
    }
    Ok(())
}

/// Writes the collected tagged fields, which the tables list in the order of their tags.
pub(crate) fn encode_tagged(tagged: Vec<(u32, Writer)>, writer: &mut Writer) -> Result<(), EncodeError> {
    let count = u32::try_from(tagged.len()).map_err(|_| EncodeError::TooLong(tagged.len()))?;
    writer.unsigned_varint(count);
    tagged.into_iter().try_for_each(|(tag, body)| writer.tagged_field(tag, body))
}

/// Refuses a version that the message does not have.
pub(crate) fn decodable<M: Message>(version: i16) -> Result<(), DecodeError> {
    if (M::VERSION_MIN..=M::VERSION_MAX).contains(&version) {
        return Ok(());
    }
    Err(Fault::Version(version).in_field(M::NAME))
}

/// Refuses a version that the message does not have.
pub(crate) fn encodable<M: Message>(version: i16) -> Result<(), EncodeError> {
    if (M::VERSION_MIN..=M::VERSION_MAX).contains(&version) {
        return Ok(());
    }
    Err(EncodeError::Version { message: M::NAME, version })
}

/// Makes a structure with its decoder and encoder from a table of fields.
///
/// ```text
/// message! {
///     /// What it is.
///     Name, versions 0..=9, flexible 6;
///     /// What the field says.
///     field: Type = default, since(5).null_since(6).tag(0).ignorable();
/// }
/// ```
macro_rules! message {
    (
        $(#[$doc:meta])*
        $name:ident, versions $first:literal..=$last:literal, flexible $flexible:expr;
        $($(#[$field_doc:meta])* $field:ident: $type:ty $(= $default:expr)?, $rule:expr;)*
    ) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct $name {
            $($(#[$field_doc])* pub $field: $type,)*
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $crate::schema::default_or!($($default)?),)* }
            }
        }

        impl $crate::schema::Message for $name {
            const NAME: &'static str = stringify!($name);
            const VERSION_MIN: i16 = $first;
            const VERSION_MAX: i16 = $last;
            const FLEXIBLE_MIN: i16 = $flexible;

            fn decode(
                reader: &mut $crate::primitives::Reader,
                version: i16,
            ) -> Result<Self, $crate::primitives::DecodeError> {
                $crate::schema::decodable::<Self>(version)?;
                let flexible = version >= Self::FLEXIBLE_MIN;
                let mut message = Self::default();
                $($crate::schema::decode_untagged(
                    &mut message.$field,
                    reader,
                    $crate::schema::place!($name.$field, $rule, version, flexible),
                )?;)*
                if flexible {
                    reader.tagged_fields(|tag, reader| {
                        $($crate::schema::decode_tagged(
                            &mut message.$field,
                            tag,
                            reader,
                            $crate::schema::place!($name.$field, $rule, version, flexible),
                        )?;)*
                        Ok(())
                    })?;
                }
                Ok(message)
            }

            fn encode(
                &self,
                writer: &mut $crate::primitives::Writer,
                version: i16,
            ) -> Result<(), $crate::primitives::EncodeError> {
                $crate::schema::encodable::<Self>(version)?;
                let flexible = version >= Self::FLEXIBLE_MIN;
                let default = Self::default();
                $($crate::schema::encode_untagged(
                    &self.$field,
                    &default.$field,
                    writer,
                    $crate::schema::place!($name.$field, $rule, version, flexible),
                )?;)*
                if flexible {
                    let mut tagged = Vec::new();
                    $($crate::schema::collect_tagged(
                        &self.$field,
                        &default.$field,
                        &mut tagged,
                        $crate::schema::place!($name.$field, $rule, version, flexible),
                    )?;)*
                    $crate::schema::encode_tagged(tagged, writer)?;
                }
                Ok(())
            }

            #[allow(unused_mut, unused_assignments, reason = "most messages have no such field, and some have one")]
            fn throttle_time_ms(&mut self) -> Option<&mut i32> {
                let mut slot = None;
                $($crate::schema::throttle_slot!(slot, self, $field);)*
                slot
            }
        }

        impl $crate::primitives::Field for $name {
            fn decode_field(
                reader: &mut $crate::primitives::Reader,
                scope: $crate::primitives::Scope,
            ) -> Result<Self, $crate::primitives::DecodeError> {
                <Self as $crate::schema::Message>::decode(reader, scope.version)
            }

            fn encode_field(
                &self,
                writer: &mut $crate::primitives::Writer,
                scope: $crate::primitives::Scope,
            ) -> Result<(), $crate::primitives::EncodeError> {
                <Self as $crate::schema::Message>::encode(self, writer, scope.version)
            }
        }

        #[cfg(test)]
        impl $crate::schema::sample::Sample for $name {
            fn sample(source: &mut $crate::schema::sample::Source, scope: $crate::primitives::Scope) -> Self {
                let mut message = Self::default();
                $($crate::schema::sample::fill(
                    &mut message.$field,
                    source,
                    $crate::schema::place!($name.$field, $rule, scope.version, scope.flexible),
                );)*
                message
            }
        }
    };
}

/// The given default value, or the type's own.
macro_rules! default_or {
    () => {
        Default::default()
    };
    ($default:expr) => {
        $default
    };
}

/// Where a field is, with its name for errors.
macro_rules! place {
    ($name:ident.$field:ident, $rule:expr, $version:expr, $flexible:expr) => {{
        const RULE: $crate::schema::Rule = $rule;
        $crate::schema::Place {
            field: concat!(stringify!($name), ".", stringify!($field)),
            rule: RULE,
            version: $version,
            flexible: $flexible,
        }
    }};
}

/// Finds the field that says for how long nothing should be sent.
macro_rules! throttle_slot {
    ($slot:ident, $message:ident, throttle_time_ms) => {
        $slot = Some(&mut $message.throttle_time_ms)
    };
    ($slot:ident, $message:ident, $other:ident) => {};
}

pub(crate) use {default_or, message, place, throttle_slot};

#[cfg(test)]
pub(crate) mod sample;
