//! AlterClientQuotas (key 49): sets and removes quotas.

use crate::api_key::ApiKey;
use crate::primitives::Float64;
use crate::schema::{Request, always, message};

message! {
    /// The request: sets and removes quotas.
    AlterClientQuotasRequest, versions 0..=1, flexible 1;
    /// The quota configuration entries to alter.
    entries: Vec<EntryData>, always();
    /// Whether the alteration should be validated, but not performed.
    validate_only: bool, always();
}

message! {
    /// An element of [`AlterClientQuotasRequest::entries`].
    EntryData, versions 0..=1, flexible 1;
    /// The quota entity to alter.
    entity: Vec<EntityData>, always();
    /// An individual quota configuration entry to alter.
    ops: Vec<OpData>, always();
}

message! {
    /// A part of the name of what a quota is for.
    EntityData, versions 0..=1, flexible 1;
    /// The entity type.
    entity_type: String, always();
    /// The name of the entity, or null if the default.
    entity_name: Option<String> = Some(Default::default()), always();
}

message! {
    /// An element of [`EntryData::ops`].
    OpData, versions 0..=1, flexible 1;
    /// The quota configuration key.
    key: String, always();
    /// The value to set, otherwise ignored if the value is to be removed.
    value: Float64, always();
    /// Whether the quota configuration value should be removed, otherwise set.
    remove: bool, always();
}

impl Request for AlterClientQuotasRequest {
    const API_KEY: ApiKey = ApiKey::AlterClientQuotas;
    type Response = AlterClientQuotasResponse;
}

message! {
    /// The answer to [`AlterClientQuotasRequest`].
    AlterClientQuotasResponse, versions 0..=1, flexible 1;
    /// The duration in milliseconds for which the request was throttled due to a quota violation, or zero if
    /// the request did not violate any quota.
    throttle_time_ms: i32, always();
    /// The quota configuration entries to alter.
    entries: Vec<AlteredEntry>, always();
}

message! {
    /// An element of [`AlterClientQuotasResponse::entries`].
    AlteredEntry, versions 0..=1, flexible 1;
    /// The error code, or 0 if the quota alteration succeeded.
    error_code: i16, always();
    /// The error message, or null if the quota alteration succeeded.
    error_message: Option<String> = Some(Default::default()), always();
    /// The quota entity altered.
    entity: Vec<EntityData>, always();
}
