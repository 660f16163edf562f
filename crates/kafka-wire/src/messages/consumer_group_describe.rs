//! ConsumerGroupDescribe (key 69): describes consumer groups with their epochs and assignments.

use uuid::Uuid;

use crate::api_key::ApiKey;
use crate::schema::{Request, always, message, since};

message! {
    /// The request: describes consumer groups with their epochs and assignments.
    ConsumerGroupDescribeRequest, versions 0..=1, flexible 0;
    /// The ids of the groups to describe.
    group_ids: Vec<String>, always();
    /// Whether to include authorized operations.
    include_authorized_operations: bool, always();
}

impl Request for ConsumerGroupDescribeRequest {
    const API_KEY: ApiKey = ApiKey::ConsumerGroupDescribe;
    type Response = ConsumerGroupDescribeResponse;
}

message! {
    /// The answer to [`ConsumerGroupDescribeRequest`].
    ConsumerGroupDescribeResponse, versions 0..=1, flexible 0;
    /// The duration in milliseconds for which the request was throttled due to a quota violation, or zero if
    /// the request did not violate any quota.
    throttle_time_ms: i32, always();
    /// Each described group.
    groups: Vec<DescribedConsumerGroup>, always();
}

message! {
    /// An element of [`ConsumerGroupDescribeResponse::groups`].
    DescribedConsumerGroup, versions 0..=1, flexible 0;
    /// The describe error, or 0 if there was no error.
    error_code: i16, always();
    /// The top-level error message, or null if there was no error.
    error_message: Option<String> = None, always();
    /// The group ID string.
    group_id: String, always();
    /// The group state string, or the empty string.
    group_state: String, always();
    /// The group epoch.
    group_epoch: i32, always();
    /// The assignment epoch.
    assignment_epoch: i32, always();
    /// The selected assignor.
    assignor_name: String, always();
    /// The members.
    members: Vec<DescribedConsumerGroupMember>, always();
    /// 32-bit bitfield to represent authorized operations for this group.
    authorized_operations: i32 = i32::MIN, always();
}

message! {
    /// An element of [`DescribedConsumerGroup::members`].
    DescribedConsumerGroupMember, versions 0..=1, flexible 0;
    /// The member ID.
    member_id: String, always();
    /// The member instance ID.
    instance_id: Option<String> = None, always();
    /// The member rack ID.
    rack_id: Option<String> = None, always();
    /// The current member epoch.
    member_epoch: i32, always();
    /// The client ID.
    client_id: String, always();
    /// The client host.
    client_host: String, always();
    /// The subscribed topic names.
    subscribed_topic_names: Vec<String>, always();
    /// the subscribed topic regex otherwise or null of not provided.
    subscribed_topic_regex: Option<String> = None, always();
    /// The current assignment.
    assignment: DescribedAssignment, always();
    /// The target assignment.
    target_assignment: DescribedAssignment, always();
    /// -1 for unknown. 0 for classic member. +1 for consumer member.
    member_type: i8 = -1, since(1).ignorable();
}

message! {
    /// The assignments of [`DescribedConsumerGroupMember`].
    DescribedAssignment, versions 0..=1, flexible 0;
    /// The assigned topic-partitions to the member.
    topic_partitions: Vec<DescribedTopicPartitions>, always();
}

message! {
    /// An element of [`DescribedAssignment::topic_partitions`].
    DescribedTopicPartitions, versions 0..=1, flexible 0;
    /// The topic ID.
    topic_id: Uuid, always();
    /// The topic name.
    topic_name: String, always();
    /// The partitions.
    partitions: Vec<i32>, always();
}
