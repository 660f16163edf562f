//! DeleteTopics (key 20): deletes topics.

use uuid::Uuid;

use crate::api_key::ApiKey;
use crate::schema::{Request, always, between, message, since};

message! {
    /// The request: deletes topics.
    DeleteTopicsRequest, versions 1..=6, flexible 4;
    /// The name or topic ID of the topic.
    topics: Vec<DeleteTopicState>, since(6);
    /// The names of the topics to delete.
    topic_names: Vec<String>, between(1, 5).ignorable();
    /// The length of time in milliseconds to wait for the deletions to complete.
    timeout_ms: i32, always();
}

message! {
    /// An element of [`DeleteTopicsRequest::topics`].
    DeleteTopicState, versions 1..=6, flexible 4;
    /// The topic name.
    name: Option<String>, since(6).null_since(6);
    /// The unique topic ID.
    topic_id: Uuid, since(6);
}

impl Request for DeleteTopicsRequest {
    const API_KEY: ApiKey = ApiKey::DeleteTopics;
    type Response = DeleteTopicsResponse;
}

message! {
    /// The answer to [`DeleteTopicsRequest`].
    DeleteTopicsResponse, versions 1..=6, flexible 4;
    /// The duration in milliseconds for which the request was throttled due to a quota violation, or zero if
    /// the request did not violate any quota.
    throttle_time_ms: i32, always();
    /// The results for each topic we tried to delete.
    responses: Vec<DeletableTopicResult>, always();
}

message! {
    /// An element of [`DeleteTopicsResponse::responses`].
    DeletableTopicResult, versions 1..=6, flexible 4;
    /// The topic name.
    name: Option<String> = Some(Default::default()), always().null_since(6);
    /// The unique topic ID.
    topic_id: Uuid, since(6).ignorable();
    /// The deletion error, or 0 if the deletion succeeded.
    error_code: i16, always();
    /// The error message, or null if there was no error.
    error_message: Option<String>, since(5).ignorable();
}
