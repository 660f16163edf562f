//! A bare producer that measures acknowledgements in open loop: when each is due, not when it was sent.
//!
//! `load ADDRESS PARTITIONS RATE BYTES SECONDS [MESSAGES_PER_REQUEST [CONNECTIONS]]` prints one JSON object. RATE 0
//! is flat out, with `IN_FLIGHT` requests under way. Never more than a tool: it stops at the first error.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    sync::mpsc::{Receiver, sync_channel},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use kafka_wire::{
    frame,
    messages::{
        CreateTopicsRequest, ProduceRequest,
        create_topics::CreatableTopic,
        produce::{PartitionProduceData, TopicProduceData},
    },
    records::{BatchBuilder, Record},
};
use runtime::clock::{self, Instant};

const TOPIC: &str = "load";
const IN_FLIGHT: usize = 5;
/// Where a request's correlation id is, behind its length.
const CORRELATION_AT: usize = 8;

#[derive(Clone, Copy)]
struct Load {
    partitions: usize,
    rate: u64,
    bytes: usize,
    seconds: u64,
    per_request: usize,
    connections: usize,
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize, default: u64| match arguments.get(at) {
        Some(text) => text.parse().with_context(|| format!("{text} is not a number")),
        None => Ok(default),
    };
    let address = arguments.first().context("the first argument is the broker's address")?;
    let load = Load {
        partitions: usize::try_from(number(1, 1)?)?,
        rate: number(2, 1_000)?,
        bytes: usize::try_from(number(3, 1_024)?)?,
        seconds: number(4, 10)?,
        per_request: usize::try_from(number(5, 1)?)?.max(1),
        connections: usize::try_from(number(6, 1)?)?.max(1),
    };
    create(address, load.partitions)?;
    // Every partition's first write makes its files.
    let warm = Load { seconds: 2, ..load };
    run(address, warm)?;
    let (started, mut latencies) = (clock::now(), run(address, load)?);
    latencies.sort_unstable();
    let at = |part: f64| {
        let last = latencies.len().saturating_sub(1);
        let index = (f64::from(u32::try_from(last).unwrap_or(u32::MAX)) * part).round();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "between 0 and the last index"
        )]
        latencies.get(index as usize).map_or(0.0, |latency| latency.as_secs_f64() * 1_000.0)
    };
    let requests = u32::try_from(latencies.len())?;
    // With fewer partitions than that, a request carries one message of each.
    let per_request = load.per_request.min(load.partitions.div_ceil(load.connections));
    let reached = f64::from(requests) * f64::from(u32::try_from(per_request)?);
    let line = serde_json::json!({
        "partitions": load.partitions, "rate": load.rate, "bytes": load.bytes, "per_request": load.per_request,
        "reached_per_second": (reached / started.elapsed().as_secs_f64()).round(),
        "p50_ms": at(0.5), "p99_ms": at(0.99), "p999_ms": at(0.999), "max_ms": at(1.0),
    });
    println!("{line}");
    Ok(())
}

fn create(address: &str, partitions: usize) -> Result<()> {
    let topic = CreatableTopic {
        name: TOPIC.to_owned(),
        num_partitions: i32::try_from(partitions)?,
        replication_factor: 1,
        ..Default::default()
    };
    let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 30_000, ..Default::default() };
    let mut stream = TcpStream::connect(address)?;
    stream.write_all(&frame::request(&request, 5, 1, Some("load"))?.into_bytes())?;
    drop(read_answer(&mut stream)?);
    Ok(())
}

fn read_answer(stream: &mut TcpStream) -> Result<Vec<u8>> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let mut answer = vec![0; usize::try_from(i32::from_be_bytes(length))?];
    stream.read_exact(&mut answer)?;
    Ok(answer)
}

