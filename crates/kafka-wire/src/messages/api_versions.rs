//! ApiVersions (key 18): asks which APIs and versions a node serves.

use crate::api_key::ApiKey;
use crate::schema::{Request, always, message, since};

message! {
    /// The request: asks which APIs and versions a node serves.
    ApiVersionsRequest, versions 0..=4, flexible 3;
    /// The name of the client.
    client_software_name: String, since(3).ignorable();
    /// The version of the client.
    client_software_version: String, since(3).ignorable();
}

impl Request for ApiVersionsRequest {
    const API_KEY: ApiKey = ApiKey::ApiVersions;
    type Response = ApiVersionsResponse;
}

message! {
    /// The answer to [`ApiVersionsRequest`].
    ApiVersionsResponse, versions 0..=4, flexible 3;
    /// The top-level error code.
    error_code: i16, always();
    /// The APIs supported by the broker.
    api_keys: Vec<ApiVersion>, always();
    /// The duration in milliseconds for which the request was throttled due to a quota violation, or zero if
    /// the request did not violate any quota.
    throttle_time_ms: i32, since(1).ignorable();
    /// Features supported by the broker. Note: in v0-v3, features with MinSupportedVersion = 0 are omitted.
    supported_features: Vec<SupportedFeatureKey>, since(3).tag(0).ignorable();
    /// The monotonically increasing epoch for the finalized features information. Valid values are >= 0. A
    /// value of -1 is special and represents unknown epoch.
    finalized_features_epoch: i64 = -1, since(3).tag(1).ignorable();
    /// List of cluster-wide finalized features. The information is valid only if FinalizedFeaturesEpoch >= 0.
    finalized_features: Vec<FinalizedFeatureKey>, since(3).tag(2).ignorable();
    /// Set by a KRaft controller if the required configurations for ZK migration are present.
    zk_migration_ready: bool, since(3).tag(3).ignorable();
}

message! {
    /// An element of [`ApiVersionsResponse::api_keys`].
    ApiVersion, versions 0..=4, flexible 3;
    /// The API index.
    api_key: i16, always();
    /// The minimum supported version, inclusive.
    min_version: i16, always();
    /// The maximum supported version, inclusive.
    max_version: i16, always();
}

message! {
    /// An element of [`ApiVersionsResponse::supported_features`].
    SupportedFeatureKey, versions 0..=4, flexible 3;
    /// The name of the feature.
    name: String, since(3);
    /// The minimum supported version for the feature.
    min_version: i16, since(3);
    /// The maximum supported version for the feature.
    max_version: i16, since(3);
}

message! {
    /// An element of [`ApiVersionsResponse::finalized_features`].
    FinalizedFeatureKey, versions 0..=4, flexible 3;
    /// The name of the feature.
    name: String, since(3);
    /// The cluster-wide finalized max version level for the feature.
    max_version_level: i16, since(3);
    /// The cluster-wide finalized min version level for the feature.
    min_version_level: i16, since(3);
}
