//! ConsumerGroupHeartbeat: a member of a consumer group lives, says what it has, and hears what it gets.

use std::collections::BTreeSet;

use kafka_wire::{
    ErrorCode,
    messages::{
        ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse,
        consumer_group_heartbeat::{HeartbeatAssignment, OwnedTopicPartitions},
    },
};
use uuid::Uuid;

use super::join_group::check_group;
use crate::{
    access::{Operation, ResourceKind},
    broker::Context,
    groups::{
        assignor::Assignment,
        consumer_group::{Answer, Beat, Refused},
    },
};

/// From this version on members make their own ids.
const MEMBER_ID_SINCE: i16 = 1;

pub(crate) async fn handle(
    context: Context,
    request: ConsumerGroupHeartbeatRequest,
    version: i16,
) -> ConsumerGroupHeartbeatResponse {
    match beat(&context, request, version).await {
        Ok((answer, heartbeat_interval_ms)) => ConsumerGroupHeartbeatResponse {
            member_id: Some(answer.member),
            member_epoch: answer.epoch,
            heartbeat_interval_ms,
            assignment: answer.assignment.map(written),
            ..Default::default()
        },
        Err(refused) => ConsumerGroupHeartbeatResponse {
            error_code: refused.code.code(),
            error_message: Some(refused.text),
            ..Default::default()
        },
    }
}

async fn beat(
    context: &Context,
    request: ConsumerGroupHeartbeatRequest,
    version: i16,
) -> Result<(Answer, i32), Refused> {
    check_group(context, &request.group_id).map_err(|code| match code {
        ErrorCode::InvalidGroupId => {
            Refused::new(ErrorCode::InvalidRequest, "GroupId can't be empty or too long.")
        }
        code => Refused::new(code, "the group is not yours to use"),
    })?;
    let named = request.subscribed_topic_names.iter().flatten();
    for topic in named.collect::<BTreeSet<_>>() {
        if !context.allows_topic(Operation::Describe, topic) {
            let text = "a topic that is subscribed to is not yours to know of";
            return Err(Refused::new(ErrorCode::TopicAuthorizationFailed, text));
        }
    }
    let group = request.group_id.clone();
    let mut beat = to_beat(context, request);
    beat.check(version >= MEMBER_ID_SINCE)?;
    if beat.member.is_empty() {
        beat.member = Uuid::new_v4().to_string();
    }
    let topics = context.broker.topics.view();
    let allows = |topic: &str| context.may_see(ResourceKind::Topic, topic);
    context.broker.groups.heartbeat(&group, &beat, &topics, &allows).await
}

fn to_beat(context: &Context, request: ConsumerGroupHeartbeatRequest) -> Beat {
    Beat {
        member: request.member_id,
        epoch: request.member_epoch,
        instance: request.instance_id,
        rack: request.rack_id,
        rebalance_timeout_ms: request.rebalance_timeout_ms,
        names: request.subscribed_topic_names,
        regex: request.subscribed_topic_regex,
        assignor: request.server_assignor,
        owned: request.topic_partitions.map(read),
        client_id: context.client_id.to_string(),
        client_host: context.caller.host.clone(),
    }
}

fn read(topics: Vec<OwnedTopicPartitions>) -> Assignment {
    let mut owned = Assignment::new();
    for topic in topics {
        if !topic.partitions.is_empty() {
            owned.entry(topic.topic_id).or_default().extend(topic.partitions);
        }
    }
    owned
}

fn written(assignment: Assignment) -> HeartbeatAssignment {
    let topics = assignment.into_iter().map(|(topic_id, partitions)| OwnedTopicPartitions {
        topic_id,
        partitions: partitions.into_iter().collect(),
    });
    HeartbeatAssignment { topic_partitions: topics.collect() }
}
