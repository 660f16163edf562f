//! InitProducerId: an id for an idempotent producer. Transactional ids are refused until transactions are there.

use kafka_wire::{
    ErrorCode,
    messages::{InitProducerIdRequest, InitProducerIdResponse},
};

use crate::{
    access::{Operation, ResourceKind},
    broker::Context,
};

pub(crate) async fn handle(
    context: Context,
    request: InitProducerIdRequest,
    _: i16,
) -> InitProducerIdResponse {
    let failed = |code: ErrorCode| InitProducerIdResponse {
        error_code: code.code(),
        producer_epoch: -1,
        ..Default::default()
    };
    if request.transactional_id.is_some() {
        return failed(ErrorCode::InvalidRequest);
    }
    let may_produce = context.allows_cluster(Operation::IdempotentWrite)
        || context.allows_somewhere(Operation::Write, ResourceKind::Topic);
    if !may_produce {
        return failed(ErrorCode::ClusterAuthorizationFailed);
    }
    match context.broker.producer_ids.next().await {
        Ok(producer_id) => InitProducerIdResponse { producer_id, producer_epoch: 0, ..Default::default() },
        Err(error) => {
            tracing::error!(error = crate::error_text(&error), "cannot reserve producer ids");
            failed(ErrorCode::CoordinatorNotAvailable)
        }
    }
}
