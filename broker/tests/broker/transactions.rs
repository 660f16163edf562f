//! Transactions: whole or not at all, for real clients of the first version and for frames of the second, over kills.

use std::time::Duration;

use bytes::Bytes;
use kafka_wire::{
    ErrorCode,
    messages::{
        AddOffsetsToTxnRequest, AddPartitionsToTxnRequest, ApiVersionsRequest, DeleteGroupsRequest,
        DeleteTopicsRequest, DescribeProducersRequest, DescribeTransactionsRequest, EndTxnRequest,
        FetchRequest, InitProducerIdRequest, ListTransactionsRequest, OffsetFetchRequest, ProduceRequest,
        TxnOffsetCommitRequest, WriteTxnMarkersRequest,
        add_partitions_to_txn::AddPartitionsToTxnTopic,
        describe_producers::TopicRequest,
        fetch::{FetchPartition, FetchTopic, PartitionData},
        offset_fetch::{OffsetFetchRequestGroup, OffsetFetchRequestTopics},
        produce::{PartitionProduceData, TopicProduceData},
        txn_offset_commit::{TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic},
        write_txn_markers::{WritableTxnMarker, WritableTxnMarkerTopic},
    },
    records::{BatchBuilder, Batches, Record, Records},
};
use rdkafka::{
    ClientConfig, Message as _, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer as _},
    producer::{BaseProducer, BaseRecord, Producer as _},
};
use runtime::clock;

use crate::{
    restart::create,
    support::{Broker, DEADLINE, Wire, pause_for, wait_for},
};

const TOPIC: &str = "ledger";
const NONE: i16 = 0;

/// A producer by frames: id, epoch, and the next sequence of each of two partitions.
struct Frames {
    wire: Wire,
    name: &'static str,
    id: i64,
    epoch: i16,
    sequences: [i32; 2],
    version: i16,
}

impl Frames {
    /// Starts with a transactional id; `version` is the one of Produce.
    fn start(broker: &Broker, name: &'static str, version: i16) -> Self {
        let mut wire = broker.connect();
        let request = InitProducerIdRequest {
            transactional_id: Some(name.to_owned()),
            transaction_timeout_ms: 60_000,
            ..Default::default()
        };
        let started = wait_for("an earlier transaction to be aborted", || {
            let answer = wire.call(&request, 4);
            (answer.error_code != ErrorCode::ConcurrentTransactions.code()).then_some(answer)
        });
        assert_eq!(started.error_code, NONE, "{started:?}");
        let (id, epoch) = (started.producer_id, started.producer_epoch);
        Self { wire, name, id, epoch, sequences: [0; 2], version }
    }

    /// Adds a partition, as clients of the first version have to.
    fn add(&mut self, partition: i32) -> i16 {
        let topic = AddPartitionsToTxnTopic { name: TOPIC.to_owned(), partitions: vec![partition] };
        let request = AddPartitionsToTxnRequest {
            v3_and_below_transactional_id: self.name.to_owned(),
            v3_and_below_producer_id: self.id,
            v3_and_below_producer_epoch: self.epoch,
            v3_and_below_topics: vec![topic],
            ..Default::default()
        };
        let answer = self.wire.call(&request, 3);
        answer.results_by_topic_v3_and_below[0].results_by_partition[0].partition_error_code
    }

    fn write(&mut self, partition: i32, value: &str) -> i16 {
        let at = usize::try_from(partition).unwrap();
        let builder = BatchBuilder {
            producer_id: self.id,
            producer_epoch: self.epoch,
            base_sequence: self.sequences[at],
            transactional: true,
            ..Default::default()
        };
        let record = Record {
            value: Some(Bytes::copy_from_slice(value.as_bytes())),
            timestamp_ms: clock::unix_ms(),
            ..Default::default()
        };
        let records = Some(builder.build(&[record]).unwrap());
        let data = PartitionProduceData { index: partition, records };
        let topic =
            TopicProduceData { name: TOPIC.to_owned(), partition_data: vec![data], ..Default::default() };
        let request = ProduceRequest {
            transactional_id: Some(self.name.to_owned()),
            acks: -1,
            timeout_ms: 1_000,
            topic_data: vec![topic],
        };
        let answer = self.wire.call(&request, self.version);
        let code = answer.responses[0].partition_responses[0].error_code;
        if code == NONE {
            self.sequences[at] += 1;
        }
        code
    }

