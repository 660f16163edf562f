//! Fields that frames are made of: texts, prefixes, hello. Only `frame.rs` uses it.

use super::{Hello, MAGIC};
use crate::error::ProtocolError;
use crate::limits;
use crate::locality::Locality;
use crate::output::Output;
use crate::read::{Reader, at_most};
use bytes::Bytes;

pub(super) fn cut(text: &str) -> &str {
    let mut end = text.len().min(limits::TEXT_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end = end.saturating_sub(1);
    }
    text.get(..end).unwrap_or_default()
}

pub(super) fn short(length: usize) -> u16 {
    u16::try_from(length).unwrap_or(u16::MAX)
}

pub(super) fn put_text(body: &mut Output, text: &str) {
    body.put_u16(short(text.len()));
    body.put_slice(text.as_bytes());
}

pub(super) fn put_prefixes(body: &mut Output, prefixes: &[Bytes]) {
    body.put_u16(short(prefixes.len()));
    for prefix in prefixes {
        body.put_u16(short(prefix.len()));
        body.put_slice(prefix);
    }
}

pub(super) fn put_hello(body: &mut Output, hello: &Hello) {
    body.put_u32(MAGIC);
    body.put_u16(hello.version_oldest);
    body.put_u16(hello.version_newest);
    body.put_u64(hello.epoch);
    put_text(body, &hello.sidecar);
    if hello.version_newest >= limits::VERSION_LOCALITY {
        put_text(body, &hello.locality.node);
        put_text(body, &hello.locality.zone);
    }
}

pub(super) fn read_hello(reader: &mut Reader) -> Result<Hello, ProtocolError> {
    if reader.u32("magic number")? != MAGIC {
        return Err(ProtocolError::BadValue { what: "magic number" });
    }
    let (version_oldest, version_newest) = (reader.u16("oldest version")?, reader.u16("newest version")?);
    Ok(Hello {
        version_oldest,
        version_newest,
        epoch: reader.u64("epoch")?,
        sidecar: reader.text(limits::SIDECAR_NAME_BYTES_MAX, "sidecar name")?,
        locality: if version_newest >= limits::VERSION_LOCALITY {
            read_locality(reader)?
        } else {
            Locality::default()
        },
    })
}

fn read_locality(reader: &mut Reader) -> Result<Locality, ProtocolError> {
    Ok(Locality {
        node: reader.text(limits::NODE_NAME_BYTES_MAX, "node name")?,
        zone: reader.text(limits::ZONE_BYTES_MAX, "zone")?,
    })
}

/// Prefixes live long, so they are copied: a slice would keep the whole input buffer alive.
pub(super) fn read_prefixes(reader: &mut Reader) -> Result<Vec<Bytes>, ProtocolError> {
    let count = usize::from(reader.u16("number of prefixes")?);
    at_most(count, limits::PREFIXES_MAX, "number of prefixes")?;
    at_most(count, reader.left() / 2, "number of prefixes")?;
    at_most(reader.left(), prefix_area_bytes(count), "bytes of prefixes")?;
    let mut prefixes = Vec::with_capacity(count);
    for _ in 0..count {
        prefixes.push(Bytes::copy_from_slice(&reader.short_bytes("prefix")?));
    }
    Ok(prefixes)
}

/// The most bytes that `count` prefixes take in a frame: their length fields and the limit of their sum.
const fn prefix_area_bytes(count: usize) -> usize {
    count.saturating_mul(2).saturating_add(limits::PREFIX_BYTES_MAX)
}
