//! A request as a broker reads it: header, then the body that the header names. What decodes must encode,
//! and decode again to the same.
#![no_main]

use bytes::Bytes;
use kafka_wire::{ApiKey, Message, Reader, RequestHeader, Writer, messages};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut reader = Reader::new(Bytes::copy_from_slice(data));
    let Ok(header) = RequestHeader::decode(&mut reader) else { return };
    let Some(api_key) = ApiKey::from_code(header.api_key) else { return };
    body(api_key, reader, header.api_version);
});

fn body(api_key: ApiKey, reader: Reader, version: i16) {
    match api_key {
        ApiKey::AddOffsetsToTxn => survives::<messages::AddOffsetsToTxnRequest>(reader, version),
        ApiKey::AddPartitionsToTxn => survives::<messages::AddPartitionsToTxnRequest>(reader, version),
        ApiKey::AlterConfigs => survives::<messages::AlterConfigsRequest>(reader, version),
        ApiKey::ApiVersions => survives::<messages::ApiVersionsRequest>(reader, version),
        ApiKey::CreateAcls => survives::<messages::CreateAclsRequest>(reader, version),
        ApiKey::CreatePartitions => survives::<messages::CreatePartitionsRequest>(reader, version),
        ApiKey::CreateTopics => survives::<messages::CreateTopicsRequest>(reader, version),
        ApiKey::DeleteAcls => survives::<messages::DeleteAclsRequest>(reader, version),
        ApiKey::DeleteGroups => survives::<messages::DeleteGroupsRequest>(reader, version),
        ApiKey::DeleteRecords => survives::<messages::DeleteRecordsRequest>(reader, version),
        ApiKey::DeleteTopics => survives::<messages::DeleteTopicsRequest>(reader, version),
        ApiKey::DescribeAcls => survives::<messages::DescribeAclsRequest>(reader, version),
        ApiKey::DescribeCluster => survives::<messages::DescribeClusterRequest>(reader, version),
        ApiKey::DescribeConfigs => survives::<messages::DescribeConfigsRequest>(reader, version),
        ApiKey::DescribeGroups => survives::<messages::DescribeGroupsRequest>(reader, version),
        ApiKey::DescribeLogDirs => survives::<messages::DescribeLogDirsRequest>(reader, version),
        ApiKey::DescribeProducers => survives::<messages::DescribeProducersRequest>(reader, version),
        ApiKey::ElectLeaders => survives::<messages::ElectLeadersRequest>(reader, version),
        ApiKey::EndTxn => survives::<messages::EndTxnRequest>(reader, version),
        ApiKey::Fetch => survives::<messages::FetchRequest>(reader, version),
        ApiKey::FindCoordinator => survives::<messages::FindCoordinatorRequest>(reader, version),
        ApiKey::Heartbeat => survives::<messages::HeartbeatRequest>(reader, version),
        ApiKey::IncrementalAlterConfigs => {
            survives::<messages::IncrementalAlterConfigsRequest>(reader, version)
        }
        ApiKey::InitProducerId => survives::<messages::InitProducerIdRequest>(reader, version),
        ApiKey::JoinGroup => survives::<messages::JoinGroupRequest>(reader, version),
        ApiKey::LeaveGroup => survives::<messages::LeaveGroupRequest>(reader, version),
        ApiKey::ListGroups => survives::<messages::ListGroupsRequest>(reader, version),
        ApiKey::ListOffsets => survives::<messages::ListOffsetsRequest>(reader, version),
        ApiKey::Metadata => survives::<messages::MetadataRequest>(reader, version),
        ApiKey::OffsetCommit => survives::<messages::OffsetCommitRequest>(reader, version),
        ApiKey::AlterPartitionReassignments => {
            survives::<messages::AlterPartitionReassignmentsRequest>(reader, version)
        }
        ApiKey::ListPartitionReassignments => {
            survives::<messages::ListPartitionReassignmentsRequest>(reader, version)
        }
        ApiKey::OffsetDelete => survives::<messages::OffsetDeleteRequest>(reader, version),
        ApiKey::OffsetFetch => survives::<messages::OffsetFetchRequest>(reader, version),
        ApiKey::OffsetForLeaderEpoch => survives::<messages::OffsetForLeaderEpochRequest>(reader, version),
        ApiKey::Produce => survives::<messages::ProduceRequest>(reader, version),
        ApiKey::SyncGroup => survives::<messages::SyncGroupRequest>(reader, version),
        ApiKey::TxnOffsetCommit => survives::<messages::TxnOffsetCommitRequest>(reader, version),
    }
}

fn survives<M: Message + PartialEq + std::fmt::Debug>(mut reader: Reader, version: i16) {
    let Ok(message) = M::decode(&mut reader, version) else { return };
    let mut writer = Writer::new();
    message.encode(&mut writer, version).expect("what was decoded can be encoded");
    let again = M::decode(&mut Reader::new(writer.into_bytes()), version);
    assert_eq!(again.as_ref(), Ok(&message));
}
