//! Frames: splitting a stream, limits, headers of every API.

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;

use super::{FrameError, split};
use crate::header::{RequestHeader, ResponseHeader};
use crate::messages::{ApiVersionsRequest, ApiVersionsResponse, MetadataRequest};
use crate::primitives::{Reader, Writer};
use crate::schema::Message;
use crate::{ApiKey, frame};

proptest! {
    /// Goal: frames come out whole and in order however the stream is cut up.
    #[test]
    fn any_cutting_gives_the_same_frames(
        frames in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..6),
        cut in 1_usize..17,
    ) {
        let mut stream = Vec::new();
        for frame in &frames {
            stream.extend_from_slice(&u32::try_from(frame.len()).expect("small").to_be_bytes());
            stream.extend_from_slice(frame);
        }
        let mut buffer = BytesMut::new();
        let mut found = Vec::new();
        for piece in stream.chunks(cut) {
            buffer.extend_from_slice(piece);
            while let Some(frame) = split(&mut buffer, 64).expect("legal") {
                found.push(frame.to_vec());
            }
        }
        prop_assert_eq!(found, frames);
        prop_assert!(buffer.is_empty());
    }
}

/// Goal: a hostile length is refused at once, and an honest one does not reserve more than it sent.
#[test]
fn hostile_lengths_are_refused() {
    let mut negative = BytesMut::from([0xff, 0xff, 0xff, 0xff].as_slice());
    assert_eq!(split(&mut negative, 100), Err(FrameError::Negative(-1)));
    let mut huge = BytesMut::from([0x7f, 0xff, 0xff, 0xff].as_slice());
    assert_eq!(split(&mut huge, 100), Err(FrameError::TooLarge { length: 0x7fff_ffff, max: 100 }));
    let mut announced = BytesMut::from([0x06, 0, 0, 0].as_slice());
    assert_eq!(split(&mut announced, frame::FRAME_BYTES_MAX), Ok(None));
    assert!(announced.capacity() < 100_000, "{} bytes reserved", announced.capacity());
}

/// Goal: the header of every API in every version is read as it was written, and only it.
#[test]
fn headers_survive_in_every_version() {
    for api_key in ApiKey::ALL {
        let (first, last) = api_key.versions();
        for api_version in first..=last {
            let header = RequestHeader {
                api_key: api_key.code(),
                api_version,
                correlation_id: 7,
                client_id: Some("test".to_owned()),
            };
            let mut writer = Writer::new();
            header.encode(&mut writer).expect("encodes");
            let mut reader = Reader::new(writer.into_bytes());
            assert_eq!(RequestHeader::decode(&mut reader), Ok(header));
            assert_eq!(reader.remaining(), 0);

            let header = ResponseHeader { correlation_id: -3 };
            let mut writer = Writer::new();
            header.encode(&mut writer, *api_key, api_version);
            let mut reader = Reader::new(writer.into_bytes());
            assert_eq!(ResponseHeader::decode(&mut reader, *api_key, api_version), Ok(header));
            assert_eq!(reader.remaining(), 0);
        }
    }
}

/// Goal: the answer to ApiVersions has the oldest header in every version (KIP-511).
#[test]
fn api_versions_answers_with_the_oldest_header() {
    let answer = ApiVersionsResponse { error_code: 35, ..Default::default() };
    let encoded = frame::response::<ApiVersionsRequest>(&answer, 3, 9).expect("encodes").into_bytes();
    // Length, correlation id, error code, empty compact array, throttle time, no tags.
    assert_eq!(encoded.as_ref(), [0, 0, 0, 12, 0, 0, 0, 9, 0, 35, 1, 0, 0, 0, 0, 0]);
    let (header, decoded) =
        frame::decode_response::<ApiVersionsRequest>(encoded.slice(4..), 3).expect("decodes");
    assert_eq!((header.correlation_id, decoded), (9, answer));
}

/// Goal: a request framed here is a length, a header and a body.
#[test]
fn requests_are_framed() {
    let asked = MetadataRequest { topics: None, ..Default::default() };
    let encoded = frame::request(&asked, 12, 5, Some("admin")).expect("encodes");
    let mut buffer = BytesMut::from(encoded.into_bytes());
    let frame = split(&mut buffer, 1000).expect("legal").expect("whole");
    let mut reader = Reader::new(frame);
    let header = RequestHeader::decode(&mut reader).expect("header");
    assert_eq!((header.api_key, header.api_version, header.correlation_id), (3, 12, 5));
    assert_eq!(header.client_id.as_deref(), Some("admin"));
    assert_eq!(MetadataRequest::decode(&mut reader, 12), Ok(asked));
}

/// Goal: a request to an unknown API still gives its header.
#[test]
fn unknown_apis_still_have_a_header() {
    let mut reader = Reader::new(Bytes::from_static(&[3, 231, 0, 1, 0, 0, 0, 4, 255, 255]));
    let header = RequestHeader::decode(&mut reader).expect("header");
    assert_eq!((header.api_key, header.correlation_id, header.client_id), (999, 4, None));
}
