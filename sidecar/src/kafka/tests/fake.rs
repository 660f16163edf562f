//! Brokers that live in the test: TLS, certificates of a test authority, answers by a function.

use crate::kafka::{Context, KafkaDoor, Options};
use crate::metrics::Metrics;
use crate::view::{BrokerView, View};
use bytes::{Bytes, BytesMut};
use kafka_wire::messages::metadata::MetadataResponseBroker;
use kafka_wire::messages::{
    ApiVersionsRequest, FetchRequest, FindCoordinatorRequest, MetadataRequest, MetadataResponse,
    ProduceRequest, ProduceResponse,
};
use kafka_wire::{ApiKey, Message as _, Reader, Request, RequestHeader, frame};
use runtime::shutdown::Shutdown;
use runtime::tasks::Tasks;
use runtime::tls::{ClientAuth, Credentials, Material};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use testkit::certificates::{Pem, TestAuthority};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};

pub(super) const BROKER_NAME: &str = "orders-broker.infra.svc";

fn credentials(pem: &Pem) -> Credentials {
    Credentials::new(Material::from_pem(&pem.chain, &pem.key, &pem.bundle).unwrap())
}

/// A certificate authority, the tasks of the test and the nodes of its cluster.
pub(super) struct World {
    authority: TestAuthority,
    /// Of the door.
    pub(super) tasks: Tasks,
    brokers: Tasks,
    pub(super) metrics: Metrics,
    nodes: Arc<Mutex<Vec<(i32, SocketAddr)>>>,
    /// A permit for each request that is never answered.
    pub(super) heard: Arc<Semaphore>,
}

impl World {
    pub(super) fn new() -> Self {
        Self {
            authority: TestAuthority::new(),
            tasks: Tasks::new(Shutdown::new()),
            brokers: Tasks::new(Shutdown::new()),
            metrics: Metrics::new().unwrap(),
            nodes: Arc::default(),
            heard: Arc::new(Semaphore::new(0)),
        }
    }

    /// Starts a node that carries this name in its certificate.
    pub(super) async fn node(&self, id: i32, name: &str) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        self.nodes.lock().unwrap().push((id, address));
        let server = credentials(&self.authority.server(&[name]));
        let (tasks, nodes) = (self.brokers.clone(), Arc::clone(&self.nodes));
        let heard = Arc::clone(&self.heard);
        self.brokers.spawn_until_shutdown("fake broker", async move {
            while let Ok((socket, _)) = listener.accept().await {
                let config = server.server_config(ClientAuth::Required, &[]).unwrap();
                let (nodes, heard) = (Arc::clone(&nodes), Arc::clone(&heard));
                drop(tasks.spawn_until_shutdown("fake connection", async move {
                    if let Ok(stream) = tokio_rustls::TlsAcceptor::from(config).accept(socket).await {
                        converse(stream, id, &nodes, &heard).await;
                    }
                }));
            }
        });
        address
    }

    /// Opens the door with this view.
    pub(super) async fn door(&self, view: View) -> (SocketAddr, watch::Sender<Arc<View>>) {
        let (sender, view) = watch::channel(Arc::new(view));
        let options = Options::new("127.0.0.1:0".parse().unwrap());
        let options = Options { drain_deadline: Duration::from_secs(1), ..options };
        let door = KafkaDoor::bind(options).await.unwrap();
        let address = door.address();
        let context = Context {
            view,
            credentials: credentials(&self.authority.account("shop", "checkout")),
            tasks: self.tasks.clone(),
            metrics: self.metrics.clone(),
        };
        drop(self.tasks.spawn("door", runtime::tasks::OnError::Log, async move {
            door.serve(context).await;
            Ok::<_, std::convert::Infallible>(())
        }));
        (address, sender)
    }
}

/// A view whose Broker is at these addresses.
pub(super) fn view(bootstrap: &[SocketAddr]) -> View {
    let broker = BrokerView {
        namespace: "infra".to_owned(),
        name: "orders".to_owned(),
        bootstrap: bootstrap.iter().map(ToString::to_string).collect(),
        server_names: vec![BROKER_NAME.to_owned()],
    };
    View { version: 1, broker: Some(broker), ..View::default() }
}

