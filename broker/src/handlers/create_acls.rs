//! CreateAcls: rules for topics, groups, transactional ids and the cluster.

use std::net::IpAddr;

use kafka_wire::{
    ErrorCode,
    messages::{
        CreateAclsRequest, CreateAclsResponse,
        create_acls::{AclCreation, AclCreationResult},
    },
};

use crate::{
    access::{AccessError, Acl, Operation, Pattern, Permission, ResourceKind},
    broker::{CLUSTER_NAME, Context},
};

const DELEGATION_TOKEN: i8 = 6;
const USER: i8 = 7;
/// Bytes of a resource's or a principal's name.
const NAME_BYTES_MAX: usize = 1_000;

pub(crate) async fn handle(context: Context, request: CreateAclsRequest, _: i16) -> CreateAclsResponse {
    let allowed = context.allows_cluster(Operation::Alter);
    let parsed: Vec<Result<Acl, (ErrorCode, String)>> = request
        .creations
        .into_iter()
        .map(|creation| {
            if !context.broker.access.is_active() {
                Err((ErrorCode::SecurityDisabled, ErrorCode::SecurityDisabled.description().to_owned()))
            } else if allowed {
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
            error_code: match error {
                AccessError::TooMany => ErrorCode::PolicyViolation.code(),
                AccessError::Store(_) => ErrorCode::UnknownServerError.code(),
            },
            error_message: Some(crate::error_text(error)),
        },
        (Ok(_), Ok(())) => AclCreationResult { error_code: 0, error_message: None },
    });
    CreateAclsResponse { results: results.collect(), ..Default::default() }
}

fn parse(creation: AclCreation) -> Result<Acl, (ErrorCode, String)> {
    let invalid = |text: &str| (ErrorCode::InvalidRequest, text.to_owned());
    if matches!(creation.resource_type, DELEGATION_TOKEN | USER) {
        return Err(invalid("there are no delegation tokens here, so no rules about them or about users"));
    }
    let kind =
        ResourceKind::from_code(creation.resource_type).ok_or_else(|| invalid("unknown resource type"))?;
    let pattern = Pattern::from_code(creation.resource_pattern_type)
        .ok_or_else(|| invalid("the pattern must be literal (3) or prefixed (4)"))?;
    let operation = Operation::from_code(creation.operation).ok_or_else(|| invalid("unknown operation"))?;
    let permission =
        Permission::from_code(creation.permission_type).ok_or_else(|| invalid("unknown permission type"))?;
    if !kind.operations().contains(&operation) && operation != Operation::All {
        return Err(invalid("there is no such operation on this type of resource"));
    }
    check_names(&creation, kind).map_err(invalid)?;
    let host = match creation.host.parse::<IpAddr>() {
        // As the addresses of callers are written.
        Ok(address) => address.to_canonical().to_string(),
        Err(_) => creation.host,
    };
    Ok(Acl {
        kind,
        name: creation.resource_name,
        pattern,
        principal: creation.principal,
        host,
        operation,
        permission,
    })
}

fn check_names(creation: &AclCreation, kind: ResourceKind) -> Result<(), &'static str> {
    let name = &creation.resource_name;
    let is_too_long = |text: &str| text.len() > NAME_BYTES_MAX || text.contains('\0');
    if name.is_empty() || is_too_long(name) {
        return Err("the resource needs a name of 1 to 1000 bytes");
    }
    if kind == ResourceKind::Cluster && name != CLUSTER_NAME {
        return Err("the only valid name of the cluster is kafka-cluster");
    }
    let principal = creation.principal.strip_prefix("User:");
    if principal.is_none_or(|name| name.is_empty() || is_too_long(name)) {
        return Err("the principal must be of the form User:NAME, User:NAMESPACE/* or User:*");
    }
    if creation.host != "*" && creation.host.parse::<IpAddr>().is_err() {
        return Err("the host must be * or an IP address: names are not looked up");
    }
    Ok(())
}
