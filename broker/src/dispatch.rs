//! The table of what is supported, and the way from a frame to its answer.

use std::pin::Pin;

use bytes::Bytes;
use kafka_wire::{
    ApiKey, DecodeError, EncodeError, Encoded, ErrorCode, Message, Reader, Request, RequestHeader, frame,
    messages,
};

use crate::{broker::Context, handlers, quotas::hold::Hold};

/// An API, with the versions that are served.
pub(crate) struct Supported {
    pub(crate) api_key: ApiKey,
    pub(crate) min: i16,
    /// What ApiVersions says instead of `min`: some clients switch features off without it.
    pub(crate) advertised_min: i16,
    pub(crate) max: i16,
}

const fn from(api_key: ApiKey, min: i16, max: i16) -> Supported {
    Supported { api_key, min, advertised_min: min, max }
}

/// What is supported; requests outside of it close the connection, as Kafka does.
pub(crate) const SUPPORTED: &[Supported] = &[
    // Without 0 in the list, librdkafka before 2.11.1 sends everything uncompressed.
    Supported { api_key: ApiKey::Produce, min: 3, advertised_min: 0, max: 13 },
    from(ApiKey::Fetch, 4, 18),
    from(ApiKey::ListOffsets, 1, 11),
    from(ApiKey::Metadata, 0, 13),
    from(ApiKey::OffsetCommit, 2, 10),
    from(ApiKey::OffsetFetch, 1, 10),
    from(ApiKey::FindCoordinator, 0, 6),
    from(ApiKey::JoinGroup, 0, 9),
    from(ApiKey::Heartbeat, 0, 4),
    from(ApiKey::LeaveGroup, 0, 5),
    from(ApiKey::SyncGroup, 0, 5),
    from(ApiKey::DescribeGroups, 0, 6),
    from(ApiKey::ListGroups, 0, 5),
    from(ApiKey::SaslHandshake, 0, 1),
    from(ApiKey::ApiVersions, 0, 4),
    from(ApiKey::CreateTopics, 2, 7),
    from(ApiKey::DeleteTopics, 1, 6),
    from(ApiKey::DeleteRecords, 0, 2),
    from(ApiKey::InitProducerId, 0, 5),
    from(ApiKey::OffsetForLeaderEpoch, 2, 4),
    from(ApiKey::AddPartitionsToTxn, 0, 5),
    from(ApiKey::AddOffsetsToTxn, 0, 4),
    from(ApiKey::EndTxn, 0, 5),
    from(ApiKey::WriteTxnMarkers, 1, 1),
    from(ApiKey::TxnOffsetCommit, 0, 5),
    from(ApiKey::DescribeAcls, 1, 3),
    from(ApiKey::CreateAcls, 1, 3),
    from(ApiKey::DeleteAcls, 1, 3),
    from(ApiKey::DescribeConfigs, 1, 4),
    from(ApiKey::SaslAuthenticate, 0, 2),
    from(ApiKey::AlterConfigs, 0, 2),
    from(ApiKey::AlterReplicaLogDirs, 1, 2),
    from(ApiKey::DescribeLogDirs, 1, 5),
    from(ApiKey::CreatePartitions, 0, 3),
    from(ApiKey::DeleteGroups, 0, 2),
    from(ApiKey::ElectLeaders, 0, 2),
    from(ApiKey::IncrementalAlterConfigs, 0, 1),
    from(ApiKey::OffsetDelete, 0, 0),
    from(ApiKey::DescribeClientQuotas, 0, 1),
    from(ApiKey::AlterClientQuotas, 0, 1),
    from(ApiKey::DescribeUserScramCredentials, 0, 0),
    from(ApiKey::AlterUserScramCredentials, 0, 0),
    from(ApiKey::AlterPartitionReassignments, 0, 1),
    from(ApiKey::ListPartitionReassignments, 0, 0),
    from(ApiKey::DescribeQuorum, 0, 2),
    from(ApiKey::DescribeCluster, 0, 2),
    from(ApiKey::DescribeProducers, 0, 0),
    from(ApiKey::DescribeTransactions, 0, 0),
    from(ApiKey::ListTransactions, 0, 2),
    from(ApiKey::ConsumerGroupHeartbeat, 0, 1),
    from(ApiKey::ConsumerGroupDescribe, 0, 1),
    from(ApiKey::ListConfigResources, 0, 1),
    from(ApiKey::DescribeTopicPartitions, 0, 0),
];

