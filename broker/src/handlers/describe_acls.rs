//! DescribeAcls: the rules that a filter picks, by resource.

use kafka_wire::{
    ErrorCode,
    messages::{
        DescribeAclsRequest, DescribeAclsResponse,
        describe_acls::{AclDescription, DescribeAclsResource},
    },
};

use super::acl_filter::Filter;
use crate::{access::Operation, broker::Context};

pub(crate) async fn handle(context: Context, request: DescribeAclsRequest, _: i16) -> DescribeAclsResponse {
    let failed = |code: ErrorCode| DescribeAclsResponse {
        error_code: code.code(),
        error_message: Some(code.description().to_owned()),
        ..Default::default()
    };
    if !context.broker.access.is_active() {
        return failed(ErrorCode::SecurityDisabled);
    }
    if !context.allows_cluster(Operation::Describe) {
        return failed(ErrorCode::ClusterAuthorizationFailed);
    }
    let filter = Filter {
        kind: request.resource_type_filter,
        name: request.resource_name_filter,
        pattern: request.pattern_type_filter,
        principal: request.principal_filter,
        host: request.host_filter,
        operation: request.operation,
        permission: request.permission_type,
    };
    if !filter.is_valid() {
        return failed(ErrorCode::InvalidRequest);
    }
    let mut resources: Vec<DescribeAclsResource> = Vec::new();
    for acl in filter.pick(&context.broker.access) {
        let resource_type = acl.kind.code();
        let pattern_type = acl.pattern.code();
        // They come in order, those of one resource one after the other.
        let same = resources.last_mut().filter(|resource| {
            resource.resource_type == resource_type
                && resource.pattern_type == pattern_type
                && resource.resource_name == acl.name
        });
        let description = AclDescription {
            principal: acl.principal,
            host: acl.host,
            operation: acl.operation.code(),
            permission_type: acl.permission.code(),
        };
        match same {
            Some(resource) => resource.acls.push(description),
            None => resources.push(DescribeAclsResource {
                resource_type,
                resource_name: acl.name,
                pattern_type,
                acls: vec![description],
            }),
        }
    }
    DescribeAclsResponse { resources, error_message: None, ..Default::default() }
}
