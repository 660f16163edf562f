//! Keeps one connection to one publisher's sidecar for as long as it is wanted.

use super::connect::{CONNECT_MAX, Connect, DialError};
use super::drive::{DriveError, Ended, drive};
use super::link::{Link, LinkError, Parts, Wanted};
use crate::delivery::Core;
use crate::view::PeerView;
use peer_wire::ProtocolError;
use runtime::backoff::Backoff;
use runtime::shutdown::Shutdown;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// The first pause before dialling again, and the longest.
const PAUSE_FIRST: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// A connection that stood for this long makes the next pause short again.
const STOOD_MIN: Duration = Duration::from_secs(1);

/// Dials, carries, dials again, until nothing is wanted.
pub(super) async fn run(
    core: Arc<Core>,
    peer: PeerView,
    wanted: watch::Receiver<Wanted>,
    replaced: Shutdown,
    connect: impl Connect,
) {
    let mut backoff = Backoff::new(PAUSE_FIRST, PAUSE_MAX);
    loop {
        let since = core.now();
        match once(&core, &peer, wanted.clone(), &replaced, &connect).await {
            Ok(Ok(Ended::Unneeded)) if wanted.borrow().is_empty() => return,
            Ok(Ok(Ended::Replaced)) => return,
            Ok(Ok(ended)) => tracing::debug!(peer = %peer.sidecar, ?ended, "peer connection ended"),
            Ok(Err(error @ DriveError::Link(LinkError::Protocol(ProtocolError::NoCommonVersion { .. })))) => {
                tracing::warn!(peer = %peer.sidecar, %error, "peer connection refused");
            }
            Ok(Err(error)) => tracing::info!(peer = %peer.sidecar, %error, "peer connection ended"),
            Err(error) => {
                tracing::info!(peer = %peer.sidecar, address = %peer.address, %error, "peer not reached");
            }
        }
        if core.draining().has_begun()
            || replaced.has_begun()
            || (wanted.borrow().is_empty() && wanted.has_changed().is_err())
        {
            return;
        }
        if core.now().saturating_sub(since) >= STOOD_MIN {
            backoff.reset();
        }
        replaced.or(tokio::time::sleep(backoff.next_pause())).await;
        if wanted.borrow().is_empty() || replaced.has_begun() {
            return;
        }
    }
}

async fn once(
    core: &Arc<Core>,
    peer: &PeerView,
    wanted: watch::Receiver<Wanted>,
    replaced: &Shutdown,
    connect: &impl Connect,
) -> Result<Result<Ended, DriveError>, DialError> {
    let connecting = tokio::time::timeout(CONNECT_MAX, connect.connect(core, peer));
    let stream = connecting.await.map_err(|_| DialError::Slow)??;
    let connections = core.metrics().peer_connections.with_label_values(&["dialled"]);
    connections.inc();
    let link = Link::new(Parts {
        core: Arc::clone(core),
        identity: Arc::clone(&peer.identity),
        expected: Some(Arc::clone(&peer.sidecar)),
        wanted,
        replaced: replaced.clone(),
        accepted: None,
    });
    let outcome = drive(stream, link).await;
    connections.dec();
    Ok(outcome)
}
