//! Which permission each API asks for: exactly Kafka's, no more and no less.

use std::{collections::BTreeMap, pin::Pin, sync::Arc};

use clap::Parser as _;
use kafka_wire::{Request, frame, messages as m};
use runtime::{shutdown::Shutdown, tasks::Tasks};
use tokio::sync::Notify;

use super::dispatch;
use crate::{
    access::{Acl, Operation as Op, Pattern, Permission, Principal, ResourceKind as Kind},
    args::Args,
    broker::{Broker, Caller, Context, Protocol},
    commit::Committer,
    disk::DiskStorage,
    metrics::Metrics,
    quotas::mute::Mute,
    run,
    settings::Settings,
    topics::NewTopic,
};

/// The codes that say that somebody may not.
const REFUSALS: [i16; 4] = [29, 30, 31, 53];
const NAME: &str = "thing";

type Code = Pin<Box<dyn Future<Output = i16>>>;

/// One thing that an API does: who has `with` and one of `needs` may, nobody else.
struct Row {
    what: &'static str,
    with: &'static [(Kind, Op)],
    needs: &'static [(Kind, Op)],
    /// The error code of the answer.
    call: fn(Context) -> Code,
}

/// A row that sends a request and looks at one error code of the answer.
macro_rules! row {
    ($what:literal, [$($with:expr),*], [$($needs:expr),*], $request:expr, $version:literal, $code:expr) => {
        Row {
            what: $what,
            with: &[$($with),*],
            needs: &[$($needs),*],
            call: |context| Box::pin(async move { code(call(&context, $request, $version).await, $code) }),
        }
    };
}

mod requests;
mod transactions;

fn code<T>(answer: T, code: fn(T) -> i16) -> i16 {
    code(answer)
}

/// The answer to a request, through the same door as a client's.
async fn call<R: Request>(context: &Context, request: R, version: i16) -> R::Response {
    let sent = frame::request(&request, version, 1, Some("test")).unwrap().into_bytes();
    let answer = dispatch(context, sent.slice(4..)).unwrap().await.unwrap().unwrap();
    frame::decode_response::<R>(answer.into_bytes().slice(4..), version).unwrap().1
}

fn text() -> String {
    NAME.to_owned()
}

/// APIs about records and topics.
fn topic_rows() -> Vec<Row> {
    vec![
        row!("produce", [], [(Kind::Topic, Op::Write)], produce(), 9, |it| {
            it.responses[0].partition_responses[0].error_code
        }),
        row!("fetch", [], [(Kind::Topic, Op::Read)], fetch(), 12, |it| it.responses[0].partitions[0]
            .error_code),
        row!("list offsets", [], [(Kind::Topic, Op::Describe)], list_offsets(), 4, |it| {
            it.topics[0].partitions[0].error_code
        }),
        row!("metadata", [], [(Kind::Topic, Op::Describe)], metadata(NAME), 9, |it| it.topics[0].error_code),
        row!(
            "metadata that makes a topic",
            [(Kind::Topic, Op::Describe)],
            [(Kind::Topic, Op::Create), (Kind::Cluster, Op::Create)],
            metadata("new"),
            9,
            |it| it.topics[0].error_code
        ),
        row!("offset for leader epoch", [], [(Kind::Topic, Op::Describe)], leader_epoch(), 3, |it| {
            it.topics[0].partitions[0].error_code
        }),
        row!(
            "create topics",
            [],
            [(Kind::Topic, Op::Create), (Kind::Cluster, Op::Create)],
            create_topics(),
            5,
            |it| it.topics[0].error_code
        ),
        row!(
            "configs of a topic that is made",
            [(Kind::Cluster, Op::Create)],
            [(Kind::Topic, Op::DescribeConfigs)],
            create_topics(),
            5,
            |it| it.topics[0].topic_config_error_code
        ),
        row!("delete topics", [], [(Kind::Topic, Op::Delete)], delete_topics(), 4, |it| it.responses[0]
            .error_code),
        row!("delete records", [], [(Kind::Topic, Op::Delete)], delete_records(), 1, |it| {
            it.topics[0].partitions[0].error_code
        }),
        row!("create partitions", [], [(Kind::Topic, Op::Alter)], create_partitions(), 2, |it| {
            it.results[0].error_code
        }),
        row!(
            "describe configs of a topic",
            [],
            [(Kind::Topic, Op::DescribeConfigs)],
            describe_configs(2),
            2,
            |it| { it.results[0].error_code }
        ),
        row!("alter configs of a topic", [], [(Kind::Topic, Op::AlterConfigs)], alter_configs(), 0, |it| {
            it.responses[0].error_code
        }),
    ]
}

