//! The Kafka door: what is pure alone, then the whole door before brokers that live in the test.

mod door;
mod fake;

use super::nodes::Nodes;
use super::rewrite::{self, Answer, Expected, Node};
use super::scan::{self, AnswerStart, RequestStart};
use bytes::Bytes;
use kafka_wire::frame::FrameError;
use kafka_wire::messages::api_versions::ApiVersion;
use kafka_wire::messages::find_coordinator::Coordinator;
use kafka_wire::messages::metadata::MetadataResponseBroker;
use kafka_wire::messages::produce::NodeEndpoint;
use kafka_wire::messages::{
    ApiVersionsRequest, ApiVersionsResponse, FindCoordinatorRequest, FindCoordinatorResponse,
    MetadataRequest, MetadataResponse, ProduceRequest, ProduceResponse,
};
use kafka_wire::{ApiKey, Message as _, Request, frame};

fn produce(acks: i16, version: i16) -> Bytes {
    let request = ProduceRequest { acks, ..Default::default() };
    frame::request(&request, version, 7, Some("a client")).unwrap().into_bytes()
}

/// Goal: the one request without an answer is told from the others, in every version and however few bytes
/// are there.
#[test]
fn produce_without_acks_is_found() {
    for version in ProduceRequest::VERSION_MIN..=ProduceRequest::VERSION_MAX {
        for (acks, answered) in [(0, false), (1, true), (-1, true)] {
            let bytes = produce(acks, version);
            let found =
                (0..=bytes.len()).find_map(|end| scan::request_start(&bytes[..end]).unwrap()).unwrap();
            let frame_bytes = bytes.len();
            let wanted = RequestStart { api_key: 0, version, correlation_id: 7, answered, frame_bytes };
            assert_eq!(found, wanted);
            assert_eq!(scan::request_start(&bytes).unwrap(), Some(wanted));
        }
    }
    // One that ends before its acks is the broker's to refuse.
    let cut = Bytes::from_static(&[0, 0, 0, 8, 0, 0, 0, 9, 0, 0, 0, 7]);
    assert!(scan::request_start(&cut).unwrap().unwrap().answered);
}

/// Goal: lengths that no frame has are refused at once; the rest of a large frame is not waited for.
#[test]
fn frames_are_judged_by_their_first_bytes() {
    for length in [-1_i32, 7, i32::MAX] {
        let mut bytes = length.to_be_bytes().to_vec();
        assert!(scan::request_start(&bytes).is_err(), "{length}");
        bytes.extend_from_slice(&[0; 20]);
        assert!(scan::request_start(&bytes).is_err(), "{length}");
    }
    assert_eq!(scan::answer_start(&[0, 0, 0, 3]), Err(FrameError::Negative(3)));
    let announced = [0, 0x10, 0, 0, 0, 0, 0, 5];
    let start = AnswerStart { correlation_id: 5, frame_bytes: 0x0010_0004 };
    assert_eq!(scan::answer_start(&announced), Ok(Some(start)));
}

fn expected<R: Request>(version: i16) -> Expected {
    Expected { api_key: R::API_KEY.code(), version, correlation_id: 3 }
}

/// What comes out of the door for this answer; `None` = the bytes as they came.
fn through<R: Request>(body: &R::Response, version: i16) -> Option<R::Response> {
    let expected = expected::<R>(version);
    assert!(rewrite::is_rewritten(&expected));
    let bytes = frame::response::<R>(body, version, 3).unwrap().into_bytes();
    let mut answer = Answer::decode(&expected, bytes.slice(4..)).unwrap()?;
    answer.replace("127.0.0.1", |node| Some(9092 + u16::try_from(node).unwrap()));
    let bytes = answer.encode(&expected).unwrap().into_bytes();
    let (header, body) = frame::decode_response::<R>(bytes.slice(4..), version).unwrap();
    assert_eq!(header.correlation_id, 3);
    Some(body)
}

/// Goal: in every version, the addresses of nodes become the door's and nothing else changes.
#[test]
fn metadata_names_the_door() {
    let broker =
        |host: &str, port| MetadataResponseBroker { node_id: 2, host: host.to_owned(), port, rack: None };
    for version in MetadataRequest::VERSION_MIN..=MetadataRequest::VERSION_MAX {
        let mut body = MetadataResponse { controller_id: 2, ..Default::default() };
        if version == 0 {
            body.controller_id = -1;
        }
        body.brokers.push(broker("node-2.brokers.svc", 9093));
        let changed = through::<MetadataRequest>(&body, version).unwrap();
        body.brokers = vec![broker("127.0.0.1", 9094)];
        body.cluster_id = changed.cluster_id.clone();
        assert_eq!(changed, body, "version {version}");
    }
}