    fn end(&mut self, committed: bool) -> i16 {
        let request = EndTxnRequest {
            transactional_id: self.name.to_owned(),
            producer_id: self.id,
            producer_epoch: self.epoch,
            committed,
        };
        let second = self.version >= 12;
        let answer = self.wire.call(&request, if second { 5 } else { 3 });
        if answer.error_code == NONE && second {
            (self.id, self.epoch, self.sequences) = (answer.producer_id, answer.producer_epoch, [0; 2]);
        }
        answer.error_code
    }

    fn commit_offset(&mut self, group: &str, offset: i64) -> i16 {
        let second = self.version >= 12;
        if !second {
            let request = AddOffsetsToTxnRequest {
                transactional_id: self.name.to_owned(),
                producer_id: self.id,
                producer_epoch: self.epoch,
                group_id: group.to_owned(),
            };
            assert_eq!(self.wire.call(&request, 3).error_code, NONE);
        }
        let partition = TxnOffsetCommitRequestPartition { committed_offset: offset, ..Default::default() };
        let topic = TxnOffsetCommitRequestTopic { name: TOPIC.to_owned(), partitions: vec![partition] };
        let request = TxnOffsetCommitRequest {
            transactional_id: self.name.to_owned(),
            group_id: group.to_owned(),
            producer_id: self.id,
            producer_epoch: self.epoch,
            topics: vec![topic],
            ..Default::default()
        };
        let answer = self.wire.call(&request, if second { 5 } else { 3 });
        answer.topics[0].partitions[0].error_code
    }
}

fn fetch(wire: &mut Wire, partition: i32, isolation_level: i8) -> PartitionData {
    let wanted = FetchPartition { partition, partition_max_bytes: 10_000_000, ..Default::default() };
    let topic = FetchTopic { topic: TOPIC.to_owned(), partitions: vec![wanted], ..Default::default() };
    let request = FetchRequest {
        replica_id: -1,
        max_bytes: 10_000_000,
        isolation_level,
        topics: vec![topic],
        ..Default::default()
    };
    wire.call(&request, 11).responses.remove(0).partitions.remove(0)
}

/// The values that a reader of committed records sees: it skips markers and what the aborted list names.
fn committed(wire: &mut Wire, partition: i32) -> Vec<String> {
    let data = fetch(wire, partition, 1);
    let mut aborted = data.aborted_transactions.unwrap();
    let mut skipped: Vec<i64> = Vec::new();
    let mut values = Vec::new();
    for batch in Batches::new(data.records.unwrap()) {
        let (header, bytes) = batch.unwrap();
        aborted.retain(|it| {
            let begun = it.first_offset <= header.last_offset();
            if begun {
                skipped.push(it.producer_id);
            }
            !begun
        });
        if header.is_control() {
            skipped.retain(|id| *id != header.producer_id);
        } else if !(header.is_transactional() && skipped.contains(&header.producer_id)) {
            let records = Records::open(&bytes, 1_000_000).unwrap();
            let value = |record: Record| String::from_utf8(record.value.unwrap().to_vec()).unwrap();
            values.extend(records.map(|record| value(record.unwrap())));
        }
    }
    values
}

fn offset(wire: &mut Wire, group: &str, require_stable: bool) -> (i64, i16) {
    let topic =
        OffsetFetchRequestTopics { name: TOPIC.to_owned(), partition_indexes: vec![0], ..Default::default() };
    let group = OffsetFetchRequestGroup {
        group_id: group.to_owned(),
        topics: Some(vec![topic]),
        ..Default::default()
    };
    let request = OffsetFetchRequest { groups: vec![group], require_stable, ..Default::default() };
    let answer = wire.call(&request, 8);
    let partition = &answer.groups[0].topics[0].partitions[0];
    (partition.committed_offset, partition.error_code)
}

