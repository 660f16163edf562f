//! A control plane that knows one Channel, `shop/prices`, in which everybody of `shop` may do everything.

use proto::control::control_server::{Control, ControlServer};
use proto::control::{CertifyRequest, CertifyResponse, ChannelView, Peer, Report, View};
use runtime::shutdown::Shutdown;
use runtime::tasks::{OnError, Tasks};
use runtime::tls::{ClientAuth, Credentials, Identity, Material};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use testkit::certificates::TestAuthority;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_rustls::server::TlsStream;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

/// Generous: the machine may be busy.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

#[derive(Default)]
struct State {
    /// By sidecar: its identity and its last report.
    reports: BTreeMap<String, (String, Report)>,
    version: u64,
}

#[derive(Clone)]
struct Service {
    authority: Arc<TestAuthority>,
    state: Arc<Mutex<State>>,
    changed: watch::Sender<u64>,
    tasks: Tasks,
}

pub(crate) struct Fake {
    service: Service,
    pub(crate) address: SocketAddr,
    server: Tasks,
}

/// What TLS found out about a caller.
#[derive(Clone)]
struct Caller(Option<Identity>);

struct Stream(TlsStream<tokio::net::TcpStream>);

impl tonic::transport::server::Connected for Stream {
    type ConnectInfo = Caller;
    fn connect_info(&self) -> Caller {
        let certificates = self.0.get_ref().1.peer_certificates().unwrap_or_default();
        Caller(certificates.first().and_then(|leaf| Identity::from_certificate(leaf).ok()))
    }
}