/// APIs about groups.
fn group_rows() -> Vec<Row> {
    vec![
        row!("find a group's coordinator", [], [(Kind::Group, Op::Describe)], find_coordinator(), 3, |it| it
            .error_code),
        row!("join", [], [(Kind::Group, Op::Read)], join(), 5, |it| it.error_code),
        row!("sync", [], [(Kind::Group, Op::Read)], sync(), 3, |it| it.error_code),
        row!("heartbeat", [], [(Kind::Group, Op::Read)], heartbeat(), 3, |it| it.error_code),
        row!("leave", [], [(Kind::Group, Op::Read)], leave(), 3, |it| it.error_code),
        row!("commit: the group", [(Kind::Topic, Op::Read)], [(Kind::Group, Op::Read)], commit(), 7, |it| {
            it.topics[0].partitions[0].error_code
        }),
        row!("commit: the topic", [(Kind::Group, Op::Read)], [(Kind::Topic, Op::Read)], commit(), 7, |it| {
            it.topics[0].partitions[0].error_code
        }),
        row!(
            "fetch offsets: the group",
            [(Kind::Topic, Op::Describe)],
            [(Kind::Group, Op::Describe)],
            offsets(),
            7,
            |it| { it.error_code }
        ),
        row!(
            "fetch offsets: the topic",
            [(Kind::Group, Op::Describe)],
            [(Kind::Topic, Op::Describe)],
            offsets(),
            7,
            |it| { it.topics[0].partitions[0].error_code }
        ),
        row!("describe groups", [], [(Kind::Group, Op::Describe)], describe_groups(), 5, |it| it.groups[0]
            .error_code),
        row!("delete groups", [], [(Kind::Group, Op::Delete)], delete_groups(), 1, |it| it.results[0]
            .error_code),
    ]
}

/// APIs about the whole.
fn cluster_rows() -> Vec<Row> {
    vec![
        row!(
            "a producer id",
            [],
            [(Kind::Cluster, Op::IdempotentWrite), (Kind::Topic, Op::Write)],
            m::InitProducerIdRequest {
                transactional_id: None,
                transaction_timeout_ms: 1,
                ..Default::default()
            },
            4,
            |it| it.error_code
        ),
        row!("describe ACLs", [], [(Kind::Cluster, Op::Describe)], describe_acls(), 2, |it| it.error_code),
        row!("create ACLs", [], [(Kind::Cluster, Op::Alter)], create_acls(), 2, |it| it.results[0]
            .error_code),
        row!("delete ACLs", [], [(Kind::Cluster, Op::Alter)], delete_acls(), 2, |it| it.filter_results[0]
            .error_code),
        row!(
            "describe configs of the broker",
            [],
            [(Kind::Cluster, Op::DescribeConfigs)],
            describe_configs(4),
            2,
            |it| { it.results[0].error_code }
        ),
        row!(
            "describe log folders",
            [],
            [(Kind::Cluster, Op::Describe)],
            m::DescribeLogDirsRequest::default(),
            4,
            |it| { it.error_code }
        ),
        row!("elect leaders", [], [(Kind::Cluster, Op::Alter)], m::ElectLeadersRequest::default(), 2, |it| {
            it.error_code
        }),
        row!(
            "reassign partitions",
            [],
            [(Kind::Cluster, Op::Alter)],
            m::AlterPartitionReassignmentsRequest::default(),
            0,
            |it| { it.error_code }
        ),
        row!(
            "list reassignments",
            [],
            [(Kind::Cluster, Op::Describe)],
            m::ListPartitionReassignmentsRequest::default(),
            0,
            |it| { it.error_code }
        ),
        row!(
            "list config resources",
            [],
            [(Kind::Cluster, Op::DescribeConfigs)],
            m::ListConfigResourcesRequest::default(),
            1,
            |it| { it.error_code }
        ),
    ]
}

