//! The whole door: TLS towards the broker, pipelining, large frames, several nodes, refusals, shutdown.

use super::fake::{BROKER_NAME, Client, World, view};
use crate::view::View;
use bytes::Bytes;
use kafka_wire::messages::metadata::MetadataResponseBroker;
use kafka_wire::messages::produce::{PartitionProduceData, TopicProduceData};
use kafka_wire::messages::{
    ApiVersionsRequest, FetchRequest, ListGroupsRequest, MetadataRequest, ProduceRequest,
};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::AsyncWriteExt as _;

fn produce(acks: i16, bytes: usize) -> ProduceRequest {
    let records = Some(Bytes::from(vec![b'p'; bytes]));
    let partition_data = vec![PartitionProduceData { index: 0, records }];
    let topic_data = vec![TopicProduceData { name: "orders".into(), partition_data, ..Default::default() }];
    ProduceRequest { acks, topic_data, ..Default::default() }
}

async fn metadata(client: &mut Client) -> Option<(String, Vec<MetadataResponseBroker>)> {
    client.send(&MetadataRequest::default(), 12, 1).await;
    let (_, answer) = client.receive::<MetadataRequest>(12).await?;
    Some((answer.cluster_id.unwrap_or_default(), answer.brokers))
}

/// Goal: pipelined requests of every kind come back in order, large ones whole, and the only address named
/// is the door's. Produce without acks leaves no trace.
#[tokio::test]
async fn a_lone_broker_is_the_door() {
    let world = World::new();
    let node = world.node(1, BROKER_NAME).await;
    let (door, _view) = world.door(view(&[node])).await;
    let mut client = Client::connect(door).await;
    client.send(&ApiVersionsRequest::default(), 3, 10).await;
    client.send(&MetadataRequest::default(), 12, 11).await;
    client.send(&produce(0, 300_000), 9, 12).await;
    client.send(&produce(-1, 2_000_000), 9, 13).await;
    client.send(&FetchRequest { max_bytes: 3_000_000, ..Default::default() }, 12, 14).await;
    client.send(&MetadataRequest::default(), 1, 15).await;

    assert_eq!(client.receive::<ApiVersionsRequest>(3).await.unwrap().0, 10);
    let (id, answer) = client.receive::<MetadataRequest>(12).await.unwrap();
    assert_eq!((id, answer.brokers.len()), (11, 1));
    assert_eq!(
        (answer.brokers[0].host.as_str(), answer.brokers[0].port),
        ("127.0.0.1", i32::from(door.port()))
    );
    let (id, answer) = client.receive::<ProduceRequest>(9).await.unwrap();
    assert_eq!((id, answer.throttle_time_ms), (13, 2_000_000));
    let (id, answer) = client.receive::<FetchRequest>(12).await.unwrap();
    assert_eq!(id, 14);
    assert_eq!(answer.responses[0].partitions[0].records.as_ref().unwrap().len(), 3_000_000);
    assert_eq!(client.receive::<MetadataRequest>(1).await.unwrap().0, 15);
    assert_eq!(world.metrics.kafka_door_connections.get(), 1);
}

/// Goal: each node of a cluster has a port of its own that leads to that node.
#[tokio::test]
async fn each_node_of_a_cluster_has_its_port() {
    let world = World::new();
    let nodes = [world.node(1, BROKER_NAME).await, world.node(2, BROKER_NAME).await];
    let (door, _view) = world.door(view(&nodes[..1])).await;
    let (_, brokers) = metadata(&mut Client::connect(door).await).await.unwrap();
    assert_eq!(brokers.len(), 2);
    for broker in brokers {
        assert_eq!(broker.host, "127.0.0.1");
        let port = u16::try_from(broker.port).unwrap();
        assert!(nodes.iter().all(|node| node.port() != port) && port != door.port());
        let mut client = Client::connect(SocketAddr::from(([127, 0, 0, 1], port))).await;
        let (asked, _) = metadata(&mut client).await.unwrap();
        assert_eq!(asked, format!("asked node {}", broker.node_id));
    }
}

fn refusals(world: &World, reason: &str) -> u64 {
    world.metrics.kafka_door_refused.with_label_values(&[reason]).get()
}

/// Goal: without a Broker, with one that is down and with one of another name, clients are let go and counted;
/// they are served as soon as the view names one that is there.
#[tokio::test]
async fn clients_are_let_go_until_there_is_a_broker() {
    let world = World::new();
    let (door, views) = world.door(View::default()).await;
    assert_eq!(metadata(&mut Client::connect(door).await).await, None);
    assert_eq!(refusals(&world, "no_broker"), 1);

    let impostor = world.node(1, "another.infra.svc").await;
    views.send_replace(Arc::new(view(&["127.0.0.1:1".parse().unwrap(), impostor])));
    assert_eq!(metadata(&mut Client::connect(door).await).await, None);
    assert_eq!(refusals(&world, "unreachable"), 1);

    let node = world.node(1, BROKER_NAME).await;
    views.send_replace(Arc::new(view(&["127.0.0.1:1".parse().unwrap(), node])));
    let mut client = Client::connect(door).await;
    assert!(metadata(&mut client).await.is_some());

    // The Broker is taken away: its connections end.
    views.send_replace(Arc::new(View { version: 3, ..View::default() }));
    assert!(client.receive::<MetadataRequest>(12).await.is_none());
}

/// Goal: what is not Kafka, and versions that the door did not offer, end the connection and nothing else.
#[tokio::test]
async fn nonsense_ends_its_own_connection_only() {
    let world = World::new();
    let node = world.node(1, BROKER_NAME).await;
    let (door, _view) = world.door(view(&[node])).await;
    let mut good = Client::connect(door).await;
    assert!(metadata(&mut good).await.is_some());
    let mut http = Client::connect(door).await;
    http.stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    assert!(http.receive::<MetadataRequest>(12).await.is_none());
    let mut newer = Client::connect(door).await;
    newer.send(&FetchRequest::default(), 17, 1).await;
    assert!(newer.receive::<FetchRequest>(17).await.is_none());
    assert_eq!(refusals(&world, "protocol"), 2);
    assert!(metadata(&mut good).await.is_some());
}

/// Goal: a client that closes its half still gets its answers.
#[tokio::test]
async fn a_half_closed_client_gets_its_answers() {
    let world = World::new();
    let node = world.node(1, BROKER_NAME).await;
    let (door, _view) = world.door(view(&[node])).await;
    let mut client = Client::connect(door).await;
    client.send(&FetchRequest { max_bytes: 2_000_000, ..Default::default() }, 12, 8).await;
    client.stream.shutdown().await.unwrap();
    assert_eq!(client.receive::<FetchRequest>(12).await.unwrap().0, 8);
    assert!(client.receive::<FetchRequest>(12).await.is_none());
}

/// Goal: at shutdown answers on their way arrive, and a request that is never answered does not hold it up
/// past its deadline.
#[tokio::test]
async fn shutdown_drains() {
    let world = World::new();
    let node = world.node(1, BROKER_NAME).await;
    let (door, _view) = world.door(view(&[node])).await;
    let mut stuck = Client::connect(door).await;
    assert!(metadata(&mut stuck).await.is_some());
    stuck.send(&ListGroupsRequest::default(), 4, 2).await;
    world.heard.acquire().await.unwrap().forget();
    world.tasks.shutdown().begin();
    assert!(stuck.receive::<ListGroupsRequest>(4).await.is_none());
    assert_eq!(world.tasks.drain(std::time::Duration::from_secs(60)).await, 0);
    assert_eq!(world.metrics.kafka_door_connections.get(), 0);
}
