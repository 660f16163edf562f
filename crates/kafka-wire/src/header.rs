//! Request and response headers, in all their versions.
//!
//! The header's version follows from the API and its version; nobody sends it.

use crate::api_key::ApiKey;
use crate::primitives::{DecodeError, EncodeError, Fault, Reader, Writer};

/// What every request starts with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RequestHeader {
    /// The API, as sent; see [`ApiKey::from_code`].
    pub api_key: i16,
    /// The version of the API.
    pub api_version: i16,
    /// Comes back with the answer.
    pub correlation_id: i32,
    /// What the client calls itself.
    pub client_id: Option<String>,
}

impl RequestHeader {
    /// Reads the header of a request.
    ///
    /// For an API that this crate does not know, and for versions past the known ones, tagged fields
    /// of the header stay unread: of such a request nothing but the header may be used.
    pub fn decode(reader: &mut Reader) -> Result<Self, DecodeError> {
        let fault = |fault: Fault| fault.in_field("RequestHeader");
        let header = Self {
            api_key: reader.int16().map_err(fault)?,
            api_version: reader.int16().map_err(fault)?,
            correlation_id: reader.int32().map_err(fault)?,
            // Never compact, so that a broker can read it before it knows the version.
            client_id: reader.string(false).map_err(fault)?,
        };
        let known = ApiKey::from_code(header.api_key);
        if known.is_some_and(|api_key| api_key.is_flexible(header.api_version)) {
            reader.skip_tagged_fields()?;
        }
        Ok(header)
    }

    /// Writes the header of a request.
    pub fn encode(&self, writer: &mut Writer) -> Result<(), EncodeError> {
        writer.int16(self.api_key);
        writer.int16(self.api_version);
        writer.int32(self.correlation_id);
        writer.string(self.client_id.as_deref(), false)?;
        let known = ApiKey::from_code(self.api_key);
        if known.is_some_and(|api_key| api_key.is_flexible(self.api_version)) {
            writer.unsigned_varint(0);
        }
        Ok(())
    }
}

/// What every response starts with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ResponseHeader {
    /// The correlation id of the request.
    pub correlation_id: i32,
}

impl ResponseHeader {
    /// Whether the header of such a response ends with tagged fields.
    ///
    /// Never for ApiVersions: a client that asked for a version the broker does not have must still
    /// be able to read the answer.
    fn has_tagged_fields(api_key: ApiKey, version: i16) -> bool {
        api_key != ApiKey::ApiVersions && api_key.is_flexible(version)
    }

    /// Reads the header of a response to `api_key` in `version`.
    pub fn decode(reader: &mut Reader, api_key: ApiKey, version: i16) -> Result<Self, DecodeError> {
        let correlation_id = reader.int32().map_err(|fault| fault.in_field("ResponseHeader"))?;
        if Self::has_tagged_fields(api_key, version) {
            reader.skip_tagged_fields()?;
        }
        Ok(Self { correlation_id })
    }

    /// Writes the header of a response to `api_key` in `version`.
    pub fn encode(self, writer: &mut Writer, api_key: ApiKey, version: i16) {
        writer.int32(self.correlation_id);
        if Self::has_tagged_fields(api_key, version) {
            writer.unsigned_varint(0);
        }
    }
}
