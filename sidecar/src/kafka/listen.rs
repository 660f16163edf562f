//! The door's listeners: the one that clients know, and one per node of a cluster.
//!
//! Accepts, finds the way to the broker, hands both ends to `relay`. When there is no way, the client is let
//! go after a pause that grows, so that a missing broker does not make a busy loop of connects.

use super::nodes::{Nodes, NodesError, Opened};
use super::relay::{self, Addresses, RelayError};
use super::rewrite::Node;
use super::upstream::{self, Upstream};
use super::{Context, Options};
use crate::view::BrokerView;
use futures::future::BoxFuture;
use runtime::backoff::Backoff;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Pause before a client that cannot be served is let go.
const REFUSAL_PAUSE_FIRST: Duration = Duration::from_millis(100);
const REFUSAL_PAUSE_MAX: Duration = Duration::from_secs(2);
/// Pause after the system refused to accept, for example for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The open door, before it serves.
#[derive(Debug)]
pub struct KafkaDoor {
    listener: TcpListener,
    address: SocketAddr,
    options: Options,
}

impl KafkaDoor {
    /// Opens the port.
    ///
    /// # Errors
    /// When the address is taken or not ours.
    pub async fn bind(options: Options) -> std::io::Result<Self> {
        let listener = TcpListener::bind(options.listen).await?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address, options })
    }

    /// Where clients connect, with the real port.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until the shutdown of the context's tasks begins, then lets the connections drain.
    pub async fn serve(self, context: Context) {
        let door = Arc::new(Door {
            nodes: Nodes::new(self.address),
            places: Arc::new(Semaphore::new(self.options.connections_max)),
            trouble: Mutex::new(Trouble::new()),
            options: self.options,
            context,
        });
        let shutdown = door.context.tasks.shutdown().clone();
        let follow = Arc::clone(&door);
        shutdown
            .or(async { tokio::join!(accept(door, self.listener, None), forget_on_change(follow)) })
            .await;
    }
}

/// What all connections share.
#[derive(Debug)]
struct Door {
    nodes: Nodes,
    places: Arc<Semaphore>,
    trouble: Mutex<Trouble>,
    options: Options,
    context: Context,
}

/// Why clients cannot be served at the moment.
#[derive(Debug)]
struct Trouble {
    pauses: Backoff,
    /// What was said last: the same is not said again.
    said: String,
}

impl Trouble {
    const fn new() -> Self {
        Self { pauses: Backoff::new(REFUSAL_PAUSE_FIRST, REFUSAL_PAUSE_MAX), said: String::new() }
    }
}

/// The part of a broker's view that a connection depends on.
fn broker_key(broker: Option<&BrokerView>) -> Option<(String, String)> {
    broker.map(|broker| (broker.namespace.clone(), broker.name.clone()))
}

/// Forgets the nodes when the view names another Broker.
async fn forget_on_change(door: Arc<Door>) {
    let mut view = door.context.view.clone();
    let mut last = broker_key(view.borrow_and_update().broker.as_ref());
    while view.changed().await.is_ok() {
        let now = broker_key(view.borrow_and_update().broker.as_ref());
        if now != last {
            door.nodes.forget();
            last = now;
        }
    }
    // Nobody can send another view: the last one holds.
    std::future::pending::<()>().await;
}

