//! AddOffsetsToTxn: a group becomes part of a transaction before its offsets are committed with it.

use kafka_wire::{
    ErrorCode,
    messages::{AddOffsetsToTxnRequest, AddOffsetsToTxnResponse},
};

use super::{add_partitions_to_txn::for_version, join_group::check_group};
use crate::{
    access::{Operation, ResourceKind},
    broker::Context,
    transactions::transaction::Producer,
};

pub(crate) async fn handle(
    context: Context,
    request: AddOffsetsToTxnRequest,
    version: i16,
) -> AddOffsetsToTxnResponse {
    let code = add(&context, &request).await.err().unwrap_or(ErrorCode::None);
    AddOffsetsToTxnResponse { error_code: for_version(code, version).code(), ..Default::default() }
}

async fn add(context: &Context, request: &AddOffsetsToTxnRequest) -> Result<(), ErrorCode> {
    let id = request.transactional_id.as_str();
    if !context.allows(Operation::Write, ResourceKind::TransactionalId, id) {
        return Err(ErrorCode::TransactionalIdAuthorizationFailed);
    }
    check_group(context, &request.group_id)?;
    let producer = Producer { id: request.producer_id, epoch: request.producer_epoch };
    context.broker.transactions.add_group(id, producer, &request.group_id).await
}