/// The answer to a request, when it is there; `None` when the client wants none.
pub(crate) type Answer = Pin<Box<dyn Future<Output = Result<Option<Encoded>, EncodeError>> + Send>>;

/// A request that ends its connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unanswerable {
    #[error("the request cannot be read")]
    Decode(#[from] DecodeError),
    #[error("API {api_key} in version {version} is not supported")]
    Unsupported { api_key: i16, version: i16 },
}

/// Starts on a request. Producing is begun at once, so that the order is that of arrival while many wait for
/// the same sync; everything else begins when its answer is asked for.
pub(crate) fn dispatch(context: &Context, frame: Bytes) -> Result<Answer, Unanswerable> {
    let bytes = frame.len();
    let mut reader = Reader::new(frame);
    let header = RequestHeader::decode(&mut reader)?;
    let version = header.api_version;
    let unsupported = Unanswerable::Unsupported { api_key: header.api_key, version };
    let api_key = ApiKey::from_code(header.api_key);
    let mut table = SUPPORTED.iter().enumerate();
    let (row, entry) = table.find(|(_, entry)| Some(entry.api_key) == api_key).ok_or(unsupported)?;
    context.broker.metrics.requests.came(row);
    if !(entry.min..=entry.max).contains(&version) {
        if entry.api_key == ApiKey::ApiVersions {
            let correlation_id = header.correlation_id;
            return Ok(Box::pin(async move {
                let body = handlers::api_versions::table(ErrorCode::UnsupportedVersion);
                frame::response::<messages::ApiVersionsRequest>(&body, 0, correlation_id).map(Some)
            }));
        }
        return Err(Unanswerable::Unsupported { api_key: header.api_key, version });
    }
    let client_id = header.client_id.as_deref().unwrap_or_default().into();
    let context = Context { client_id, ..context.clone() };
    route(entry.api_key, Call { context, version, correlation_id: header.correlation_id, reader, bytes })
}

/// A request that still has to be decoded.
struct Call {
    context: Context,
    version: i16,
    correlation_id: i32,
    reader: Reader,
    /// Of the whole request.
    bytes: usize,
}

impl Call {
    fn serve<R, F, W>(mut self, handler: F) -> Result<Answer, Unanswerable>
    where
        R: Request + Send + 'static,
        R::Response: Send,
        F: FnOnce(Context, R, i16) -> W,
        W: Future<Output = R::Response> + Send + 'static,
    {
        let (version, correlation_id) = (self.version, self.correlation_id);
        let request = R::decode(&mut self.reader, version)?;
        let hold = Hold::of(&self.context);
        let work = handler(self.context, request, version);
        Ok(Box::pin(async move {
            let response = match hold {
                None => work.await,
                Some(hold) => hold.settle(work).await,
            };
            frame::response::<R>(&response, version, correlation_id).map(Some)
        }))
    }

    fn produce(mut self) -> Result<Answer, Unanswerable> {
        let (version, correlation_id) = (self.version, self.correlation_id);
        let request = messages::ProduceRequest::decode(&mut self.reader, version)?;
        drop(self.reader);
        let wants_answer = request.acks != 0;
        let begin = || handlers::produce::begin(&self.context, request, version);
        let mut hold = Hold::of(&self.context);
        let work = match &mut hold {
            None => begin(),
            Some(hold) => {
                hold.produce(self.bytes);
                hold.work(begin)
            }
        };
        Ok(Box::pin(async move {
            let response = match hold {
                Some(hold) if wants_answer => hold.settle(work).await,
                _ => work.await,
            };
            if !wants_answer {
                return Ok(None);
            }
            frame::response::<messages::ProduceRequest>(&response, version, correlation_id).map(Some)
        }))
    }
}