/// Goal: coordinators become the door's in the old form and the batched one; "none" stays none.
#[test]
fn coordinators_are_behind_the_door() {
    let none = FindCoordinatorResponse { error_code: 15, node_id: -1, port: -1, ..Default::default() };
    assert_eq!(through::<FindCoordinatorRequest>(&none, 2), Some(none));
    let one = FindCoordinatorResponse { node_id: 1, host: "a".into(), port: 9093, ..Default::default() };
    let changed = through::<FindCoordinatorRequest>(&one, 2).unwrap();
    assert_eq!((changed.host.as_str(), changed.port), ("127.0.0.1", 9093));
    let coordinator = Coordinator { node_id: 1, host: "a".into(), port: 9, ..Default::default() };
    let batch = FindCoordinatorResponse { coordinators: vec![coordinator], ..Default::default() };
    let changed = through::<FindCoordinatorRequest>(&batch, 4).unwrap();
    assert_eq!((changed.coordinators[0].host.as_str(), changed.coordinators[0].port), ("127.0.0.1", 9093));
}

/// Goal: an answer to Produce passes as it came unless it names a new leader's address.
#[test]
fn produce_answers_change_only_when_they_name_nodes() {
    assert_eq!(through::<ProduceRequest>(&ProduceResponse::default(), 10), None);
    let endpoint = NodeEndpoint { node_id: 5, host: "a".into(), port: 1, rack: None };
    let moved = ProduceResponse { node_endpoints: vec![endpoint], ..Default::default() };
    let changed = through::<ProduceRequest>(&moved, 10).unwrap();
    assert_eq!(
        (changed.node_endpoints[0].host.as_str(), changed.node_endpoints[0].port),
        ("127.0.0.1", 9097)
    );
}

/// Goal: versions whose answers we cannot change are not offered, and refused when asked for all the same;
/// what names no addresses passes in any version.
#[test]
fn versions_are_limited_to_what_can_be_changed() {
    let api = |key, max| ApiVersion { api_key: key, min_version: 0, max_version: max };
    let offer = vec![api(1, 18), api(3, 99), api(9, 99), api(777, 5)];
    for version in 0..=ApiVersionsRequest::VERSION_MAX {
        let body = ApiVersionsResponse { api_keys: offer.clone(), ..Default::default() };
        let changed = through::<ApiVersionsRequest>(&body, version).unwrap();
        let last: Vec<_> = changed.api_keys.iter().map(|api| api.max_version).collect();
        assert_eq!(last, [15, ApiKey::Metadata.versions().1, 99, 5]);
    }
    assert!(rewrite::may_pass(1, 15) && !rewrite::may_pass(1, 16));
    assert!(!rewrite::may_pass(3, 99) && rewrite::may_pass(9, 99) && rewrite::may_pass(777, 99));
}

/// Goal: a broker that does not know the client's ApiVersions answers in the oldest form, which is read as such.
#[test]
fn a_refused_api_versions_is_read_in_the_oldest_form() {
    let api_keys = vec![ApiVersion { api_key: 1, min_version: 4, max_version: 17 }];
    let body = ApiVersionsResponse { error_code: 35, api_keys, ..Default::default() };
    let bytes = frame::response::<ApiVersionsRequest>(&body, 0, 3).unwrap().into_bytes();
    for version in [3, 4, 77] {
        let expected = expected::<ApiVersionsRequest>(version);
        let mut answer = Answer::decode(&expected, bytes.slice(4..)).unwrap().unwrap();
        answer.replace("127.0.0.1", |_| None);
        let changed = answer.encode(&expected).unwrap().into_bytes();
        let (_, read) = frame::decode_response::<ApiVersionsRequest>(changed.slice(4..), 0).unwrap();
        assert_eq!((read.error_code, read.api_keys[0].max_version), (35, 15));
    }
}

fn node(id: i32) -> Node {
    Node { id, host: format!("node-{id}"), port: 9093 }
}

/// Goal: a lone node is behind the door's port, each of several behind its own, which it keeps.
#[tokio::test]
async fn nodes_get_ports() {
    let door = "127.0.0.1:9092".parse().unwrap();
    let nodes = Nodes::new(door);
    assert!(nodes.learn(&[node(1)], true).await.unwrap().is_empty());
    // A coordinator is one node of perhaps many, but this one is known.
    assert!(nodes.learn(&[node(1)], false).await.unwrap().is_empty());
    assert_eq!((nodes.port(1), nodes.address(1).as_deref()), (Some(9092), Some("node-1:9093")));

    // The cluster has grown: the door's port leads to any node, so node 1 moves to its own.
    let opened = nodes.learn(&[node(1), node(2)], true).await.unwrap();
    assert_eq!(opened.len(), 2);
    let ports = [nodes.port(1).unwrap(), nodes.port(2).unwrap()];
    assert!(ports[0] != ports[1] && !ports.contains(&9092));
    assert!(nodes.learn(&[node(2), node(1)], true).await.unwrap().is_empty());
    assert!(nodes.learn(&[node(2)], true).await.unwrap().is_empty());
    assert_eq!([nodes.port(1).unwrap(), nodes.port(2).unwrap()], ports);
    assert_eq!(nodes.learn(&[node(3)], false).await.unwrap().len(), 1);

    nodes.forget();
    assert_eq!((nodes.port(2), nodes.address(2).as_deref()), (Some(ports[1]), Some("")));
}
