//! A sidecar's real core in memory with open doors around it, for the tests of the doors. No
//! peers and no control plane: what one app publishes, another app of the same pod gets.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use runtime::shutdown::Shutdown;
use runtime::tasks::Tasks;
use runtime::tls::Credentials;
use tempfile::TempDir;
use tokio::sync::watch;

use super::{Doors, Opened, Settings, TcpDoor};
use crate::delivery::{Core, CoreParts, Presence};
use crate::durable::Topics;
use crate::messaging::{ChannelName, Channels, Message};
use crate::metrics::Metrics;
use crate::view::{Acknowledge, ChannelView, Overflow, Pattern, View};

/// Generous: the machine may be busy.
pub(super) const DEADLINE: Duration = Duration::from_secs(60);

pub(super) const MESSAGE_BYTES_MAX: usize = 1024 * 1024;
/// Small, so that tests reach it: messages that wait for one subscriber.
pub(super) const BUFFER_MESSAGES: usize = 1000;

/// Doors that are open until it is dropped.
pub(super) struct Stage {
    pub(super) doors: Doors,
    pub(super) opened: Opened,
    pub(super) folder: TempDir,
    pub(super) view: watch::Sender<Arc<View>>,
    /// Views reach open subscriptions through it.
    core: Arc<Core>,
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.doors.tasks.shutdown().begin();
    }
}

pub(super) fn channel(namespace: &str, name: &str) -> ChannelName {
    ChannelName { namespace: namespace.into(), name: name.into() }
}

pub(super) fn pub_sub() -> ChannelView {
    ChannelView {
        pattern: Pattern::PubSub,
        overflow: Overflow::Block,
        block_timeout: Duration::from_millis(500),
        buffer_messages: BUFFER_MESSAGES,
        buffer_bytes: 4 * MESSAGE_BYTES_MAX,
        max_message_bytes: MESSAGE_BYTES_MAX,
        may_publish: true,
        may_subscribe: true,
        publishers: Vec::new(),
        subscriber_identities: Vec::new(),
        publisher_identities: Vec::new(),
        ..ChannelView::default()
    }
}

/// The Channels of all tests: `prices`, one of another namespace, one that is closed to this app,
/// and one each of the other patterns.
pub(super) fn view() -> View {
    let closed = ChannelView { may_publish: false, may_subscribe: false, ..pub_sub() };
    let jobs = ChannelView { pattern: Pattern::Pipeline, acknowledge: Acknowledge::Required, ..pub_sub() };
    let asking = ChannelView { pattern: Pattern::RequestReply, ..pub_sub() };
    View {
        version: 1,
        channels: [
            (channel("shop", "prices"), pub_sub()),
            (channel("infra", "ticks"), pub_sub()),
            (channel("shop", "closed"), closed),
            (channel("shop", "asking"), asking),
            (channel("shop", "jobs"), jobs),
        ]
        .into(),
        ..View::default()
    }
}

impl Stage {
    pub(super) async fn open() -> Self {
        Self::with(view(), None).await
    }

    /// With Topics made elsewhere; `view` must have them too.
    pub(super) async fn with(view: View, topics: Option<Topics>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (view, receiver) = watch::channel(Arc::new(view));
        let tasks = Tasks::new(Shutdown::new());
        let metrics = Metrics::new().unwrap();
        let topics =
            topics.unwrap_or_else(|| Topics::nowhere(receiver.clone(), metrics.clone(), tasks.clone()));
        let core = Core::new(CoreParts {
            sidecar: "shop/web-0".into(),
            view: receiver.clone(),
            metrics: metrics.clone(),
            connections: tasks.clone(),
            background: tasks.clone(),
            credentials: Credentials::empty(),
            topics: topics.clone(),
            presence: Presence::default(),
        });
        let doors = Doors {
            channels: Channels::new(Arc::clone(&core)),
            topics,
            view: receiver,
            namespace: "shop".into(),
            metrics,
            tasks,
        };
        let settings = Settings {
            listen: Some((Ipv4Addr::LOCALHOST, 0).into()),
            socket: Some(folder.path().join("api.sock")),
            zmq_dir: Some(folder.path().join("zmq")),
            zmq_listen: ["prices.sub", "asking.dealer"]
                .map(|name| format!("{name}=tcp://127.0.0.1:0").parse::<TcpDoor>().unwrap())
                .into(),
            zmq_connect: Vec::new(),
            push: Vec::new(),
        };
        let opened = super::open(doors.clone(), settings).await.unwrap();
        Self { doors, opened, folder, view, core }
    }

    /// A new view, applied to open subscriptions and doors alike.
    pub(super) fn change(&self, change: impl FnOnce(&mut View)) {
        let mut view = View::clone(&self.view.borrow());
        change(&mut view);
        self.core.apply_view(&view);
        self.view.send_replace(Arc::new(view));
    }

    /// Whether an app subscribes to a Channel.
    pub(super) fn has_subscriber(&self, name: &ChannelName) -> bool {
        self.core.subscribers().iter().any(|subscriber| subscriber.name == *name)
    }

    /// `http://` and the door's address.
    pub(super) fn url(&self) -> String {
        format!("http://{}", self.opened.listen.unwrap())
    }
}

pub(super) fn message(subject: &str, part: &str) -> Message {
    Message {
        subject: Bytes::copy_from_slice(subject.as_bytes()),
        parts: vec![Bytes::copy_from_slice(part.as_bytes())],
        ..Message::default()
    }
}

/// Fails the test instead of hanging it.
pub(super) async fn soon<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, work).await.expect("it did not happen in time")
}

/// Measures how much this process grows. One test at a time: the others would be measured too.
pub(super) struct Growth {
    _alone: tokio::sync::MutexGuard<'static, ()>,
    before: usize,
}

static MEASURING: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

impl Growth {
    pub(super) async fn begin() -> Self {
        let alone = MEASURING.lock().await;
        Self { _alone: alone, before: resident_bytes() }
    }

    /// Fails when more than `limit_mib` was added since the beginning.
    pub(super) fn assert_below(&self, limit_mib: usize) {
        let grown = resident_bytes().saturating_sub(self.before);
        assert!(grown < limit_mib * 1024 * 1024, "{grown} bytes grown");
    }
}

fn resident_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}