/// Answers in order: Metadata with the nodes, Fetch with `max_bytes` bytes in the error-free partition,
/// FindCoordinator with itself, ListGroups never, everything else with its default.
async fn converse(
    mut stream: tokio_rustls::server::TlsStream<TcpStream>,
    id: i32,
    nodes: &Mutex<Vec<(i32, SocketAddr)>>,
    heard: &Semaphore,
) {
    let mut buffer = BytesMut::new();
    loop {
        while let Some(request) = frame::split(&mut buffer, 100 << 20).unwrap() {
            let answer = answer(request, id, &nodes.lock().unwrap());
            let Some(answer) = answer else {
                heard.add_permits(1);
                continue;
            };
            // In pieces, so that frames never arrive whole.
            for piece in answer.chunks(10_000) {
                if stream.write_all(piece).await.is_err() || stream.flush().await.is_err() {
                    return;
                }
            }
        }
        if !matches!(stream.read_buf(&mut buffer).await, Ok(1..)) {
            return;
        }
    }
}

fn answer(request: Bytes, id: i32, nodes: &[(i32, SocketAddr)]) -> Option<Bytes> {
    let mut reader = Reader::new(request);
    let header = RequestHeader::decode(&mut reader).unwrap();
    let version = header.api_version;
    match ApiKey::from_code(header.api_key).unwrap() {
        ApiKey::ApiVersions => with::<ApiVersionsRequest>(&header, Default::default()),
        ApiKey::Metadata => {
            let brokers = nodes.iter().map(|(node_id, address)| MetadataResponseBroker {
                node_id: *node_id,
                host: address.ip().to_string(),
                port: address.port().into(),
                rack: None,
            });
            // Who answers, so that a test can tell the nodes apart.
            let cluster_id = Some(format!("asked node {id}"));
            let brokers = brokers.collect();
            with::<MetadataRequest>(&header, MetadataResponse { brokers, cluster_id, ..Default::default() })
        }
        ApiKey::Fetch => {
            use kafka_wire::messages::fetch::{FetchableTopicResponse, PartitionData};
            let asked = FetchRequest::decode(&mut reader, version).unwrap();
            let records = Bytes::from(vec![b'f'; usize::try_from(asked.max_bytes).unwrap()]);
            let partitions = vec![PartitionData { records: Some(records), ..Default::default() }];
            let mut body = <FetchRequest as Request>::Response::default();
            body.responses.push(FetchableTopicResponse { partitions, ..Default::default() });
            with::<FetchRequest>(&header, body)
        }
        ApiKey::Produce => {
            let asked = ProduceRequest::decode(&mut reader, version).unwrap();
            // The throttle time echoes how much arrived.
            let records = asked.topic_data.iter().flat_map(|topic| &topic.partition_data);
            let bytes: usize = records.filter_map(|data| data.records.as_ref()).map(Bytes::len).sum();
            let body =
                ProduceResponse { throttle_time_ms: i32::try_from(bytes).unwrap(), ..Default::default() };
            if asked.acks == 0 { None } else { with::<ProduceRequest>(&header, body) }
        }
        ApiKey::FindCoordinator => with::<FindCoordinatorRequest>(&header, Default::default()),
        ApiKey::ListGroups => None,
        other => panic!("the fake broker has no answer to {other}"),
    }
}

fn with<R: Request>(header: &RequestHeader, body: R::Response) -> Option<Bytes> {
    let encoded = frame::response::<R>(&body, header.api_version, header.correlation_id);
    Some(encoded.unwrap().into_bytes())
}

/// A Kafka client of few words.
pub(super) struct Client {
    pub(super) stream: TcpStream,
    buffer: BytesMut,
}

impl Client {
    pub(super) async fn connect(address: SocketAddr) -> Self {
        Self { stream: TcpStream::connect(address).await.unwrap(), buffer: BytesMut::new() }
    }

    pub(super) async fn send<R: Request>(&mut self, body: &R, version: i16, correlation_id: i32) {
        let bytes = frame::request(body, version, correlation_id, Some("test")).unwrap().into_bytes();
        self.stream.write_all(&bytes).await.unwrap();
    }

    /// The next answer; `None` when the door closed.
    pub(super) async fn receive<R: Request>(&mut self, version: i16) -> Option<(i32, R::Response)> {
        loop {
            if let Some(answer) = frame::split(&mut self.buffer, 100 << 20).unwrap() {
                let (header, body) = frame::decode_response::<R>(answer, version).unwrap();
                return Some((header.correlation_id, body));
            }
            if !matches!(self.stream.read_buf(&mut self.buffer).await, Ok(1..)) {
                return None;
            }
        }
    }
}
