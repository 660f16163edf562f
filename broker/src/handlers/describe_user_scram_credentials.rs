//! DescribeUserScramCredentials: which users the table has, never what proves them. Users of the file are not told.

use std::collections::BTreeMap;

use kafka_wire::{
    ErrorCode,
    messages::{
        DescribeUserScramCredentialsRequest, DescribeUserScramCredentialsResponse,
        describe_user_scram_credentials::{CredentialInfo, DescribeUserScramCredentialsResult},
    },
};

use crate::{access::Operation, broker::Context, sasl::scram::Hash};

pub(crate) async fn handle(
    context: Context,
    request: DescribeUserScramCredentialsRequest,
    _: i16,
) -> DescribeUserScramCredentialsResponse {
    if !context.allows_cluster(Operation::Describe) {
        let code = ErrorCode::ClusterAuthorizationFailed;
        return DescribeUserScramCredentialsResponse {
            error_code: code.code(),
            error_message: Some(code.description().to_owned()),
            ..Default::default()
        };
    }
    let known = context.broker.sasl.users.describe();
    let mut wanted: BTreeMap<String, usize> = BTreeMap::new();
    for user in request.users.unwrap_or_default() {
        *wanted.entry(user.name).or_default() += 1;
    }
    let results = if wanted.is_empty() {
        known.into_iter().map(|(user, credentials)| found(user, credentials)).collect()
    } else {
        let answer = |(user, times): (String, usize)| match known.get(&user) {
            _ if times > 1 => failed(user, ErrorCode::DuplicateResource, "the user is in the request twice"),
            Some(credentials) => found(user, credentials.clone()),
            None => failed(user, ErrorCode::ResourceNotFound, "there are no SCRAM credentials of this user"),
        };
        wanted.into_iter().map(answer).collect()
    };
    DescribeUserScramCredentialsResponse { error_message: None, results, ..Default::default() }
}

fn found(user: String, credentials: Vec<(Hash, i32)>) -> DescribeUserScramCredentialsResult {
    let info = |(hash, iterations): (Hash, i32)| CredentialInfo { mechanism: hash.code(), iterations };
    let credential_infos = credentials.into_iter().map(info).collect();
    DescribeUserScramCredentialsResult { user, error_message: None, credential_infos, ..Default::default() }
}

fn failed(user: String, code: ErrorCode, text: &str) -> DescribeUserScramCredentialsResult {
    DescribeUserScramCredentialsResult {
        user,
        error_code: code.code(),
        error_message: Some(text.to_owned()),
        ..Default::default()
    }
}
