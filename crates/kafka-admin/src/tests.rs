//! The client against a broker that lives in the test: negotiation, refusals, deadlines, hostile answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use kafka_wire::messages::alter_partition_reassignments::{
    ReassignablePartition, ReassignablePartitionResponse, ReassignableTopicResponse,
};
use kafka_wire::messages::api_versions::ApiVersion;
use kafka_wire::messages::create_acls::AclCreationResult;
use kafka_wire::messages::create_topics::CreatableTopicResult;
use kafka_wire::messages::describe_configs::{
    DescribeConfigsResource, DescribeConfigsResourceResult, DescribeConfigsResult,
};
use kafka_wire::messages::describe_quorum::{DescribedPartition, DescribedTopic, ReplicaState};
use kafka_wire::messages::list_partition_reassignments::{
    OngoingPartitionReassignment, OngoingTopicReassignment,
};
use kafka_wire::messages::metadata::{MetadataResponsePartition, MetadataResponseTopic};
use kafka_wire::messages::{
    AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse, ApiVersionsRequest,
    ApiVersionsResponse, CreateAclsRequest, CreateAclsResponse, CreateTopicsRequest, CreateTopicsResponse,
    DescribeConfigsRequest, DescribeConfigsResponse, DescribeQuorumRequest, DescribeQuorumResponse,
    ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse, MetadataRequest, MetadataResponse,
};
use kafka_wire::{ApiKey, ErrorCode, Message, Reader, Request, RequestHeader, frame};
use runtime::shutdown::Shutdown;
use runtime::tasks::Tasks;
use runtime::tls::{ClientAuth, Credentials, Material};
use testkit::certificates::{Pem, TestAuthority};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::acls::{Acl, Operation, Pattern, ResourceKind};
use crate::configs::ConfigResource;
use crate::quorum::{Quorum, Voter};
use crate::reassignments::{Ongoing, Reassignment};
use crate::topics::NewTopic;
use crate::{Admin, AdminError, Security, Settings};

/// What a request is answered with; `None` closes the connection.
type Answer = dyn Fn(&RequestHeader, Reader) -> Option<Bytes> + Send + Sync;

struct FakeBroker {
    address: String,
    connections: Arc<AtomicUsize>,
    _tasks: Tasks,
}

