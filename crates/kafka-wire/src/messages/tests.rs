//! Every message in every version: against the published crate as oracle, and against hostile bytes.

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages as oracle;
use kafka_protocol::protocol::{self, Decodable, Encodable};
use proptest::prelude::*;

use crate::primitives::{EncodeError, Fault, Reader, Scope, Writer};
use crate::schema::Message;
use crate::schema::sample::{Sample, Source, used};

fn sample<M: Message + Sample>(seed: u64, version: i16) -> M {
    let flexible = version >= M::FLEXIBLE_MIN;
    M::sample(&mut Source::new(seed), Scope { version, flexible, nullable: false, field: M::NAME })
}

fn encode<M: Message>(message: &M, version: i16) -> Bytes {
    let mut writer = Writer::new();
    message.encode(&mut writer, version).expect("encodes");
    writer.into_bytes()
}

fn survives<M, O>(seed: u64)
where
    M: Message + Sample + PartialEq + std::fmt::Debug,
    O: Decodable + Encodable + protocol::Message + std::fmt::Debug,
{
    for version in M::VERSION_MIN..=M::VERSION_MAX {
        let place = format!("{} version {version} seed {seed}", M::NAME);
        let ours: M = sample(seed, version);
        let bytes = encode(&ours, version);
        let mut reader = Reader::new(bytes.clone());
        assert_eq!(M::decode(&mut reader, version).as_ref(), Ok(&ours), "{place}");
        assert_eq!(reader.remaining(), 0, "{place}");
        if version > O::VERSIONS.max {
            // Newer than the oracle.
            continue;
        }
        let mut rest = bytes.clone();
        let theirs = O::decode(&mut rest, version).unwrap_or_else(|error| panic!("{place}: {error}"));
        assert!(rest.is_empty(), "{place}: the oracle leaves {} bytes", rest.len());
        let mut again = BytesMut::new();
        theirs.encode(&mut again, version).unwrap_or_else(|error| panic!("{place}: {error}"));
        assert_eq!(again, bytes, "{place}: {ours:?} {theirs:?}");
    }
}

fn never_panics<M: Message>(bytes: &Bytes) {
    for version in M::VERSION_MIN..=M::VERSION_MAX {
        used(M::decode(&mut Reader::new(bytes.clone()), version));
    }
}

fn prefixes_are_refused<M: Message + Sample>(seed: u64) {
    for version in M::VERSION_MIN..=M::VERSION_MAX {
        let bytes = encode(&sample::<M>(seed, version), version);
        for end in 0..bytes.len() {
            let decoded = M::decode(&mut Reader::new(bytes.slice(..end)), version);
            assert!(decoded.is_err(), "{} version {version}: {end} of {} bytes", M::NAME, bytes.len());
        }
    }
}

/// Calls one of the functions above for every message.
macro_rules! for_every_message {
    ($do:ident) => {
        $do! {
            AddOffsetsToTxnRequest AddOffsetsToTxnResponse AddPartitionsToTxnRequest
            AddPartitionsToTxnResponse AlterClientQuotasRequest AlterClientQuotasResponse
            AlterConfigsRequest AlterConfigsResponse AlterPartitionReassignmentsRequest
            AlterPartitionReassignmentsResponse AlterReplicaLogDirsRequest AlterReplicaLogDirsResponse
            AlterUserScramCredentialsRequest AlterUserScramCredentialsResponse ApiVersionsRequest
            ApiVersionsResponse ConsumerGroupDescribeRequest ConsumerGroupDescribeResponse
            ConsumerGroupHeartbeatRequest ConsumerGroupHeartbeatResponse CreateAclsRequest
            CreateAclsResponse CreatePartitionsRequest CreatePartitionsResponse CreateTopicsRequest
            CreateTopicsResponse DeleteAclsRequest DeleteAclsResponse DeleteGroupsRequest
            DeleteGroupsResponse DeleteRecordsRequest DeleteRecordsResponse DeleteTopicsRequest
            DeleteTopicsResponse DescribeAclsRequest DescribeAclsResponse DescribeClientQuotasRequest
            DescribeClientQuotasResponse DescribeClusterRequest DescribeClusterResponse
            DescribeConfigsRequest DescribeConfigsResponse DescribeGroupsRequest DescribeGroupsResponse
            DescribeLogDirsRequest DescribeLogDirsResponse DescribeProducersRequest
            DescribeProducersResponse DescribeQuorumRequest DescribeQuorumResponse DescribeTopicPartitionsRequest DescribeTopicPartitionsResponse
            DescribeTransactionsRequest DescribeTransactionsResponse DescribeUserScramCredentialsRequest
            DescribeUserScramCredentialsResponse ElectLeadersRequest ElectLeadersResponse EndTxnRequest
            EndTxnResponse FetchRequest FetchResponse FindCoordinatorRequest FindCoordinatorResponse
            HeartbeatRequest HeartbeatResponse IncrementalAlterConfigsRequest
            IncrementalAlterConfigsResponse InitProducerIdRequest InitProducerIdResponse JoinGroupRequest
            JoinGroupResponse LeaveGroupRequest LeaveGroupResponse ListConfigResourcesRequest
            ListConfigResourcesResponse ListGroupsRequest ListGroupsResponse ListOffsetsRequest
            ListOffsetsResponse ListPartitionReassignmentsRequest ListPartitionReassignmentsResponse
            ListTransactionsRequest ListTransactionsResponse MetadataRequest MetadataResponse
            OffsetCommitRequest OffsetCommitResponse OffsetDeleteRequest OffsetDeleteResponse
            OffsetFetchRequest OffsetFetchResponse OffsetForLeaderEpochRequest OffsetForLeaderEpochResponse
            ProduceRequest ProduceResponse SaslAuthenticateRequest SaslAuthenticateResponse
            SaslHandshakeRequest SaslHandshakeResponse SyncGroupRequest SyncGroupResponse
            TxnOffsetCommitRequest TxnOffsetCommitResponse WriteTxnMarkersRequest WriteTxnMarkersResponse
        }
    };
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Goal: what we write is what we read, and what the oracle reads and writes.
    #[test]
    fn every_message_survives_and_agrees_with_the_oracle(seed: u64) {
        macro_rules! each {
            ($($name:ident)*) => { $(survives::<super::$name, oracle::$name>(seed);)* };
        }
        for_every_message!(each);
    }

    /// Goal: no bytes make a decoder panic.
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let bytes = Bytes::from(bytes);
        macro_rules! each {
            ($($name:ident)*) => { $(never_panics::<super::$name>(&bytes);)* };
        }
        for_every_message!(each);
    }
}

