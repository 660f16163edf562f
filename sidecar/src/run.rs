//! Wires the sidecar: opens everything in order, and stops everything in order.

use crate::app::{self, Doors};
use crate::args::{Args, ArgsError};
use crate::control::{self, Address, Follower};
use crate::delivery::{Core, CoreParts};
use crate::durable::{self, Topics};
use crate::identity::{Keeper, Source};
use crate::kafka::{self, KafkaDoor};
use crate::messaging::Channels;
use crate::metrics::Metrics;
use crate::peer;
use crate::state::{StateDir, StateError};
use crate::view::{View, ViewReceiver};
use runtime::health::{AdminError, Pages, Readiness, serve_admin};
use runtime::shutdown::Shutdown;
use runtime::tasks::{OnError, Tasks};
use runtime::tls::{self, Credentials};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// How long connections may take to flush and say goodbye.
const DRAIN_MAX: Duration = Duration::from_secs(7);
/// How long the doors may take to finish what they have begun.
const DOORS_MAX: Duration = Duration::from_secs(6);
/// How long the rest may take to stop.
const STOP_MAX: Duration = Duration::from_secs(2);

/// Why the sidecar cannot run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error(transparent)]
    Args(#[from] ArgsError),
    #[error("failed to read --trust-bundle-file {path}: {source}")]
    Bundle { path: String, source: std::io::Error },
    #[error("failed to write --ready-file {path}: {source}")]
    ReadyFile { path: String, source: std::io::Error },
    #[error(transparent)]
    State(#[from] StateError),
    #[error(transparent)]
    Admin(#[from] AdminError),
    #[error(transparent)]
    Peers(#[from] peer::ListenError),
    #[error(transparent)]
    Door(#[from] app::DoorError),
    #[error("failed to listen for Kafka clients on {address}: is another program there? set --kafka-listen")]
    Kafka { address: SocketAddr, source: std::io::Error },
    #[error("failed to register metrics: {0}")]
    Metrics(#[from] prometheus::Error),
}

/// Who ends what.
struct Lifetimes {
    /// Ends the doors: the process is to stop.
    doors: Tasks,
    /// Connections to peers; they end themselves when the core drains.
    connections: Tasks,
    /// The way to the broker: it stays until what is to be written there is written.
    kafka: Tasks,
    /// Everything else; ends last.
    background: Tasks,
}

impl Lifetimes {
    fn new(shutdown: &Shutdown) -> Self {
        Self {
            doors: Tasks::new(shutdown.clone()),
            connections: Tasks::new(Shutdown::new()),
            kafka: Tasks::new(Shutdown::new()),
            background: Tasks::new(Shutdown::new()),
        }
    }
}

/// Runs until `shutdown` begins and everything has stopped in order. Call `runtime::tls::install_provider` before.
///
/// # Errors
/// When a flag, a folder or a port cannot be used. A control plane that is away is no error.
pub async fn run(args: Args, shutdown: Shutdown) -> Result<(), RunError> {
    args.check()?;
    let metrics = Metrics::new()?;
    let readiness = Readiness::new();
    readiness.wait_for("doors", "the doors are not open yet");
    readiness.wait_for("view", "no view from the control plane yet");
    let lives = Lifetimes::new(&shutdown);
    let ending = lives.background.shutdown().clone();
    let pages = Pages { registry: metrics.registry.clone(), readiness: readiness.clone(), lines: None };
    let admin = serve_admin(args.admin_listen, pages, ending)?;
    let outcome = serve(&args, &lives, (metrics, readiness), (admin, &shutdown)).await;
    lives.background.shutdown().begin();
    lives.background.drain(STOP_MAX).await;
    outcome
}

async fn serve(
    args: &Args,
    lives: &Lifetimes,
    (metrics, readiness): (Metrics, Readiness),
    (admin, shutdown): (SocketAddr, &Shutdown),
) -> Result<(), RunError> {
    let state = StateDir::open(args.state_dir.clone())?;
    let credentials = Credentials::empty();
    let address = Address { target: args.control.clone(), server_name: args.server_name()? };
    let source = Source {
        control: address.clone(),
        bundle_pem: trust_bundle(args)?,
        token_file: args.token_file.clone(),
    };
    let keeper = Keeper::new(source, state.clone(), credentials.clone(), metrics.clone());
    let (views, view) = watch::channel(Arc::new(control::saved_view(&state).unwrap_or_default()));
    let failed = |source| RunError::Kafka { address: args.kafka_listen, source };
    let kafka = KafkaDoor::bind(kafka::Options::new(args.kafka_listen)).await.map_err(failed)?;
    let settings =
        durable::Settings { bootstrap: kafka.address().to_string(), client_name: args.name.clone() };
    let topics = Topics::new(settings, view.clone(), metrics.clone(), lives.doors.clone());
    let core = Core::new(CoreParts {
        sidecar: Arc::from(args.name.as_str()),
        view: view.clone(),
        metrics: metrics.clone(),
        connections: lives.connections.clone(),
        background: lives.background.clone(),
        credentials,
        topics: topics.clone(),
        presence: args.presence(),
    });
    let peers = peer::Listener::open(args.peer_listen).await?;
    let peer_address = args.advertised(peers.address)?;
    let follower = Follower::new(control::Parts {
        core: Arc::clone(&core),
        address,
        state,
        views,
        not_after: keeper.not_after(),
        peer_address: peer_address.clone(),
        broker: args.broker_ref.clone(),
    });
    let listening = peers.address;
    start(lives, &core, (peers, keeper, follower), (view.clone(), readiness.clone()));
    let kafka_address = kafka.address();
    let opened = open_doors(args, lives, &core, (view, metrics), (kafka, topics)).await?;
    readiness.done("doors");
    tracing::info!(name = args.name, app = ?opened.listen, peers = %listening, advertised = peer_address, "doors are open");
    write_ready_file(args, &opened, (kafka_address, listening, admin))?;
    shutdown.begun().await;
    tracing::info!("shutting down");
    lives.doors.drain(DOORS_MAX).await;
    core.begin_drain();
    let written = async {
        if tokio::time::timeout(DRAIN_MAX, core.flushed()).await.is_err() {
            tracing::warn!("copies or dead letters were not written in time and are lost");
        }
    };
    tokio::join!(lives.connections.drain(DRAIN_MAX), written);
    lives.kafka.shutdown().begin();
    lives.kafka.drain(STOP_MAX).await;
    Ok(())
}

/// Starts what runs in the background.
fn start(
    lives: &Lifetimes,
    core: &Arc<Core>,
    (peers, keeper, follower): (peer::Listener, Keeper, Follower),
    (view, readiness): (ViewReceiver, Readiness),
) {
    let background = &lives.background;
    background.spawn_until_shutdown("views", Arc::clone(core).follow_views());
    let accepted = Arc::new(peer::Accepted::default());
    background.spawn_until_shutdown("peer port", peers.run(Arc::clone(core), Arc::clone(&accepted)));
    background.spawn_until_shutdown("peers", peer::run_pool(Arc::clone(core), accepted, peer::Tls));
    background.spawn_until_shutdown("identity", keeper.run(view.clone()));
    background.spawn_until_shutdown("control", follower.run());
    background.spawn_until_shutdown("readiness", wait_for_view(view, readiness));
}

async fn wait_for_view(mut view: ViewReceiver, readiness: Readiness) {
    if view.wait_for(|view: &Arc<View>| view.is_known()).await.is_ok() {
        readiness.done("view");
    }
}

async fn open_doors(
    args: &Args,
    lives: &Lifetimes,
    core: &Arc<Core>,
    (view, metrics): (ViewReceiver, Metrics),
    (kafka, topics): (KafkaDoor, Topics),
) -> Result<app::Opened, RunError> {
    let context = kafka::Context {
        view: view.clone(),
        credentials: core.credentials().clone(),
        tasks: lives.kafka.clone(),
        metrics: metrics.clone(),
    };
    drop(lives.kafka.spawn("kafka door", OnError::Log, async move {
        kafka.serve(context).await;
        Ok::<_, std::convert::Infallible>(())
    }));
    let doors = Doors {
        channels: Channels::new(Arc::clone(core)),
        topics,
        view,
        namespace: Arc::from(args.namespace.as_str()),
        metrics,
        tasks: lives.doors.clone(),
    };
    let settings = app::Settings {
        listen: Some(args.app_listen),
        socket: args.app_socket.clone(),
        zmq_dir: args.zmq_dir.clone(),
        zmq_listen: args.zmq_listen.clone(),
        zmq_connect: args.zmq_connect.clone(),
        push: args.push.clone(),
    };
    Ok(app::open(doors, settings).await?)
}

fn trust_bundle(args: &Args) -> Result<String, RunError> {
    match (&args.trust_bundle, &args.trust_bundle_file) {
        (Some(pem), _) => Ok(pem.clone()),
        (None, Some(path)) => std::fs::read_to_string(path)
            .map_err(|source| RunError::Bundle { path: path.display().to_string(), source }),
        // The saved identity brings its own.
        (None, None) => Ok(String::new()),
    }
}

/// What the ready file says.
#[derive(serde::Serialize)]
struct Ready {
    app: Option<SocketAddr>,
    app_socket: Option<PathBuf>,
    kafka: SocketAddr,
    peer: SocketAddr,
    admin: SocketAddr,
    zmq_dir: Option<PathBuf>,
    zmq_listen: Vec<SocketAddr>,
}

fn write_ready_file(
    args: &Args,
    opened: &app::Opened,
    (kafka, peer, admin): (SocketAddr, SocketAddr, SocketAddr),
) -> Result<(), RunError> {
    let Some(path) = &args.ready_file else { return Ok(()) };
    let ready = Ready {
        app: opened.listen,
        app_socket: args.app_socket.clone(),
        kafka,
        peer,
        admin,
        zmq_dir: args.zmq_dir.clone(),
        zmq_listen: opened.zmq_listen.clone(),
    };
    let json = serde_json::to_string(&ready).unwrap_or_default();
    runtime::ready_file::write(path, &json)
        .map_err(|source| RunError::ReadyFile { path: path.display().to_string(), source })
}

pub use tls::install_provider;
