//! What a seed means: nodes, Channels and their settings, who does what, and what goes wrong.

use crate::messaging::ChannelName;
use crate::view::{
    Acknowledge, ChannelView, IdentityPattern, Overflow, Pattern, PeerView, Redeliver, Replay, View,
};
use std::sync::Arc;
use std::time::Duration;
use testkit::chance::Chance;

/// What goes wrong in a run.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Faults {
    /// Connections end with what is on them, or fall silent, or are refused.
    pub(super) lines: bool,
    /// Nodes cannot reach each other for a while.
    pub(super) partitions: bool,
    /// Processes die and come back.
    pub(super) crashes: bool,
    /// Processes end in order and come back.
    pub(super) drains: bool,
}

impl Faults {
    pub(super) const fn any(self) -> bool {
        self.lines || self.partitions || self.crashes || self.drains
    }
}

/// One Channel and who uses it.
#[derive(Debug)]
pub(super) struct Scene {
    pub(super) name: ChannelName,
    pub(super) view: ChannelView,
    pub(super) publishers: Vec<usize>,
    pub(super) subscribers: Vec<usize>,
    /// Subscriptions of one node.
    pub(super) subscriptions: u64,
    pub(super) credit_max: u64,
    /// The longest pause of a publisher, and of a subscriber between two looks.
    pub(super) publish_pause_ms: u64,
    pub(super) slow_ms: u64,
    /// Subscribers go and come back.
    pub(super) fickle: bool,
    /// Some ask for a part only.
    pub(super) prefixes: bool,
    /// Apps do not acknowledge or answer everything, or want it again.
    pub(super) careless: bool,
    /// Messages have keys.
    pub(super) keyed: bool,
    pub(super) payload_max: u64,
}

/// See the head of the file.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) nodes: usize,
    pub(super) scenes: Vec<Scene>,
    pub(super) faults: Faults,
    pub(super) ragged: bool,
    /// How long apps publish and things go wrong.
    pub(super) busy: Duration,
    pub(super) delay_ms_max: u64,
    pub(super) line_bytes_max: usize,
}

impl Plan {
    pub(super) fn choose(seed: u64) -> Self {
        let mut chance = Chance::new(seed, 0);
        let nodes = 2 + usize::try_from(chance.below(3)).unwrap_or(0);
        let faults = match chance.below(6) {
            0 => Faults::default(),
            1 => Faults { lines: true, ..Faults::default() },
            2 => Faults { partitions: true, lines: chance.one_in(2), ..Faults::default() },
            3 => Faults { crashes: true, ..Faults::default() },
            4 => Faults { drains: true, ..Faults::default() },
            _ => Faults { lines: true, partitions: true, crashes: true, drains: true },
        };
        let count = 1 + chance.below(3);
        let scenes = (0..count).map(|index| Scene::choose(&mut chance, index, nodes)).collect();
        Self {
            nodes,
            scenes,
            faults,
            ragged: chance.one_in(4),
            busy: Duration::from_millis(2_000 + chance.below(10_000)),
            delay_ms_max: [1, 5, 30, 120][usize::try_from(chance.below(4)).unwrap_or(0)],
            line_bytes_max: 1 << (9 + chance.below(8)),
        }
    }

    /// How a node is called.
    pub(super) fn sidecar(node: usize) -> Arc<str> {
        format!("shop/node-{node}").into()
    }

    pub(super) fn identity(node: usize) -> Arc<str> {
        format!("shop/account-{node}").into()
    }

    fn peer(node: usize) -> PeerView {
        PeerView {
            sidecar: Self::sidecar(node),
            address: node.to_string().into(),
            identity: Self::identity(node),
        }
    }

    /// What the control plane tells a node.
    pub(super) fn view(&self, node: usize) -> View {
        let channels = self.scenes.iter().map(|scene| {
            let subscribes = scene.subscribers.contains(&node);
            let others = scene.publishers.iter().filter(|other| **other != node && subscribes);
            let view = ChannelView {
                may_publish: scene.publishers.contains(&node),
                may_subscribe: subscribes,
                publishers: others.map(|other| Self::peer(*other)).collect(),
                ..scene.view.clone()
            };
            (scene.name.clone(), view)
        });
        View { version: 1, channels: channels.collect(), ..View::default() }
    }
}