/// Goal: clients of the first version must add a partition before they write; those of the second need not. Readers
/// of committed records see committed ones only and wait for the open ones; others see all.
#[test]
fn only_committed_records_are_seen() {
    for version in [9, 12] {
        let folder = tempfile::tempdir().unwrap();
        let broker = Broker::start(folder.path());
        let mut reader = broker.connect();
        create(&mut reader, TOPIC);
        let mut producer = Frames::start(&broker, "first", version);
        if version < 12 {
            assert_eq!(producer.write(0, "outside"), ErrorCode::InvalidTxnState.code());
            assert_eq!(producer.add(0), NONE);
            assert_eq!(producer.write(1, "outside"), ErrorCode::InvalidTxnState.code());
            assert_eq!(producer.add(1), NONE);
        }
        assert_eq!((producer.write(0, "a"), producer.write(1, "b")), (NONE, NONE));
        assert_eq!(committed(&mut reader, 0), Vec::<String>::new());
        assert_eq!(fetch(&mut reader, 0, 0).last_stable_offset, 0);
        assert_eq!(Batches::new(fetch(&mut reader, 0, 0).records.unwrap()).count(), 1);
        assert_eq!(producer.end(true), NONE);
        assert_eq!(producer.add(0), NONE);
        assert_eq!(producer.write(0, "never"), NONE);
        assert_eq!(producer.end(false), NONE);
        assert_eq!(producer.add(0), NONE);
        assert_eq!(producer.write(0, "c"), NONE);
        assert_eq!(producer.end(true), NONE);
        assert_eq!(committed(&mut reader, 0), ["a", "c"]);
        assert_eq!(committed(&mut reader, 1), ["b"]);
        let data = fetch(&mut reader, 0, 1);
        assert_eq!((data.last_stable_offset, data.high_watermark), (6, 6));
    }
}

/// Goal: who starts with a transactional id aborts what is open and fences whoever had it.
#[test]
fn zombies_are_fenced() {
    for version in [9, 12] {
        let folder = tempfile::tempdir().unwrap();
        let broker = Broker::start(folder.path());
        let mut reader = broker.connect();
        create(&mut reader, TOPIC);
        let mut zombie = Frames::start(&broker, "one", version);
        assert_eq!(zombie.add(0), NONE);
        assert_eq!(zombie.write(0, "zombie"), NONE);
        let mut heir = Frames::start(&broker, "one", version);
        assert_eq!(zombie.id, heir.id);
        assert!(heir.epoch > zombie.epoch);
        assert_eq!(heir.add(0), NONE);
        assert_eq!(heir.write(0, "heir"), NONE);
        assert_eq!(zombie.write(0, "late"), ErrorCode::InvalidProducerEpoch.code());
        assert_eq!(zombie.add(1), ErrorCode::ProducerFenced.code());
        assert_eq!(zombie.end(true), ErrorCode::ProducerFenced.code());
        assert_eq!(heir.end(true), NONE);
        assert_eq!(committed(&mut reader, 0), ["heir"]);
    }
}

/// Goal: offsets that are committed in a transaction count when it commits, are gone when it aborts, and who wants
/// stable ones is told to wait while it is open; a kill changes none of it.
#[test]
fn offsets_come_with_the_transaction() {
    let folder = tempfile::tempdir().unwrap();
    for version in [9, 12] {
        let broker = Broker::start(folder.path());
        let mut wire = broker.connect();
        if version == 9 {
            create(&mut wire, TOPIC);
        }
        let group = if version == 9 { "old" } else { "new" };
        let mut producer = Frames::start(&broker, "offsets", version);
        assert_eq!(producer.commit_offset(group, 5), NONE);
        assert_eq!(offset(&mut wire, group, false), (-1, NONE));
        assert_eq!(offset(&mut wire, group, true), (-1, ErrorCode::UnstableOffsetCommit.code()));
        assert_eq!(producer.end(true), NONE);
        assert_eq!(offset(&mut wire, group, true), (5, NONE));
        assert_eq!(producer.commit_offset(group, 9), NONE);
        assert_eq!(producer.end(false), NONE);
        assert_eq!(offset(&mut wire, group, true), (5, NONE));
        assert_eq!(producer.commit_offset(group, 7), NONE);
        broker.kill();
        let broker = Broker::start(folder.path());
        let mut wire = broker.connect();
        assert_eq!(offset(&mut wire, group, true), (-1, ErrorCode::UnstableOffsetCommit.code()));
        producer.wire = broker.connect();
        assert_eq!(producer.end(true), NONE);
        assert_eq!(offset(&mut wire, group, true), (7, NONE));
    }
}

