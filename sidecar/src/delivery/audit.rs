//! Channels whose access lists are only tried (`spec.access.mode` Audit): counts and logs whom Enforce would refuse.
//! Lets nobody through and refuses nobody: that is for `route.rs` to say.

use super::core::Core;
use crate::messaging::ChannelName;
use crate::metrics::ObjectLabels;
use crate::route::{self, Operation};
use crate::view::{ChannelView, View};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Who goes on is told of again after this long.
const AGAIN: Duration = Duration::from_secs(60);
/// How often is looked at what goes on.
const LOOK: Duration = Duration::from_secs(5);
/// Most that is remembered of whom was told. When so many are told of within one `AGAIN`, the others wait for the next.
const TOLD_MAX: usize = 4096;

/// At which end of a connection somebody was let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Side {
    /// An app of this pod.
    App,
    /// A peer: its own sidecar counts it too.
    Peer,
}

impl Side {
    const fn as_str(self) -> &'static str {
        match self {
            Self::App => "app",
            Self::Peer => "peer",
        }
    }
}

/// The service account is empty for the own one, whose name costs too much to look it up for each message.
type Told = (ChannelName, Operation, Side, Arc<str>);

#[derive(Default)]
struct State {
    told: BTreeMap<Told, Duration>,
    looked: Duration,
}

/// See the head of the file.
#[derive(Default)]
pub(super) struct Audit {
    state: Mutex<State>,
}

impl Audit {
    /// Whether this was never told of, or long enough ago; then it counts as told.
    fn is_due(&self, what: &Told, now: Duration) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let is_old = |last: &Duration| now.saturating_sub(*last) >= AGAIN;
        if let Some(last) = state.told.get_mut(what) {
            let due = is_old(last);
            if due {
                *last = now;
            }
            return due;
        }
        if state.told.len() >= TOLD_MAX {
            state.told.retain(|_, last| !is_old(last));
        }
        let has_room = state.told.len() < TOLD_MAX;
        if has_room {
            state.told.insert(what.clone(), now);
        }
        has_room
    }

    fn is_time_to_look(&self, now: Duration) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let due = now.saturating_sub(state.looked) >= LOOK;
        if due {
            state.looked = now;
        }
        due
    }
}

impl Core {
    /// One publish or request of an app: each counts.
    pub(super) fn audit_call(&self, name: &ChannelName, channel: &ChannelView) {
        if route::is_tried(channel, Operation::Publish, None) {
            let what = (name.clone(), Operation::Publish, Side::App, Arc::from(""));
            self.count(&what);
            if self.audit.is_due(&what, self.now()) {
                self.log(&what);
            }
        }
    }

    /// A subscription of an app, when it begins and while it stands.
    pub(super) fn audit_subscription(&self, name: &ChannelName, channel: &ChannelView) {
        if route::is_tried(channel, Operation::Subscribe, None) {
            self.tell((name.clone(), Operation::Subscribe, Side::App, Arc::from("")));
        }
    }

    /// A subscription of a peer, in the same way.
    pub(super) fn audit_guest(&self, name: &ChannelName, channel: &ChannelView, peer: &Arc<str>) {
        if route::is_tried(channel, Operation::Subscribe, Some(peer)) {
            self.tell((name.clone(), Operation::Subscribe, Side::Peer, Arc::clone(peer)));
        }
    }

    /// What goes on counts again and again: nobody must take a quiet metric for a list that is complete.
    pub(super) fn audit_again(&self) {
        if self.audit.is_time_to_look(self.now()) {
            self.audit_standing(&self.view());
        }
    }

    /// Everything that stands.
    pub(super) fn audit_standing(&self, view: &View) {
        if view.channels.values().all(|channel| channel.audit.is_none()) {
            return;
        }
        for subscriber in self.subscribers() {
            let name = &subscriber.name;
            let Some(channel) = view.channels.get(name) else { continue };
            self.audit_subscription(name, channel);
            for peer in route::sources(view, name, self.sidecar()) {
                if route::is_tried(channel, Operation::Publish, Some(&peer.identity)) {
                    self.tell((name.clone(), Operation::Publish, Side::Peer, Arc::clone(&peer.identity)));
                }
            }
        }
        for (name, peer) in self.guests_by_identity() {
            if let Some(channel) = view.channels.get(&name) {
                self.audit_guest(&name, channel, &peer);
            }
        }
    }

    fn tell(&self, what: Told) {
        if self.audit.is_due(&what, self.now()) {
            self.count(&what);
            self.log(&what);
        }
    }

    fn count(&self, (name, operation, side, _): &Told) {
        let [kind, namespace, name] = ObjectLabels::from(name).values();
        let labels = [kind, namespace, name, operation.as_str(), side.as_str()];
        self.metrics().audited.with_label_values(&labels).inc();
    }

    fn log(&self, (name, operation, side, identity): &Told) {
        let own;
        let service_account = if identity.is_empty() {
            own = self.identity();
            own.as_str()
        } else {
            identity
        };
        tracing::warn!(
            channel = %name,
            service_account,
            field = operation.field(),
            side = side.as_str(),
            "let through since spec.access.mode is Audit; Enforce would refuse it: add the service account to the field"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn what(name: usize) -> Told {
        let name = ChannelName { namespace: "shop".into(), name: name.to_string().into() };
        (name, Operation::Publish, Side::Peer, "shop/a".into())
    }

    /// Goal: the same is told once a minute, and what is remembered has a limit, beyond which is waited.
    #[test]
    fn each_is_told_once_a_minute() {
        let audit = Audit::default();
        let at = Duration::from_secs;
        assert!(audit.is_due(&what(0), at(0)) && !audit.is_due(&what(0), at(59)));
        assert!(audit.is_due(&what(1), at(59)) && audit.is_due(&what(0), at(60)));
        for name in 2..TOLD_MAX {
            assert!(audit.is_due(&what(name), at(60)));
        }
        assert!(!audit.is_due(&what(TOLD_MAX), at(61)), "no room");
        assert!(audit.is_due(&what(TOLD_MAX), at(120)), "the others are old");
        assert!(audit.state.lock().unwrap().told.len() <= TOLD_MAX);
    }
}