impl FakeBroker {
    async fn start(credentials: Option<Credentials>, answer: Arc<Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let tasks = Tasks::new(Shutdown::new());
        let connections = Arc::new(AtomicUsize::new(0));
        let (spawner, count) = (tasks.clone(), Arc::clone(&connections));
        tasks.spawn_until_shutdown("fake broker", async move {
            while let Ok((socket, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                let (answer, credentials) = (Arc::clone(&answer), credentials.clone());
                spawner.spawn_until_shutdown("fake connection", async move {
                    match credentials {
                        Some(credentials) => {
                            let config = credentials.server_config(ClientAuth::Required, &[]).unwrap();
                            if let Ok(tls) = tokio_rustls::TlsAcceptor::from(config).accept(socket).await {
                                converse(tls, &answer).await;
                            }
                        }
                        None => converse(socket, &answer).await,
                    }
                });
            }
        });
        Self { address, connections, _tasks: tasks }
    }

    async fn plain(answer: impl Fn(&RequestHeader, Reader) -> Option<Bytes> + Send + Sync + 'static) -> Self {
        Self::start(None, Arc::new(answer)).await
    }

    fn admin(&self, deadline: Duration) -> Admin {
        admin(vec![self.address.clone()], Security::Plain, deadline)
    }
}

fn admin(bootstrap: Vec<String>, security: Security, deadline: Duration) -> Admin {
    Admin::new(Settings { deadline, ..Settings::new(bootstrap, security, "test") })
}

async fn converse(mut stream: impl AsyncRead + AsyncWrite + Unpin, answer: &Arc<Answer>) {
    let mut buffer = BytesMut::new();
    loop {
        while let Ok(Some(request)) = frame::split(&mut buffer, 1 << 20) {
            let mut reader = Reader::new(request);
            let header = RequestHeader::decode(&mut reader).unwrap();
            let Some(bytes) = answer(&header, reader) else { return };
            stream.write_all(&bytes).await.unwrap();
            stream.flush().await.unwrap();
        }
        if !matches!(stream.read_buf(&mut buffer).await, Ok(1..)) {
            return;
        }
    }
}

fn answer<R: Request>(header: &RequestHeader, body: &R::Response) -> Option<Bytes> {
    Some(frame::response::<R>(body, header.api_version, header.correlation_id).unwrap().into_bytes())
}

/// Answers ApiVersions like a broker that knows versions up to 3, and offers `offered`.
fn versions(header: &RequestHeader, offered: &[(ApiKey, i16, i16)]) -> Option<Bytes> {
    let api_keys = offered.iter().map(|(api, first, last)| ApiVersion {
        api_key: api.code(),
        min_version: *first,
        max_version: *last,
    });
    let mut body = ApiVersionsResponse { api_keys: api_keys.collect(), ..Default::default() };
    let mut header = header.clone();
    if header.api_version > 3 {
        header.api_version = 0;
        body.error_code = ErrorCode::UnsupportedVersion.code();
    }
    answer::<ApiVersionsRequest>(&header, &body)
}

const GENEROUS: Duration = Duration::from_secs(60);

/// Goal: a broker that does not know our ApiVersions is asked again in the oldest form, and one connection
/// serves all calls.
#[tokio::test]
async fn versions_are_negotiated_once() {
    let broker = FakeBroker::plain(|header, mut reader| match ApiKey::from_code(header.api_key)? {
        ApiKey::ApiVersions => versions(header, &[(ApiKey::Metadata, 0, 12)]),
        _ => {
            assert_eq!(header.api_version, 12);
            let asked = MetadataRequest::decode(&mut reader, 12).unwrap();
            assert!(!asked.allow_auto_topic_creation);
            let names = asked.topics.unwrap_or_default().into_iter().filter_map(|topic| topic.name);
            let topics = names.map(|name| MetadataResponseTopic {
                error_code: if name == "gone" { 3 } else { 0 },
                name: Some(name),
                topic_id: uuid::Uuid::from_u128(7),
                partitions: vec![MetadataResponsePartition {
                    replica_nodes: vec![1, 2],
                    isr_nodes: vec![1],
                    ..Default::default()
                }],
                ..Default::default()
            });
            let topics = topics.collect();
            answer::<MetadataRequest>(header, &MetadataResponse { topics, ..Default::default() })
        }
    })
    .await;
    let admin = broker.admin(GENEROUS);
    let topic = admin.describe_topic("orders").await.unwrap().expect("exists");
    assert_eq!(
        (topic.id, topic.replicas(), topic.under_replicated()),
        (Some(uuid::Uuid::from_u128(7)), 2, 1)
    );
    assert_eq!(admin.describe_topic("gone").await.unwrap(), None);
    assert_eq!(broker.connections.load(Ordering::SeqCst), 1);
}

/// Goal: the controllers are described with who leads and how far each is; what a broker does not know is none.
#[tokio::test]
async fn the_quorum_is_described() {
    let broker = FakeBroker::plain(|header, mut reader| match ApiKey::from_code(header.api_key)? {
        ApiKey::ApiVersions => versions(header, &[(ApiKey::DescribeQuorum, 0, 2)]),
        _ => {
            let asked = DescribeQuorumRequest::decode(&mut reader, header.api_version).unwrap();
            assert_eq!(asked.topics[0].topic_name, "__cluster_metadata");
            let voter = |replica_id, last_caught_up_timestamp| ReplicaState {
                replica_id,
                last_caught_up_timestamp,
                ..Default::default()
            };
            let partition = DescribedPartition {
                leader_id: 1,
                current_voters: vec![voter(2, -1), voter(1, 7000), voter(0, 6500)],
                ..Default::default()
            };
            let topic = DescribedTopic { partitions: vec![partition], ..Default::default() };
            let body = DescribeQuorumResponse { topics: vec![topic], ..Default::default() };
            answer::<DescribeQuorumRequest>(header, &body)
        }
    })
    .await;
    let quorum = broker.admin(GENEROUS).describe_quorum().await.unwrap();
    let voter = |id, caught_up_ms| Voter { id, caught_up_ms };
    let voters = vec![voter(0, Some(6500)), voter(1, Some(7000)), voter(2, None)];
    assert_eq!(quorum, Quorum { leader: Some(1), voters });
}

/// Goal: each partition is taken or refused by itself, in the order asked for; what is on its way is listed.
#[tokio::test]
async fn copies_are_moved() {
    let broker = FakeBroker::plain(|header, mut reader| match ApiKey::from_code(header.api_key)? {
        ApiKey::ApiVersions => {
            let offered =
                [(ApiKey::AlterPartitionReassignments, 0, 1), (ApiKey::ListPartitionReassignments, 0, 0)];
            versions(header, &offered)
        }
        ApiKey::AlterPartitionReassignments => {
            let asked = AlterPartitionReassignmentsRequest::decode(&mut reader, header.api_version).unwrap();
            let responses = asked.topics.into_iter().map(|topic| {
                let result = |partition: ReassignablePartition| ReassignablePartitionResponse {
                    partition_index: partition.partition_index,
                    error_code: if partition.replicas == Some(vec![9]) { 39 } else { 0 },
                    error_message: None,
                };
                let partitions = topic.partitions.into_iter().map(result).collect();
                ReassignableTopicResponse { name: topic.name, partitions }
            });
            let body =
                AlterPartitionReassignmentsResponse { responses: responses.collect(), ..Default::default() };
            answer::<AlterPartitionReassignmentsRequest>(header, &body)
        }
        _ => {
            let partition = OngoingPartitionReassignment {
                partition_index: 3,
                replicas: vec![0, 1, 2],
                adding_replicas: vec![2],
                removing_replicas: vec![0],
            };
            let topics = vec![OngoingTopicReassignment { name: "a".to_owned(), partitions: vec![partition] }];
            let body = ListPartitionReassignmentsResponse { topics, ..Default::default() };
            answer::<ListPartitionReassignmentsRequest>(header, &body)
        }
    })
    .await;
    let admin = broker.admin(GENEROUS);
    let to = |topic: &str, partition, replicas: &[i32]| Reassignment {
        topic: topic.to_owned(),
        partition,
        replicas: Some(replicas.to_vec()),
    };
    let results = admin.reassign(&[to("b", 0, &[9]), to("a", 1, &[0]), to("b", 1, &[1])]).await.unwrap();
    assert_eq!(results.iter().map(Result::is_ok).collect::<Vec<_>>(), [false, true, true]);
    assert!(results[0].as_ref().unwrap_err().to_string().contains("move the copies of b-0"));
    let ongoing = admin.list_reassignments().await.unwrap();
    let expected = Ongoing { topic: "a".to_owned(), partition: 3, adding: vec![2], removing: vec![0] };
    assert_eq!(ongoing, [expected]);
}

/// Goal: settings of many come in the order asked for, whatever the broker's order, and one that is refused takes none along.
#[tokio::test]
async fn settings_of_many_come_in_order() {
    let broker = FakeBroker::plain(|header, mut reader| match ApiKey::from_code(header.api_key)? {
        ApiKey::ApiVersions => versions(header, &[(ApiKey::DescribeConfigs, 1, 4)]),
        _ => {
            let asked = DescribeConfigsRequest::decode(&mut reader, header.api_version).unwrap();
            let result = |resource: DescribeConfigsResource| DescribeConfigsResult {
                error_code: if resource.resource_name == "gone" { 3 } else { 0 },
                configs: vec![DescribeConfigsResourceResult {
                    name: resource.configuration_keys.unwrap_or_default().join(","),
                    value: Some(resource.resource_name.clone()),
                    ..Default::default()
                }],
                resource_type: resource.resource_type,
                resource_name: resource.resource_name,
                ..Default::default()
            };
            let results = asked.resources.into_iter().rev().map(result).collect();
            answer::<DescribeConfigsRequest>(
                header,
                &DescribeConfigsResponse { results, ..Default::default() },
            )
        }
    })
    .await;
    let topics = ["a", "gone", "b"].map(|name| ConfigResource::Topic(name.to_owned()));
    let names = Some(vec!["min.insync.replicas".to_owned()]);
    let described = broker.admin(GENEROUS).describe_configs(&topics, names).await.unwrap();
    let values: Vec<Option<String>> = described
        .iter()
        .map(|settings| {
            let entry = settings.as_ref().ok()?.first()?;
            assert_eq!(entry.name, "min.insync.replicas");
            entry.value.clone()
        })
        .collect();
    assert_eq!(values, [Some("a".to_owned()), None, Some("b".to_owned())]);
    let gone = described[1].as_ref().unwrap_err();
    assert_eq!(gone.code(), Some(ErrorCode::UnknownTopicOrPartition));
}

/// Goal: a refusal carries Kafka's code, its name, the broker's words and whether to try again.
#[tokio::test]
async fn refusals_are_typed() {
    let broker = FakeBroker::plain(|header, mut reader| match ApiKey::from_code(header.api_key)? {
        ApiKey::ApiVersions => versions(header, &[(ApiKey::CreateTopics, 2, 5), (ApiKey::CreateAcls, 1, 3)]),
        ApiKey::CreateAcls => {
            let results =
                vec![AclCreationResult::default(), AclCreationResult { error_code: 54, error_message: None }];
            answer::<CreateAclsRequest>(header, &CreateAclsResponse { results, ..Default::default() })
        }
        _ => {
            let asked = CreateTopicsRequest::decode(&mut reader, header.api_version).unwrap();
            let results = asked.topics.into_iter().map(|topic| CreatableTopicResult {
                error_code: if topic.name == "busy" { 7 } else { 36 },
                error_message: Some("said the broker".to_owned()),
                name: topic.name,
                ..Default::default()
            });
            let topics = results.collect();
            answer::<CreateTopicsRequest>(header, &CreateTopicsResponse { topics, ..Default::default() })
        }
    })
    .await;
    let admin = broker.admin(GENEROUS);
    let new = |name: &str| NewTopic {
        name: name.to_owned(),
        partitions: 1,
        replicas: None,
        config: [("retention.ms".to_owned(), "1".to_owned())].into(),
    };
    let results = admin.create_topics(vec![new("orders"), new("busy")]).await.unwrap();
    let exists = results[0].as_ref().unwrap_err();
    assert_eq!(exists.code(), Some(ErrorCode::TopicAlreadyExists));
    assert!(!exists.is_retriable());
    assert_eq!(
        exists.to_string(),
        "broker refused to create topic orders: TopicAlreadyExists (36): said the broker"
    );
    assert!(results[1].as_ref().unwrap_err().is_retriable());

    let acl = Acl {
        resource: ResourceKind::Topic,
        name: "orders".to_owned(),
        pattern: Pattern::Literal,
        principal: "User:shop/checkout".to_owned(),
        operation: Operation::Write,
    };
    let error = admin.create_acls(&[acl.clone(), acl]).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::SecurityDisabled));
    let error = admin.grow_topic("orders", 3).await.unwrap_err();
    assert!(matches!(error, AdminError::Unsupported { theirs: None, .. }), "{error}");
}

