//! DescribeTopicPartitions: topics by name, a page of partitions at a time.

use std::collections::BTreeSet;

use kafka_wire::{
    ErrorCode,
    messages::{
        DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse,
        describe_topic_partitions::{
            Cursor, DescribeTopicPartitionsResponsePartition, DescribeTopicPartitionsResponseTopic,
        },
    },
};

use crate::{
    access::{Operation, ResourceKind},
    broker::{Context, NODE_ID},
};

/// Partitions of one page at most, as Kafka's `max.request.partition.size.limit`.
const PARTITIONS_MAX: usize = 2_000;

pub(crate) async fn handle(
    context: Context,
    request: DescribeTopicPartitionsRequest,
    _: i16,
) -> DescribeTopicPartitionsResponse {
    let named: BTreeSet<String> = request.topics.into_iter().map(|topic| topic.name).collect();
    let all = named.is_empty();
    let names = if all {
        context.broker.topics.all().iter().map(|topic| topic.name.to_string()).collect()
    } else {
        named
    };
    let (first_topic, first_partition) = request
        .cursor
        .map_or_else(|| (String::new(), 0), |cursor| (cursor.topic_name, cursor.partition_index));
    let limit = usize::try_from(request.response_partition_limit).unwrap_or(1).clamp(1, PARTITIONS_MAX);
    let mut page = Page { topics: Vec::new(), left: limit, next_cursor: None };
    for name in names.range(first_topic.clone()..) {
        let first = if *name == first_topic { usize::try_from(first_partition).unwrap_or(0) } else { 0 };
        if !context.allows_topic(Operation::Describe, name) {
            if !all {
                page.topics.push(refused(name, ErrorCode::TopicAuthorizationFailed));
            }
            continue;
        }
        if page.left == 0 {
            page.next_cursor = Some(Cursor { topic_name: name.clone(), partition_index: 0 });
        } else {
            page.add(&context, name, first);
        }
        if page.next_cursor.is_some() {
            break;
        }
    }
    DescribeTopicPartitionsResponse {
        topics: page.topics,
        next_cursor: page.next_cursor,
        ..Default::default()
    }
}

struct Page {
    topics: Vec<DescribeTopicPartitionsResponseTopic>,
    left: usize,
    next_cursor: Option<Cursor>,
}

impl Page {
    /// Adds a topic's partitions from `first` on, as many as still fit.
    fn add(&mut self, context: &Context, name: &str, first: usize) {
        let Some(topic) = context.broker.topics.by_name(name) else {
            self.topics.push(refused(name, ErrorCode::UnknownTopicOrPartition));
            return;
        };
        let all = topic.partitions();
        let partitions = all.iter().skip(first).take(self.left);
        let partitions = partitions.map(|partition| DescribeTopicPartitionsResponsePartition {
            partition_index: partition.index,
            leader_id: NODE_ID,
            leader_epoch: context.broker.leader_epoch,
            replica_nodes: vec![NODE_ID],
            isr_nodes: vec![NODE_ID],
            eligible_leader_replicas: Some(Vec::new()),
            last_known_elr: Some(Vec::new()),
            ..Default::default()
        });
        let partitions: Vec<_> = partitions.collect();
        let end = first.saturating_add(partitions.len());
        self.left = self.left.saturating_sub(partitions.len());
        if end < all.len() {
            let partition_index = i32::try_from(end).unwrap_or(i32::MAX);
            self.next_cursor = Some(Cursor { topic_name: name.to_owned(), partition_index });
        }
        self.topics.push(DescribeTopicPartitionsResponseTopic {
            name: Some(name.to_owned()),
            topic_id: topic.id,
            partitions,
            topic_authorized_operations: context.operations(ResourceKind::Topic, name),
            ..Default::default()
        });
    }
}

fn refused(name: &str, code: ErrorCode) -> DescribeTopicPartitionsResponseTopic {
    DescribeTopicPartitionsResponseTopic {
        error_code: code.code(),
        name: Some(name.to_owned()),
        ..Default::default()
    }
}
