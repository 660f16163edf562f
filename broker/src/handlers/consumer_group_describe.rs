//! ConsumerGroupDescribe: consumer groups with their epochs, members, and who has and is to have what.

use std::collections::BTreeSet;

use kafka_wire::{
    ErrorCode,
    messages::{
        ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse,
        consumer_group_describe::{
            DescribedAssignment, DescribedConsumerGroup, DescribedConsumerGroupMember,
            DescribedTopicPartitions,
        },
    },
};

use crate::{
    access::{Operation, ResourceKind},
    broker::Context,
    groups::{
        assignor::Assignment,
        consumer_group::{ConsumerGroup, Member, TopicsView},
    },
};

/// A member of the new protocol.
const CONSUMER_MEMBER: i8 = 1;

pub(crate) async fn handle(
    context: Context,
    request: ConsumerGroupDescribeRequest,
    _: i16,
) -> ConsumerGroupDescribeResponse {
    let topics = context.broker.topics.view();
    let mut groups = Vec::new();
    for group_id in request.group_ids.into_iter().collect::<BTreeSet<_>>() {
        let mut group = describe(&context, group_id, &topics).await;
        if request.include_authorized_operations && group.error_code == ErrorCode::None.code() {
            group.authorized_operations = context.operations(ResourceKind::Group, &group.group_id);
        }
        groups.push(group);
    }
    ConsumerGroupDescribeResponse { groups, ..Default::default() }
}

async fn describe(context: &Context, group_id: String, topics: &TopicsView) -> DescribedConsumerGroup {
    let refused = |code: ErrorCode, text: Option<String>| DescribedConsumerGroup {
        group_id: group_id.clone(),
        error_code: code.code(),
        error_message: text,
        ..Default::default()
    };
    if !context.allows_group(Operation::Describe, &group_id) {
        return refused(ErrorCode::GroupAuthorizationFailed, None);
    }
    let groups = &context.broker.groups;
    let known = groups.with_consumer_group(&group_id, |group| describe_known(group, topics)).await;
    let described = match known {
        Err(code) => return refused(code, None),
        Ok(Some(described)) => described,
        Ok(None) if groups.is_known(&group_id) => {
            let text = format!("Group {group_id} is not a consumer group.");
            return refused(ErrorCode::GroupIdNotFound, Some(text));
        }
        Ok(None) => {
            return refused(ErrorCode::GroupIdNotFound, Some(format!("Group {group_id} not found.")));
        }
    };
    let is_hidden = |topic: &str| !context.allows_topic(Operation::Describe, topic);
    if topics_of(&described).into_iter().any(is_hidden) {
        let text = "The group has described topic(s) that the client is not authorized to describe.";
        return refused(ErrorCode::TopicAuthorizationFailed, Some(text.to_owned()));
    }
    DescribedConsumerGroup { group_id, ..described }
}

fn topics_of(group: &DescribedConsumerGroup) -> BTreeSet<&str> {
    let mut topics = BTreeSet::new();
    for member in &group.members {
        topics.extend(member.subscribed_topic_names.iter().map(String::as_str));
        let parts =
            member.assignment.topic_partitions.iter().chain(&member.target_assignment.topic_partitions);
        topics.extend(parts.map(|topic| topic.topic_name.as_str()));
    }
    topics
}

fn describe_known(group: &ConsumerGroup, topics: &TopicsView) -> DescribedConsumerGroup {
    DescribedConsumerGroup {
        group_state: group.state_name().to_owned(),
        group_epoch: group.epoch(),
        assignment_epoch: group.target_epoch(),
        assignor_name: group.assignor().name().to_owned(),
        members: group.members().map(|(id, member)| describe_member(id, member, topics)).collect(),
        ..Default::default()
    }
}

fn describe_member(id: &str, member: &Member, topics: &TopicsView) -> DescribedConsumerGroupMember {
    DescribedConsumerGroupMember {
        member_id: id.to_owned(),
        instance_id: member.instance.clone(),
        rack_id: member.rack.clone(),
        member_epoch: member.epoch,
        client_id: member.client_id.clone(),
        client_host: member.client_host.clone(),
        subscribed_topic_names: member.names.iter().cloned().collect(),
        subscribed_topic_regex: member.regex.clone(),
        assignment: written(&member.assigned, topics),
        target_assignment: written(&member.target, topics),
        member_type: CONSUMER_MEMBER,
    }
}

/// Topics that are deleted have no name any more, and are left out.
fn written(assignment: &Assignment, topics: &TopicsView) -> DescribedAssignment {
    let known = assignment.iter().filter_map(|(topic_id, partitions)| {
        Some(DescribedTopicPartitions {
            topic_id: *topic_id,
            topic_name: topics.names.get(topic_id)?.to_string(),
            partitions: partitions.iter().copied().collect(),
        })
    });
    DescribedAssignment { topic_partitions: known.collect() }
}
