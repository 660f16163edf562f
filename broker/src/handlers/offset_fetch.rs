//! OffsetFetch: how far groups have come.

use std::collections::BTreeSet;

use kafka_wire::{
    ErrorCode,
    messages::{
        OffsetFetchRequest, OffsetFetchResponse,
        offset_fetch::{
            OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
            OffsetFetchResponseTopic, OffsetFetchResponseTopics,
        },
    },
};

use crate::{
    access::{Operation, ResourceKind},
    broker::Context,
    groups::offsets::{Committed, Place},
};

/// From this version on several groups may be asked for.
const SEVERAL_SINCE: i16 = 8;

/// What is asked for: topics with partitions, or all.
type Wanted = Option<Vec<(String, Vec<i32>)>>;

/// An offset with what is wrong with it.
struct Found {
    partition: i32,
    committed: Option<Committed>,
    code: ErrorCode,
}

pub(crate) async fn handle(
    context: Context,
    request: OffsetFetchRequest,
    version: i16,
) -> OffsetFetchResponse {
    let stable = request.require_stable;
    if version >= SEVERAL_SINCE {
        let groups = request.groups.into_iter().map(|group| {
            let topics = group.topics;
            let wanted =
                topics.map(|topics| topics.into_iter().map(|it| (it.name, it.partition_indexes)).collect());
            answer_group(&context, group.group_id, wanted, stable)
        });
        return OffsetFetchResponse { groups: groups.collect(), ..Default::default() };
    }
    let wanted =
        request.topics.map(|topics| topics.into_iter().map(|it| (it.name, it.partition_indexes)).collect());
    match find(&context, &request.group_id, wanted, stable) {
        Ok(topics) => {
            OffsetFetchResponse { topics: topics.into_iter().map(old_topic).collect(), ..Default::default() }
        }
        Err(code) => OffsetFetchResponse { error_code: code.code(), ..Default::default() },
    }
}

fn answer_group(
    context: &Context,
    group_id: String,
    wanted: Wanted,
    stable: bool,
) -> OffsetFetchResponseGroup {
    match find(context, &group_id, wanted, stable) {
        Ok(topics) => OffsetFetchResponseGroup {
            group_id,
            topics: topics.into_iter().map(new_topic).collect(),
            ..Default::default()
        },
        Err(code) => OffsetFetchResponseGroup { group_id, error_code: code.code(), ..Default::default() },
    }
}

/// Looks up offsets. Who wants stable ones is told to wait for those that an open transaction may change.
fn find(
    context: &Context,
    group: &str,
    wanted: Wanted,
    stable: bool,
) -> Result<Vec<(String, Vec<Found>)>, ErrorCode> {
    if !context.allows_group(Operation::Describe, group) {
        return Err(ErrorCode::GroupAuthorizationFailed);
    }
    let offsets = &context.broker.groups.offsets;
    let pending = &context.broker.transactions.pending;
    let look_up = |topic: &str, partition: i32| {
        let place = (topic.to_owned(), partition);
        if stable && pending.is_pending(group, &place) {
            return Found { partition, committed: None, code: ErrorCode::UnstableOffsetCommit };
        }
        Found { partition, committed: offsets.get(group, &place), code: ErrorCode::None }
    };
    let Some(wanted) = wanted else {
        let mut topics: Vec<(String, Vec<Found>)> = Vec::new();
        let committed = offsets.of_group(group).into_iter().map(|(place, _)| place);
        let open = if stable { pending.places(group) } else { Vec::new() };
        let places: BTreeSet<Place> = committed.chain(open).collect();
        for (topic, partition) in places {
            if !context.may_see(ResourceKind::Topic, &topic) {
                continue;
            }
            let found = look_up(&topic, partition);
            match topics.last_mut() {
                Some((last, all)) if *last == topic => all.push(found),
                _ => topics.push((topic, vec![found])),
            }
        }
        return Ok(topics);
    };
    let topics = wanted.into_iter().map(|(topic, partitions)| {
        let allowed = context.allows_topic(Operation::Describe, &topic);
        let find_one = |partition: i32| {
            if !allowed {
                return Found { partition, committed: None, code: ErrorCode::TopicAuthorizationFailed };
            }
            look_up(&topic, partition)
        };
        let found = partitions.into_iter().map(find_one).collect();
        (topic, found)
    });
    Ok(topics.collect())
}

fn parts(found: Found) -> (i32, i64, i32, Option<String>, i16) {
    let code = found.code.code();
    match found.committed {
        Some(committed) => {
            (found.partition, committed.offset, committed.leader_epoch, Some(committed.metadata), code)
        }
        None => (found.partition, -1, -1, Some(String::new()), code),
    }
}

fn old_topic((name, found): (String, Vec<Found>)) -> OffsetFetchResponseTopic {
    let partitions = found.into_iter().map(|found| {
        let (partition_index, committed_offset, committed_leader_epoch, metadata, error_code) = parts(found);
        OffsetFetchResponsePartition {
            partition_index,
            committed_offset,
            committed_leader_epoch,
            metadata,
            error_code,
        }
    });
    OffsetFetchResponseTopic { name, partitions: partitions.collect() }
}

fn new_topic((name, found): (String, Vec<Found>)) -> OffsetFetchResponseTopics {
    let partitions = found.into_iter().map(|found| {
        let (partition_index, committed_offset, committed_leader_epoch, metadata, error_code) = parts(found);
        OffsetFetchResponsePartitions {
            partition_index,
            committed_offset,
            committed_leader_epoch,
            metadata,
            error_code,
        }
    });
    OffsetFetchResponseTopics { name, partitions: partitions.collect(), ..Default::default() }
}