/// Some of the nodes, at least one.
fn some(chance: &mut Chance, nodes: usize) -> Vec<usize> {
    let mut chosen: Vec<usize> = (0..nodes).filter(|_| chance.one_in(2)).collect();
    if chosen.is_empty() {
        chosen.push(usize::try_from(chance.below(nodes as u64)).unwrap_or(0));
    }
    chosen
}

impl Scene {
    /// Each message goes to one receiver, or is acknowledged.
    pub(super) fn is_numbered(&self) -> bool {
        self.view.pattern != Pattern::PubSub || self.view.acknowledge == Acknowledge::Required
    }

    /// Messages that may wait for one subscriber, or for all who share them.
    pub(super) fn waiting_max(&self, nodes: usize) -> usize {
        let buffer = self.view.buffer_messages;
        let credit = usize::try_from(self.credit_max).unwrap_or(usize::MAX);
        if self.view.pattern != Pattern::PubSub {
            // As much again for each receiver, and what those had that went away.
            let receivers = nodes * usize::try_from(self.subscriptions).unwrap_or(1);
            return buffer * (2 * receivers + 1) + 1;
        }
        // What was on its way when a connection ended waits again, and what was kept comes on top.
        buffer + credit + self.view.replay.map_or(0, |replay| replay.messages)
    }

    /// Messages that may wait for an app: its credit for the first publisher, half of it for the second, and so on.
    pub(super) fn held_max(&self, nodes: usize) -> u64 {
        (1..=nodes as u64).map(|share| (self.credit_max / share).max(1)).sum()
    }

    fn choose(chance: &mut Chance, index: u64, nodes: usize) -> Self {
        let (pattern, acknowledge) = match chance.below(10) {
            0 => (Pattern::Pipeline, Acknowledge::None),
            1 | 2 => (Pattern::Pipeline, Acknowledge::Required),
            3 | 4 => (Pattern::PubSub, Acknowledge::Required),
            5 => (Pattern::RequestReply, Acknowledge::None),
            _ => (Pattern::PubSub, Acknowledge::None),
        };
        let plain = pattern == Pattern::PubSub && acknowledge == Acknowledge::None;
        let overflow = match chance.below(5) {
            0 => Overflow::DropNewest,
            1 if plain => Overflow::DropOldest,
            2 if plain => Overflow::KeepLatest,
            _ => Overflow::Block,
        };
        let keeps = chance.one_in(3) && plain;
        let replay = keeps.then(|| Replay {
            messages: 1 + usize::try_from(chance.below(60)).unwrap_or(0),
            bytes: 1 << 20,
            time: Duration::from_secs(3600),
        });
        let view = ChannelView {
            pattern,
            overflow,
            acknowledge,
            block_timeout: Duration::from_millis(20 + chance.below(5_000)),
            buffer_messages: 1 + usize::try_from(chance.below(64)).unwrap_or(0),
            buffer_bytes: 1 << (8 + chance.below(9)),
            max_message_bytes: 4096,
            subscriber_identities: vec![IdentityPattern("shop/*".into())],
            publisher_identities: vec![IdentityPattern("shop/*".into())],
            redeliver: Redeliver {
                after: Duration::from_millis(1_000 + chance.below(2_000)),
                attempts: 2 + u32::try_from(chance.below(3)).unwrap_or(0),
            },
            replay,
            request_timeout: Duration::from_millis(500 + chance.below(4_000)),
            ..ChannelView::default()
        };
        Self {
            name: ChannelName { namespace: "shop".into(), name: format!("channel-{index}").into() },
            view,
            publishers: some(chance, nodes),
            subscribers: some(chance, nodes),
            subscriptions: 1 + chance.below(2),
            credit_max: 1 << chance.below(8),
            publish_pause_ms: 32 << chance.below(5),
            slow_ms: 1 << chance.below(7),
            fickle: chance.one_in(4),
            prefixes: chance.one_in(3) && pattern == Pattern::PubSub,
            careless: chance.one_in(3),
            keyed: chance.one_in(3),
            payload_max: 1 << (4 + chance.below(7)),
        }
    }
}
