//! Quotas: kept, described, and held to. How long somebody has to wait is read from answers and metrics, never timed.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    path::Path,
    sync::atomic::{AtomicI64, Ordering},
    time::Duration,
};

use bytes::Bytes;
use kafka_wire::{
    ErrorCode,
    messages::{
        AlterClientQuotasRequest, ApiVersionsRequest, CreatePartitionsRequest, CreateTopicsRequest,
        CreateTopicsResponse, DeleteTopicsRequest, DescribeClientQuotasRequest, DescribeQuorumRequest,
        FetchRequest, FetchResponse, MetadataRequest, ProduceRequest,
        alter_client_quotas::{EntityData, EntryData, OpData},
        create_partitions::CreatePartitionsTopic,
        create_topics::CreatableTopic,
        describe_client_quotas::ComponentData,
        describe_quorum::{PartitionData, TopicData},
        fetch::{FetchPartition, FetchTopic},
        metadata::MetadataRequestTopic,
        produce::{PartitionProduceData, TopicProduceData},
    },
    records::{BatchBuilder, Record},
};

use rdkafka::{
    ClientContext, Statistics,
    producer::{BaseProducer, BaseRecord, DeliveryResult, Producer as _, ProducerContext},
};

use crate::support::{Broker, DEADLINE, Wire, command, wait_for};

/// Starts a broker that tells its metrics; and where.
fn start(folder: &Path) -> (Broker, String) {
    let mut command = command(folder);
    command.args(["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--auto-create-topics"]);
    let broker = Broker::run(command, folder);
    let ready: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(folder.join("ready")).unwrap()).unwrap();
    (broker, ready["admin"].as_str().unwrap().to_owned())
}

