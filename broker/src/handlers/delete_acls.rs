//! DeleteAcls: removes the rules that filters pick, and says which they were.

use kafka_wire::{
    ErrorCode,
    messages::{
        DeleteAclsRequest, DeleteAclsResponse,
        delete_acls::{DeleteAclsFilter, DeleteAclsFilterResult, DeleteAclsMatchingAcl},
    },
};

use super::acl_filter::Filter;
use crate::{
    access::{Acl, Operation},
    broker::Context,
};

pub(crate) async fn handle(context: Context, request: DeleteAclsRequest, _: i16) -> DeleteAclsResponse {
    let mut filter_results = Vec::with_capacity(request.filters.len());
    for filter in request.filters {
        let result = match delete(&context, filter).await {
            Ok(removed) => DeleteAclsFilterResult {
                error_message: None,
                matching_acls: removed.into_iter().map(describe).collect(),
                ..Default::default()
            },
            Err((code, text)) => DeleteAclsFilterResult {
                error_code: code.code(),
                error_message: Some(text),
                ..Default::default()
            },
        };
        filter_results.push(result);
    }
    DeleteAclsResponse { filter_results, ..Default::default() }
}

async fn delete(context: &Context, filter: DeleteAclsFilter) -> Result<Vec<Acl>, (ErrorCode, String)> {
    let plain = |code: ErrorCode| (code, code.description().to_owned());
    if !context.broker.access.is_active() {
        return Err(plain(ErrorCode::SecurityDisabled));
    }
    if !context.allows_cluster(Operation::Alter) {
        return Err(plain(ErrorCode::ClusterAuthorizationFailed));
    }
    let filter = Filter {
        kind: filter.resource_type_filter,
        name: filter.resource_name_filter,
        pattern: filter.pattern_type_filter,
        principal: filter.principal_filter,
        host: filter.host_filter,
        operation: filter.operation,
        permission: filter.permission_type,
    };
    if !filter.is_valid() {
        return Err(plain(ErrorCode::InvalidRequest));
    }
    let access = &context.broker.access;
    let picked = filter.pick(access);
    let removed = access.remove(&picked).await;
    removed.map_err(|error| (ErrorCode::UnknownServerError, crate::error_text(&error)))?;
    Ok(picked)
}

fn describe(acl: Acl) -> DeleteAclsMatchingAcl {
    DeleteAclsMatchingAcl {
        error_message: None,
        resource_type: acl.kind.code(),
        resource_name: acl.name,
        pattern_type: acl.pattern.code(),
        principal: acl.principal,
        host: acl.host,
        operation: acl.operation.code(),
        permission_type: acl.permission.code(),
        ..Default::default()
    }
}
