//! APIs about transactions.

use kafka_wire::{
    messages as m,
    records::{BatchBuilder, Record},
};

use super::{Kind, NAME, Op, Row, call, code, text};

const ID: Kind = Kind::TransactionalId;

pub(super) fn transaction_rows() -> Vec<Row> {
    let mut rows = producer_rows();
    rows.extend(offset_rows());
    rows.extend(operator_rows());
    rows
}

/// What a producer asks for.
fn producer_rows() -> Vec<Row> {
    vec![
        row!("find a transaction's coordinator", [], [(ID, Op::Describe)], find_coordinator(), 3, |it| it
            .error_code),
        row!("start with a transactional id", [], [(ID, Op::Write)], start(), 4, |it| it.error_code),
        row!(
            "produce: the transactional id",
            [(Kind::Topic, Op::Write)],
            [(ID, Op::Write)],
            produce(),
            9,
            |it| { it.responses[0].partition_responses[0].error_code }
        ),
        row!(
            "add partitions: the id",
            [(Kind::Topic, Op::Write)],
            [(ID, Op::Write)],
            add_partitions(),
            3,
            |it| { it.results_by_topic_v3_and_below[0].results_by_partition[0].partition_error_code }
        ),
        row!(
            "add partitions: the topic",
            [(ID, Op::Write)],
            [(Kind::Topic, Op::Write)],
            add_partitions(),
            3,
            |it| { it.results_by_topic_v3_and_below[0].results_by_partition[0].partition_error_code }
        ),
        row!(
            "add partitions as a broker",
            [],
            [(Kind::Cluster, Op::ClusterAction)],
            m::AddPartitionsToTxnRequest::default(),
            4,
            |it| it.error_code
        ),
        row!("add offsets: the id", [(Kind::Group, Op::Read)], [(ID, Op::Write)], add_offsets(), 3, |it| it
            .error_code),
        row!(
            "add offsets: the group",
            [(ID, Op::Write)],
            [(Kind::Group, Op::Read)],
            add_offsets(),
            3,
            |it| it.error_code
        ),
        row!("end a transaction", [], [(ID, Op::Write)], end(), 5, |it| it.error_code),
    ]
}

/// What a producer asks for with the offsets of a group.
fn offset_rows() -> Vec<Row> {
    vec![
        row!(
            "commit offsets: the id",
            [(Kind::Group, Op::Read), (Kind::Topic, Op::Read)],
            [(ID, Op::Write)],
            commit(),
            3,
            |it| it.topics[0].partitions[0].error_code
        ),
        row!(
            "commit offsets: the group",
            [(ID, Op::Write), (Kind::Topic, Op::Read)],
            [(Kind::Group, Op::Read)],
            commit(),
            3,
            |it| it.topics[0].partitions[0].error_code
        ),
        row!(
            "commit offsets: the topic",
            [(ID, Op::Write), (Kind::Group, Op::Read)],
            [(Kind::Topic, Op::Read)],
            commit(),
            3,
            |it| it.topics[0].partitions[0].error_code
        ),
    ]
}

/// What an operator asks for.
fn operator_rows() -> Vec<Row> {
    vec![
        row!("describe transactions", [], [(ID, Op::Describe)], ids_of(NAME), 0, |it| {
            it.transaction_states[0].error_code
        }),
        row!("describe producers", [], [(Kind::Topic, Op::Read)], producers(), 0, |it| {
            it.topics[0].partitions[0].error_code
        }),
        row!(
            "write markers",
            [],
            [(Kind::Cluster, Op::ClusterAction), (Kind::Cluster, Op::Alter)],
            markers(),
            1,
            |it| it.markers[0].topics[0].partitions[0].error_code
        ),
    ]
}

fn find_coordinator() -> m::FindCoordinatorRequest {
    m::FindCoordinatorRequest { key: text(), key_type: 1, ..Default::default() }
}

fn start() -> m::InitProducerIdRequest {
    m::InitProducerIdRequest {
        transactional_id: Some(text()),
        transaction_timeout_ms: 60_000,
        ..Default::default()
    }
}

fn produce() -> m::ProduceRequest {
    let builder = BatchBuilder { producer_id: 5, producer_epoch: 0, base_sequence: 0, ..Default::default() };
    let records = BatchBuilder { transactional: true, ..builder }.build(&[Record::default()]).unwrap();
    let partition = m::produce::PartitionProduceData { index: 0, records: Some(records) };
    let topic =
        m::produce::TopicProduceData { name: text(), partition_data: vec![partition], ..Default::default() };
    m::ProduceRequest {
        transactional_id: Some(text()),
        acks: 1,
        topic_data: vec![topic],
        ..Default::default()
    }
}

fn add_partitions() -> m::AddPartitionsToTxnRequest {
    let topic = m::add_partitions_to_txn::AddPartitionsToTxnTopic { name: text(), partitions: vec![0] };
    m::AddPartitionsToTxnRequest {
        v3_and_below_transactional_id: text(),
        v3_and_below_topics: vec![topic],
        ..Default::default()
    }
}

fn add_offsets() -> m::AddOffsetsToTxnRequest {
    m::AddOffsetsToTxnRequest { transactional_id: text(), group_id: text(), ..Default::default() }
}

fn end() -> m::EndTxnRequest {
    m::EndTxnRequest { transactional_id: text(), ..Default::default() }
}

fn commit() -> m::TxnOffsetCommitRequest {
    let partition = m::txn_offset_commit::TxnOffsetCommitRequestPartition::default();
    let topic =
        m::txn_offset_commit::TxnOffsetCommitRequestTopic { name: text(), partitions: vec![partition] };
    m::TxnOffsetCommitRequest {
        transactional_id: text(),
        group_id: text(),
        topics: vec![topic],
        ..Default::default()
    }
}

fn ids_of(name: &str) -> m::DescribeTransactionsRequest {
    m::DescribeTransactionsRequest { transactional_ids: vec![name.to_owned()] }
}

fn producers() -> m::DescribeProducersRequest {
    let topic = m::describe_producers::TopicRequest { name: text(), partition_indexes: vec![0] };
    m::DescribeProducersRequest { topics: vec![topic] }
}

fn markers() -> m::WriteTxnMarkersRequest {
    let topic = m::write_txn_markers::WritableTxnMarkerTopic { name: text(), partition_indexes: vec![0] };
    let marker =
        m::write_txn_markers::WritableTxnMarker { producer_id: 5, topics: vec![topic], ..Default::default() };
    m::WriteTxnMarkersRequest { markers: vec![marker] }
}
