//! The APIs that this crate has messages for.
//!
//! Which of them a program serves, and from which version on, is that program's own table.

use crate::messages;
use crate::schema::{Message, Request};

/// Something to do with the requests of all APIs, whatever their types; see [`ApiKey::visit`].
pub trait Visitor {
    /// What comes of it.
    type Output;

    /// Does it with one.
    fn visit<R>(self) -> Self::Output
    where
        R: Request<Response: Default> + Default + PartialEq + std::fmt::Debug;
}

/// The facts about each API, in one place: name, key, request.
macro_rules! apis {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $request:ty;)*) => {
        /// An API of Kafka's protocol.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(i16)]
        pub enum ApiKey {
            $($(#[$doc])* $name = $code,)*
        }

        impl ApiKey {
            /// All of them, in the order of their keys.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The API with this key on the wire.
            #[must_use]
            pub const fn from_code(code: i16) -> Option<Self> {
                match code {
                    $($code => Some(Self::$name),)*
                    _ => None,
                }
            }

            /// Its name in Kafka's documentation.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)*
                }
            }

            /// First and last version that this crate can read and write.
            #[must_use]
            pub const fn versions(self) -> (i16, i16) {
                match self {
                    $(Self::$name => (<$request>::VERSION_MIN, <$request>::VERSION_MAX),)*
                }
            }

            /// Has something done with the type of this API's request.
            pub fn visit<V: Visitor>(self, visitor: V) -> V::Output {
                match self {
                    $(Self::$name => visitor.visit::<$request>(),)*
                }
            }

            const fn flexible_min(self) -> i16 {
                match self {
                    $(Self::$name => <$request>::FLEXIBLE_MIN,)*
                }
            }
        }
    };
}

