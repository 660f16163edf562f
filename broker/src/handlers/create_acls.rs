//! CreateAcls: rules for topics, groups and the cluster.

use kafka_wire::{
    ErrorCode,
    messages::{
        CreateAclsRequest, CreateAclsResponse,
        create_acls::{AclCreation, AclCreationResult},
    },
};

use crate::{
    access::{Acl, Operation, Pattern, Permission, ResourceKind},
    broker::Context,
};

pub(crate) async fn handle(context: Context, request: CreateAclsRequest, _: i16) -> CreateAclsResponse {
    let allowed = context.allows_cluster(Operation::Alter);
    let parsed: Vec<Result<Acl, (ErrorCode, String)>> = request
        .creations
        .into_iter()
        .map(|creation| {
            if allowed {
                parse(creation)
            } else {
                Err((ErrorCode::ClusterAuthorizationFailed, String::new()))
            }
        })
        .collect();
    let new: Vec<Acl> = parsed.iter().filter_map(|acl| acl.as_ref().ok()).cloned().collect();
    let stored = if new.is_empty() { Ok(()) } else { context.broker.access.add(new).await };
    let results = parsed.into_iter().map(|acl| match (acl, &stored) {
        (Err((code, text)), _) => AclCreationResult { error_code: code.code(), error_message: Some(text) },
        (Ok(_), Err(error)) => AclCreationResult {
            error_code: ErrorCode::UnknownServerError.code(),
            error_message: Some(crate::error_text(error)),
        },
        (Ok(_), Ok(())) => AclCreationResult { error_code: 0, error_message: None },
    });
    CreateAclsResponse { results: results.collect(), ..Default::default() }
}

fn parse(creation: AclCreation) -> Result<Acl, (ErrorCode, String)> {
    let invalid = |text: &str| (ErrorCode::InvalidRequest, text.to_owned());
    let kind =
        ResourceKind::from_code(creation.resource_type).ok_or_else(|| invalid("unknown resource type"))?;
    let pattern = Pattern::from_code(creation.resource_pattern_type)
        .ok_or_else(|| invalid("the pattern must be literal (3) or prefixed (4)"))?;
    let operation = Operation::from_code(creation.operation).ok_or_else(|| invalid("unknown operation"))?;
    let permission =
        Permission::from_code(creation.permission_type).ok_or_else(|| invalid("unknown permission type"))?;
    if !creation.principal.starts_with("User:") {
        return Err(invalid(
            "the principal must be of the form User:NAMESPACE/SERVICEACCOUNT, User:NAMESPACE/* or User:*",
        ));
    }
    if creation.host != "*" {
        return Err(invalid("rules for single hosts are not supported: the host must be *"));
    }
    if creation.resource_name.is_empty() || creation.resource_name.contains('\0') {
        return Err(invalid("the resource needs a name"));
    }
    Ok(Acl {
        kind,
        name: creation.resource_name,
        pattern,
        principal: creation.principal,
        host: creation.host,
        operation,
        permission,
    })
}