/// The value of a metric; 0 while there is none.
fn metric(admin: &str, name: &str) -> f64 {
    let mut stream = TcpStream::connect(admin).unwrap();
    let request = format!("GET /metrics HTTP/1.1\r\nhost: {admin}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.map_or(0.0, |value| value.trim().parse().unwrap())
}

/// Waits until the requests of so many connections are left lying.
fn wait_muted(admin: &str, count: f64) {
    wait_for("muted connections", || {
        (metric(admin, "pinnace_broker_muted_connections") == count).then_some(())
    });
}

fn entity(parts: &[(&str, Option<&str>)]) -> Vec<EntityData> {
    let part = |(kind, name): &(&str, Option<&str>)| EntityData {
        entity_type: (*kind).to_owned(),
        entity_name: name.map(str::to_owned),
    };
    parts.iter().map(part).collect()
}

/// Sets a quota, or removes it; the error code.
fn alter(wire: &mut Wire, parts: &[(&str, Option<&str>)], key: &str, value: Option<f64>) -> i16 {
    alter_all(wire, vec![entry(parts, &[(key, value)])], false)[0]
}

fn entry(parts: &[(&str, Option<&str>)], ops: &[(&str, Option<f64>)]) -> EntryData {
    let op = |(key, value): &(&str, Option<f64>)| OpData {
        key: (*key).to_owned(),
        value: value.unwrap_or_default().into(),
        remove: value.is_none(),
    };
    EntryData { entity: entity(parts), ops: ops.iter().map(op).collect() }
}

fn alter_all(wire: &mut Wire, entries: Vec<EntryData>, validate_only: bool) -> Vec<i16> {
    let answer = wire.call(&AlterClientQuotasRequest { entries, validate_only }, 1);
    answer.entries.iter().map(|entry| entry.error_code).collect()
}

/// The quotas that a filter picks, each as text; or the error code.
fn describe(
    wire: &mut Wire,
    components: &[(&str, i8, Option<&str>)],
    strict: bool,
) -> Result<Vec<String>, i16> {
    let component = |(kind, match_type, name): &(&str, i8, Option<&str>)| ComponentData {
        entity_type: (*kind).to_owned(),
        match_type: *match_type,
        match_name: name.map(str::to_owned),
    };
    let components = components.iter().map(component).collect();
    let answer = wire.call(&DescribeClientQuotasRequest { components, strict }, 1);
    let entries = answer.entries.ok_or(answer.error_code)?;
    let text = entries.iter().map(|entry| {
        let parts = entry.entity.iter();
        let parts: Vec<String> = parts
            .map(|it| format!("{}={}", it.entity_type, it.entity_name.as_deref().unwrap_or("*")))
            .collect();
        let values: Vec<String> =
            entry.values.iter().map(|it| format!("{}={}", it.key, it.value.get())).collect();
        format!("{}: {}", parts.join(","), values.join(","))
    });
    Ok(text.collect())
}

const CLIENT: &[(&str, Option<&str>)] = &[("client-id", Some("test"))];

/// Goal: what was set is described by whom a filter names, and survives a restart to the last digit; what is only
/// checked or refused changes nothing; what is removed is gone.
#[test]
fn quotas_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let (broker, _) = start(folder.path());
    let wire = &mut broker.connect();
    let all = [
        entry(&[("user", Some("alice"))], &[("producer_byte_rate", Some(1024.0))]),
        entry(
            &[("user", Some("alice")), ("client-id", None)],
            &[("request_percentage", Some(12.345_678_901))],
        ),
        entry(
            &[("user", None)],
            &[("consumer_byte_rate", Some(1.0)), ("controller_mutation_rate", Some(0.1))],
        ),
        entry(&[("ip", Some("::ffff:10.0.0.1"))], &[("connection_creation_rate", Some(5.0))]),
        entry(
            &[("user", Some("bob"))],
            &[("producer_byte_rate", Some(1.0)), ("consumer_byte_rate", Some(0.0))],
        ),
        entry(&[("user", Some("bob"))], &[("connection_creation_rate", Some(1.0))]),
    ];
    let invalid = ErrorCode::InvalidRequest.code();
    assert_eq!(alter_all(wire, all.to_vec(), true), [0, 0, 0, 0, invalid, invalid]);
    assert_eq!(describe(wire, &[], false), Ok(Vec::new()));
    assert_eq!(alter_all(wire, all.to_vec(), false), [0, 0, 0, 0, invalid, invalid]);
    broker.stop();
    let (broker, _) = start(folder.path());
    let wire = &mut broker.connect();
    let default = "user=*: consumer_byte_rate=1,controller_mutation_rate=0.1".to_owned();
    let alice = "user=alice: producer_byte_rate=1024".to_owned();
    let both = "user=alice,client-id=*: request_percentage=12.345678901".to_owned();
    let ip = "ip=10.0.0.1: connection_creation_rate=5".to_owned();
    let told = describe(wire, &[], false).unwrap();
    assert_eq!(told, [default.clone(), alice.clone(), both.clone(), ip.clone()]);
    let exact = [("user", 0, Some("alice"))];
    assert_eq!(describe(wire, &exact, true), Ok(vec![alice.clone()]));
    assert_eq!(describe(wire, &exact, false), Ok(vec![alice.clone(), both.clone()]));
    assert_eq!(describe(wire, &[("user", 1, None)], true), Ok(vec![default]));
    assert_eq!(describe(wire, &[("user", 2, None), ("client-id", 2, None)], true), Ok(vec![both.clone()]));
    assert_eq!(describe(wire, &[("ip", 0, Some("10.0.0.1"))], true), Ok(vec![ip]));
    let unsupported = ErrorCode::UnsupportedVersion.code();
    for (wrong, code) in [
        (vec![("group", 2, None)], unsupported),
        (vec![("", 2, None)], invalid),
        (vec![("user", 0, None)], invalid),
        (vec![("user", 1, Some("x"))], invalid),
        (vec![("user", 3, None)], invalid),
        (vec![("user", 2, None), ("user", 1, None)], invalid),
        (vec![("user", 2, None), ("ip", 2, None)], invalid),
    ] {
        assert_eq!(describe(wire, &wrong, false), Err(code), "{wrong:?}");
    }
    assert_eq!(alter(wire, &[("user", Some("alice"))], "producer_byte_rate", None), 0);
    assert_eq!(describe(wire, &exact, false), Ok(vec![both]));
}

