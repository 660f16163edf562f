//! The service over real TLS on loopback, as a sidecar meets it.

use super::*;
use crate::TokenTable;
use control::index::ChannelMembers;
use control::{Broker, Identity, ObjectName};
use hyper_util::rt::TokioIo;
use proto::control::control_client::ControlClient;
use proto::control::{CertifyRequest, ChannelUse, Report, View};
use rcgen::{CertificateParams, KeyPair};
use runtime::tasks::OnError;
use runtime::tls::{Expect, anonymous_client_config};
use std::net::SocketAddr;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status, Streaming};

const LIMIT: Duration = Duration::from_secs(60);

struct Plane {
    address: SocketAddr,
    objects: Objects,
    tokens: Arc<TokenTable>,
    bundle: String,
    shutdown: Shutdown,
    tasks: Tasks,
}

async fn plane() -> Plane {
    let names = ServerNames { dns: vec!["localhost".to_owned()], ..ServerNames::default() };
    let settings = Settings {
        settle: Duration::ZERO,
        linger: Duration::ZERO,
        sidecars_max: 3,
        channels_per_report_max: 2,
        server_names: names,
        certificate_lifetime: SIDECAR_LIFETIME,
    };
    let authority = Authority::create("cluster.local", runtime::clock::unix_seconds()).unwrap();
    let bundle = authority.bundle_pem();
    let tokens = Arc::new(TokenTable::new());
    let metrics = Metrics::register(&prometheus::Registry::new()).unwrap();
    let plane = ControlPlane::new(settings, authority, tokens.clone(), metrics);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, objects, shutdown) = (listener.local_addr().unwrap(), plane.objects(), Shutdown::new());
    let tasks = Tasks::new(Shutdown::new());
    drop(tasks.spawn("plane", OnError::Log, plane.serve(listener, shutdown.clone())));
    Plane { address, objects, tokens, bundle, shutdown, tasks }
}

impl Plane {
    async fn client(&self, credentials: Option<&Credentials>) -> ControlClient<Channel> {
        let expect = Expect::Names(vec!["localhost".to_owned()]);
        let config = match credentials {
            Some(credentials) => credentials.client_config(expect, &[b"h2"]).unwrap(),
            None => anonymous_client_config(&self.bundle, expect, &[b"h2"]).unwrap(),
        };
        let address = self.address;
        let connector = tower::service_fn(move |_| {
            let connector = TlsConnector::from(Arc::clone(&config));
            async move {
                let stream = TcpStream::connect(address).await?;
                let name = "localhost".try_into().map_err(std::io::Error::other)?;
                Ok::<_, std::io::Error>(TokioIo::new(connector.connect(name, stream).await?))
            }
        });
        let endpoint = Endpoint::from_static("http://localhost");
        ControlClient::new(endpoint.connect_with_connector(connector).await.unwrap())
    }

    /// A certificate for the service account, as a sidecar gets it.
    async fn certify(&self, identity: Identity) -> Credentials {
        let (token, key) = (self.tokens.hand_out(identity), KeyPair::generate().unwrap());
        let csr = CertificateParams::default().serialize_request(&key).unwrap().der().to_vec().into();
        let answer =
            self.client(None).await.certify(CertifyRequest { token, csr }).await.unwrap().into_inner();
        let material =
            Material::from_pem(&answer.certificate_chain_pem, &key.serialize_pem(), &answer.trust_bundle_pem);
        Credentials::new(material.unwrap())
    }

    async fn follow(
        &self,
        credentials: Option<&Credentials>,
        report: Report,
    ) -> Result<(mpsc::Sender<Report>, Streaming<View>), Status> {
        let (sender, receiver) = mpsc::channel(4);
        sender.send(report).await.unwrap();
        let mut client = self.client(credentials).await;
        let views = client.follow(ReceiverStream::new(receiver)).await?.into_inner();
        Ok((sender, views))
    }
}

fn report(sidecar: &str, channels: usize, publishes: bool) -> Report {
    let used = |number| ChannelUse {
        namespace: "shop".to_owned(),
        name: format!("c{number}"),
        publishes,
        subscribes: !publishes,
    };
    Report {
        sidecar: sidecar.to_owned(),
        peer_address: "127.0.0.1:7401".to_owned(),
        channels: (0..channels).map(used).collect(),
        ..Report::default()
    }
}