apis! {
    /// Appends record batches to partitions.
    Produce = 0, messages::ProduceRequest;
    /// Reads record batches from partitions.
    Fetch = 1, messages::FetchRequest;
    /// Finds offsets by time, or the earliest and latest.
    ListOffsets = 2, messages::ListOffsetsRequest;
    /// Names the nodes, and the partitions of topics.
    Metadata = 3, messages::MetadataRequest;
    /// Stores how far a group has read.
    OffsetCommit = 8, messages::OffsetCommitRequest;
    /// Asks how far a group has read.
    OffsetFetch = 9, messages::OffsetFetchRequest;
    /// Asks which node looks after a group or a transaction.
    FindCoordinator = 10, messages::FindCoordinatorRequest;
    /// Enters a group and its next generation.
    JoinGroup = 11, messages::JoinGroupRequest;
    /// Tells the coordinator that a member lives.
    Heartbeat = 12, messages::HeartbeatRequest;
    /// Leaves a group.
    LeaveGroup = 13, messages::LeaveGroupRequest;
    /// Hands in and fetches the assignment of a generation.
    SyncGroup = 14, messages::SyncGroupRequest;
    /// Describes groups and their members.
    DescribeGroups = 15, messages::DescribeGroupsRequest;
    /// Lists the groups of a node.
    ListGroups = 16, messages::ListGroupsRequest;
    /// Chooses how to authenticate.
    SaslHandshake = 17, messages::SaslHandshakeRequest;
    /// Asks which APIs and versions a node serves.
    ApiVersions = 18, messages::ApiVersionsRequest;
    /// Creates topics.
    CreateTopics = 19, messages::CreateTopicsRequest;
    /// Deletes topics.
    DeleteTopics = 20, messages::DeleteTopicsRequest;
    /// Moves the start of partitions forward.
    DeleteRecords = 21, messages::DeleteRecordsRequest;
    /// Hands out a producer id and epoch.
    InitProducerId = 22, messages::InitProducerIdRequest;
    /// Asks where a leader epoch ended.
    OffsetForLeaderEpoch = 23, messages::OffsetForLeaderEpochRequest;
    /// Adds partitions to a transaction.
    AddPartitionsToTxn = 24, messages::AddPartitionsToTxnRequest;
    /// Adds a group's offsets to a transaction.
    AddOffsetsToTxn = 25, messages::AddOffsetsToTxnRequest;
    /// Commits or aborts a transaction.
    EndTxn = 26, messages::EndTxnRequest;
    /// Ends transactions in partitions.
    WriteTxnMarkers = 27, messages::WriteTxnMarkersRequest;
    /// Commits offsets within a transaction.
    TxnOffsetCommit = 28, messages::TxnOffsetCommitRequest;
    /// Lists access rules.
    DescribeAcls = 29, messages::DescribeAclsRequest;
    /// Adds access rules.
    CreateAcls = 30, messages::CreateAclsRequest;
    /// Removes access rules.
    DeleteAcls = 31, messages::DeleteAclsRequest;
    /// Reads settings of topics and brokers.
    DescribeConfigs = 32, messages::DescribeConfigsRequest;
    /// Replaces all settings of topics and brokers.
    AlterConfigs = 33, messages::AlterConfigsRequest;
    /// Moves replicas between the log folders of a node.
    AlterReplicaLogDirs = 34, messages::AlterReplicaLogDirsRequest;
    /// Tells the sizes of partitions on disk.
    DescribeLogDirs = 35, messages::DescribeLogDirsRequest;
    /// Carries the bytes of an authentication.
    SaslAuthenticate = 36, messages::SaslAuthenticateRequest;
    /// Adds partitions to topics.
    CreatePartitions = 37, messages::CreatePartitionsRequest;
    /// Deletes empty groups.
    DeleteGroups = 42, messages::DeleteGroupsRequest;
    /// Asks for an election of partition leaders.
    ElectLeaders = 43, messages::ElectLeadersRequest;
    /// Changes single settings of topics and brokers.
    IncrementalAlterConfigs = 44, messages::IncrementalAlterConfigsRequest;
    /// Moves replicas between nodes.
    AlterPartitionReassignments = 45, messages::AlterPartitionReassignmentsRequest;
    /// Lists replicas that are being moved.
    ListPartitionReassignments = 46, messages::ListPartitionReassignmentsRequest;
    /// Deletes a group's offsets of topics.
    OffsetDelete = 47, messages::OffsetDeleteRequest;
    /// Lists quotas.
    DescribeClientQuotas = 48, messages::DescribeClientQuotasRequest;
    /// Sets and removes quotas.
    AlterClientQuotas = 49, messages::AlterClientQuotasRequest;
    /// Lists users with SCRAM credentials.
    DescribeUserScramCredentials = 50, messages::DescribeUserScramCredentialsRequest;
    /// Sets and removes SCRAM credentials of users.
    AlterUserScramCredentials = 51, messages::AlterUserScramCredentialsRequest;
    /// Tells how the metadata of the cluster is replicated.
    DescribeQuorum = 55, messages::DescribeQuorumRequest;
    /// Names the nodes and the controller.
    DescribeCluster = 60, messages::DescribeClusterRequest;
    /// Lists the producers of partitions.
    DescribeProducers = 61, messages::DescribeProducersRequest;
    /// Tells how transactions stand.
    DescribeTransactions = 65, messages::DescribeTransactionsRequest;
    /// Lists the transactions that a node looks after.
    ListTransactions = 66, messages::ListTransactionsRequest;
    /// Keeps a member in a consumer group and tells it what it gets.
    ConsumerGroupHeartbeat = 68, messages::ConsumerGroupHeartbeatRequest;
    /// Describes consumer groups.
    ConsumerGroupDescribe = 69, messages::ConsumerGroupDescribeRequest;
    /// Names the resources that have configs.
    ListConfigResources = 74, messages::ListConfigResourcesRequest;
    /// Names the partitions of topics, a page at a time.
    DescribeTopicPartitions = 75, messages::DescribeTopicPartitionsRequest;
}

impl ApiKey {
    /// Its key on the wire.
    #[must_use]
    pub const fn code(self) -> i16 {
        self as i16
    }

    /// Whether this version uses compact lengths and tagged fields, in header and body.
    #[must_use]
    pub const fn is_flexible(self, version: i16) -> bool {
        version >= self.flexible_min()
    }
}

impl std::fmt::Display for ApiKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.name())
    }
}
