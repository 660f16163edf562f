//! Nothing that comes over the wire costs more memory than what was sent, and nonsense ends its connection alone.

use std::io::Write;

use kafka_wire::{
    ErrorCode, Message as _, Reader, messages::ApiVersionsRequest, messages::ApiVersionsResponse,
};

use crate::support::{Broker, Wire};

/// What the memory may grow by although hundreds of megabytes were claimed, in KiB.
const GROWTH_MAX_KIB: u64 = 20 * 1024;

fn request(api_key: i16, version: i16, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(api_key.to_be_bytes());
    bytes.extend(version.to_be_bytes());
    bytes.extend(7_i32.to_be_bytes());
    bytes.extend((-1_i16).to_be_bytes());
    bytes.extend(body);
    let mut frame = i32::try_from(bytes.len()).unwrap().to_be_bytes().to_vec();
    frame.extend(bytes);
    frame
}

fn sent(broker: &Broker, bytes: &[u8]) -> Wire {
    let mut wire = broker.connect();
    wire.stream.write_all(bytes).unwrap();
    wire
}

fn is_well(broker: &Broker) {
    assert_eq!(broker.connect().call(&ApiVersionsRequest::default(), 0).error_code, 0);
}

/// Goal: many claims of 100 MiB frames with hardly a byte behind them leave the memory flat.
#[test]
fn claimed_lengths_cost_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(folder.path());
    is_well(&broker);
    let before = broker.resident_kib();
    let mut claim = (100 * 1024 * 1024_i32).to_be_bytes().to_vec();
    claim.extend([0; 100]);
    let held: Vec<Wire> = (0..100).map(|_| sent(&broker, &claim)).collect();
    is_well(&broker);
    let grown = broker.resident_kib().saturating_sub(before);
    assert!(grown < GROWTH_MAX_KIB, "{grown} KiB for {} connections", held.len());
}

/// Goal: a length that is negative or above the limit, an unknown API, an unknown version, a body that is cut off
/// and arrays that claim more than is there each close their connection, and only that.
#[test]
fn nonsense_ends_its_connection() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(folder.path());
    let huge = i32::MAX.to_be_bytes();
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("a negative length", (-5_i32).to_be_bytes().to_vec()),
        ("a length above the limit", (100 * 1024 * 1024 + 1_i32).to_be_bytes().to_vec()),
        ("HTTP", b"GET / HTTP/1.1\r\n\r\n".to_vec()),
        ("an unknown API", request(9_999, 0, &[])),
        ("an API of the controller", request(55, 0, &[])),
        ("an unknown version", request(3, 99, &[])),
        ("produce of before 0.11", request(0, 2, &[])),
        ("an array of 2^31 topics", request(3, 1, &huge)),
        ("a cut-off body", request(1, 4, &[0, 0])),
        ("an empty frame", 0_i32.to_be_bytes().to_vec()),
    ];
    for (what, bytes) in cases {
        assert!(sent(&broker, &bytes).is_closed(), "{what}");
        is_well(&broker);
    }
}

/// Goal: a client from the future that asks for versions is told ours, in a form that every client reads.
#[test]
fn versions_are_negotiated() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(folder.path());
    let frame = sent(&broker, &request(18, 99, &[0, 0])).read_frame();
    let mut reader = Reader::new(frame.slice(4..));
    let answer = ApiVersionsResponse::decode(&mut reader, 0).unwrap();
    assert_eq!(answer.error_code, ErrorCode::UnsupportedVersion.code());
    let min_of = |api_key: i16| answer.api_keys.iter().find(|it| it.api_key == api_key).unwrap().min_version;
    assert_eq!((min_of(0), min_of(11)), (0, 0), "old clients look for version 0 of Produce and JoinGroup");
    let answer = broker.connect().call(&ApiVersionsRequest::default(), 3);
    assert!(answer.api_keys.iter().all(|it| it.api_key != 71 && it.api_key != 72), "never telemetry");
}

/// Goal: the limits of the settings hold: a connection too many from one address and a request too large are closed,
/// and a place that becomes free is given again.
#[test]
fn limits_of_the_settings_hold() {
    let folder = tempfile::tempdir().unwrap();
    let settings = folder.path().join("settings");
    std::fs::write(&settings, "max.connections.per.ip=2\nsocket.request.max.bytes=2048\n").unwrap();
    let mut command = crate::support::command(folder.path());
    command.args(["--listen", "127.0.0.1:0", "--config"]).arg(&settings);
    let broker = Broker::run(command, folder.path());
    let mut held = [broker.connect(), broker.connect()];
    for wire in &mut held {
        assert_eq!(wire.call(&ApiVersionsRequest::default(), 0).error_code, 0);
    }
    assert!(broker.connect().is_closed(), "the third connection of the address");
    let [mut first, _second] = held;
    first.stream.write_all(&2_049_i32.to_be_bytes()).unwrap();
    assert!(first.is_closed(), "a request of 2049 bytes");
    drop(first);
    crate::support::wait_for("a free place", || {
        let mut wire = broker.connect();
        wire.stream.write_all(&request(18, 0, &[])).ok()?;
        (!wire.is_closed()).then_some(())
    });
    broker.stop();
}
