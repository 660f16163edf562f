//! Nodes of a small mesh, and a proxy that can cut or freeze what runs through it.

use crate::delivery::{Core, CoreParts, Presence};
use crate::durable::{Settings, Topics};
use crate::messaging::{
    ChannelEvent, ChannelName, ChannelStart, ChannelSubscription, Channels, Message, SubscribeOptions,
};
use crate::metrics::Metrics;
use crate::peer;
use crate::view::{ChannelView, IdentityPattern, Overflow, Pattern, PeerView, View};
use bytes::Bytes;
use runtime::shutdown::Shutdown;
use runtime::tasks::{OnError, Tasks};
use runtime::tls::{Credentials, Material};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use testkit::certificates::{Pem, TestAuthority};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Generous: the machine may be busy.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

pub(crate) fn prices() -> ChannelName {
    ChannelName { namespace: "shop".into(), name: "prices".into() }
}

/// Everybody of namespace `shop` may do both.
pub(crate) fn channel() -> ChannelView {
    ChannelView {
        pattern: Pattern::PubSub,
        overflow: Overflow::Block,
        block_timeout: DEADLINE,
        buffer_messages: 1000,
        buffer_bytes: 1 << 20,
        max_message_bytes: 1 << 20,
        may_publish: true,
        may_subscribe: true,
        publishers: Vec::new(),
        subscriber_identities: vec![IdentityPattern("shop/*".into())],
        publisher_identities: vec![IdentityPattern("shop/*".into())],
        ..ChannelView::default()
    }
}

/// One sidecar without doors and without a control plane.
pub(crate) struct Node {
    pub(crate) core: Arc<Core>,
    pub(crate) channels: Channels,
    pub(crate) address: SocketAddr,
    pub(crate) account: String,
    views: watch::Sender<Arc<View>>,
    pub(crate) connections: Tasks,
}

pub(crate) fn credentials(pem: &Pem) -> Credentials {
    Credentials::new(Material::from_pem(&pem.chain, &pem.key, &pem.bundle).unwrap())
}

impl Node {
    pub(crate) async fn start(authority: &TestAuthority, pod: &str, account: &str) -> Self {
        let nowhere = Settings { bootstrap: "127.0.0.1:1".into(), client_name: "shop/none".into() };
        Self::start_with(authority, (pod, account), nowhere).await
    }

    /// With something of its own to tell its peers.
    pub(crate) async fn start_as(authority: &TestAuthority, who: (&str, &str), presence: Presence) -> Self {
        let nowhere = Settings { bootstrap: "127.0.0.1:1".into(), client_name: "shop/none".into() };
        Self::begin(authority, who, (nowhere, presence)).await
    }

    /// With a broker for its Topics.
    pub(crate) async fn start_with(authority: &TestAuthority, who: (&str, &str), broker: Settings) -> Self {
        Self::begin(authority, who, (broker, Presence::default())).await
    }