/// A request for some partitions, one message each.
fn request(partitions: &[usize], bytes: usize) -> Result<Vec<u8>> {
    let timestamp_ms = clock::unix_ms();
    let record = Record { value: Some(Bytes::from(vec![b'x'; bytes])), timestamp_ms, ..Default::default() };
    let records = BatchBuilder::default().build(&[record])?;
    let data = |partition: &usize| {
        Ok(PartitionProduceData { index: i32::try_from(*partition)?, records: Some(records.clone()) })
    };
    let partition_data: Result<Vec<_>> = partitions.iter().map(data).collect();
    let topic =
        TopicProduceData { name: TOPIC.to_owned(), partition_data: partition_data?, ..Default::default() };
    let request =
        ProduceRequest { acks: -1, timeout_ms: 30_000, topic_data: vec![topic], ..Default::default() };
    Ok(frame::request(&request, 9, 0, Some("load"))?.into_bytes().to_vec())
}

/// The latency of every request.
fn run(address: &str, load: Load) -> Result<Vec<Duration>> {
    let mut threads = Vec::new();
    for connection in 0..load.connections {
        let address = address.to_owned();
        let thread =
            runtime::tasks::spawn_thread("load", move || connection_load(&address, load, connection))?;
        threads.push(thread);
    }
    let mut latencies = Vec::new();
    for thread in threads {
        latencies.extend(thread.join().map_err(|_| anyhow::anyhow!("a thread panicked"))??);
    }
    Ok(latencies)
}

fn connection_load(address: &str, load: Load, connection: usize) -> Result<Vec<Duration>> {
    let partitions: Vec<usize> = (0..load.partitions).skip(connection).step_by(load.connections).collect();
    let requests: Result<Vec<Vec<u8>>> =
        partitions.chunks(load.per_request).map(|some| request(some, load.bytes)).collect();
    let mut requests = requests?;
    ensure!(!requests.is_empty(), "there are more connections than partitions");
    let mut sending = TcpStream::connect(address)?;
    sending.set_nodelay(true)?;
    let mut receiving = sending.try_clone()?;
    let depth = if load.rate == 0 { IN_FLIGHT } else { 100_000 };
    let (sent, due) = sync_channel::<Instant>(depth);
    let receiver = runtime::tasks::spawn_thread("receive", move || receive(&mut receiving, &due))?;
    let started = clock::now();
    let end = started + Duration::from_secs(load.seconds);
    let per_second = load.rate / u64::try_from(load.per_request * load.connections)?;
    let step = Duration::from_secs(1).checked_div(u32::try_from(per_second)?).unwrap_or_default();
    let mut next = started + step / u32::try_from(load.connections)? * u32::try_from(connection)?;
    for number in 0.. {
        let at = number % requests.len();
        let request = requests.get_mut(at).context("the index is below the length")?;
        if load.rate == 0 {
            next = clock::now();
        }
        if next >= end {
            break;
        }
        pause_until(next);
        let id = i32::try_from(number % 1_000_000_000)?.to_be_bytes();
        request
            .get_mut(CORRELATION_AT..CORRELATION_AT + 4)
            .context("a request has a header")?
            .copy_from_slice(&id);
        sent.send(next)?;
        sending.write_all(request)?;
        next += step;
    }
    drop(sent);
    receiver.join().map_err(|_| anyhow::anyhow!("the receiver panicked"))?
}

#[expect(clippy::disallowed_methods, reason = "a thread of its own that has nothing else to do")]
fn pause_until(time: Instant) {
    std::thread::sleep(time.saturating_duration_since(clock::now()));
}

fn receive(stream: &mut TcpStream, due: &Receiver<Instant>) -> Result<Vec<Duration>> {
    let mut latencies = Vec::new();
    while let Ok(due) = due.recv() {
        let answer = read_answer(stream)?;
        latencies.push(clock::now().saturating_duration_since(due));
        if latencies.len().is_multiple_of(64) {
            check(Bytes::from(answer))?;
        }
    }
    Ok(latencies)
}

fn check(answer: Bytes) -> Result<()> {
    let (_, response) = frame::decode_response::<ProduceRequest>(answer, 9)?;
    let mut partitions = response.responses.iter().flat_map(|topic| &topic.partition_responses);
    let failed = partitions.find(|partition| partition.error_code != 0);
    ensure!(failed.is_none(), "a message was refused: {failed:?}");
    Ok(())
}
