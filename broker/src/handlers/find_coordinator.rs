//! FindCoordinator: it is always this node.

use kafka_wire::{
    ErrorCode,
    messages::{FindCoordinatorRequest, FindCoordinatorResponse, find_coordinator::Coordinator},
};

use crate::{
    access::{Operation, ResourceKind},
    broker::{Context, NODE_ID},
};

const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;
/// From this version on several keys may be asked for.
const BATCHED_SINCE: i16 = 4;

pub(crate) async fn handle(
    context: Context,
    request: FindCoordinatorRequest,
    version: i16,
) -> FindCoordinatorResponse {
    if version >= BATCHED_SINCE {
        let coordinators = request.coordinator_keys.iter();
        let coordinators = coordinators.map(|key| find(&context, key, request.key_type)).collect();
        return FindCoordinatorResponse { coordinators, ..Default::default() };
    }
    let found = find(&context, &request.key, request.key_type);
    FindCoordinatorResponse {
        error_code: found.error_code,
        error_message: found.error_message,
        node_id: found.node_id,
        host: found.host,
        port: found.port,
        ..Default::default()
    }
}

fn find(context: &Context, key: &str, kind: i8) -> Coordinator {
    let refused = |code: ErrorCode, text: &str| Coordinator {
        key: key.to_owned(),
        node_id: -1,
        port: -1,
        error_code: code.code(),
        error_message: Some(text.to_owned()),
        ..Default::default()
    };
    match kind {
        GROUP if context.allows_group(Operation::Describe, key) => {}
        GROUP => return refused(ErrorCode::GroupAuthorizationFailed, "the group is not yours to use"),
        TRANSACTION if context.allows(Operation::Describe, ResourceKind::TransactionalId, key) => {}
        TRANSACTION => {
            let text = "the transactional id is not yours to use";
            return refused(ErrorCode::TransactionalIdAuthorizationFailed, text);
        }
        _ => {
            let text = "the Embedded engine has coordinators of groups and transactions only";
            return refused(ErrorCode::InvalidRequest, text);
        }
    }
    Coordinator {
        key: key.to_owned(),
        node_id: NODE_ID,
        host: context.host(),
        port: context.port(),
        error_code: ErrorCode::None.code(),
        error_message: None,
    }
}
