//! An answer as a client reads it. The first three bytes choose API and version.
#![no_main]

use bytes::{Buf, Bytes};
use kafka_wire::{ApiKey, Request, frame, messages};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut data = data;
    let (Ok(api_key), Ok(version)) = (data.try_get_i16(), data.try_get_i8()) else { return };
    let Some(api_key) = ApiKey::from_code(api_key) else { return };
    let (reader, version) = (Bytes::copy_from_slice(data), i16::from(version));
    match api_key {
        ApiKey::AddOffsetsToTxn => read::<messages::AddOffsetsToTxnRequest>(reader, version),
        ApiKey::AddPartitionsToTxn => read::<messages::AddPartitionsToTxnRequest>(reader, version),
        ApiKey::AlterConfigs => read::<messages::AlterConfigsRequest>(reader, version),
        ApiKey::ApiVersions => read::<messages::ApiVersionsRequest>(reader, version),
        ApiKey::CreateAcls => read::<messages::CreateAclsRequest>(reader, version),
        ApiKey::CreatePartitions => read::<messages::CreatePartitionsRequest>(reader, version),
        ApiKey::CreateTopics => read::<messages::CreateTopicsRequest>(reader, version),
        ApiKey::DeleteAcls => read::<messages::DeleteAclsRequest>(reader, version),
        ApiKey::DeleteGroups => read::<messages::DeleteGroupsRequest>(reader, version),
        ApiKey::DeleteRecords => read::<messages::DeleteRecordsRequest>(reader, version),
        ApiKey::DeleteTopics => read::<messages::DeleteTopicsRequest>(reader, version),
        ApiKey::DescribeAcls => read::<messages::DescribeAclsRequest>(reader, version),
        ApiKey::DescribeCluster => read::<messages::DescribeClusterRequest>(reader, version),
        ApiKey::DescribeConfigs => read::<messages::DescribeConfigsRequest>(reader, version),
        ApiKey::DescribeGroups => read::<messages::DescribeGroupsRequest>(reader, version),
        ApiKey::DescribeLogDirs => read::<messages::DescribeLogDirsRequest>(reader, version),
        ApiKey::DescribeProducers => read::<messages::DescribeProducersRequest>(reader, version),
        ApiKey::ElectLeaders => read::<messages::ElectLeadersRequest>(reader, version),
        ApiKey::EndTxn => read::<messages::EndTxnRequest>(reader, version),
        ApiKey::Fetch => read::<messages::FetchRequest>(reader, version),
        ApiKey::FindCoordinator => read::<messages::FindCoordinatorRequest>(reader, version),
        ApiKey::Heartbeat => read::<messages::HeartbeatRequest>(reader, version),
        ApiKey::IncrementalAlterConfigs => read::<messages::IncrementalAlterConfigsRequest>(reader, version),
        ApiKey::InitProducerId => read::<messages::InitProducerIdRequest>(reader, version),
        ApiKey::JoinGroup => read::<messages::JoinGroupRequest>(reader, version),
        ApiKey::LeaveGroup => read::<messages::LeaveGroupRequest>(reader, version),
        ApiKey::ListGroups => read::<messages::ListGroupsRequest>(reader, version),
        ApiKey::ListOffsets => read::<messages::ListOffsetsRequest>(reader, version),
        ApiKey::Metadata => read::<messages::MetadataRequest>(reader, version),
        ApiKey::OffsetCommit => read::<messages::OffsetCommitRequest>(reader, version),
        ApiKey::AlterPartitionReassignments => {
            read::<messages::AlterPartitionReassignmentsRequest>(reader, version)
        }
        ApiKey::ListPartitionReassignments => {
            read::<messages::ListPartitionReassignmentsRequest>(reader, version)
        }
        ApiKey::OffsetDelete => read::<messages::OffsetDeleteRequest>(reader, version),
        ApiKey::OffsetFetch => read::<messages::OffsetFetchRequest>(reader, version),
        ApiKey::OffsetForLeaderEpoch => read::<messages::OffsetForLeaderEpochRequest>(reader, version),
        ApiKey::Produce => read::<messages::ProduceRequest>(reader, version),
        ApiKey::SyncGroup => read::<messages::SyncGroupRequest>(reader, version),
        ApiKey::TxnOffsetCommit => read::<messages::TxnOffsetCommitRequest>(reader, version),
    }
});

fn read<R: Request>(frame: Bytes, version: i16) {
    drop(frame::decode_response::<R>(frame, version));
}
