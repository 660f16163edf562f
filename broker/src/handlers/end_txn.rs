//! EndTxn: commits or aborts a transaction; answered when that is done.

use kafka_wire::{
    ErrorCode,
    messages::{EndTxnRequest, EndTxnResponse},
};

use super::add_partitions_to_txn::for_version;
use crate::{
    access::{Operation, ResourceKind},
    broker::Context,
    transactions::transaction::Producer,
};

/// From this version on each end comes with a new epoch.
const BUMPS_SINCE: i16 = 5;

pub(crate) async fn handle(context: Context, request: EndTxnRequest, version: i16) -> EndTxnResponse {
    let id = request.transactional_id.as_str();
    let failed = |code: ErrorCode| EndTxnResponse {
        error_code: for_version(code, version).code(),
        ..Default::default()
    };
    if !context.allows(Operation::Write, ResourceKind::TransactionalId, id) {
        return failed(ErrorCode::TransactionalIdAuthorizationFailed);
    }
    if id.is_empty() {
        return failed(ErrorCode::InvalidRequest);
    }
    let producer = Producer { id: request.producer_id, epoch: request.producer_epoch };
    let bumps = version >= BUMPS_SINCE;
    let broker = &context.broker;
    match broker.transactions.end(broker, (id, producer), request.committed, bumps).await {
        Ok(producer) if bumps => {
            EndTxnResponse { producer_id: producer.id, producer_epoch: producer.epoch, ..Default::default() }
        }
        Ok(_) => EndTxnResponse::default(),
        Err(code) => failed(code),
    }
}
