//! Pure: a name and the view → what may be done, or the refusal that says what to change.

use crate::messaging::{ChannelName, Problem, ProblemKind};
use crate::view::{Acknowledge, ChannelView, IdentityPattern, Overflow, Pattern, PeerView, View};

fn refuse(kind: ProblemKind, text: String) -> Problem {
    Problem::new(kind, text)
}

/// The Channel, if it exists and this version can carry it.
fn usable<'a>(view: &'a View, name: &ChannelName) -> Result<&'a ChannelView, Problem> {
    if !view.is_known() {
        let text = format!("{name}: this sidecar has no view from the control plane yet; try again");
        return Err(refuse(ProblemKind::Unavailable, text));
    }
    let channel = view.channels.get(name).ok_or_else(|| {
        let (namespace, object) = (&name.namespace, &name.name);
        let text = format!(
            "{name} does not exist, or this service account is in neither spec.access.publish nor \
             spec.access.subscribe; see `kubectl get pchannel {object} -n {namespace}`"
        );
        refuse(ProblemKind::NotFound, text)
    })?;
    if !channel.problem.is_empty() {
        return Err(refuse(ProblemKind::Unavailable, format!("{name}: {}", channel.problem)));
    }
    match not_built(channel).or_else(|| does_not_fit(channel)) {
        Some(text) => Err(refuse(ProblemKind::NotSupported, format!("{name}: {text}"))),
        None => Ok(channel),
    }
}

/// What this version cannot carry, when a newer control plane sends it: refused, never ignored.
fn not_built(channel: &ChannelView) -> Option<String> {
    if channel.pattern == Pattern::Unknown {
        return Some("spec.pattern is one that this sidecar does not know; update the sidecar".to_owned());
    }
    let overflow = channel.overflow;
    let fields = [
        ("spec.delivery.overflow", overflow == Overflow::Unknown),
        ("spec.delivery.acknowledge", channel.acknowledge == Acknowledge::Unknown),
    ];
    let (field, _) = fields.into_iter().find(|(_, set)| *set)?;
    Some(format!("{field} is one that this sidecar does not know; change it, or update the sidecar"))
}

/// Fields that are built and do not go together.
fn does_not_fit(channel: &ChannelView) -> Option<String> {
    let (pattern, overflow) = (channel.pattern, channel.overflow);
    let acknowledged = channel.acknowledge == Acknowledge::Required;
    if (overflow == Overflow::Spill) != channel.spill.is_some() {
        return Some(
            "spec.delivery.spill names the Topic of spec.delivery.overflow Spill: set both or neither"
                .to_owned(),
        );
    }
    if overflow == Overflow::Spill && pattern == Pattern::RequestReply {
        return Some(
            "spec.delivery.overflow Spill is not for spec.pattern RequestReply: a request has a deadline; use Block"
                .to_owned(),
        );
    }
    let refuses = matches!(overflow, Overflow::Block | Overflow::DropNewest | Overflow::Spill);
    if !refuses && pattern != Pattern::PubSub {
        return Some(format!(
            "spec.delivery.overflow {overflow:?} is for spec.pattern PubSub; with {pattern:?}, where any receiver may \
             have a message, use Block, DropNewest or Spill"
        ));
    }
    if !refuses && acknowledged {
        return Some(format!(
            "spec.delivery.overflow {overflow:?} gives up messages that nobody has acknowledged; with \
             spec.delivery.acknowledge Required use Block, DropNewest or Spill"
        ));
    }
    if channel.replay.is_some() && (pattern != Pattern::PubSub || acknowledged) {
        return Some(
            "spec.delivery.replay is for spec.pattern PubSub with spec.delivery.acknowledge None; remove it"
                .to_owned(),
        );
    }
    if channel.record.is_some() && pattern == Pattern::RequestReply {
        return Some("spec.record is not for spec.pattern RequestReply; remove it".to_owned());
    }
    if acknowledged && pattern == Pattern::RequestReply {
        return Some(
            "spec.delivery.acknowledge is not for spec.pattern RequestReply: a reply acknowledges".to_owned(),
        );
    }
    None
}

/// Whether this sidecar's app may publish. `own` is its service account, for the text.
pub(crate) fn publish<'a>(view: &'a View, name: &ChannelName, own: &str) -> Result<&'a ChannelView, Problem> {
    let channel = send(view, name, own)?;
    if channel.pattern == Pattern::RequestReply {
        Err(other_call(name, channel, "Request"))
    } else {
        Ok(channel)
    }
}

/// Whether this sidecar's app may send requests.
pub(crate) fn request<'a>(view: &'a View, name: &ChannelName, own: &str) -> Result<&'a ChannelView, Problem> {
    let channel = send(view, name, own)?;
    if channel.pattern == Pattern::RequestReply {
        Ok(channel)
    } else {
        Err(other_call(name, channel, "Publish"))
    }
}

