//! Who the brokers are.

use kafka_wire::messages::MetadataRequest;

use crate::admin::Admin;
use crate::error::{AdminError, check};

/// The brokers of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cluster {
    /// The cluster's id; it does not change over restarts.
    pub id: Option<String>,
    /// The node that answers for changes, if one is known.
    pub controller: Option<i32>,
    /// The nodes that are there.
    pub nodes: Vec<Node>,
}

/// One broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its id.
    pub id: i32,
    /// The host it tells clients to use.
    pub host: String,
    /// The port it tells clients to use.
    pub port: i32,
    /// Its failure domain.
    pub rack: Option<String>,
}

impl Admin {
    /// Asks who the brokers are.
    pub async fn cluster(&self) -> Result<Cluster, AdminError> {
        let answer = self
            .call_in(|version| MetadataRequest {
                // Version 0 has no way to ask about no topic.
                topics: Some(Vec::new()),
                allow_auto_topic_creation: version < 4,
                ..Default::default()
            })
            .await?;
        check(answer.error_code, None, || "describe the cluster".to_owned())?;
        let nodes = answer.brokers.into_iter();
        Ok(Cluster {
            id: answer.cluster_id,
            controller: Some(answer.controller_id).filter(|id| *id >= 0),
            nodes: nodes
                .map(|node| Node { id: node.node_id, host: node.host, port: node.port, rack: node.rack })
                .collect(),
        })
    }
}