async fn next(views: &mut Streaming<View>) -> View {
    tokio::time::timeout(LIMIT, views.message()).await.unwrap().unwrap().unwrap()
}

/// Goal: a token gives a certificate, the certificate gives views, each change gives a newer view, and the end of the
/// service ends the stream.
#[tokio::test]
async fn a_sidecar_certifies_and_follows() {
    let plane = plane().await;
    let credentials = plane.certify(Identity::new("shop", "web")).await;
    let (reports, mut views) =
        plane.follow(Some(&credentials), report("shop/web-0", 1, false)).await.unwrap();
    let first = next(&mut views).await;
    assert!(first.broker.is_none() && first.broker_problem.contains("shop/default"), "{first:?}");
    assert_eq!(first.trust_bundle_pem, plane.bundle);
    plane.objects.upsert_broker(Broker {
        name: ObjectName::new("shop", "default"),
        bootstrap: vec!["b:9093".to_owned()],
        server_names: vec!["b".to_owned()],
        problem: String::new(),
    });
    let second = next(&mut views).await;
    assert!(second.version > first.version && second.broker.is_some());
    let channel: api::Channel = api::decode::decode(&channel_json()).unwrap();
    plane.objects.upsert_channel(control::Channel::from_object(&channel));
    let third = next(&mut views).await;
    assert!(third.channels[0].may_subscribe && third.channels[0].publishers.is_empty());
    let (_publisher, _) = plane.follow(Some(&credentials), report("shop/web-1", 1, true)).await.unwrap();
    let fourth = next(&mut views).await;
    assert_eq!(fourth.channels[0].publishers[0].sidecar, "shop/web-1");
    let members = plane.objects.members_of(&ObjectName::new("shop", "c0"));
    let wanted = ChannelMembers {
        publishers: vec!["shop/web-1".to_owned()],
        subscribers: vec!["shop/web-0".to_owned()],
    };
    assert_eq!(members, wanted);
    plane.shutdown.begin();
    let ended = tokio::time::timeout(LIMIT, views.message()).await.unwrap();
    assert!(!matches!(ended, Ok(Some(_))), "{ended:?}");
    drop(reports);
    assert_eq!(plane.tasks.drain(LIMIT).await, 0);
}

fn channel_json() -> serde_json::Value {
    serde_json::json!({
        "apiVersion": api::API_VERSION, "kind": "Channel",
        "metadata": {"name": "c0", "namespace": "shop"}, "spec": {}
    })
}

/// Goal: without a token no certificate, without a certificate no view, and nobody takes a name that is not his or says
/// more than the limits allow.
#[tokio::test]
async fn strangers_and_excess_are_refused() {
    let plane = plane().await;
    let certify = CertifyRequest { token: "guess".to_owned(), csr: vec![1, 2, 3].into() };
    let refused = plane.client(None).await.certify(certify).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    let token = plane.tokens.hand_out(Identity::new("shop", "web"));
    let certify = CertifyRequest { token, csr: vec![0x30; 100].into() };
    let refused = plane.client(None).await.certify(certify).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    let refused = plane.follow(None, report("shop/web-0", 0, false)).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    let credentials = plane.certify(Identity::new("shop", "web")).await;
    for (bad, code) in [
        (report("lab/web-0", 0, false), Code::PermissionDenied),
        (report("shop/web-0", 3, false), Code::InvalidArgument),
        (report(&"x".repeat(600), 0, false), Code::InvalidArgument),
    ] {
        assert_eq!(plane.follow(Some(&credentials), bad).await.unwrap_err().code(), code);
    }
    let mut open = Vec::new();
    for number in 0..3 {
        let sidecar = format!("shop/web-{number}");
        open.push(plane.follow(Some(&credentials), report(&sidecar, 0, false)).await.unwrap());
    }
    let refused = plane.follow(Some(&credentials), report("shop/web-3", 0, false)).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    let again = plane.follow(Some(&credentials), report("shop/web-0", 0, false)).await;
    assert!(again.is_ok(), "one that is known may come back when the house is full");
}
