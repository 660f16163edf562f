//! A request as a broker reads it: header, then the body that the header names. What decodes must encode,
//! and decode again to the same.

use bytes::Bytes;
use kafka_wire::{ApiKey, Reader, Request, RequestHeader, Writer, api_key::Visitor};

/// One input.
pub fn run(data: &[u8]) {
    let mut reader = Reader::new(Bytes::copy_from_slice(data));
    let Ok(header) = RequestHeader::decode(&mut reader) else { return };
    let Some(api_key) = ApiKey::from_code(header.api_key) else { return };
    api_key.visit(Survives { reader, version: header.api_version });
}

struct Survives {
    reader: Reader,
    version: i16,
}

impl Visitor for Survives {
    type Output = ();

    fn visit<R>(mut self)
    where
        R: Request<Response: Default> + Default + PartialEq + std::fmt::Debug,
    {
        let Ok(message) = R::decode(&mut self.reader, self.version) else { return };
        let mut writer = Writer::new();
        message.encode(&mut writer, self.version).expect("what was decoded can be encoded");
        let again = R::decode(&mut Reader::new(writer.into_bytes()), self.version);
        assert_eq!(again.as_ref(), Ok(&message));
    }
}

/// Every request in every version: empty, and with one element wherever a pattern of bytes gives one.
pub fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for api_key in ApiKey::ALL {
        let (first, last) = api_key.versions();
        for version in first..=last {
            for pattern in PATTERNS {
                seeds.extend(api_key.visit(Seed { api_key: *api_key, version, pattern }));
            }
        }
    }
    seeds
}

/// Nothing; lengths and counts of one in the old form and in the compact one.
const PATTERNS: [&[u8]; 3] = [&[], &[0, 0, 0, 1, 0, 1, b'k', 0, 0, 0, 1], &[2]];

struct Seed {
    api_key: ApiKey,
    version: i16,
    pattern: &'static [u8],
}

impl Visitor for Seed {
    type Output = Option<Vec<u8>>;

    fn visit<R>(self) -> Option<Vec<u8>>
    where
        R: Request<Response: Default> + Default + PartialEq + std::fmt::Debug,
    {
        let message = match self.pattern {
            [] => R::default(),
            pattern => R::decode(&mut Reader::new(pattern.repeat(200).into()), self.version).ok()?,
        };
        let header = RequestHeader {
            api_key: self.api_key.code(),
            api_version: self.version,
            correlation_id: 1,
            client_id: Some("c".to_owned()),
        };
        let mut writer = Writer::new();
        header.encode(&mut writer).ok()?;
        message.encode(&mut writer, self.version).ok()?;
        Some(writer.into_bytes().to_vec())
    }
}
