//! ListTransactions: the transactional ids that the caller may see, filtered.

use kafka_wire::{
    ErrorCode,
    messages::{ListTransactionsRequest, ListTransactionsResponse, list_transactions::TransactionState},
};
use regex::Regex;
use runtime::clock;

use crate::{
    access::ResourceKind,
    broker::Context,
    transactions::transaction::{Head, State, Transaction},
};

pub(crate) async fn handle(
    context: Context,
    request: ListTransactionsRequest,
    _: i16,
) -> ListTransactionsResponse {
    let Ok(pattern) = pattern(request.transactional_id_pattern.as_deref()) else {
        let error_code = ErrorCode::InvalidRegularExpression.code();
        return ListTransactionsResponse { error_code, ..Default::default() };
    };
    let now_ms = clock::unix_ms();
    let known: Vec<State> = request.state_filters.iter().filter_map(|name| State::from_name(name)).collect();
    let picked = |head: &Head| {
        let long_enough = request.duration_filter < 0
            || (head.started_ms >= 0 && now_ms.saturating_sub(head.started_ms) > request.duration_filter);
        (request.state_filters.is_empty() || known.contains(&head.state))
            && (request.producer_id_filters.is_empty()
                || request.producer_id_filters.contains(&head.producer.id))
            && long_enough
    };
    let listed = context.broker.transactions.list(|id, transaction: &Transaction| {
        let head = transaction.head();
        let shown = picked(head)
            && pattern.as_ref().is_none_or(|pattern| pattern.is_match(id))
            && context.may_see(ResourceKind::TransactionalId, id);
        shown.then(|| TransactionState {
            transactional_id: id.to_owned(),
            producer_id: head.producer.id,
            transaction_state: head.state.name().to_owned(),
        })
    });
    let unknown = request.state_filters.into_iter().filter(|name| State::from_name(name).is_none());
    ListTransactionsResponse {
        unknown_state_filters: unknown.collect(),
        transaction_states: listed,
        ..Default::default()
    }
}

/// A pattern for whole ids; empty is none. Its size is limited by the library.
fn pattern(text: Option<&str>) -> Result<Option<Regex>, regex::Error> {
    match text {
        None | Some("") => Ok(None),
        // By itself first: parentheses must not reach out of it.
        Some(text) => Regex::new(text).and_then(|_| Regex::new(&format!("^(?:{text})$"))).map(Some),
    }
}