/// APIs about users and quotas, and what else belongs to the cluster.
fn user_rows() -> Vec<Row> {
    vec![
        row!(
            "describe quotas",
            [],
            [(Kind::Cluster, Op::DescribeConfigs)],
            m::DescribeClientQuotasRequest::default(),
            1,
            |it| it.error_code
        ),
        row!("alter quotas", [], [(Kind::Cluster, Op::AlterConfigs)], alter_quotas(), 1, |it| it.entries[0]
            .error_code),
        row!(
            "describe the quorum",
            [],
            [(Kind::Cluster, Op::Describe)],
            m::DescribeQuorumRequest::default(),
            2,
            |it| it.error_code
        ),
        row!("describe users", [], [(Kind::Cluster, Op::Describe)], describe_users(), 0, |it| it.error_code),
        row!("alter users", [], [(Kind::Cluster, Op::Alter)], alter_users(), 0, |it| it.results[0]
            .error_code),
    ]
}

fn describe_users() -> m::DescribeUserScramCredentialsRequest {
    m::DescribeUserScramCredentialsRequest { users: None }
}

fn alter_users() -> m::AlterUserScramCredentialsRequest {
    let deletion = m::alter_user_scram_credentials::ScramCredentialDeletion { name: text(), mechanism: 1 };
    m::AlterUserScramCredentialsRequest { deletions: vec![deletion], ..Default::default() }
}

fn alter_quotas() -> m::AlterClientQuotasRequest {
    let user =
        m::alter_client_quotas::EntityData { entity_type: "user".to_owned(), entity_name: Some(text()) };
    let entry = m::alter_client_quotas::EntryData { entity: vec![user], ..Default::default() };
    m::AlterClientQuotasRequest { entries: vec![entry], validate_only: true }
}

fn produce() -> m::ProduceRequest {
    let partition = m::produce::PartitionProduceData::default();
    let topic =
        m::produce::TopicProduceData { name: text(), partition_data: vec![partition], ..Default::default() };
    m::ProduceRequest { acks: 1, topic_data: vec![topic], ..Default::default() }
}

fn fetch() -> m::FetchRequest {
    let partition = m::fetch::FetchPartition { partition_max_bytes: 1, ..Default::default() };
    let topic = m::fetch::FetchTopic { topic: text(), partitions: vec![partition], ..Default::default() };
    m::FetchRequest { topics: vec![topic], max_bytes: 1, ..Default::default() }
}

fn list_offsets() -> m::ListOffsetsRequest {
    let partitions = vec![m::list_offsets::ListOffsetsPartition { timestamp: -1, ..Default::default() }];
    m::ListOffsetsRequest {
        topics: vec![m::list_offsets::ListOffsetsTopic { name: text(), partitions }],
        ..Default::default()
    }
}

fn metadata(name: &str) -> m::MetadataRequest {
    let topic = m::metadata::MetadataRequestTopic { name: Some(name.to_owned()), ..Default::default() };
    m::MetadataRequest { topics: Some(vec![topic]), allow_auto_topic_creation: true, ..Default::default() }
}

fn leader_epoch() -> m::OffsetForLeaderEpochRequest {
    let partitions = vec![m::offset_for_leader_epoch::OffsetForLeaderPartition::default()];
    let topic = m::offset_for_leader_epoch::OffsetForLeaderTopic { topic: text(), partitions };
    m::OffsetForLeaderEpochRequest { topics: vec![topic], ..Default::default() }
}

fn create_topics() -> m::CreateTopicsRequest {
    let topic = m::create_topics::CreatableTopic {
        name: "wanted".to_owned(),
        num_partitions: 1,
        replication_factor: 1,
        ..Default::default()
    };
    m::CreateTopicsRequest { topics: vec![topic], validate_only: true, ..Default::default() }
}

fn delete_topics() -> m::DeleteTopicsRequest {
    m::DeleteTopicsRequest { topic_names: vec!["gone".to_owned()], ..Default::default() }
}

fn delete_records() -> m::DeleteRecordsRequest {
    let partitions = vec![m::delete_records::DeleteRecordsPartition::default()];
    m::DeleteRecordsRequest {
        topics: vec![m::delete_records::DeleteRecordsTopic { name: text(), partitions }],
        ..Default::default()
    }
}

fn create_partitions() -> m::CreatePartitionsRequest {
    let topic = m::create_partitions::CreatePartitionsTopic { name: text(), count: 2, ..Default::default() };
    m::CreatePartitionsRequest { topics: vec![topic], validate_only: true, ..Default::default() }
}

