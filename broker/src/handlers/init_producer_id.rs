//! InitProducerId: an id and epoch for a producer. With a transactional id, whoever had it before is fenced.

use std::sync::Arc;

use kafka_wire::{
    ErrorCode,
    messages::{InitProducerIdRequest, InitProducerIdResponse},
};

use crate::{
    access::{Operation, ResourceKind},
    broker::Context,
    transactions::transaction::Producer,
};

/// Older clients know `ProducerFenced` as another error.
const FENCED_SINCE: i16 = 4;

pub(crate) async fn handle(
    context: Context,
    request: InitProducerIdRequest,
    version: i16,
) -> InitProducerIdResponse {
    let outcome = match request.transactional_id.as_deref() {
        Some(id) => transactional(&context, id, &request).await,
        None => idempotent(&context).await,
    };
    match outcome {
        Ok(producer) => InitProducerIdResponse {
            producer_id: producer.id,
            producer_epoch: producer.epoch,
            ..Default::default()
        },
        Err(code) => {
            let code = if code == ErrorCode::ProducerFenced && version < FENCED_SINCE {
                ErrorCode::InvalidProducerEpoch
            } else {
                code
            };
            InitProducerIdResponse { error_code: code.code(), producer_epoch: -1, ..Default::default() }
        }
    }
}

async fn transactional(
    context: &Context,
    id: &str,
    request: &InitProducerIdRequest,
) -> Result<Producer, ErrorCode> {
    if !context.allows(Operation::Write, ResourceKind::TransactionalId, id) {
        return Err(ErrorCode::TransactionalIdAuthorizationFailed);
    }
    let expected = match (request.producer_id, request.producer_epoch) {
        (-1, -1) => None,
        (id, epoch) if id >= 0 && epoch >= 0 => Some(Producer { id, epoch }),
        _ => return Err(ErrorCode::InvalidRequest),
    };
    let broker: &Arc<_> = &context.broker;
    broker.transactions.start(broker, id, request.transaction_timeout_ms, expected).await
}

async fn idempotent(context: &Context) -> Result<Producer, ErrorCode> {
    let may_produce = context.allows_cluster(Operation::IdempotentWrite)
        || context.allows_somewhere(Operation::Write, ResourceKind::Topic);
    if !may_produce {
        return Err(ErrorCode::ClusterAuthorizationFailed);
    }
    match context.broker.producer_ids.next().await {
        Ok(id) => Ok(Producer { id, epoch: 0 }),
        Err(error) => {
            tracing::error!(error = crate::error_text(&error), "cannot reserve producer ids");
            Err(ErrorCode::CoordinatorNotAvailable)
        }
    }
}