fn route(api_key: ApiKey, call: Call) -> Result<Answer, Unanswerable> {
    use handlers as to;
    match api_key {
        ApiKey::Produce => call.produce(),
        ApiKey::Fetch => call.serve(to::fetch::handle),
        ApiKey::ListOffsets => call.serve(to::list_offsets::handle),
        ApiKey::Metadata => call.serve(to::metadata::handle),
        ApiKey::OffsetCommit => call.serve(to::offset_commit::handle),
        ApiKey::OffsetFetch => call.serve(to::offset_fetch::handle),
        ApiKey::FindCoordinator => call.serve(to::find_coordinator::handle),
        ApiKey::JoinGroup => call.serve(to::join_group::handle),
        ApiKey::Heartbeat => call.serve(to::heartbeat::handle),
        ApiKey::LeaveGroup => call.serve(to::leave_group::handle),
        ApiKey::SyncGroup => call.serve(to::sync_group::handle),
        ApiKey::DescribeGroups => call.serve(to::describe_groups::handle),
        ApiKey::ListGroups => call.serve(to::list_groups::handle),
        ApiKey::SaslHandshake => call.serve(to::sasl::handshake),
        ApiKey::SaslAuthenticate => call.serve(to::sasl::authenticate),
        ApiKey::DescribeUserScramCredentials => call.serve(to::describe_user_scram_credentials::handle),
        ApiKey::AlterUserScramCredentials => call.serve(to::alter_user_scram_credentials::handle),
        ApiKey::ApiVersions => call.serve(to::api_versions::handle),
        ApiKey::CreateTopics => call.serve(to::create_topics::handle),
        ApiKey::DeleteTopics => call.serve(to::delete_topics::handle),
        ApiKey::DeleteRecords => call.serve(to::delete_records::handle),
        ApiKey::InitProducerId => call.serve(to::init_producer_id::handle),
        ApiKey::OffsetForLeaderEpoch => call.serve(to::offset_for_leader_epoch::handle),
        ApiKey::AddPartitionsToTxn => call.serve(to::add_partitions_to_txn::handle),
        ApiKey::AddOffsetsToTxn => call.serve(to::add_offsets_to_txn::handle),
        ApiKey::EndTxn => call.serve(to::end_txn::handle),
        ApiKey::TxnOffsetCommit => call.serve(to::txn_offset_commit::handle),
        ApiKey::WriteTxnMarkers => call.serve(to::write_txn_markers::handle),
        ApiKey::DescribeAcls => call.serve(to::describe_acls::handle),
        ApiKey::CreateAcls => call.serve(to::create_acls::handle),
        ApiKey::DeleteAcls => call.serve(to::delete_acls::handle),
        ApiKey::DescribeConfigs => call.serve(to::describe_configs::handle),
        ApiKey::AlterConfigs => call.serve(to::alter_configs::handle),
        ApiKey::AlterReplicaLogDirs => call.serve(to::alter_replica_log_dirs::handle),
        ApiKey::DescribeLogDirs => call.serve(to::describe_log_dirs::handle),
        ApiKey::CreatePartitions => call.serve(to::create_partitions::handle),
        ApiKey::DeleteGroups => call.serve(to::delete_groups::handle),
        ApiKey::IncrementalAlterConfigs => call.serve(to::incremental_alter_configs::handle),
        ApiKey::OffsetDelete => call.serve(to::offset_delete::handle),
        ApiKey::ElectLeaders => call.serve(to::elect_leaders::handle),
        ApiKey::AlterPartitionReassignments => call.serve(to::alter_partition_reassignments::handle),
        ApiKey::ListPartitionReassignments => call.serve(to::list_partition_reassignments::handle),
        ApiKey::DescribeClientQuotas => call.serve(to::describe_client_quotas::handle),
        ApiKey::AlterClientQuotas => call.serve(to::alter_client_quotas::handle),
        ApiKey::DescribeCluster => call.serve(to::describe_cluster::handle),
        ApiKey::DescribeQuorum => call.serve(to::describe_quorum::handle),
        ApiKey::DescribeProducers => call.serve(to::describe_producers::handle),
        ApiKey::DescribeTransactions => call.serve(to::describe_transactions::handle),
        ApiKey::ListTransactions => call.serve(to::list_transactions::handle),
        ApiKey::ConsumerGroupHeartbeat => call.serve(to::consumer_group_heartbeat::handle),
        ApiKey::ConsumerGroupDescribe => call.serve(to::consumer_group_describe::handle),
        ApiKey::ListConfigResources => call.serve(to::list_config_resources::handle),
        ApiKey::DescribeTopicPartitions => call.serve(to::describe_topic_partitions::handle),
    }
}

#[cfg(test)]
mod tests;
