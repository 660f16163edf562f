//! ApiVersions: what this broker can be asked.

use kafka_wire::{
    ErrorCode,
    messages::{ApiVersionsRequest, ApiVersionsResponse, api_versions::ApiVersion},
};

use crate::{broker::Context, dispatch::SUPPORTED};

pub(crate) async fn handle(_: Context, _: ApiVersionsRequest, _: i16) -> ApiVersionsResponse {
    table(ErrorCode::None)
}

/// The table, with an error for clients that asked in a version that is not in it.
pub(crate) fn table(code: ErrorCode) -> ApiVersionsResponse {
    let entries = SUPPORTED.iter().map(|entry| ApiVersion {
        api_key: entry.api_key.code(),
        min_version: entry.advertised_min,
        max_version: entry.max,
    });
    ApiVersionsResponse { error_code: code.code(), api_keys: entries.collect(), ..Default::default() }
}
