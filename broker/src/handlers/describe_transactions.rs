//! DescribeTransactions: how transactions stand.

use kafka_wire::{
    ErrorCode,
    messages::{
        DescribeTransactionsRequest, DescribeTransactionsResponse,
        describe_transactions::{TopicData, TransactionState},
    },
};

use crate::{
    access::{Operation, ResourceKind},
    broker::Context,
    transactions::transaction::Transaction,
};

pub(crate) async fn handle(
    context: Context,
    request: DescribeTransactionsRequest,
    _: i16,
) -> DescribeTransactionsResponse {
    let states = request.transactional_ids.into_iter().map(|id| {
        let described = describe(&context, &id);
        let failed = |code: ErrorCode| TransactionState { error_code: code.code(), ..Default::default() };
        TransactionState { transactional_id: id, ..described.unwrap_or_else(failed) }
    });
    DescribeTransactionsResponse { transaction_states: states.collect(), ..Default::default() }
}

fn describe(context: &Context, id: &str) -> Result<TransactionState, ErrorCode> {
    if !context.allows(Operation::Describe, ResourceKind::TransactionalId, id) {
        return Err(ErrorCode::TransactionalIdAuthorizationFailed);
    }
    let state = context.broker.transactions.describe(id, |transaction| state(context, transaction));
    state.ok_or(ErrorCode::TransactionalIdNotFound)
}

fn state(context: &Context, transaction: &Transaction) -> TransactionState {
    let head = transaction.head();
    let mut topics: Vec<TopicData> = Vec::new();
    for (topic, partition) in transaction.places() {
        match topics.last_mut() {
            Some(last) if last.topic == *topic => last.partitions.push(*partition),
            _ if !context.may_see(ResourceKind::Topic, topic) => {}
            _ => topics.push(TopicData { topic: topic.clone(), partitions: vec![*partition] }),
        }
    }
    TransactionState {
        transaction_state: head.state.name().to_owned(),
        transaction_timeout_ms: head.timeout_ms,
        transaction_start_time_ms: head.started_ms,
        producer_id: head.producer.id,
        producer_epoch: head.producer.epoch,
        topics,
        ..Default::default()
    }
}
