//! Pure: which answers name addresses, and how those are replaced by the door's.
//!
//! Metadata, FindCoordinator and DescribeCluster name nodes always, Produce when a leader moved. Fetch names
//! them at the end of an answer that may be tens of megabytes, from version 16 on; instead of holding such
//! answers back, the door offers clients Fetch up to version 15 (they lose a shortcut after a leader moved
//! and ask for Metadata instead, as all did before). Versions that we cannot read are not offered either.

use bytes::Bytes;
use kafka_wire::messages::{
    ApiVersionsRequest, ApiVersionsResponse, DescribeClusterRequest, DescribeClusterResponse,
    FindCoordinatorRequest, FindCoordinatorResponse, MetadataRequest, MetadataResponse, ProduceRequest,
    ProduceResponse,
};
use kafka_wire::{ApiKey, DecodeError, EncodeError, Encoded, ErrorCode, Message as _, frame};

/// Last version of Fetch whose answers name no addresses.
const FETCH_VERSION_MAX: i16 = 15;

/// A request whose answer is awaited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Expected {
    pub(super) api_key: i16,
    pub(super) version: i16,
    pub(super) correlation_id: i32,
}

/// A node that an answer names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) id: i32,
    pub(super) host: String,
    pub(super) port: i32,
}

/// An answer that names addresses, or limits versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    ApiVersions(ApiVersionsResponse, i16),
    Metadata(MetadataResponse),
    FindCoordinator(FindCoordinatorResponse),
    DescribeCluster(DescribeClusterResponse),
    Produce(ProduceResponse),
}

/// Last version of this API that may pass the door; `None` = any.
const fn version_max(api_key: i16) -> Option<i16> {
    match ApiKey::from_code(api_key) {
        Some(ApiKey::Fetch) => Some(FETCH_VERSION_MAX),
        Some(
            api @ (ApiKey::Produce | ApiKey::Metadata | ApiKey::FindCoordinator | ApiKey::DescribeCluster),
        ) => Some(api.versions().1),
        _ => None,
    }
}

/// Whether a request may pass. One that was never offered may not: its answer would name addresses that
/// we could not replace.
pub(super) fn may_pass(api_key: i16, version: i16) -> bool {
    version_max(api_key).is_none_or(|last| version <= last)
}

/// Whether the answer must be held back and looked into.
pub(super) const fn is_rewritten(expected: &Expected) -> bool {
    matches!(
        ApiKey::from_code(expected.api_key),
        Some(
            ApiKey::ApiVersions
                | ApiKey::Metadata
                | ApiKey::FindCoordinator
                | ApiKey::DescribeCluster
                | ApiKey::Produce
        )
    )
}

impl Answer {
    /// Reads an answer (without its length); `None` = it passes as it is.
    pub(super) fn decode(expected: &Expected, frame: Bytes) -> Result<Option<Self>, DecodeError> {
        let version = expected.version;
        Ok(match ApiKey::from_code(expected.api_key) {
            Some(ApiKey::ApiVersions) => Self::decode_api_versions(version, frame)?,
            Some(ApiKey::Metadata) => {
                Some(Self::Metadata(frame::decode_response::<MetadataRequest>(frame, version)?.1))
            }
            Some(ApiKey::FindCoordinator) => {
                let (_, answer) = frame::decode_response::<FindCoordinatorRequest>(frame, version)?;
                Some(Self::FindCoordinator(answer))
            }
            Some(ApiKey::DescribeCluster) => {
                let (_, answer) = frame::decode_response::<DescribeClusterRequest>(frame, version)?;
                Some(Self::DescribeCluster(answer))
            }
            // Versions below those we read are refused by brokers; none of them names nodes.
            Some(ApiKey::Produce) if version >= ProduceRequest::VERSION_MIN => {
                let (_, answer) = frame::decode_response::<ProduceRequest>(frame, version)?;
                Some(Self::Produce(answer)).filter(Self::names_nodes)
            }
            _ => None,
        })
    }