fn send<'a>(view: &'a View, name: &ChannelName, own: &str) -> Result<&'a ChannelView, Problem> {
    let channel = usable(view, name)?;
    if channel.may_publish { Ok(channel) } else { Err(denied(name, own, "publish to", "publish")) }
}

/// Whether this sidecar's app may subscribe.
pub(crate) fn subscribe<'a>(
    view: &'a View,
    name: &ChannelName,
    own: &str,
) -> Result<&'a ChannelView, Problem> {
    let channel = receive(view, name, own)?;
    if channel.pattern == Pattern::RequestReply {
        Err(other_call(name, channel, "Serve"))
    } else {
        Ok(channel)
    }
}

/// Whether this sidecar's app may answer requests.
pub(crate) fn answer<'a>(view: &'a View, name: &ChannelName, own: &str) -> Result<&'a ChannelView, Problem> {
    let channel = receive(view, name, own)?;
    if channel.pattern == Pattern::RequestReply {
        Ok(channel)
    } else {
        Err(other_call(name, channel, "Subscribe"))
    }
}

/// Whether this sidecar's app may have what is sent, however it takes it.
pub(crate) fn receive<'a>(view: &'a View, name: &ChannelName, own: &str) -> Result<&'a ChannelView, Problem> {
    let channel = usable(view, name)?;
    if channel.may_subscribe { Ok(channel) } else { Err(denied(name, own, "subscribe to", "subscribe")) }
}

fn other_call(name: &ChannelName, channel: &ChannelView, call: &str) -> Problem {
    let text = format!("{name}: it has spec.pattern {:?}; use {call}", channel.pattern);
    refuse(ProblemKind::InvalidArgument, text)
}

/// Whether a peer may get what this sidecar's app publishes.
pub(crate) fn serve<'a>(view: &'a View, name: &ChannelName, peer: &str) -> Result<&'a ChannelView, Problem> {
    let channel = usable(view, name)?;
    if !may(channel, &channel.subscriber_identities, peer) {
        return Err(denied(name, peer, "subscribe to", "subscribe"));
    }
    if !channel.may_publish {
        let text = format!("{name}: this sidecar's service account is not in spec.access.publish of it");
        return Err(refuse(ProblemKind::NotFound, text));
    }
    Ok(channel)
}

/// Whom to dial for a Channel: its publishers that may publish, without this sidecar itself.
pub(crate) fn sources<'a>(
    view: &'a View,
    name: &ChannelName,
    own_sidecar: &'a str,
) -> impl Iterator<Item = &'a PeerView> {
    let channel = usable(view, name).ok().filter(|channel| channel.may_subscribe);
    channel.into_iter().flat_map(move |channel| {
        channel.publishers.iter().filter(move |peer| {
            &*peer.sidecar != own_sidecar && may(channel, &channel.publisher_identities, &peer.identity)
        })
    })
}

/// Whether a peer may be heard on a Channel, named as a publisher or not.
pub(crate) fn may_hear(view: &View, name: &ChannelName, peer: &PeerView) -> bool {
    let channel = usable(view, name).ok().filter(|channel| channel.may_subscribe);
    channel.is_some_and(|channel| may(channel, &channel.publisher_identities, &peer.identity))
}

/// What a service account does, as the lists of `spec.access` divide it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Operation {
    Publish,
    Subscribe,
}

impl Operation {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Subscribe => "subscribe",
        }
    }

    /// Where who may do so is listed.
    pub(crate) const fn field(self) -> &'static str {
        match self {
            Self::Publish => "spec.access.publish",
            Self::Subscribe => "spec.access.subscribe",
        }
    }
}

/// Whether somebody is let through only because the lists are not enforced: a peer, or else our own service account.
pub(crate) fn is_tried(channel: &ChannelView, operation: Operation, peer: Option<&str>) -> bool {
    let Some(listed) = channel.audit else { return false };
    let named = match (operation, peer) {
        (Operation::Publish, None) => listed.publish,
        (Operation::Subscribe, None) => listed.subscribe,
        (Operation::Publish, Some(peer)) => includes(&channel.publisher_identities, peer),
        (Operation::Subscribe, Some(peer)) => includes(&channel.subscriber_identities, peer),
    };
    !named
}

/// Whether a list lets a peer through.
fn may(channel: &ChannelView, list: &[IdentityPattern], peer: &str) -> bool {
    channel.audit.is_some() || includes(list, peer)
}

fn includes(patterns: &[IdentityPattern], identity: &str) -> bool {
    patterns.iter().any(|pattern| pattern.matches(identity))
}

fn denied(name: &ChannelName, who: &str, verb: &str, field: &str) -> Problem {
    let text = format!(
        "service account {who} may not {verb} {name}; add it to spec.access.{field} of Channel {} in namespace {}",
        name.name, name.namespace
    );
    refuse(ProblemKind::PermissionDenied, text)
}

#[cfg(test)]
mod tests;
