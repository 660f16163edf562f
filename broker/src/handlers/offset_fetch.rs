//! OffsetFetch: how far groups have come.

use std::{collections::BTreeSet, sync::Arc};

use kafka_wire::{
    ErrorCode,
    messages::{
        OffsetFetchRequest, OffsetFetchResponse,
        offset_fetch::{
            OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
            OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
            OffsetFetchResponseTopic, OffsetFetchResponseTopics,
        },
    },
};
use uuid::Uuid;

use crate::{
    access::{Operation, ResourceKind},
    broker::Context,
    groups::offsets::{Committed, Place},
};

/// From this version on an answer has room for an error of its own.
const ERROR_SINCE: i16 = 2;
/// From this version on several groups may be asked for.
const SEVERAL_SINCE: i16 = 8;
/// From this version on topics go by their ids.
const IDS_SINCE: i16 = 10;

/// What is asked of one group: topics with partitions, or all.
struct Wanted {
    group: String,
    topics: Option<Vec<WantedTopic>>,
    by_id: bool,
    /// Those that an open transaction may change are to be waited for.
    stable: bool,
}

struct WantedTopic {
    name: String,
    id: Uuid,
    partitions: Vec<i32>,
}

struct FoundTopic {
    name: String,
    id: Uuid,
    partitions: Vec<Found>,
}

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
    if version >= SEVERAL_SINCE {
        let groups = request.groups.into_iter();
        let (by_id, stable) = (version >= IDS_SINCE, request.require_stable);
        let groups = groups.map(|group| answer_group(&context, group, by_id, stable)).collect();
        return OffsetFetchResponse { groups, ..Default::default() };
    }
    let named = |topic: OffsetFetchRequestTopic| WantedTopic {
        name: topic.name,
        id: Uuid::nil(),
        partitions: topic.partition_indexes,
    };
    let topics = request.topics.map(|topics| topics.into_iter().map(named).collect());
    let wanted = Wanted { group: request.group_id, topics, by_id: false, stable: request.require_stable };
    let (code, topics) = match find(&context, &wanted) {
        Ok(found) => (ErrorCode::None, found),
        Err(code) if version < ERROR_SINCE => (ErrorCode::None, all_failed(&wanted, code)),
        Err(code) => (code, Vec::new()),
    };
    OffsetFetchResponse {
        error_code: code.code(),
        topics: topics.into_iter().map(old_topic).collect(),
        ..Default::default()
    }
}

fn answer_group(
    context: &Context,
    group: OffsetFetchRequestGroup,
    by_id: bool,
    stable: bool,
) -> OffsetFetchResponseGroup {
    let named = |topic: OffsetFetchRequestTopics| WantedTopic {
        name: topic.name,
        id: topic.topic_id,
        partitions: topic.partition_indexes,
    };
    let topics = group.topics.map(|topics| topics.into_iter().map(named).collect());
    let wanted = Wanted { group: group.group_id, topics, by_id, stable };
    let groups = &context.broker.groups;
    let member = group.member_id.as_deref();
    let found = find(context, &wanted)
        .and_then(|found| groups.check_fetch(&wanted.group, member, group.member_epoch).map(|()| found));
    let code = found.as_ref().err().copied().unwrap_or(ErrorCode::None);
    OffsetFetchResponseGroup {
        group_id: wanted.group,
        topics: found.unwrap_or_default().into_iter().map(new_topic).collect(),
        error_code: code.code(),
    }
}

fn all_failed(wanted: &Wanted, code: ErrorCode) -> Vec<FoundTopic> {
    let failed = |topic: &WantedTopic| FoundTopic {
        name: topic.name.clone(),
        id: topic.id,
        partitions: nothing(&topic.partitions, code),
    };
    wanted.topics.iter().flatten().map(failed).collect()
}

fn nothing(partitions: &[i32], code: ErrorCode) -> Vec<Found> {
    partitions.iter().map(|partition| Found { partition: *partition, committed: None, code }).collect()
}