/// Goal: what was committed for a topic in a transaction is gone with the topic, also for one of the same name.
#[test]
fn a_deleted_topic_takes_its_pending_offsets_along() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(folder.path());
    let mut wire = broker.connect();
    create(&mut wire, TOPIC);
    let mut producer = Frames::start(&broker, "deleted", 12);
    assert_eq!(producer.write(0, "gone"), NONE);
    assert_eq!(producer.commit_offset("deleted", 5), NONE);
    let topic_names = vec![TOPIC.to_owned()];
    let deleted = wire.call(&DeleteTopicsRequest { topic_names, ..Default::default() }, 4);
    assert_eq!(deleted.responses[0].error_code, NONE);
    create(&mut wire, TOPIC);
    assert_eq!(producer.end(true), NONE);
    assert_eq!(offset(&mut wire, "deleted", true), (-1, NONE));
    assert_eq!(producer.write(0, "new"), NONE);
    assert_eq!(producer.end(true), NONE);
    assert_eq!(committed(&mut wire, 0), ["new"]);
}

/// Goal: what was committed for a group in a transaction is gone with the group, whatever becomes of the transaction,
/// over a restart too; a group that was never anything else can be deleted as well.
#[test]
fn a_deleted_group_takes_its_pending_offsets_along() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(folder.path());
    let mut wire = broker.connect();
    create(&mut wire, TOPIC);
    let mut producer = Frames::start(&broker, "leaving", 12);
    assert_eq!(producer.write(0, "kept"), NONE);
    assert_eq!(producer.commit_offset("leaving", 5), NONE);
    let request = DeleteGroupsRequest { groups_names: vec!["leaving".to_owned()] };
    assert_eq!(wire.call(&request, 2).results[0].error_code, NONE);
    let unknown = ErrorCode::GroupIdNotFound.code();
    assert_eq!(wire.call(&request, 2).results[0].error_code, unknown);
    broker.kill();
    let broker = Broker::start(folder.path());
    let mut wire = broker.connect();
    producer.wire = broker.connect();
    assert_eq!(producer.end(true), NONE);
    assert_eq!(offset(&mut wire, "leaving", true), (-1, NONE));
    assert_eq!(committed(&mut wire, 0), ["kept"]);
}

/// Goal: killed at any moment of many transactions over two partitions, the broker comes back with whole ones: what
/// was acknowledged as committed is there, what was not is there in both partitions or in none, and the producer goes
/// on with the transaction that it had open.
#[test]
fn transactions_are_whole_after_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(folder.path());
    create(&mut broker.connect(), TOPIC);
    let mut broker = Some(broker);
    let mut acknowledged = Vec::new();
    for round in 0..6 {
        let version = if round % 2 == 0 { 12 } else { 9 };
        let running = broker.take().unwrap_or_else(|| Broker::start(folder.path()));
        let mut producer = Frames::start(&running, "killed", version);
        for number in 0..20 {
            let value = format!("{round}-{number}");
            assert_eq!((producer.add(0), producer.add(1)), (NONE, NONE));
            assert_eq!((producer.write(0, &value), producer.write(1, &value)), (NONE, NONE));
            assert_eq!(producer.end(number % 3 != 2), NONE);
            if number % 3 != 2 {
                acknowledged.push(value);
            }
        }
        // Open at the kill; carried on with afterwards.
        let value = format!("{round}-open");
        assert_eq!((producer.add(0), producer.add(1)), (NONE, NONE));
        assert_eq!(producer.write(0, &value), NONE);
        running.kill();
        let running = Broker::start(folder.path());
        let mut reader = running.connect();
        assert_eq!(committed(&mut reader, 0), acknowledged);
        assert_eq!(committed(&mut reader, 1), acknowledged);
        producer.wire = running.connect();
        assert_eq!(producer.write(1, &value), NONE);
        assert_eq!(producer.end(true), NONE);
        acknowledged.push(value);
        assert_eq!(committed(&mut reader, 0), acknowledged);
        assert_eq!(committed(&mut reader, 1), acknowledged);
        broker = Some(running);
    }
}

