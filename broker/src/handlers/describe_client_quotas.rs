//! DescribeClientQuotas: the quotas of entities that a filter picks.

use std::collections::BTreeMap;

use kafka_wire::{
    ErrorCode,
    messages::{
        DescribeClientQuotasRequest, DescribeClientQuotasResponse,
        describe_client_quotas::{ComponentData, EntityData, EntryData, ValueData},
    },
};

use crate::{
    access::Operation,
    broker::Context,
    partition::Refusal,
    quotas::{
        Values,
        entity::{self, Entity, IP, TYPES},
    },
};

const EXACTLY: i8 = 0;
const DEFAULT: i8 = 1;
const ANY: i8 = 2;

/// What one part of a name has to be.
enum Wanted {
    /// This name; `None` is the default.
    Name(Option<String>),
    /// Whatever there is.
    Any,
}

pub(crate) async fn handle(
    context: Context,
    request: DescribeClientQuotasRequest,
    _: i16,
) -> DescribeClientQuotasResponse {
    let allowed = context.allows_cluster(Operation::DescribeConfigs);
    let filter = if allowed { read(&request.components) } else { Err(denied()) };
    match filter {
        Ok(filter) => {
            let found = context.broker.quotas.list(|entity| matches(&filter, request.strict, entity));
            let entries = found.into_iter().map(|(entity, values)| entry(&entity, &values)).collect();
            DescribeClientQuotasResponse { error_message: None, entries: Some(entries), ..Default::default() }
        }
        Err(refusal) => DescribeClientQuotasResponse {
            error_code: refusal.code.code(),
            error_message: refusal.message,
            entries: None,
            ..Default::default()
        },
    }
}

fn denied() -> Refusal {
    let code = ErrorCode::ClusterAuthorizationFailed;
    Refusal::new(code, code.description())
}

fn read(components: &[ComponentData]) -> Result<BTreeMap<&str, Wanted>, Refusal> {
    let invalid = |text: String| Refusal::new(ErrorCode::InvalidRequest, text);
    let mut filter = BTreeMap::new();
    for component in components {
        let kind = component.entity_type.as_str();
        if kind.is_empty() {
            return Err(invalid("a component has no entity type".to_owned()));
        }
        if !TYPES.contains(&kind) {
            let text = format!("there are no quotas of a type {kind:?}");
            return Err(Refusal::new(ErrorCode::UnsupportedVersion, text));
        }
        let wanted = match (component.match_type, &component.match_name) {
            // An address may be written in several ways; what is none matches nothing.
            (EXACTLY, Some(name)) if kind == IP => {
                Wanted::Name(Some(entity::address(name).unwrap_or_else(|| name.clone())))
            }
            (EXACTLY, Some(name)) => Wanted::Name(Some(name.clone())),
            (EXACTLY, None) => return Err(invalid(format!("an exact match of a {kind} needs a name"))),
            (DEFAULT, None) => Wanted::Name(None),
            (ANY, None) => Wanted::Any,
            (DEFAULT | ANY, Some(_)) => {
                return Err(invalid(format!("only an exact match of a {kind} has a name")));
            }
            (other, _) => {
                return Err(invalid(format!("there is no match type {other}: it must be 0, 1 or 2")));
            }
        };
        if filter.insert(kind, wanted).is_some() {
            return Err(invalid(format!("the entity type {kind} is in the filter twice")));
        }
    }
    if filter.contains_key(IP) && filter.len() > 1 {
        return Err(invalid("an ip goes with neither a user nor a client-id".to_owned()));
    }
    Ok(filter)
}

fn matches(filter: &BTreeMap<&str, Wanted>, strict: bool, entity: &Entity) -> bool {
    let parts = entity.parts();
    if strict && parts.len() != filter.len() {
        return false;
    }
    filter.iter().all(|(kind, wanted)| {
        let part = parts.iter().find(|(other, _)| other == kind);
        part.is_some_and(|(_, name)| match wanted {
            Wanted::Name(wanted) => wanted.as_deref() == *name,
            Wanted::Any => true,
        })
    })
}

fn entry(entity: &Entity, values: &Values) -> EntryData {
    let part = |(kind, name): (&str, Option<&str>)| EntityData {
        entity_type: kind.to_owned(),
        entity_name: name.map(str::to_owned),
    };
    let value = |(kind, value): (&entity::Kind, &f64)| ValueData {
        key: kind.key().to_owned(),
        value: (*value).into(),
    };
    EntryData {
        entity: entity.parts().into_iter().map(part).collect(),
        values: values.iter().map(value).collect(),
    }
}
