//! Kafka's wire protocol: bounded decoders and encoders for requests, responses and record batches.
//!
//! Pure: bytes in, values out. Nothing here opens a socket, reads a clock or starts a task, and no
//! byte string, however hostile, makes a decoder panic or allocate past the limits it was given.
#![warn(missing_docs)]
#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::arithmetic_side_effects))]

pub mod api_key;
pub mod error_code;
pub mod frame;
pub mod header;
pub mod messages;
pub mod primitives;
pub mod records;
mod schema;

pub use api_key::ApiKey;
pub use error_code::ErrorCode;
pub use frame::Encoded;
pub use header::{RequestHeader, ResponseHeader};
pub use primitives::{DecodeError, EncodeError, Reader, Writer};
pub use schema::{Message, Request};