/// Goal: killed in the middle of asking for the end, a transaction is whole: in both partitions or in none, with its
/// offset, and asking again brings it to its end.
#[test]
fn a_kill_in_the_middle_of_a_commit_tears_nothing() {
    let folder = tempfile::tempdir().unwrap();
    create(&mut Broker::start(folder.path()).connect(), TOPIC);
    let mut expected = Vec::new();
    for round in 0..8_u64 {
        let running = Broker::start(folder.path());
        let mut producer = Frames::start(&running, "middle", 12);
        let value = format!("{round}");
        assert_eq!((producer.write(0, &value), producer.write(1, &value)), (NONE, NONE));
        assert_eq!(producer.commit_offset("middle", i64::try_from(round).unwrap()), NONE);
        let request = EndTxnRequest {
            transactional_id: "middle".to_owned(),
            producer_id: producer.id,
            producer_epoch: producer.epoch,
            committed: true,
        };
        let frame = kafka_wire::frame::request(&request, 5, 1, Some("test")).unwrap();
        std::io::Write::write_all(&mut producer.wire.stream, &frame.into_bytes()).unwrap();
        pause_for(Duration::from_micros(round * 400));
        running.kill();
        let running = Broker::start(folder.path());
        let mut reader = running.connect();
        let (left, right) = (committed(&mut reader, 0), committed(&mut reader, 1));
        assert_eq!(left, right);
        let there = left.contains(&value);
        let stable = offset(&mut reader, "middle", true);
        assert_eq!(there, stable == (i64::try_from(round).unwrap(), NONE), "{stable:?}");
        producer.wire = running.connect();
        assert_eq!(producer.end(true), NONE);
        expected.push(value);
        assert_eq!(committed(&mut reader, 0), expected);
        assert_eq!(committed(&mut reader, 1), expected);
        assert_eq!(offset(&mut reader, "middle", true), (i64::try_from(round).unwrap(), NONE));
    }
}

/// Goal: a transaction that is open for longer than its timeout is aborted, and its producer is fenced.
#[test]
fn forgotten_transactions_time_out() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(folder.path());
    let mut wire = broker.connect();
    create(&mut wire, TOPIC);
    let request = InitProducerIdRequest {
        transactional_id: Some("slow".to_owned()),
        transaction_timeout_ms: 100,
        ..Default::default()
    };
    let too_long = InitProducerIdRequest { transaction_timeout_ms: 900_001, ..request.clone() };
    assert_eq!(wire.call(&too_long, 4).error_code, ErrorCode::InvalidTransactionTimeout.code());
    let started = wire.call(&request, 4);
    let (id, epoch) = (started.producer_id, started.producer_epoch);
    let mut producer =
        Frames { wire: broker.connect(), name: "slow", id, epoch, sequences: [0; 2], version: 12 };
    assert_eq!(producer.write(0, "slow"), NONE);
    wait_for("the abort", || (fetch(&mut wire, 0, 1).last_stable_offset == 2).then_some(()));
    assert_eq!(committed(&mut wire, 0), Vec::<String>::new());
    assert_eq!(producer.write(0, "late"), ErrorCode::InvalidProducerEpoch.code());
    assert_eq!(producer.end(true), ErrorCode::ProducerFenced.code());
}