fn produce(wire: &mut Wire, acks: i16, bytes: usize) -> ProduceRequest {
    let value = Some(Bytes::from(vec![b'x'; bytes]));
    let records = BatchBuilder::default().build(&[Record { value, timestamp_ms: 1, ..Default::default() }]);
    let data = PartitionProduceData { index: 0, records: Some(records.unwrap()) };
    let topic = TopicProduceData { name: "one".to_owned(), partition_data: vec![data], ..Default::default() };
    let request = ProduceRequest { acks, timeout_ms: 1_000, topic_data: vec![topic], ..Default::default() };
    if acks == 0 {
        wire.send(&request, 9);
    }
    request
}

fn create(wire: &mut Wire, name: &str, num_partitions: i32, version: i16) -> CreateTopicsResponse {
    let topic =
        CreatableTopic { name: name.to_owned(), num_partitions, replication_factor: 1, ..Default::default() };
    wire.call(&CreateTopicsRequest { topics: vec![topic], ..Default::default() }, version)
}

fn fetch(wire: &mut Wire) -> FetchResponse {
    let partitions = vec![FetchPartition { partition_max_bytes: 1 << 20, ..Default::default() }];
    let topic = FetchTopic { topic: "one".to_owned(), partitions, ..Default::default() };
    wire.call(&FetchRequest { topics: vec![topic], max_bytes: 1 << 20, ..Default::default() }, 12)
}

/// Goal: who produces more than he may is answered at once and told how long to wait; his connection is muted, whatever
/// the acknowledgement that he wanted, and only his. A muted connection does not keep a broker from ending.
#[test]
fn producers_are_throttled() {
    let folder = tempfile::tempdir().unwrap();
    let (broker, admin) = start(folder.path());
    let (wire, other, third) = (&mut broker.connect(), &mut broker.connect(), &mut broker.connect());
    create(wire, "one", 1, 7);
    assert_eq!(alter(wire, CLIENT, "producer_byte_rate", Some(100.0)), 0);
    let request = produce(other, -1, 50);
    assert_eq!(other.call(&request, 9).throttle_time_ms, 0);
    let request = produce(wire, -1, 20_000);
    let answer = wire.call(&request, 9);
    assert_eq!(answer.responses[0].partition_responses[0].error_code, 0, "{answer:?}");
    assert!(answer.throttle_time_ms > 100_000, "{answer:?}");
    // Nothing of it is read; what asks for no answer counts as well.
    wire.send(&MetadataRequest::default(), 9);
    produce(third, 0, 10);
    wait_muted(&admin, 2.0);
    let throttled = metric(&admin, "pinnace_broker_throttled_requests_total{quota=\"produce\"}");
    assert_eq!(throttled, 2.0);
    // The quota is the client's, and the mute is of the connections that were over it.
    assert_eq!(other.call(&MetadataRequest::default(), 9).throttle_time_ms, 0);
    assert!(metric(&admin, "pinnace_broker_throttled_seconds_total{quota=\"produce\"}") > 100.0);
    broker.stop();
}