/// Goal: a broker that never answers costs the deadline, and the next call starts a new connection.
#[tokio::test]
async fn deadlines_hold_and_broken_connections_are_replaced() {
    let calls = AtomicUsize::new(0);
    let broker = FakeBroker::plain(move |header, _| match ApiKey::from_code(header.api_key)? {
        ApiKey::ApiVersions => versions(header, &[(ApiKey::Metadata, 0, 12)]),
        _ => match calls.fetch_add(1, Ordering::SeqCst) {
            0 => Some(Bytes::new()),
            1 => None,
            _ => answer::<MetadataRequest>(
                header,
                &MetadataResponse { controller_id: 4, ..Default::default() },
            ),
        },
    })
    .await;
    let admin = broker.admin(Duration::from_secs(2));
    let error = admin.cluster().await.unwrap_err();
    assert!(matches!(error, AdminError::Deadline { .. }) && error.is_retriable(), "{error}");
    let error = admin.cluster().await.unwrap_err();
    assert!(matches!(error, AdminError::Broken { .. }) && error.is_retriable(), "{error}");
    assert_eq!(admin.cluster().await.unwrap().controller, Some(4));
    assert_eq!(broker.connections.load(Ordering::SeqCst), 3);
}

/// Goal: an answer that announces too much, or answers something else, is refused.
#[tokio::test]
async fn hostile_answers_are_refused() {
    let broker = FakeBroker::plain(|_, _| Some(Bytes::from_static(&[0x7f, 0xff, 0xff, 0xff]))).await;
    let error = broker.admin(GENEROUS).cluster().await.unwrap_err();
    assert!(matches!(error, AdminError::Broken { .. }), "{error}");
    let broker = FakeBroker::plain(|_, _| Some(Bytes::from_static(&[0, 0, 0, 4, 0, 0, 0, 99]))).await;
    let error = broker.admin(GENEROUS).cluster().await.unwrap_err();
    assert!(matches!(error, AdminError::Protocol { .. }), "{error}");
}

