//! How the cluster's own metadata is replicated (KIP-595).

use kafka_wire::ApiKey;
use kafka_wire::messages::DescribeQuorumRequest;
use kafka_wire::messages::describe_quorum::{PartitionData, TopicData};

use crate::admin::Admin;
use crate::error::{AdminError, check};
use crate::topics::silent;

/// The topic that holds it, of one partition.
const METADATA_TOPIC: &str = "__cluster_metadata";

/// The controllers of a cluster, as their leader sees them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quorum {
    /// The controller that leads, if one does.
    pub leader: Option<i32>,
    /// The controllers that vote, in the order of their ids.
    pub voters: Vec<Voter>,
}

/// A controller that votes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Voter {
    /// Its node's id.
    pub id: i32,
    /// When it last had all of the log, in milliseconds since 1970 by the leader's clock; `None` if it never had, or on brokers
    /// before 3.3. The leader's own is the time of the answer.
    pub caught_up_ms: Option<i64>,
}

impl Admin {
    /// Asks the leader of the controllers who votes, and how far each one is.
    pub async fn describe_quorum(&self) -> Result<Quorum, AdminError> {
        let partition = PartitionData { partition_index: 0 };
        let topic = TopicData { topic_name: METADATA_TOPIC.to_owned(), partitions: vec![partition] };
        let answer = self.call(DescribeQuorumRequest { topics: vec![topic] }).await?;
        let action = || "describe the quorum of controllers".to_owned();
        check(answer.error_code, answer.error_message, action)?;
        let partition =
            answer.topics.into_iter().next().and_then(|topic| topic.partitions.into_iter().next());
        let partition = partition.ok_or_else(|| silent(ApiKey::DescribeQuorum, METADATA_TOPIC))?;
        check(partition.error_code, partition.error_message, action)?;
        let mut voters: Vec<Voter> = partition
            .current_voters
            .iter()
            .map(|voter| Voter {
                id: voter.replica_id,
                caught_up_ms: Some(voter.last_caught_up_timestamp).filter(|time| *time >= 0),
            })
            .collect();
        voters.sort_by_key(|voter| voter.id);
        Ok(Quorum { leader: Some(partition.leader_id).filter(|id| *id >= 0), voters })
    }
}
