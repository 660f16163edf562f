//! AlterClientQuotas: sets and removes quotas, those of each entity all or none.

use kafka_wire::{
    ErrorCode,
    messages::{
        AlterClientQuotasRequest, AlterClientQuotasResponse,
        alter_client_quotas::{AlteredEntry, EntityData, EntryData},
    },
};

use crate::{
    access::Operation,
    broker::Context,
    partition::Refusal,
    quotas::{
        Alteration,
        entity::{self, Entity},
    },
};

pub(crate) async fn handle(
    context: Context,
    request: AlterClientQuotasRequest,
    _: i16,
) -> AlterClientQuotasResponse {
    let allowed = context.allows_cluster(Operation::AlterConfigs);
    let read = |entry: &EntryData| if allowed { read(entry) } else { Err(denied()) };
    let alterations = request.entries.iter().map(read).collect();
    let outcomes = context.broker.quotas.alter(alterations, request.validate_only).await;
    let entries =
        request.entries.into_iter().zip(outcomes).map(|(entry, outcome)| answer(entry.entity, outcome));
    AlterClientQuotasResponse { entries: entries.collect(), ..Default::default() }
}

fn denied() -> Refusal {
    let code = ErrorCode::ClusterAuthorizationFailed;
    Refusal::new(code, code.description())
}

fn read(entry: &EntryData) -> Result<(Entity, Vec<Alteration>), Refusal> {
    let parts = entry.entity.iter().map(|part| (part.entity_type.as_str(), part.entity_name.as_deref()));
    let entity = Entity::parse(parts)?;
    let alteration = |op: &kafka_wire::messages::alter_client_quotas::OpData| {
        let kind = entity.kind(&op.key)?;
        if op.remove {
            return Ok((kind, None));
        }
        entity::check(kind, op.value.get())?;
        Ok((kind, Some(op.value.get())))
    };
    let alterations: Result<Vec<_>, Refusal> = entry.ops.iter().map(alteration).collect();
    alterations.map(|alterations| (entity, alterations))
}

fn answer(entity: Vec<EntityData>, outcome: Result<(), Refusal>) -> AlteredEntry {
    let refusal = outcome.err();
    AlteredEntry {
        error_code: refusal.as_ref().map_or(ErrorCode::None, |refusal| refusal.code).code(),
        error_message: refusal.and_then(|refusal| refusal.message),
        entity,
    }
}
