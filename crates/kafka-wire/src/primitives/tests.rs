//! Primitives: round trips, hostile lengths, and the memory budget.

use bytes::Bytes;
use proptest::prelude::*;

use super::{DECODED_BYTES_MAX, Fault, Field, Reader, Scope, Writer};
use crate::schema::sample::used;

const NOT_FLEXIBLE: Scope = Scope { version: 0, flexible: false, nullable: true, field: "Test.field" };
const FLEXIBLE: Scope = Scope { flexible: true, ..NOT_FLEXIBLE };

fn read_back<T: Field>(value: &T, scope: Scope) -> T {
    let mut writer = Writer::new();
    value.encode_field(&mut writer, scope).expect("encodes");
    let mut reader = Reader::new(writer.into_bytes());
    let decoded = T::decode_field(&mut reader, scope).expect("decodes");
    assert_eq!(reader.remaining(), 0, "all bytes are used");
    decoded
}

proptest! {
    /// Goal: what is written as a variable-length integer is what is read.
    #[test]
    fn variable_length_integers_survive(narrow: i32, unsigned: u32, wide: i64) {
        let mut writer = Writer::new();
        writer.varint(narrow);
        writer.unsigned_varint(unsigned);
        writer.varlong(wide);
        let mut reader = Reader::new(writer.into_bytes());
        prop_assert_eq!(reader.varint(), Ok(narrow));
        prop_assert_eq!(reader.unsigned_varint(), Ok(unsigned));
        prop_assert_eq!(reader.varlong(), Ok(wide));
    }

    /// Goal: text and bytes, null or not, survive in both forms of length.
    #[test]
    fn text_and_bytes_survive(text: Option<String>, bytes: Option<Vec<u8>>) {
        let bytes = bytes.map(Bytes::from);
        for scope in [NOT_FLEXIBLE, FLEXIBLE] {
            prop_assert_eq!(&read_back(&text, scope), &text);
            prop_assert_eq!(&read_back(&bytes, scope), &bytes);
        }
    }

    /// Goal: no bytes make a primitive panic.
    #[test]
    fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
        let reader = Reader::new(Bytes::from(bytes));
        used(reader.clone().varint());
        used(reader.clone().varlong());
        used(reader.clone().uuid());
        used(reader.clone().skip_tagged_fields());
        for scope in [NOT_FLEXIBLE, FLEXIBLE] {
            used(<Option<Vec<String>>>::decode_field(&mut reader.clone(), scope));
            used(<Vec<Bytes>>::decode_field(&mut reader.clone(), scope));
        }
    }
}

/// Goal: integers that do not fit their type are refused instead of wrapped.
#[test]
fn overlong_integers_are_refused() {
    let five_full = Bytes::from_static(&[0xff, 0xff, 0xff, 0xff, 0x7f]);
    assert_eq!(Reader::new(five_full).unsigned_varint(), Err(Fault::VarintTooLong));
    let six = Bytes::from_static(&[0x80, 0x80, 0x80, 0x80, 0x80, 0x00]);
    assert_eq!(Reader::new(six).unsigned_varint(), Err(Fault::VarintTooLong));
    let ten_full = Bytes::from_static(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]);
    assert_eq!(Reader::new(ten_full).varlong(), Err(Fault::VarintTooLong));
    let most_negative = Bytes::from_static(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]);
    assert_eq!(Reader::new(most_negative).varlong(), Ok(i64::MIN));
}

/// Goal: an array of `i32::MAX` elements in a short frame is refused before memory is taken for it.
#[test]
fn hostile_array_lengths_are_refused() {
    let plain = Bytes::from_static(&[0x7f, 0xff, 0xff, 0xff, 0, 0]);
    let error = <Vec<String>>::decode_field(&mut Reader::new(plain), NOT_FLEXIBLE).unwrap_err();
    assert_eq!(error.fault, Fault::ArrayTooLong { count: 0x7fff_ffff, left: 2 });
    let compact = Bytes::from_static(&[0xff, 0xff, 0xff, 0xff, 0x0f, 0]);
    let error = <Vec<String>>::decode_field(&mut Reader::new(compact), FLEXIBLE).unwrap_err();
    assert!(matches!(error.fault, Fault::ArrayTooLong { .. }), "{error}");
    let negative = Bytes::from_static(&[0xff, 0xff, 0xff, 0xfe]);
    let error = <Vec<String>>::decode_field(&mut Reader::new(negative), NOT_FLEXIBLE).unwrap_err();
    assert_eq!(error.fault, Fault::NegativeLength(-2));
}

/// Goal: a frame full of one-byte elements cannot be blown up into many times its size.
#[test]
fn memory_of_arrays_is_bounded() {
    let count = DECODED_BYTES_MAX / size_of::<String>() + 1;
    let mut frame = u32::try_from(count).expect("small").to_be_bytes().to_vec();
    frame.resize(count + 4, 0);
    let error = <Vec<String>>::decode_field(&mut Reader::new(frame.into()), NOT_FLEXIBLE).unwrap_err();
    assert_eq!(error.fault, Fault::BudgetSpent);
    let mut three = Reader::new(Bytes::from_static(&[0, 0, 0, 3, 0, 0, 0, 0, 0, 0])).with_budget(48);
    let error = <Vec<String>>::decode_field(&mut three, NOT_FLEXIBLE).unwrap_err();
    assert_eq!(error.fault, Fault::BudgetSpent);
}

/// Goal: null is refused where the version has none, and `None` is written there as the empty value.
#[test]
fn null_needs_a_version_that_allows_it() {
    let scope = Scope { nullable: false, ..FLEXIBLE };
    let error = <Option<String>>::decode_field(&mut Reader::new(Bytes::from_static(&[0])), scope);
    assert_eq!(error.unwrap_err().fault, Fault::Null);
    assert_eq!(read_back::<Option<String>>(&None, scope), Some(String::new()));
    assert_eq!(read_back::<Option<Vec<i32>>>(&None, scope), Some(Vec::new()));
    assert_eq!(read_back::<Option<Bytes>>(&None, scope), Some(Bytes::new()));
}

/// Goal: large byte fields go out as the memory they came in.
#[test]
fn large_bytes_are_not_copied() {
    let large = Bytes::from(vec![7; 100_000]);
    let mut writer = Writer::new();
    writer.int32(1);
    writer.byte_string(Some(&large), true).expect("encodes");
    writer.int32(2);
    assert_eq!(writer.len(), 4 + 3 + large.len() + 4);
    let chunks = writer.into_chunks();
    assert_eq!(chunks.len(), 3);
    assert_eq!(chunks[1].as_ptr(), large.as_ptr());
}