/// Goal: a message that ends too early is refused wherever it ends.
#[test]
fn cut_off_messages_are_refused() {
    for seed in [3, 0x1234_5678_9abc_def0] {
        macro_rules! each {
            ($($name:ident)*) => { $(prefixes_are_refused::<super::$name>(seed);)* };
        }
        for_every_message!(each);
    }
}

/// Goal: lengths of `i32::MAX` everywhere, in both forms, are refused at once by every decoder.
#[test]
fn hostile_lengths_are_refused() {
    let plain = Bytes::from([0x7f, 0xff, 0xff, 0xff].repeat(64));
    let compact = Bytes::from([0xff, 0xff, 0xff, 0xff, 0x07].repeat(64));
    for bytes in [plain, compact] {
        macro_rules! each {
            ($($name:ident)*) => { $(never_panics::<super::$name>(&bytes);)* };
        }
        for_every_message!(each);
    }
    // The message that ends the published crate's process.
    let bytes = Bytes::from_static(&[0x7f, 0xff, 0xff, 0xff]);
    let error = super::MetadataRequest::decode(&mut Reader::new(bytes), 5).expect_err("refused");
    assert_eq!(error.field, "MetadataRequest.topics");
    assert_eq!(error.fault, Fault::ArrayTooLong { count: 0x7fff_ffff, left: 0 });
}

/// Goal: tagged fields of a newer peer are skipped, and reading goes on behind them.
#[test]
fn unknown_tagged_fields_are_skipped() {
    // Group, generation, member, no instance; one unknown tag 99 with three bytes.
    let bytes = Bytes::from_static(&[2, b'g', 0, 0, 0, 1, 2, b'm', 0, 1, 99, 3, 1, 2, 3]);
    let mut reader = Reader::new(bytes);
    let request = super::HeartbeatRequest::decode(&mut reader, 4).expect("decodes");
    assert_eq!((request.group_id.as_str(), request.generation_id), ("g", 1));
    assert_eq!(reader.remaining(), 0);
}

/// Goal: a version that does not exist is refused in both directions.
#[test]
fn unknown_versions_are_refused() {
    let error = super::FetchRequest::decode(&mut Reader::new(Bytes::new()), 3).expect_err("refused");
    assert_eq!(error.fault, Fault::Version(3));
    let mut writer = Writer::new();
    let error = super::FetchRequest::default().encode(&mut writer, 99).expect_err("refused");
    assert_eq!(error, EncodeError::Version { message: "FetchRequest", version: 99 });
}

/// Goal: a field that must not be lost is refused in versions without it; one that may be is dropped.
#[test]
fn fields_are_lost_only_when_they_may_be() {
    let request = super::CreatePartitionsRequest { validate_only: true, ..Default::default() };
    assert!(request.encode(&mut Writer::new(), 0).is_ok());
    let request = super::MetadataRequest { allow_auto_topic_creation: false, ..Default::default() };
    let error = request.encode(&mut Writer::new(), 3).expect_err("refused");
    let field = "MetadataRequest.allow_auto_topic_creation";
    assert_eq!(error, EncodeError::FieldUnavailable { field, version: 3 });
    let response = super::MetadataResponse { throttle_time_ms: 5, ..Default::default() };
    assert!(response.encode(&mut Writer::new(), 0).is_ok());
}