/// Goal: who fetches more than he may gets nothing for the time and is muted; one batch that is larger than the quota is given all
/// the same, as it would never be. Without the quota all is as before.
#[test]
fn consumers_are_throttled() {
    let folder = tempfile::tempdir().unwrap();
    let (broker, admin) = start(folder.path());
    let (wire, other) = (&mut broker.connect(), &mut broker.connect());
    create(wire, "one", 1, 7);
    for _ in 0..2 {
        let request = produce(wire, -1, 20_000);
        wire.call(&request, 9);
    }
    assert_eq!(fetch(wire).throttle_time_ms, 0);
    assert_eq!(alter(wire, CLIENT, "consumer_byte_rate", Some(100.0)), 0);
    let bytes = |answer: &FetchResponse| answer.responses[0].partitions[0].records.as_ref().unwrap().len();
    let first = fetch(wire);
    assert!(first.throttle_time_ms > 100_000 && (20_000..25_000).contains(&bytes(&first)), "{first:?}");
    let second = fetch(other);
    assert!(second.throttle_time_ms > 100_000 && second.responses.is_empty(), "{second:?}");
    let throttled = metric(&admin, "pinnace_broker_throttled_requests_total{quota=\"fetch\"}");
    assert_eq!(throttled, 2.0);
    for muted in [wire, other] {
        muted.send(&MetadataRequest::default(), 9);
    }
    wait_muted(&admin, 2.0);
    let third = &mut broker.connect();
    assert_eq!(alter(third, CLIENT, "consumer_byte_rate", None), 0);
    let after = fetch(third);
    assert!(after.throttle_time_ms == 0 && bytes(&after) > 40_000);
}

/// Goal: who changes more partitions than he may is told to come again where he knows that, and waits where he does not;
/// his connection is muted either way.
#[test]
fn mutations_are_throttled() {
    let folder = tempfile::tempdir().unwrap();
    let (broker, admin) = start(folder.path());
    let wire = &mut broker.connect();
    assert_eq!(alter(wire, CLIENT, "controller_mutation_rate", Some(0.01)), 0);
    // The last one that finds something left is made whatever it costs.
    let made = create(wire, "one", 30, 7);
    assert_eq!((made.topics[0].error_code, made.throttle_time_ms), (0, 0));
    let code = ErrorCode::ThrottlingQuotaExceeded.code();
    let refused = create(wire, "two", 1, 7);
    assert_eq!(refused.topics[0].error_code, code);
    assert!(refused.throttle_time_ms > 1_000_000);
    wire.send(&MetadataRequest::default(), 9);
    wait_muted(&admin, 1.0);
    let wire = &mut broker.connect();
    let topic = CreatePartitionsTopic { name: "one".to_owned(), count: 31, assignments: None };
    let grown = wire.call(&CreatePartitionsRequest { topics: vec![topic], ..Default::default() }, 3);
    assert!(grown.results[0].error_code == code && grown.throttle_time_ms > 0, "{grown:?}");
    let wire = &mut broker.connect();
    let request = DeleteTopicsRequest { topic_names: vec!["one".to_owned()], ..Default::default() };
    assert_eq!(wire.call(&request, 5).responses[0].error_code, code);
    let wire = &mut broker.connect();
    let older = create(wire, "two", 1, 5);
    assert!(older.topics[0].error_code == 0 && older.throttle_time_ms > 1_000_000, "{older:?}");
    wire.send(&MetadataRequest::default(), 9);
    wait_muted(&admin, 2.0);
    let wire = &mut broker.connect();
    let topics = Some(vec![MetadataRequestTopic { name: Some("three".to_owned()), ..Default::default() }]);
    let made = wire.call(&MetadataRequest { topics, ..Default::default() }, 9);
    assert!(made.topics[0].error_code == 0 && made.throttle_time_ms > 1_000_000, "{made:?}");
}

/// Goal: the time of threads has a quota too, one window of waiting at most, and every answer can tell of it. A mute that
/// is over is over.
#[test]
fn requests_are_throttled() {
    let folder = tempfile::tempdir().unwrap();
    let (broker, admin) = start(folder.path());
    let wire = &mut broker.connect();
    assert_eq!(alter(wire, CLIENT, "request_percentage", Some(1e-9)), 0);
    assert_eq!(wire.call(&MetadataRequest::default(), 9).throttle_time_ms, 1_000);
    assert_eq!(wire.call(&ApiVersionsRequest::default(), 1).throttle_time_ms, 1_000);
    // Before version 1 there is no such field.
    assert_eq!(wire.call(&MetadataRequest { topics: None, ..Default::default() }, 1).throttle_time_ms, 0);
    let throttled = metric(&admin, "pinnace_broker_throttled_requests_total{quota=\"request\"}");
    assert_eq!(throttled, 3.0);
}

