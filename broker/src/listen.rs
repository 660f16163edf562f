//! Accepts connections: a limit on their number, a handshake with a limit on its time, a name for the caller.

mod places;

use std::{net::SocketAddr, sync::Arc, time::Duration};

pub(crate) use places::{Place, Places};
use runtime::{
    tasks::{OnError, Tasks},
    tls::{ClientAuth, Credentials, Identity, ReadAhead},
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Notify, Semaphore},
};
use tokio_rustls::TlsAcceptor;

use crate::{
    access::Principal,
    broker::{Broker, Caller, Context, Protocol},
    connection,
    quotas::mute::Mute,
    sasl::gate::{self, Gate},
};

const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// After a failure to accept, which is mostly a want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Connections that are kept open only to be closed later; others are closed at once.
pub(crate) const KEPT_OUT_MAX: usize = 256;

/// How the connections of a listener are secured.
#[derive(Clone)]
pub(crate) enum Security {
    /// Not at all; callers may do everything, unless there is an authorizer.
    Plain,
    /// TLS, with a client certificate that names the caller.
    Tls(Credentials),
}

/// A door.
pub(crate) struct Listener {
    pub(crate) socket: TcpListener,
    pub(crate) security: Security,
    /// Where clients are told to come; `None` is the address that they came to.
    pub(crate) advertise: Option<(String, u16)>,
}

/// What all listeners share.
#[derive(Clone)]
pub(crate) struct Door {
    pub(crate) broker: Arc<Broker>,
    pub(crate) tasks: Tasks,
    pub(crate) places: Arc<Places>,
    /// What is asked of callers without a certificate.
    pub(crate) sasl: Option<Arc<gate::Rules>>,
    /// Room for connections that are kept open only to be closed later.
    pub(crate) kept_out: Arc<Semaphore>,
}

impl Door {
    /// Closes a connection that comes too early, and not at once: whoever sits behind it tries again when it is closed.
    fn keep_out(&self, stream: TcpStream, wait: Duration) {
        self.broker.metrics.refused_connections.with_label_values(&["rate"]).inc();
        let Ok(place) = Arc::clone(&self.kept_out).try_acquire_owned() else { return };
        let shutdown = self.tasks.shutdown().clone();
        drop(self.tasks.spawn("kept out", OnError::Log, async move {
            // Whether its time is over or the process ends: it goes.
            shutdown.or(tokio::time::sleep(wait)).await;
            drop((stream, place));
            Ok::<_, std::convert::Infallible>(())
        }));
    }
}

/// Accepts until the process ends.
pub(crate) async fn run(listener: Listener, door: Door) {
    let listener = Arc::new(listener);
    loop {
        let (stream, peer) = match listener.socket.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        if let Some(wait) = door.broker.quotas.accepted() {
            // It is served, and the next one is accepted, when their time has come.
            tokio::time::sleep(wait).await;
        }
        if let Some(wait) = door.broker.quotas.connected(peer.ip()) {
            door.keep_out(stream, wait);
            continue;
        }
        let place = match door.places.take(peer.ip().to_canonical()) {
            Ok(place) => place,
            Err(full) => {
                door.broker.metrics.refused_connections.with_label_values(&[full.reason()]).inc();
                tracing::debug!(%peer, reason = full.reason(), "too many connections");
                continue;
            }
        };
        let (listener, door) = (Arc::clone(&listener), door.clone());
        let tasks = door.tasks.clone();
        drop(tasks.spawn("connection", OnError::Log, async move {
            serve(&listener, &door, stream, peer, place).await;
            Ok::<_, std::convert::Infallible>(())
        }));
    }
}

async fn serve(listener: &Listener, door: &Door, stream: TcpStream, peer: SocketAddr, _place: Place) {
    let metrics = door.broker.metrics.clone();
    metrics.connections.inc();
    if let Err(error) = greet(listener, door, stream, peer).await {
        metrics.refused_connections.with_label_values(&["handshake"]).inc();
        tracing::debug!(%peer, error, "refused a connection");
    }
    metrics.connections.dec();
}

async fn greet(listener: &Listener, door: &Door, stream: TcpStream, peer: SocketAddr) -> Result<(), String> {
    // Without it small answers wait for acknowledgements; a socket that refuses is served all the same.
    drop(stream.set_nodelay(true));
    let local = stream.local_addr().map_err(|error| error.to_string())?;
    let advertised = listener.advertise.clone().unwrap_or_else(|| (local.ip().to_string(), local.port()));
    let context = |principal: Principal, protocol: Protocol| Context {
        broker: Arc::clone(&door.broker),
        caller: Arc::new(Caller {
            principal,
            // As rules write it, also where a socket takes both kinds of addresses.
            host: peer.ip().to_canonical().to_string(),
            protocol,
            advertised: advertised.clone(),
            waiter: Arc::new(Notify::new()),
            mute: Arc::new(Mute::new(door.broker.settings.idle_timeout)),
        }),
        client_id: Arc::from(""),
    };
    let shutdown = door.tasks.shutdown();
    match &listener.security {
        Security::Plain => {
            let settings = &door.broker.settings;
            let principal = Principal::anonymous(settings.authorizer);
            let rules = door.sasl.clone().filter(|_| settings.sasl.on_plain_listener);
            let gate = rules.map(|rules| Gate::new(rules, settings.authorizer));
            let protocol = if gate.is_some() { Protocol::SaslPlaintext } else { Protocol::Plaintext };
            connection::run((context(principal, protocol), gate), stream, shutdown).await;
        }
        Security::Tls(credentials) => {
            let asked = if door.sasl.is_some() { ClientAuth::Optional } else { ClientAuth::Required };
            let config = credentials.server_config(asked, &[]).map_err(|error| error.to_string())?;
            let accept = TlsAcceptor::from(config).accept(ReadAhead::new(stream));
            let accepted = tokio::time::timeout(HANDSHAKE_TIMEOUT, accept).await;
            let stream = accepted
                .map_err(|_| "the TLS handshake took too long")?
                .map_err(|error| error.to_string())?;
            let certificate = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
            let gate = certificate.is_none().then(|| door.sasl.clone()).flatten();
            let gate = gate.map(|rules| Gate::new(rules, true));
            let principal = match certificate.map(Identity::from_certificate) {
                Some(Ok(identity)) => Principal::account(&identity),
                _ => Principal::nobody(),
            };
            let protocol = if gate.is_some() { Protocol::SaslSsl } else { Protocol::Ssl };
            connection::run((context(principal, protocol), gate), stream, shutdown).await;
        }
    }
    Ok(())
}