    async fn begin(
        authority: &TestAuthority,
        (pod, account): (&str, &str),
        (broker, presence): (Settings, Presence),
    ) -> Self {
        let (views, view) = watch::channel(Arc::new(View::default()));
        let connections = Tasks::new(Shutdown::new());
        let background = Tasks::new(Shutdown::new());
        let metrics = Metrics::new().unwrap();
        let topics = Topics::new(broker, view.clone(), metrics.clone(), background.clone());
        let core = Core::new(CoreParts {
            sidecar: format!("shop/{pod}").into(),
            view,
            metrics,
            connections: connections.clone(),
            background: background.clone(),
            credentials: credentials(&authority.account("shop", account)),
            topics,
            presence,
        });
        let listener = peer::Listener::open("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = listener.address;
        let accepted = Arc::new(peer::Accepted::default());
        let port = listener.run(Arc::clone(&core), Arc::clone(&accepted));
        drop(background.spawn_until_shutdown("listener", port));
        let pool = peer::run_pool(Arc::clone(&core), accepted, peer::Tls);
        drop(background.spawn_until_shutdown("pool", pool));
        drop(background.spawn_until_shutdown("views", Arc::clone(&core).follow_views()));
        let account = format!("shop/{account}");
        let channels = Channels::new(Arc::clone(&core));
        Self { core, channels, address, account, views, connections }
    }

    /// A view with one Channel, `shop/prices`.
    pub(crate) fn show(&self, channel: ChannelView) {
        self.show_with(channel, View::default());
    }

    /// That Channel, in a view that has something else as well.
    pub(crate) fn show_with(&self, channel: ChannelView, view: View) {
        let version = self.views.borrow().version + 1;
        let channels = [(prices(), channel)].into();
        self.views.send_replace(Arc::new(View { version, channels, ..view }));
    }

    /// How others find this node.
    pub(crate) fn as_peer(&self) -> PeerView {
        self.as_peer_at(self.address)
    }

    pub(crate) fn as_peer_at(&self, address: SocketAddr) -> PeerView {
        PeerView {
            sidecar: Arc::clone(self.core.sidecar()),
            address: address.to_string().into(),
            identity: self.account.as_str().into(),
        }
    }

    pub(crate) async fn subscribe(&self, credit: u32) -> ChannelSubscription {
        let options = SubscribeOptions { credit, ..SubscribeOptions::default() };
        self.channels.subscribe(&prices(), options).await.unwrap()
    }

    /// A subscription that begins with what publishers keep.
    pub(crate) async fn subscribe_late(&self, credit: u32) -> ChannelSubscription {
        let start = ChannelStart::Kept;
        let options = SubscribeOptions { credit, start, ..SubscribeOptions::default() };
        self.channels.subscribe(&prices(), options).await.unwrap()
    }

    /// Publishes messages whose one part is their number, and whose subject is the number's last digit.
    pub(crate) async fn publish(&self, numbers: std::ops::Range<u64>) {
        self.channels.publish(&prices(), numbers.map(numbered).collect()).await.unwrap();
    }

    /// Waits until `count` subscriptions of peers are served.
    pub(crate) async fn wait_for_guests(&self, count: usize) {
        let wait = async {
            while self.core.guest_count() != count {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(DEADLINE, wait).await.expect("the peers subscribe");
    }
}

pub(crate) fn numbered(number: u64) -> Message {
    Message {
        subject: Bytes::from((number % 10).to_string()),
        parts: vec![Bytes::from(number.to_string())],
        ..Message::default()
    }
}

/// A publisher and a subscriber that has found it.
pub(crate) async fn pair(view: ChannelView, credit: u32) -> (Node, Node, ChannelSubscription) {
    let authority = TestAuthority::new();
    let publisher = Node::start(&authority, "publisher", "pricing").await;
    let subscriber = Node::start(&authority, "subscriber", "billing").await;
    publisher.show(view.clone());
    subscriber.show(ChannelView { publishers: vec![publisher.as_peer()], ..view });
    let subscription = subscriber.subscribe(credit).await;
    publisher.wait_for_guests(1).await;
    (publisher, subscriber, subscription)
}

/// A publisher, and two others that find it once they subscribe.
pub(crate) async fn three(view: ChannelView) -> [Node; 3] {
    let authority = TestAuthority::new();
    let publisher = Node::start(&authority, "publisher", "pricing").await;
    let first = Node::start(&authority, "first", "billing").await;
    let second = Node::start(&authority, "second", "audit").await;
    publisher.show(view.clone());
    for node in [&first, &second] {
        node.show(ChannelView { publishers: vec![publisher.as_peer()], ..view.clone() });
    }
    [publisher, first, second]
}

/// A publisher and a subscriber with a proxy between them. The publisher allows it, and nobody subscribes yet.
pub(crate) async fn proxied(view: ChannelView) -> (Node, Node, Proxy) {
    let authority = TestAuthority::new();
    let publisher = Node::start(&authority, "publisher", "pricing").await;
    let subscriber = Node::start(&authority, "subscriber", "billing").await;
    let proxy = Proxy::start(publisher.address).await;
    publisher.show(view.clone());
    let peer = publisher.as_peer_at(proxy.address);
    subscriber.show(ChannelView { publishers: vec![peer], ..view });
    (publisher, subscriber, proxy)
}

/// What a subscription brought.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) numbers: Vec<u64>,
    /// First, last, messages, reason.
    pub(crate) gaps: Vec<(i64, i64, u64, &'static str)>,
    pub(crate) ended: Option<crate::messaging::Problem>,
}

impl Seen {
    pub(crate) fn total(&self) -> u64 {
        self.numbers.len() as u64 + self.gaps.iter().map(|gap| gap.2).sum::<u64>()
    }

    /// Takes one answer and gives the credit back.
    pub(crate) async fn take(&mut self, subscription: &mut ChannelSubscription) -> bool {
        let Ok(answer) = tokio::time::timeout(DEADLINE, subscription.next()).await else {
            panic!("nothing came in time after {} messages, gaps {:?}", self.numbers.len(), self.gaps)
        };
        let Some(events) = answer else { return false };
        let mut messages = 0;
        for event in events {
            match event {
                ChannelEvent::Message { position, message, .. } => {
                    let number: u64 = std::str::from_utf8(&message.parts[0]).unwrap().parse().unwrap();
                    assert_eq!(position.offset as u64, number + 1, "sequence numbers count from 1");
                    self.numbers.push(number);
                    messages += 1;
                }
                ChannelEvent::Gap { first, last, messages, reason, .. } => {
                    self.gaps.push((first, last, messages, reason));
                }
                ChannelEvent::End { reason } => self.ended = Some(reason),
            }
        }
        subscription.grant(messages);
        true
    }

    /// Takes until so many messages were delivered or told as a gap.
    pub(crate) async fn take_total(&mut self, subscription: &mut ChannelSubscription, total: u64) {
        while self.total() < total {
            assert!(self.take(subscription).await, "the subscription ended: {:?}", self.ended);
        }
    }
}

/// Forwards TCP connections, until told otherwise.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    frozen: watch::Sender<bool>,
    generation: watch::Sender<u64>,
}

impl Proxy {
    pub(crate) async fn start(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (frozen, generation) = (watch::Sender::new(false), watch::Sender::new(0));
        let (freezing, cutting) = (frozen.subscribe(), generation.subscribe());
        let tasks = Tasks::new(Shutdown::new());
        let inner = tasks.clone();
        drop(tasks.spawn_until_shutdown("proxy", async move {
            while let Ok((near, _)) = listener.accept().await {
                let (freezing, cutting) = (freezing.clone(), cutting.clone());
                drop(inner.spawn("proxied", OnError::Log, async move {
                    let far = TcpStream::connect(target).await.unwrap();
                    forward(near, far, freezing, cutting).await;
                    Ok::<_, std::convert::Infallible>(())
                }));
            }
        }));
        Self { address, frozen, generation }
    }

    /// Ends all connections, with whatever is on its way.
    pub(crate) fn cut(&self) {
        self.generation.send_modify(|count| *count += 1);
    }

    /// Nothing passes any more, and nobody is told.
    pub(crate) fn freeze(&self) {
        self.frozen.send_replace(true);
    }

    /// What is behind it has died, as far as anybody can tell.
    pub(crate) fn kill(&self) {
        self.freeze();
        self.cut();
    }

    /// New connections pass again; those that were frozen stay so.
    pub(crate) fn thaw(&self) {
        self.frozen.send_replace(false);
    }
}

async fn forward(
    mut near: TcpStream,
    mut far: TcpStream,
    mut freezing: watch::Receiver<bool>,
    mut cutting: watch::Receiver<u64>,
) {
    cutting.mark_unchanged();
    let frozen = async { freezing.wait_for(|frozen| *frozen).await.is_ok() };
    let stay = tokio::select! {
        _ = tokio::io::copy_bidirectional(&mut near, &mut far) => false,
        _ = cutting.changed() => false,
        frozen = frozen => frozen,
    };
    if stay {
        // The sockets stay open and silent for longer than any test lasts, unless they are cut.
        drop(tokio::time::timeout(DEADLINE * 10, cutting.changed()).await);
    }
}
