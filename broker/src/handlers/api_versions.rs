//! ApiVersions: what this broker can be asked.

use kafka_wire::{
    ErrorCode,
    messages::{ApiVersionsRequest, ApiVersionsResponse, api_versions::ApiVersion},
};

use crate::{broker::Context, dispatch::SUPPORTED, features};

/// From this version on features that could be at level 0 are shown.
const ZERO_SINCE: i16 = 4;

pub(crate) async fn handle(_: Context, _: ApiVersionsRequest, version: i16) -> ApiVersionsResponse {
    ApiVersionsResponse {
        supported_features: features::supported(version >= ZERO_SINCE),
        finalized_features_epoch: features::EPOCH,
        finalized_features: features::finalized(),
        ..table(ErrorCode::None)
    }
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