fn describe_configs(kind: i8) -> m::DescribeConfigsRequest {
    let name = if kind == 2 { text() } else { "0".to_owned() };
    let resource = m::describe_configs::DescribeConfigsResource {
        resource_type: kind,
        resource_name: name,
        ..Default::default()
    };
    m::DescribeConfigsRequest { resources: vec![resource], ..Default::default() }
}

fn alter_configs() -> m::IncrementalAlterConfigsRequest {
    let resource = m::incremental_alter_configs::AlterConfigsResource {
        resource_type: 2,
        resource_name: text(),
        ..Default::default()
    };
    m::IncrementalAlterConfigsRequest { resources: vec![resource], validate_only: true }
}

fn find_coordinator() -> m::FindCoordinatorRequest {
    m::FindCoordinatorRequest { key: text(), ..Default::default() }
}

fn join() -> m::JoinGroupRequest {
    m::JoinGroupRequest { group_id: text(), ..Default::default() }
}

fn sync() -> m::SyncGroupRequest {
    m::SyncGroupRequest { group_id: text(), ..Default::default() }
}

fn heartbeat() -> m::HeartbeatRequest {
    m::HeartbeatRequest { group_id: text(), ..Default::default() }
}

fn leave() -> m::LeaveGroupRequest {
    m::LeaveGroupRequest { group_id: text(), ..Default::default() }
}

fn commit() -> m::OffsetCommitRequest {
    let partition = m::offset_commit::OffsetCommitRequestPartition::default();
    let topic = m::offset_commit::OffsetCommitRequestTopic {
        name: text(),
        partitions: vec![partition],
        ..Default::default()
    };
    m::OffsetCommitRequest {
        group_id: text(),
        generation_id_or_member_epoch: -1,
        topics: vec![topic],
        ..Default::default()
    }
}

fn offsets() -> m::OffsetFetchRequest {
    let topic = m::offset_fetch::OffsetFetchRequestTopic { name: text(), partition_indexes: vec![0] };
    m::OffsetFetchRequest { group_id: text(), topics: Some(vec![topic]), ..Default::default() }
}

fn describe_groups() -> m::DescribeGroupsRequest {
    m::DescribeGroupsRequest { groups: vec![text()], ..Default::default() }
}

fn delete_groups() -> m::DeleteGroupsRequest {
    m::DeleteGroupsRequest { groups_names: vec![text()] }
}

fn describe_acls() -> m::DescribeAclsRequest {
    m::DescribeAclsRequest {
        resource_type_filter: 1,
        pattern_type_filter: 1,
        operation: 1,
        permission_type: 1,
        ..Default::default()
    }
}

fn create_acls() -> m::CreateAclsRequest {
    m::CreateAclsRequest { creations: vec![m::create_acls::AclCreation::default()] }
}

fn delete_acls() -> m::DeleteAclsRequest {
    let filter = m::delete_acls::DeleteAclsFilter {
        resource_type_filter: 2,
        resource_name_filter: Some("nothing".to_owned()),
        pattern_type_filter: 3,
        operation: 1,
        permission_type: 1,
        ..Default::default()
    };
    m::DeleteAclsRequest { filters: vec![filter] }
}

/// A broker in this process, and what must live as long.
struct Here {
    broker: Arc<Broker>,
    _commit: crate::commit::CommitThread,
    _folder: tempfile::TempDir,
}

async fn here() -> Here {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    std::fs::create_dir(&data).unwrap();
    let args = Args::parse_from(["broker", "--data", data.to_str().unwrap()]);
    let metrics = Metrics::new(&prometheus::Registry::new()).unwrap();
    let journal = crate::commit::settings(1 << 22, u64::MAX);
    let commit = Committer::start(DiskStorage::new(&data, 64), journal, metrics.clone()).unwrap();
    let tasks = Tasks::new(Shutdown::new());
    let text = "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer";
    let settings = Settings { auto_create_topics: true, ..Settings::default().read(text).unwrap() };
    let storage = DiskStorage::new(&data, 64);
    let ground =
        run::Foundation { storage, committer: commit.committer(), metrics, teller: Arc::default(), tasks };
    let (broker, _) = run::open(&args, settings, ground).await.unwrap();
    let new = NewTopic { name: text_of(NAME), partitions: 1, config: BTreeMap::new() };
    broker.topics.create(new).await.unwrap();
    Here { broker, _commit: commit, _folder: folder }
}

