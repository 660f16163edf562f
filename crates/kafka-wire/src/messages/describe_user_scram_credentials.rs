//! DescribeUserScramCredentials (key 50): lists users with SCRAM credentials.

use crate::api_key::ApiKey;
use crate::schema::{Request, always, message};

message! {
    /// The request: lists users with SCRAM credentials.
    DescribeUserScramCredentialsRequest, versions 0..=0, flexible 0;
    /// The users to describe, or null/empty to describe all users.
    users: Option<Vec<UserName>> = Some(Default::default()), always();
}

message! {
    /// An element of [`DescribeUserScramCredentialsRequest::users`].
    UserName, versions 0..=0, flexible 0;
    /// The user name.
    name: String, always();
}

impl Request for DescribeUserScramCredentialsRequest {
    const API_KEY: ApiKey = ApiKey::DescribeUserScramCredentials;
    type Response = DescribeUserScramCredentialsResponse;
}

message! {
    /// The answer to [`DescribeUserScramCredentialsRequest`].
    DescribeUserScramCredentialsResponse, versions 0..=0, flexible 0;
    /// The duration in milliseconds for which the request was throttled due to a quota violation, or zero if
    /// the request did not violate any quota.
    throttle_time_ms: i32, always();
    /// The message-level error code, 0 except for user authorization or infrastructure issues.
    error_code: i16, always();
    /// The message-level error message, if any.
    error_message: Option<String> = Some(Default::default()), always();
    /// The results for descriptions, one per user.
    results: Vec<DescribeUserScramCredentialsResult>, always();
}

message! {
    /// An element of [`DescribeUserScramCredentialsResponse::results`].
    DescribeUserScramCredentialsResult, versions 0..=0, flexible 0;
    /// The user name.
    user: String, always();
    /// The user-level error code.
    error_code: i16, always();
    /// The user-level error message, if any.
    error_message: Option<String> = Some(Default::default()), always();
    /// The mechanism and related information associated with the user's SCRAM credentials.
    credential_infos: Vec<CredentialInfo>, always();
}

message! {
    /// An element of [`DescribeUserScramCredentialsResult::credential_infos`].
    CredentialInfo, versions 0..=0, flexible 0;
    /// The SCRAM mechanism: 1 = SCRAM-SHA-256, 2 = SCRAM-SHA-512.
    mechanism: i8, always();
    /// The number of iterations used in the SCRAM credential.
    iterations: i32, always();
}
