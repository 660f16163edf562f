//! Which peers carry what: the view's publishers of everything that apps here subscribe to, over the connection that the
//! peer has dialled, or else over one that is dialled here.

use super::accepted::{Accepted, set};
use super::connect::Connect;
use super::dial;
use super::linger::{Desired, Linger};
use super::link::Wanted;
use crate::delivery::{Core, Subscriber};
use crate::route;
use crate::view::{PeerView, View};
use runtime::shutdown::Shutdown;
use runtime::tasks::OnError;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::watch;
use tokio::task::JoinHandle;

struct Dialler {
    wanted: watch::Sender<Wanted>,
    /// Begins when a connection that the peer dialled takes over.
    replaced: Shutdown,
    task: JoinHandle<()>,
}

type Peers = Desired<Arc<Subscriber>>;

/// Dials and lets go as view and subscriptions change.
pub(crate) async fn run(core: Arc<Core>, accepted: Arc<Accepted>, connect: impl Connect) {
    let mut views = core.view_receiver();
    let mut changes = core.changes();
    let mut coming = accepted.changes();
    let mut diallers: BTreeMap<PeerView, Dialler> = BTreeMap::new();
    let mut linger = Linger::new();
    loop {
        let view = Arc::clone(&views.borrow_and_update());
        changes.mark_unchanged();
        coming.mark_unchanged();
        diallers.retain(|_, dialler| !dialler.task.is_finished());
        let mut desired = desired(&view, &core);
        let due = linger.keep(&mut desired, |peer, subscriber| may_stay(&view, peer, subscriber), core.now());
        let rest = give_to_accepted(&core, &accepted, desired, &mut diallers);
        give_to_diallers(&core, rest, &mut diallers, &connect);
        // Whatever changed, all of it is looked at above: no order keeps anything waiting.
        tokio::select! {
            biased;
            changed = views.changed() => if changed.is_err() { return },
            changed = changes.changed() => if changed.is_err() { return },
            _ = coming.changed() => {}
            () = tokio::time::sleep_until(core.instant(due.unwrap_or_default())), if due.is_some() => {}
        }
    }
}

/// Uses connections that peers have dialled; returns what has none. When both have dialled, the connection of the
/// sidecar whose name sorts first stays: both sides decide alike.
fn give_to_accepted(
    core: &Core,
    accepted: &Accepted,
    desired: Peers,
    diallers: &mut BTreeMap<PeerView, Dialler>,
) -> Peers {
    let (mut rest, mut used) = (BTreeMap::new(), Vec::new());
    for (peer, wanted) in desired {
        let ours_stays = diallers.contains_key(&peer) && **core.sidecar() < *peer.sidecar;
        match accepted.of(&peer).filter(|_| !ours_stays) {
            Some(connection) => {
                set(&connection, wanted);
                used.push(connection);
                if let Some(dialler) = diallers.remove(&peer) {
                    dialler.replaced.begin();
                }
            }
            None => {
                rest.insert(peer, wanted);
            }
        }
    }
    accepted.clear_except(&used);
    rest
}

fn give_to_diallers(
    core: &Arc<Core>,
    mut desired: Peers,
    diallers: &mut BTreeMap<PeerView, Dialler>,
    connect: &impl Connect,
) {
    for (peer, dialler) in &*diallers {
        set(&dialler.wanted, desired.remove(peer).unwrap_or_default());
    }
    for (peer, wanted) in desired {
        let (sender, receiver) = watch::channel(Arc::new(wanted));
        let replaced = Shutdown::new();
        let work = dial::run(Arc::clone(core), peer.clone(), receiver, replaced.clone(), connect.clone());
        let work = async move {
            work.await;
            Ok::<_, std::convert::Infallible>(())
        };
        let task = core.connections().spawn("peer dialled", OnError::Log, work);
        diallers.insert(peer, Dialler { wanted: sender, replaced, task });
    }
}

/// Whether a subscription goes on over the connection that it has, although the view does not name its publisher.
fn may_stay(view: &View, peer: &PeerView, subscriber: &Subscriber) -> bool {
    route::may_hear(view, &subscriber.name, peer) && subscriber.hears(&peer.sidecar)
}

fn desired(view: &View, core: &Core) -> Peers {
    let mut desired = Peers::new();
    for subscriber in core.subscribers() {
        for peer in route::sources(view, &subscriber.name, core.sidecar()) {
            desired.entry(peer.clone()).or_default().insert(subscriber.id, Arc::clone(&subscriber));
        }
    }
    desired
}