fn text_of(name: &str) -> String {
    name.to_owned()
}

fn context(broker: &Arc<Broker>) -> Context {
    let caller = Caller {
        principal: Principal::user("alice", true),
        host: "127.0.0.1".to_owned(),
        advertised: ("127.0.0.1".to_owned(), 9092),
        waiter: Arc::new(Notify::new()),
        protocol: Protocol::Plaintext,
        mute: Arc::new(Mute::new(std::time::Duration::from_secs(60))),
    };
    Context { broker: Arc::clone(broker), caller: Arc::new(caller), client_id: "test".into() }
}

fn grant((kind, operation): (Kind, Op)) -> Acl {
    let name = if kind == Kind::Cluster { "kafka-cluster" } else { "*" };
    Acl {
        kind,
        name: name.to_owned(),
        pattern: Pattern::Literal,
        principal: "User:alice".to_owned(),
        host: "*".to_owned(),
        operation,
        permission: Permission::Allow,
    }
}

/// What a request made is gone before the next.
async fn forget_new(broker: &Broker, context: &Context) {
    if broker.topics.by_name("new").is_some() {
        broker.access.replace([(Kind::Topic, Op::All)].map(grant));
        let topic_names = vec!["new".to_owned()];
        call(context, m::DeleteTopicsRequest { topic_names, ..Default::default() }, 4).await;
    }
}

fn all_grants() -> impl Iterator<Item = (Kind, Op)> {
    let kinds = [Kind::Topic, Kind::Group, Kind::Cluster, Kind::TransactionalId];
    kinds.into_iter().flat_map(|kind| {
        kind.operations().iter().copied().chain([Op::All]).map(move |operation| (kind, operation))
    })
}

/// Goal: for each API, each single permission (beside those that the row takes for granted) lets in exactly when
/// Kafka says that it does; with none nobody comes in.
#[tokio::test]
async fn each_api_asks_for_kafkas_permission() {
    let here = here().await;
    let context = context(&here.broker);
    for row in topic_rows()
        .into_iter()
        .chain(group_rows())
        .chain(cluster_rows())
        .chain(user_rows())
        .chain(transactions::transaction_rows())
    {
        let needed =
            |(kind, given): (Kind, Op)| row.needs.iter().any(|(k, op)| *k == kind && given.implies(*op));
        for given in std::iter::once(None).chain(all_grants().map(Some)) {
            let by_row = row.with.iter().copied();
            if given.is_some_and(|given| row.with.contains(&given)) {
                continue;
            }
            forget_new(&here.broker, &context).await;
            here.broker.access.replace(by_row.chain(given).map(grant));
            let code = (row.call)(context.clone()).await;
            let expected = given.is_some_and(needed);
            assert_eq!(!REFUSALS.contains(&code), expected, "{} with {given:?}: error {code}", row.what);
        }
    }
}

/// Goal: who asks what he may do is told what the rules allow, with what they imply; who does not ask is told nothing.
#[tokio::test]
async fn operations_are_told() {
    let here = here().await;
    let context = context(&here.broker);
    here.broker
        .access
        .replace([(Kind::Topic, Op::Read), (Kind::Cluster, Op::Alter), (Kind::Group, Op::All)].map(grant));
    let mut request = metadata(NAME);
    let told = |answer: &m::MetadataResponse| {
        (answer.topics[0].topic_authorized_operations, answer.cluster_authorized_operations)
    };
    assert_eq!(told(&call(&context, request.clone(), 9).await), (i32::MIN, i32::MIN));
    request.include_topic_authorized_operations = true;
    request.include_cluster_authorized_operations = true;
    let (read, alter, describe) = (1 << 3, 1 << 7, 1 << 8);
    assert_eq!(told(&call(&context, request, 9).await), (read | describe, alter | describe));
    let request =
        m::DescribeClusterRequest { include_cluster_authorized_operations: true, ..Default::default() };
    assert_eq!(call(&context, request, 0).await.cluster_authorized_operations, alter | describe);
    let groups = m::DescribeGroupsRequest { include_authorized_operations: true, ..describe_groups() };
    let (delete, configs) = (1 << 6, 1 << 10 | 1 << 11);
    let answer = call(&context, groups, 5).await;
    assert_eq!(answer.groups[0].authorized_operations, read | describe | delete | configs);
}