impl tokio::io::AsyncRead for Stream {
    fn poll_read(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
        buffer: &mut tokio::io::ReadBuf<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::pin::Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl tokio::io::AsyncWrite for Stream {
    fn poll_write(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
        bytes: &[u8],
    ) -> std::task::Poll<std::io::Result<usize>> {
        std::pin::Pin::new(&mut self.0).poll_write(context, bytes)
    }
    fn poll_flush(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::pin::Pin::new(&mut self.0).poll_flush(context)
    }
    fn poll_shutdown(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::pin::Pin::new(&mut self.0).poll_shutdown(context)
    }
}

impl Fake {
    pub(crate) async fn start() -> Self {
        runtime::tls::install_provider();
        let service = Service {
            authority: Arc::new(TestAuthority::new()),
            state: Arc::default(),
            changed: watch::Sender::new(0),
            tasks: Tasks::new(Shutdown::new()),
        };
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let (server, address) = serve(service.clone(), any).await;
        Self { service, address, server }
    }

    /// Goes away, and forgets what it was told.
    pub(crate) async fn stop(&mut self) {
        self.server.shutdown().begin();
        self.service.tasks.shutdown().begin();
        assert_eq!(self.server.drain(DEADLINE).await, 0);
        self.service.state.lock().unwrap().reports.clear();
    }

    /// Comes back at the same address.
    pub(crate) async fn start_again(&mut self) {
        self.service.tasks = Tasks::new(Shutdown::new());
        let (server, _) = serve(self.service.clone(), self.address).await;
        self.server = server;
    }

    pub(crate) fn bundle(&self) -> String {
        self.service.authority.bundle()
    }

    pub(crate) async fn wait_for(&self, what: &str, is: impl Fn(&BTreeMap<String, Report>) -> bool) {
        let wait = async {
            loop {
                let reports: BTreeMap<String, Report> = {
                    let state = self.service.state.lock().unwrap();
                    state.reports.iter().map(|(name, (_, report))| (name.clone(), report.clone())).collect()
                };
                if is(&reports) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        assert!(tokio::time::timeout(DEADLINE, wait).await.is_ok(), "{what}");
    }
}

async fn serve(service: Service, address: SocketAddr) -> (Tasks, SocketAddr) {
    let listener = TcpListener::bind(address).await.unwrap();
    let address = listener.local_addr().unwrap();
    let pem = service.authority.server(&["operator.test"]);
    let material = Material::from_pem(&pem.chain, &pem.key, &pem.bundle).unwrap();
    let config = Credentials::new(material).server_config(ClientAuth::Optional, &[b"h2"]).unwrap();
    let tasks = Tasks::new(Shutdown::new());
    let (sender, receiver) = mpsc::channel(8);
    let acceptor = tokio_rustls::TlsAcceptor::from(config);
    drop(tasks.spawn_until_shutdown("accept", async move {
        while let Ok((stream, _)) = listener.accept().await {
            if let Ok(stream) = acceptor.accept(stream).await
                && sender.send(Ok::<_, std::io::Error>(Stream(stream))).await.is_err()
            {
                return;
            }
        }
    }));
    let router = tonic::transport::Server::builder().add_service(ControlServer::new(service));
    drop(tasks.spawn_until_shutdown("serve", async move {
        router.serve_with_incoming(ReceiverStream::new(receiver)).await.unwrap();
    }));
    (tasks, address)
}

impl Service {
    fn view_for(&self, sidecar: &str) -> View {
        let mut state = self.state.lock().unwrap();
        state.version += 1;
        let subscribes = state
            .reports
            .get(sidecar)
            .is_some_and(|(_, report)| report.channels.iter().any(|used| used.subscribes));
        let publishers = state.reports.values().filter(|(_, report)| {
            subscribes && report.sidecar != sidecar && report.channels.iter().any(|used| used.publishes)
        });
        let publishers = publishers.map(|(identity, report)| Peer {
            sidecar: report.sidecar.clone(),
            address: report.peer_address.clone(),
            identity: identity.clone(),
        });
        let channel = ChannelView {
            namespace: "shop".to_owned(),
            name: "prices".to_owned(),
            pattern: "PubSub".to_owned(),
            overflow: "Block".to_owned(),
            block_timeout_ms: 60_000,
            buffer_messages: 1000,
            buffer_bytes: 1 << 20,
            max_message_bytes: 1 << 20,
            may_publish: true,
            may_subscribe: true,
            publishers: publishers.collect(),
            subscriber_identities: vec!["shop/*".to_owned()],
            publisher_identities: vec!["shop/*".to_owned()],
            ..ChannelView::default()
        };
        View {
            version: state.version,
            trust_domain: "cluster.local".to_owned(),
            trust_bundle_pem: self.authority.bundle(),
            channels: vec![channel],
            broker_problem: "no Broker in this test".to_owned(),
            ..View::default()
        }
    }

    fn take(&self, identity: &str, report: Report) {
        self.state.lock().unwrap().reports.insert(report.sidecar.clone(), (identity.to_owned(), report));
        self.changed.send_modify(|count| *count += 1);
    }
}

#[tonic::async_trait]
impl Control for Service {
    async fn certify(&self, request: Request<CertifyRequest>) -> Result<Response<CertifyResponse>, Status> {
        let request = request.into_inner();
        // In this test, a token is the name that it proves.
        let identity: Identity =
            request.token.parse().map_err(|_| Status::unauthenticated("not a token of this test"))?;
        let chain = self.authority.certify(&request.csr, &identity.namespace, &identity.service_account);
        Ok(Response::new(CertifyResponse {
            certificate_chain_pem: chain,
            trust_bundle_pem: self.authority.bundle(),
            not_after: runtime::clock::unix_seconds() + 86_400,
            trust_domain: "cluster.local".to_owned(),
        }))
    }

    type FollowStream = ReceiverStream<Result<View, Status>>;

    async fn follow(
        &self,
        request: Request<Streaming<Report>>,
    ) -> Result<Response<Self::FollowStream>, Status> {
        let caller = request.extensions().get::<Caller>().and_then(|caller| caller.0.clone());
        let identity = caller.ok_or_else(|| Status::unauthenticated("no certificate"))?.to_string();
        let mut reports = request.into_inner();
        let (sender, receiver) = mpsc::channel(1);
        let service = self.clone();
        let mut changed = self.changed.subscribe();
        drop(self.tasks.spawn("follow", OnError::Log, async move {
            let shutdown = service.tasks.shutdown().clone();
            let (mut sidecar, mut last) = (String::new(), View::default());
            loop {
                tokio::select! {
                    () = shutdown.begun() => break,
                    report = reports.next() => {
                        let Some(Ok(report)) = report else { break };
                        sidecar.clone_from(&report.sidecar);
                        service.take(&identity, report);
                    }
                    _ = changed.changed() => {}
                }
                let view = service.view_for(&sidecar);
                if view.channels != last.channels {
                    last = view.clone();
                    if sender.send(Ok(view)).await.is_err() {
                        break;
                    }
                }
            }
            Ok::<_, std::convert::Infallible>(())
        }));
        Ok(Response::new(ReceiverStream::new(receiver)))
    }
}