fn find(context: &Context, wanted: &Wanted) -> Result<Vec<FoundTopic>, ErrorCode> {
    if !context.allows_group(Operation::Describe, &wanted.group) {
        return Err(ErrorCode::GroupAuthorizationFailed);
    }
    let Some(topics) = &wanted.topics else { return Ok(find_all(context, wanted)) };
    Ok(topics.iter().map(|topic| find_topic(context, wanted, topic)).collect())
}

fn look_up(context: &Context, wanted: &Wanted, topic: &str, partition: i32) -> Found {
    let place = (topic.to_owned(), partition);
    if wanted.stable && context.broker.transactions.pending.is_pending(&wanted.group, &place) {
        return Found { partition, committed: None, code: ErrorCode::UnstableOffsetCommit };
    }
    let committed = context.broker.groups.offsets.get(&wanted.group, &place);
    Found { partition, committed, code: ErrorCode::None }
}

fn find_topic(context: &Context, wanted: &Wanted, topic: &WantedTopic) -> FoundTopic {
    let known = wanted.by_id.then(|| context.broker.topics.by_id(topic.id));
    let name: Arc<str> = match known {
        Some(Some(known)) => Arc::clone(&known.name),
        Some(None) => {
            let partitions = nothing(&topic.partitions, ErrorCode::UnknownTopicId);
            return FoundTopic { name: String::new(), id: topic.id, partitions };
        }
        None => Arc::from(topic.name.as_str()),
    };
    let partitions = if context.allows_topic(Operation::Describe, &name) {
        topic.partitions.iter().map(|partition| look_up(context, wanted, &name, *partition)).collect()
    } else {
        nothing(&topic.partitions, ErrorCode::TopicAuthorizationFailed)
    };
    FoundTopic { name: name.to_string(), id: topic.id, partitions }
}

/// All that the group committed and the caller may see. By id, a topic that is gone has none.
fn find_all(context: &Context, wanted: &Wanted) -> Vec<FoundTopic> {
    let mut topics: Vec<FoundTopic> = Vec::new();
    let committed = context.broker.groups.offsets.of_group(&wanted.group).into_iter().map(|(place, _)| place);
    let pending = &context.broker.transactions.pending;
    let open = if wanted.stable { pending.places(&wanted.group) } else { Vec::new() };
    for (name, partition) in committed.chain(open).collect::<BTreeSet<Place>>() {
        let found = look_up(context, wanted, &name, partition);
        if let Some(last) = topics.last_mut().filter(|last| last.name == name) {
            last.partitions.push(found);
            continue;
        }
        topics.push(FoundTopic { name, id: Uuid::nil(), partitions: vec![found] });
    }
    topics.retain_mut(|topic| {
        let known = context.broker.topics.by_name(&topic.name);
        topic.id = known.as_ref().map_or(Uuid::nil(), |known| known.id);
        context.may_see(ResourceKind::Topic, &topic.name) && (!wanted.by_id || known.is_some())
    });
    topics
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

fn old_topic(topic: FoundTopic) -> OffsetFetchResponseTopic {
    let partitions = topic.partitions.into_iter().map(|found| {
        let (partition_index, committed_offset, committed_leader_epoch, metadata, error_code) = parts(found);
        OffsetFetchResponsePartition {
            partition_index,
            committed_offset,
            committed_leader_epoch,
            metadata,
            error_code,
        }
    });
    OffsetFetchResponseTopic { name: topic.name, partitions: partitions.collect() }
}

fn new_topic(topic: FoundTopic) -> OffsetFetchResponseTopics {
    let partitions = topic.partitions.into_iter().map(|found| {
        let (partition_index, committed_offset, committed_leader_epoch, metadata, error_code) = parts(found);
        OffsetFetchResponsePartitions {
            partition_index,
            committed_offset,
            committed_leader_epoch,
            metadata,
            error_code,
        }
    });
    OffsetFetchResponseTopics { name: topic.name, topic_id: topic.id, partitions: partitions.collect() }
}
