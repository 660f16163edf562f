//! An answer as a client reads it. The first three bytes choose API and version.

use bytes::{Buf, Bytes};
use kafka_wire::{ApiKey, Request, api_key::Visitor, frame};

/// One input.
pub fn run(data: &[u8]) {
    let mut data = data;
    let (Ok(api_key), Ok(version)) = (data.try_get_i16(), data.try_get_i8()) else { return };
    let Some(api_key) = ApiKey::from_code(api_key) else { return };
    api_key.visit(Read { frame: Bytes::copy_from_slice(data), version: i16::from(version) });
}

struct Read {
    frame: Bytes,
    version: i16,
}

impl Visitor for Read {
    type Output = ();

    fn visit<R>(self)
    where
        R: Request<Response: Default> + Default + PartialEq + std::fmt::Debug,
    {
        drop(frame::decode_response::<R>(self.frame, self.version));
    }
}

/// Every empty answer in every version.
pub fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for api_key in ApiKey::ALL {
        let (first, last) = api_key.versions();
        seeds.extend((first..=last).filter_map(|version| api_key.visit(Seed { api_key: *api_key, version })));
    }
    seeds
}

struct Seed {
    api_key: ApiKey,
    version: i16,
}

impl Visitor for Seed {
    type Output = Option<Vec<u8>>;

    fn visit<R>(self) -> Option<Vec<u8>>
    where
        R: Request<Response: Default> + Default + PartialEq + std::fmt::Debug,
    {
        let encoded = frame::response::<R>(&R::Response::default(), self.version, 1).ok()?;
        let mut seed = self.api_key.code().to_be_bytes().to_vec();
        seed.extend(i8::try_from(self.version).ok()?.to_be_bytes());
        seed.extend(encoded.into_bytes().slice(frame::LENGTH_BYTES..));
        Some(seed)
    }
}
