//! Which peers are dialled for what: the view's publishers of everything that apps here subscribe to.

use super::dial;
use super::link::Wanted;
use crate::delivery::{Core, Subscriber};
use crate::route;
use crate::view::{PeerView, View};
use runtime::tasks::OnError;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::watch;
use tokio::task::JoinHandle;

struct Dialler {
    wanted: watch::Sender<Wanted>,
    task: JoinHandle<()>,
}

/// Dials and lets go as view and subscriptions change.
pub(crate) async fn run(core: Arc<Core>) {
    let mut views = core.view_receiver();
    let mut changes = core.changes();
    let mut diallers: BTreeMap<PeerView, Dialler> = BTreeMap::new();
    loop {
        let view = Arc::clone(&views.borrow_and_update());
        changes.mark_unchanged();
        let mut desired = desired(&view, &core);
        diallers.retain(|_, dialler| !dialler.task.is_finished());
        for (peer, dialler) in &diallers {
            let wanted = desired.remove(peer).unwrap_or_default();
            dialler.wanted.send_if_modified(|current| {
                let same = current.keys().eq(wanted.keys());
                if !same {
                    *current = Arc::new(wanted);
                }
                !same
            });
        }
        for (peer, wanted) in desired {
            let (sender, receiver) = watch::channel(Arc::new(wanted));
            let work = dial::run(Arc::clone(&core), peer.clone(), receiver);
            let work = async move {
                work.await;
                Ok::<_, std::convert::Infallible>(())
            };
            let task = core.connections().spawn("peer dialled", OnError::Log, work);
            diallers.insert(peer, Dialler { wanted: sender, task });
        }
        tokio::select! {
            changed = views.changed() => if changed.is_err() { return },
            changed = changes.changed() => if changed.is_err() { return },
        }
    }
}

fn desired(view: &View, core: &Core) -> BTreeMap<PeerView, BTreeMap<u32, Arc<Subscriber>>> {
    let mut desired: BTreeMap<PeerView, BTreeMap<u32, Arc<Subscriber>>> = BTreeMap::new();
    for subscriber in core.subscribers() {
        for peer in route::sources(view, &subscriber.name, core.sidecar()) {
            desired.entry(peer.clone()).or_default().insert(subscriber.id, Arc::clone(&subscriber));
        }
    }
    desired
}