/// Accepts on one listener; `node` is the one that it stands for.
async fn accept(door: Arc<Door>, listener: TcpListener, node: Option<i32>) {
    loop {
        let client = match listener.accept().await {
            Ok((client, _)) => client,
            Err(error) => {
                door.refused("accept", &format!("failed to accept at the Kafka door: {error}"));
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Ok(place) = Arc::clone(&door.places).try_acquire_owned() else {
            let most = door.options.connections_max;
            door.refused(
                "limit",
                &format!("the Kafka door has {most} connections, its limit; more are closed"),
            );
            continue;
        };
        let connection = Connection { door: Arc::clone(&door), node, _place: place };
        let tasks = &door.context.tasks;
        tasks.spawn("kafka connection", runtime::tasks::OnError::Log, async move {
            connection.serve(client).await;
            Ok::<_, std::convert::Infallible>(())
        });
    }
}

impl Door {
    fn trouble(&self) -> MutexGuard<'_, Trouble> {
        // Nothing under the lock can panic half-way.
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a refusal and says why, once. Returns how long to hold the client.
    fn refused(&self, reason: &'static str, why: &str) -> Duration {
        self.context.metrics.kafka_door_refused.with_label_values(&[reason]).inc();
        let mut trouble = self.trouble();
        if trouble.said != why {
            tracing::warn!(reason, "{why}");
            why.clone_into(&mut trouble.said);
        }
        trouble.pauses.next_pause()
    }

    /// Serves the port of a node for as long as the door is open.
    fn serve_node(self: Arc<Self>, opened: Opened) {
        let tasks = self.context.tasks.clone();
        // Boxed: a node's connections can open ports for further nodes, and a type cannot hold itself.
        let serve: BoxFuture<'static, ()> = Box::pin(accept(self, opened.listener, Some(opened.node)));
        drop(tasks.spawn_until_shutdown("kafka node listener", serve));
    }

    fn served(&self) {
        let mut trouble = self.trouble();
        trouble.pauses.reset();
        trouble.said.clear();
    }

    /// The Broker of the view and the way to it; otherwise the pause before the client is let go.
    async fn dial(&self, node: Option<i32>) -> Result<(BrokerView, Upstream), Duration> {
        let view = Arc::clone(&self.context.view.borrow());
        let Some(broker) = view.broker.clone() else {
            let why = match (view.is_known(), view.broker_problem.as_str()) {
                (false, _) => "no view from the control plane yet",
                (true, "") => "the view names no Broker for the Kafka door",
                (true, problem) => problem,
            };
            return Err(self.refused("no_broker", why));
        };
        let addresses = match node {
            None => broker.bootstrap.clone(),
            Some(node) => {
                self.nodes.address(node).into_iter().filter(|address| !address.is_empty()).collect()
            }
        };
        let Context { credentials, .. } = &self.context;
        let dialled = upstream::dial(&broker, &addresses, credentials, self.options.dial_deadline).await;
        match dialled {
            Ok(stream) => {
                self.served();
                Ok((broker, stream))
            }
            Err(error) => Err(self.refused("unreachable", &error.to_string())),
        }
    }
}

/// One client.
struct Connection {
    door: Arc<Door>,
    node: Option<i32>,
    _place: OwnedSemaphorePermit,
}

impl Connection {
    async fn serve(self, client: TcpStream) {
        let shutdown = self.door.context.tasks.shutdown().clone();
        let dialled = tokio::select! {
            dialled = self.door.dial(self.node) => dialled,
            () = shutdown.begun() => return,
        };
        let (broker, upstream) = match dialled {
            Ok(reached) => reached,
            Err(pause) => {
                shutdown.or(tokio::time::sleep(pause)).await;
                return;
            }
        };
        let Ok(local) = client.local_addr() else { return };
        // Nagle would wait for more on a connection of small frames; without the option it is only slower.
        drop(client.set_nodelay(true));
        let connections = &self.door.context.metrics.kafka_door_connections;
        connections.inc();
        let addresses = DoorAddresses { door: Arc::clone(&self.door), host: local.ip().to_string() };
        let stop = async {
            tokio::select! {
                () = shutdown.begun() => {}
                () = self.broker_replaced(&broker) => {}
            }
        };
        let drain = self.door.options.drain_deadline;
        let ended = relay::relay(client, upstream, &addresses, stop, drain).await;
        connections.dec();
        self.log(ended);
    }

    /// Ends when the view names another Broker, or none.
    async fn broker_replaced(&self, broker: &BrokerView) {
        let mut view = self.door.context.view.clone();
        let key = broker_key(Some(broker));
        if view.wait_for(|view| broker_key(view.broker.as_ref()) != key).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    fn log(&self, ended: Result<(), RelayError>) {
        match ended {
            Ok(()) => {}
            // Clients and brokers may go at any time.
            Err(error @ (RelayError::Client(_) | RelayError::Broker(_))) => {
                tracing::debug!(%error, "kafka connection ended");
            }
            Err(error) => {
                self.door.refused("protocol", &error.to_string());
            }
        }
    }
}

/// The addresses as one client sees them.
struct DoorAddresses {
    door: Arc<Door>,
    host: String,
}

impl Addresses for DoorAddresses {
    async fn learn(&self, nodes: &[Node], all: bool) -> Result<(), NodesError> {
        for opened in self.door.nodes.learn(nodes, all).await? {
            Arc::clone(&self.door).serve_node(opened);
        }
        Ok(())
    }

    fn host(&self) -> &str {
        &self.host
    }

    fn port(&self, node: i32) -> Option<u16> {
        self.door.nodes.port(node)
    }
}
