//! DescribeClientQuotas (key 48): lists quotas.

use crate::api_key::ApiKey;
use crate::primitives::Float64;
use crate::schema::{Request, always, message};

message! {
    /// The request: lists quotas.
    DescribeClientQuotasRequest, versions 0..=1, flexible 1;
    /// Filter components to apply to quota entities.
    components: Vec<ComponentData>, always();
    /// Whether the match is strict, i.e. should exclude entities with unspecified entity types.
    strict: bool, always();
}

message! {
    /// An element of [`DescribeClientQuotasRequest::components`].
    ComponentData, versions 0..=1, flexible 1;
    /// The entity type that the filter component applies to.
    entity_type: String, always();
    /// How to match the entity: 0 = exact name, 1 = default name, 2 = any specified name.
    match_type: i8, always();
    /// The string to match against, or null if unused for the match type.
    match_name: Option<String> = Some(Default::default()), always();
}

impl Request for DescribeClientQuotasRequest {
    const API_KEY: ApiKey = ApiKey::DescribeClientQuotas;
    type Response = DescribeClientQuotasResponse;
}

message! {
    /// The answer to [`DescribeClientQuotasRequest`].
    DescribeClientQuotasResponse, versions 0..=1, flexible 1;
    /// The duration in milliseconds for which the request was throttled due to a quota violation, or zero if
    /// the request did not violate any quota.
    throttle_time_ms: i32, always();
    /// The error code, or 0 if the quota description succeeded.
    error_code: i16, always();
    /// The error message, or null if the quota description succeeded.
    error_message: Option<String> = Some(Default::default()), always();
    /// A result entry; null if there was an error.
    entries: Option<Vec<EntryData>> = Some(Default::default()), always();
}

message! {
    /// An element of [`DescribeClientQuotasResponse::entries`].
    EntryData, versions 0..=1, flexible 1;
    /// The quota entity description.
    entity: Vec<EntityData>, always();
    /// The quota values for the entity.
    values: Vec<ValueData>, always();
}

message! {
    /// An element of [`EntryData::entity`].
    EntityData, versions 0..=1, flexible 1;
    /// The entity type.
    entity_type: String, always();
    /// The entity name, or null if the default.
    entity_name: Option<String> = Some(Default::default()), always();
}

message! {
    /// An element of [`EntryData::values`].
    ValueData, versions 0..=1, flexible 1;
    /// The quota configuration key.
    key: String, always();
    /// The quota configuration value.
    value: Float64, always();
}