/// Goal: operators see transactions and their producers, and can end what hangs in a partition.
#[test]
fn transactions_can_be_looked_at() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(folder.path());
    let mut wire = broker.connect();
    create(&mut wire, TOPIC);
    let versions = wire.call(&ApiVersionsRequest::default(), 3);
    let level = versions.finalized_features.iter().find(|feature| feature.name == "transaction.version");
    assert_eq!(level.map(|feature| feature.max_version_level), Some(2));
    assert!(versions.finalized_features_epoch >= 0);
    let mut producer = Frames::start(&broker, "seen", 12);
    assert_eq!(producer.write(0, "x"), NONE);
    let ids = vec!["seen".to_owned(), "unknown".to_owned()];
    let described = wire.call(&DescribeTransactionsRequest { transactional_ids: ids }, 0).transaction_states;
    assert_eq!(described[0].transaction_state, "Ongoing");
    assert_eq!((described[0].producer_id, described[0].topics[0].partitions.clone()), (producer.id, vec![0]));
    assert_eq!(described[1].error_code, ErrorCode::TransactionalIdNotFound.code());
    let listed = |wire: &mut Wire, pattern: &str, state: &str| {
        let request = ListTransactionsRequest {
            transactional_id_pattern: Some(pattern.to_owned()),
            state_filters: vec![state.to_owned()],
            ..Default::default()
        };
        wire.call(&request, 2)
    };
    assert_eq!(listed(&mut wire, "se.*", "Ongoing").transaction_states.len(), 1);
    assert_eq!(listed(&mut wire, "se", "Ongoing").transaction_states.len(), 0);
    assert_eq!(listed(&mut wire, "", "Empty").transaction_states.len(), 0);
    assert_eq!(listed(&mut wire, "", "Nonsense").unknown_state_filters, ["Nonsense"]);
    assert_eq!(listed(&mut wire, "(", "Empty").error_code, ErrorCode::InvalidRegularExpression.code());
    let topic = TopicRequest { name: TOPIC.to_owned(), partition_indexes: vec![0] };
    let producers = wire.call(&DescribeProducersRequest { topics: vec![topic] }, 0);
    let active = producers.topics[0].partitions[0].active_producers[0].clone();
    assert_eq!((active.producer_id, active.current_txn_start_offset), (producer.id, 0));
    let topic = WritableTxnMarkerTopic { name: TOPIC.to_owned(), partition_indexes: vec![0] };
    let marker = WritableTxnMarker {
        producer_id: active.producer_id,
        producer_epoch: i16::try_from(active.producer_epoch).unwrap(),
        coordinator_epoch: active.coordinator_epoch,
        transaction_result: false,
        topics: vec![topic],
    };
    let written = wire.call(&WriteTxnMarkersRequest { markers: vec![marker] }, 1);
    assert_eq!(written.markers[0].topics[0].partitions[0].error_code, NONE);
    assert_eq!(fetch(&mut wire, 0, 1).last_stable_offset, 2);
}

fn transactional(broker: &Broker, id: &str) -> BaseProducer {
    let mut config: ClientConfig = broker.client();
    config.set("transactional.id", id).set("linger.ms", "1");
    let producer: BaseProducer = config.create().unwrap();
    producer.init_transactions(DEADLINE).unwrap();
    producer
}

/// Goal: a real client reads, writes and commits its offsets in transactions; a reader of committed records sees each
/// of the committed ones once, over kills of the broker.
#[test]
fn a_real_client_commits_exactly_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut broker = Broker::start(folder.path());
    create(&mut broker.connect(), TOPIC);
    let mut expected = Vec::new();
    for round in 0..3 {
        let producer = transactional(&broker, "real");
        for number in 0..10 {
            producer.begin_transaction().unwrap();
            let value = format!("{round}-{number}");
            for partition in 0..2 {
                producer.send(BaseRecord::<(), _>::to(TOPIC).partition(partition).payload(&value)).unwrap();
            }
            if number % 4 == 3 {
                producer.flush(DEADLINE).unwrap();
                producer.abort_transaction(DEADLINE).unwrap();
            } else {
                producer.commit_transaction(DEADLINE).unwrap();
                expected.push(value);
            }
        }
        broker.kill();
        broker = Broker::start(folder.path());
    }
    for partition in 0..2 {
        let consumer: BaseConsumer = broker.client().set("group.id", "reader").create().unwrap();
        let mut from = TopicPartitionList::new();
        from.add_partition_offset(TOPIC, partition, Offset::Beginning).unwrap();
        consumer.assign(&from).unwrap();
        let mut seen = Vec::new();
        wait_for("all committed messages", || {
            while let Some(message) = consumer.poll(Duration::from_millis(50)) {
                seen.push(String::from_utf8(message.unwrap().payload().unwrap().to_vec()).unwrap());
            }
            (seen.len() >= expected.len()).then_some(())
        });
        assert_eq!(seen, expected);
    }
}