    /// A broker that does not have the version asked for answers in the oldest form.
    fn decode_api_versions(version: i16, frame: Bytes) -> Result<Option<Self>, DecodeError> {
        let code = frame.get(size_of::<i32>()..).and_then(<[u8]>::first_chunk).copied();
        let refused = code.map(i16::from_be_bytes) == Some(ErrorCode::UnsupportedVersion.code());
        let version = if refused { ApiVersionsRequest::VERSION_MIN } else { version };
        if version > ApiVersionsRequest::VERSION_MAX {
            return Ok(None);
        }
        let (_, answer) = frame::decode_response::<ApiVersionsRequest>(frame, version)?;
        Ok(Some(Self::ApiVersions(answer, version)))
    }

    fn names_nodes(&self) -> bool {
        let mut copy = self.clone();
        let mut any = false;
        copy.for_each_address(|_, _, _| any = true);
        any
    }

    /// Whether it names all nodes of the cluster, not just some.
    pub(super) const fn names_all_nodes(&self) -> bool {
        matches!(self, Self::Metadata(_) | Self::DescribeCluster(_))
    }

    /// Shows every address: node, host, port. Answers that say "none" have an empty host.
    fn for_each_address(&mut self, mut see: impl FnMut(i32, &mut String, &mut i32)) {
        let mut show = |id: i32, host: &mut String, port: &mut i32| {
            if !host.is_empty() {
                see(id, host, port);
            }
        };
        match self {
            Self::ApiVersions(..) => {}
            Self::Metadata(answer) => {
                answer.brokers.iter_mut().for_each(|node| show(node.node_id, &mut node.host, &mut node.port));
            }
            Self::FindCoordinator(answer) => {
                show(answer.node_id, &mut answer.host, &mut answer.port);
                let several = answer.coordinators.iter_mut();
                several.for_each(|node| show(node.node_id, &mut node.host, &mut node.port));
            }
            Self::DescribeCluster(answer) => {
                let nodes = answer.brokers.iter_mut();
                nodes.for_each(|node| show(node.broker_id, &mut node.host, &mut node.port));
            }
            Self::Produce(answer) => {
                let nodes = answer.node_endpoints.iter_mut();
                nodes.for_each(|node| show(node.node_id, &mut node.host, &mut node.port));
            }
        }
    }

    /// The nodes that it names.
    pub(super) fn nodes(&mut self) -> Vec<Node> {
        let mut nodes = Vec::new();
        self.for_each_address(|id, host, port| nodes.push(Node { id, host: host.clone(), port: *port }));
        nodes
    }

    /// Puts the door in place of every address, and limits the versions on offer.
    pub(super) fn replace(&mut self, host: &str, port_of: impl Fn(i32) -> Option<u16>) {
        if let Self::ApiVersions(answer, _) = self {
            for api in &mut answer.api_keys {
                if let Some(last) = version_max(api.api_key) {
                    api.max_version = api.max_version.min(last);
                }
            }
        }
        self.for_each_address(|id, node_host, node_port| {
            host.clone_into(node_host);
            // A node without a port of ours cannot be reached: 0 says so at the client.
            *node_port = port_of(id).map_or(0, i32::from);
        });
    }

    /// Writes the answer as a frame.
    pub(super) fn encode(&self, expected: &Expected) -> Result<Encoded, EncodeError> {
        let (version, correlation_id) = (expected.version, expected.correlation_id);
        match self {
            Self::ApiVersions(answer, version) => {
                frame::response::<ApiVersionsRequest>(answer, *version, correlation_id)
            }
            Self::Metadata(answer) => frame::response::<MetadataRequest>(answer, version, correlation_id),
            Self::FindCoordinator(answer) => {
                frame::response::<FindCoordinatorRequest>(answer, version, correlation_id)
            }
            Self::DescribeCluster(answer) => {
                frame::response::<DescribeClusterRequest>(answer, version, correlation_id)
            }
            Self::Produce(answer) => frame::response::<ProduceRequest>(answer, version, correlation_id),
        }
    }
}