/// Goal: an address may only connect so often; who comes too fast is closed, the others are served.
#[test]
fn connections_are_throttled() {
    let folder = tempfile::tempdir().unwrap();
    let (broker, admin) = start(folder.path());
    let wire = &mut broker.connect();
    assert_eq!(alter(wire, &[("ip", None)], "connection_creation_rate", Some(1.0)), 0);
    let mut connections: Vec<Wire> = (0..15).map(|_| broker.connect()).collect();
    wait_for("connections that are kept out", || {
        let name = "pinnace_broker_refused_connections_total{reason=\"rate\"}";
        (metric(&admin, name) >= 1.0).then_some(())
    });
    assert!(connections.last_mut().unwrap().is_closed());
    connections[0].call(&ApiVersionsRequest::default(), 1);
    assert_eq!(alter(wire, &[("ip", None)], "connection_creation_rate", None), 0);
    broker.connect().call(&ApiVersionsRequest::default(), 1);
}

/// Remembers the longest time that a broker told librdkafka to wait.
#[derive(Default)]
struct Throttled(AtomicI64);

impl ClientContext for Throttled {
    fn stats(&self, statistics: Statistics) {
        let told = statistics.brokers.values().filter_map(|broker| Some(broker.throttle.as_ref()?.max));
        self.0.fetch_max(told.max().unwrap_or(0), Ordering::Relaxed);
    }
}

impl ProducerContext for Throttled {
    type DeliveryOpaque = ();

    fn delivery(&self, _: &DeliveryResult<'_>, (): ()) {}
}

/// Goal: librdkafka takes a throttled answer for what it is: it says so in its statistics, waits, and loses nothing.
#[test]
fn librdkafka_is_throttled() {
    let folder = tempfile::tempdir().unwrap();
    let (broker, _) = start(folder.path());
    let wire = &mut broker.connect();
    create(wire, "one", 1, 7);
    assert_eq!(alter(wire, &[("client-id", None)], "producer_byte_rate", Some(10_000.0)), 0);
    let mut config = broker.client();
    config.set("statistics.interval.ms", "50").set("linger.ms", "0");
    let producer: BaseProducer<Throttled> = config.create_with_context(Throttled::default()).unwrap();
    for _ in 0..11 {
        producer.send(BaseRecord::<(), [u8]>::to("one").payload(&[b'x'; 10_000])).unwrap();
        producer.flush(DEADLINE).unwrap();
    }
    wait_for("statistics with a throttle time", || {
        producer.poll(Duration::from_millis(20));
        (producer.context().0.load(Ordering::Relaxed) > 0).then_some(())
    });
    assert_eq!(broker.consume("one", 11).len(), 11);
}

/// Goal: the node is the only voter for the metadata, and leads; other topics have no quorum.
#[test]
fn the_quorum_is_one_node() {
    let folder = tempfile::tempdir().unwrap();
    let (broker, _) = start(folder.path());
    let wire = &mut broker.connect();
    let topic = |name: &str| TopicData {
        topic_name: name.to_owned(),
        partitions: vec![PartitionData { partition_index: 0 }],
    };
    let request = DescribeQuorumRequest { topics: vec![topic("__cluster_metadata"), topic("other")] };
    let answer = wire.call(&request, 2);
    let quorum = &answer.topics[0].partitions[0];
    assert_eq!((answer.error_code, quorum.error_code, quorum.leader_id), (0, 0, 0));
    let voter = &quorum.current_voters[0];
    assert_eq!((voter.replica_id, voter.log_end_offset), (0, quorum.high_watermark));
    assert!(quorum.high_watermark > 0 && voter.last_caught_up_timestamp > 0 && quorum.observers.is_empty());
    assert_eq!(answer.nodes[0].listeners[0].port, broker.kafka.port());
    let unknown = ErrorCode::UnknownTopicOrPartition.code();
    assert_eq!(answer.topics[1].partitions[0].error_code, unknown);
    assert!(wire.call(&request, 0).nodes.is_empty());
}