fn credentials(pem: &Pem) -> Credentials {
    Credentials::new(Material::from_pem(&pem.chain, &pem.key, &pem.bundle).unwrap())
}

/// Goal: over TLS both sides prove themselves, a dead bootstrap address is passed over, and a broker with
/// another name is refused.
#[tokio::test]
async fn tls_proves_both_sides() {
    let authority = TestAuthority::new();
    let server = credentials(&authority.server(&["orders-broker.infra.svc"]));
    let broker = FakeBroker::start(
        Some(server),
        Arc::new(|header: &RequestHeader, _| match ApiKey::from_code(header.api_key)? {
            ApiKey::ApiVersions => versions(header, &[(ApiKey::Metadata, 0, 12)]),
            _ => answer::<MetadataRequest>(header, &MetadataResponse::default()),
        }),
    )
    .await;
    let ours = credentials(&authority.account("pinnace-system", "pinnace-operator"));
    let security =
        |name: &str| Security::Tls { credentials: ours.clone(), server_names: vec![name.to_owned()] };
    let bootstrap = vec!["127.0.0.1:1".to_owned(), broker.address.clone()];
    let right = admin(bootstrap.clone(), security("orders-broker.infra.svc"), GENEROUS);
    assert!(right.cluster().await.is_ok());
    let wrong = admin(bootstrap, security("other-broker.infra.svc"), GENEROUS);
    let error = wrong.cluster().await.unwrap_err();
    assert!(matches!(error, AdminError::Connect { .. }), "{error}");
}
