//! All Channels of this sidecar: outlets by name, subscriptions by id, and what a new view means for them.

use super::audit::Audit;
use super::outlet::{Begin, Outlet, Policy, limits_of};
use super::presence::Presence;
use super::queue::Queue;
use super::serve::Guests;
use super::share::rules_of;
use super::subscriber::{Acks, Bounds, Parts as SubscriberParts, Subscriber, restarted};
use crate::durable::Topics;
use crate::messaging::{
    ChannelName, ChannelStart, ChannelSubscription, Message, Position, Problem, ProblemKind, Resumed,
    SubscribeOptions,
};
use crate::metrics::{ChannelMetrics, Metrics};
use crate::route;
use crate::view::{Acknowledge, ChannelView, Pattern, View, ViewReceiver};
use runtime::clock::{self, Instant};
use runtime::shutdown::Shutdown;
use runtime::tasks::Tasks;
use runtime::tls::Credentials;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, Semaphore, watch};

/// Most subscriptions of the apps of one pod.
const SUBSCRIBERS_MAX: usize = 4096;
/// Subscribers that read back what overflowed at the same time; others wait for their turn.
const SPILL_READERS_MAX: usize = 8;
/// How often messages that are kept are looked at for their age.
const SWEEP: Duration = Duration::from_secs(1);

/// What the control plane is to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ChannelUse {
    pub(crate) name: ChannelName,
    pub(crate) publishes: bool,
    pub(crate) subscribes: bool,
}

/// What the core is made from.
pub(crate) struct Parts {
    /// `NAMESPACE/POD`.
    pub(crate) sidecar: Arc<str>,
    pub(crate) view: ViewReceiver,
    pub(crate) metrics: Metrics,
    /// Connections: they end by themselves when the core drains.
    pub(crate) connections: Tasks,
    /// Work that may stop anywhere.
    pub(crate) background: Tasks,
    pub(crate) credentials: Credentials,
    /// Where dead letters go.
    pub(crate) topics: Topics,
    pub(crate) presence: Presence,
}

/// See the head of the file.
pub(crate) struct Core {
    sidecar: Arc<str>,
    epoch: u64,
    origin: Instant,
    view: ViewReceiver,
    metrics: Metrics,
    connections: Tasks,
    pub(super) background: Tasks,
    credentials: Credentials,
    pub(super) topics: Topics,
    presence: Presence,
    outlets: Mutex<BTreeMap<ChannelName, Arc<Outlet>>>,
    subscribers: Mutex<BTreeMap<u32, Arc<Subscriber>>>,
    next_id: AtomicU32,
    pub(super) guests: Mutex<Guests>,
    pub(super) audit: Audit,
    /// Who may read back what overflowed at the same time: each has a Kafka client.
    pub(super) spill_readers: Arc<Semaphore>,
    /// Counts changes of what is published and subscribed.
    changes: watch::Sender<u64>,
    draining: Shutdown,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Core {
    pub(crate) fn new(parts: Parts) -> Arc<Self> {
        Arc::new(Self {
            sidecar: parts.sidecar,
            // Ascending over restarts, and random where two begin in one millisecond.
            epoch: (clock::unix_ms().unsigned_abs() << 16) | (runtime::random::number() & 0xffff),
            origin: clock::now(),
            view: parts.view,
            metrics: parts.metrics,
            connections: parts.connections,
            background: parts.background,
            credentials: parts.credentials,
            topics: parts.topics,
            presence: parts.presence,
            outlets: Mutex::default(),
            subscribers: Mutex::default(),
            next_id: AtomicU32::new(1),
            guests: Mutex::default(),
            audit: Audit::default(),
            spill_readers: Arc::new(Semaphore::new(SPILL_READERS_MAX)),
            changes: watch::Sender::new(0),
            draining: Shutdown::new(),
        })
    }

    pub(crate) const fn sidecar(&self) -> &Arc<str> {
        &self.sidecar
    }

    /// What peers are told of this sidecar.
    pub(crate) const fn presence(&self) -> &Presence {
        &self.presence
    }

    pub(crate) const fn epoch(&self) -> u64 {
        self.epoch
    }

    pub(crate) const fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    pub(crate) const fn connections(&self) -> &Tasks {
        &self.connections
    }

    pub(crate) const fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    /// Time since the core began: the clock of queues and sessions.
    pub(crate) fn now(&self) -> Duration {
        clock::now().saturating_duration_since(self.origin)
    }

    /// The moment of a time on that clock.
    pub(crate) fn instant(&self, time: Duration) -> Instant {
        self.origin + time
    }

    pub(crate) fn view(&self) -> Arc<View> {
        Arc::clone(&self.view.borrow())
    }

    pub(crate) fn view_receiver(&self) -> ViewReceiver {
        self.view.clone()
    }

    /// Changes whenever an app begins or ends to publish or subscribe.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Begins when nothing more is taken from apps and connections flush and end.
    pub(crate) const fn draining(&self) -> &Shutdown {
        &self.draining
    }

    pub(super) const fn origin(&self) -> Instant {
        self.origin
    }

    pub(super) fn changed(&self) {
        self.changes.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Our service account, for texts.
    pub(super) fn identity(&self) -> String {
        let material = self.credentials.current();
        material
            .and_then(|material| material.identity().ok())
            .map_or_else(|| "of this pod".to_owned(), |identity| identity.to_string())
    }

    pub(super) fn refuse_when_draining(&self, name: &ChannelName) -> Result<(), Problem> {
        if !self.draining.has_begun() {
            return Ok(());
        }
        Err(Problem::new(ProblemKind::Unavailable, format!("{name}: the sidecar is shutting down")))
    }

    pub(super) fn outlet(&self, name: &ChannelName) -> Arc<Outlet> {
        let mut outlets = lock(&self.outlets);
        if let Some(outlet) = outlets.get(name) {
            return Arc::clone(outlet);
        }
        let metrics = Arc::new(ChannelMetrics::new(&self.metrics, name));
        let outlet = Arc::new(Outlet::new(name.clone(), metrics));
        if let Some(channel) = self.view().channels.get(name) {
            outlet.apply(channel, self.now());
        }
        outlets.insert(name.clone(), Arc::clone(&outlet));
        outlet
    }

    pub(super) fn outlets(&self) -> Vec<Arc<Outlet>> {
        lock(&self.outlets).values().map(Arc::clone).collect()
    }

    /// The positions of messages that this sidecar has published.
    pub(crate) fn positions(&self, numbers: Range<i64>) -> Vec<Position> {
        let (publisher, epoch) = (&self.sidecar, self.epoch);
        numbers
            .map(|offset| Position { partition: 0, offset, publisher: Arc::clone(publisher), epoch })
            .collect()
    }

    /// Returns the numbers of what was published. `patience` replaces the Channel's `blockTimeout`, and what stands for
    /// it under other policies.
    pub(crate) async fn publish(
        &self,
        name: &ChannelName,
        mut messages: Vec<Message>,
        patience: Option<Duration>,
    ) -> Result<Range<i64>, Problem> {
        self.refuse_when_draining(name)?;
        let view = self.view();
        let channel = match route::publish(&view, name, "") {
            Ok(channel) => channel,
            // The name of the service account is worth its cost only in an error.
            Err(_) => route::publish(&view, name, &self.identity())?,
        };
        self.audit_call(name, channel);
        check(name, channel, &mut messages)?;
        self.check_dead_letter(name, channel)?;
        self.check_record(name, channel, &messages)?;
        self.check_spill(name, channel, &messages)?;
        let mut policy = Policy::from(channel);
        policy.patience = patience.unwrap_or(policy.patience);
        let outlet = self.outlet(name);
        if outlet.note_publisher() {
            self.changed();
        }
        self.shared_work(&outlet, channel);
        if policy.record {
            self.write_record(&outlet);
        }
        if let Some(topic) = &channel.spill {
            self.begin_spill(&outlet, topic);
        }
        let count = messages.len();
        let first = outlet.publish(policy, messages, self.origin).await?;
        if policy.record && patience.is_none() {
            let last = first.saturating_add(count as u64).saturating_sub(1);
            outlet.recorded(first, last).await?;
        }
        let first = i64::try_from(first).unwrap_or(i64::MAX);
        let count = i64::try_from(count).unwrap_or(0);
        Ok(first..first.saturating_add(count))
    }

    pub(crate) async fn subscribe(
        self: &Arc<Self>,
        name: &ChannelName,
        options: SubscribeOptions,
    ) -> Result<ChannelSubscription, Problem> {
        self.refuse_when_draining(name)?;
        let view = self.view();
        let channel = route::subscribe(&view, name, &self.identity())?;
        if channel.pattern != Pattern::PubSub && !options.prefixes.is_empty() {
            let text = format!("{name}: prefixes are for spec.pattern PubSub; leave them empty");
            return Err(Problem::new(ProblemKind::InvalidArgument, text));
        }
        if options.start == ChannelStart::Kept && channel.replay.is_none() {
            let text = format!(
                "{name}: nothing is kept to start from; set spec.delivery.replay, or start with what comes"
            );
            return Err(Problem::new(ProblemKind::InvalidArgument, text));
        }
        peer_wire::limits::check_prefixes(&options.prefixes)
            .map_err(|problem| Problem::new(ProblemKind::InvalidArgument, format!("{name}: {problem}")))?;
        let subscriber = self.add_subscriber(name, channel, options)?;
        self.changed();
        Ok(ChannelSubscription::new(subscriber))
    }

    /// The subscriber of an app that answers requests.
    pub(crate) fn serve_requests(
        self: &Arc<Self>,
        name: &ChannelName,
        credit: u32,
    ) -> Result<Arc<Subscriber>, Problem> {
        self.refuse_when_draining(name)?;
        let view = self.view();
        let channel = route::answer(&view, name, &self.identity())?;
        let options = SubscribeOptions { credit, ..SubscribeOptions::default() };
        let subscriber = self.add_subscriber(name, channel, options)?;
        self.changed();
        Ok(subscriber)
    }

    fn add_subscriber(
        self: &Arc<Self>,
        name: &ChannelName,
        channel: &ChannelView,
        mut options: SubscribeOptions,
    ) -> Result<Arc<Subscriber>, Problem> {
        let mut subscribers = lock(&self.subscribers);
        if subscribers.len() >= SUBSCRIBERS_MAX {
            let text = format!("{name}: the apps of this pod hold {SUBSCRIBERS_MAX} subscriptions already");
            return Err(Problem::new(ProblemKind::ResourceExhausted, text));
        }
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let outlet = self.outlet(name);
        let ready = Arc::new(Notify::new());
        let who = Arc::from(format!("{id} of this pod"));
        let metrics = Arc::clone(&outlet.metrics);
        let local = Queue::local(who, Arc::clone(&metrics), limits_of(channel), Arc::clone(&ready));
        let local = Arc::new(local.seated(self.own_seat(&outlet, channel)));
        local.set_prefixes(options.prefixes.clone());
        local.join(u64::from(options.credit), 0);
        let replay = options.start != ChannelStart::Live;
        let own = options.resumed.iter().position(|resumed| resumed.publisher == self.sidecar);
        let own = own.map(|place| options.resumed.swap_remove(place));
        let parts = SubscriberParts {
            id,
            name: name.clone(),
            metrics,
            local: Arc::clone(&local),
            ready,
            bounds: bounds_of(channel),
            prefixes: options.prefixes,
            credit: options.credit,
            acks: acks_of(channel, options.acknowledge),
            replay,
            resumed: options.resumed,
        };
        self.audit_subscription(name, channel);
        let subscriber = Arc::new(Subscriber::new(self, parts));
        subscribers.insert(id, Arc::clone(&subscriber));
        self.begin_local(&outlet, local, replay, own);
        Ok(subscriber)
    }

    /// What an app of this pod gets from the publisher of this pod.
    fn begin_local(&self, outlet: &Outlet, local: Arc<Queue>, replay: bool, own: Option<Resumed>) {
        let begin = match &own {
            Some(own) if own.epoch == self.epoch => Begin::After { received: own.received, counted: 0 },
            _ if replay => Begin::Kept,
            _ => Begin::Now,
        };
        outlet.add(Arc::clone(&local), begin, self.now());
        if let Some(own) = own.filter(|own| own.epoch != self.epoch) {
            local.tell_first(restarted(own.received));
        }
    }

    pub(crate) fn remove_subscriber(&self, subscriber: &Subscriber) {
        lock(&self.subscribers).remove(&subscriber.id);
        self.outlet(&subscriber.name).remove(subscriber.local());
        self.changed();
    }

    /// All subscriptions that have not ended.
    pub(crate) fn subscribers(&self) -> Vec<Arc<Subscriber>> {
        lock(&self.subscribers)
            .values()
            .filter(|subscriber| !subscriber.has_ended())
            .map(Arc::clone)
            .collect()
    }

    /// What the apps do now, for the report to the control plane.
    pub(crate) fn usage(&self) -> Vec<ChannelUse> {
        let mut uses: BTreeMap<ChannelName, (bool, bool)> = BTreeMap::new();
        for (name, outlet) in &*lock(&self.outlets) {
            if outlet.publishes() {
                uses.entry(name.clone()).or_default().0 = true;
            }
        }
        for subscriber in self.subscribers() {
            uses.entry(subscriber.name.clone()).or_default().1 = true;
        }
        uses.into_iter()
            .map(|(name, (publishes, subscribes))| ChannelUse { name, publishes, subscribes })
            .collect()
    }

    /// Applies a view: cuts what is not allowed any more, and takes new limits.
    pub(crate) fn apply_view(&self, view: &View) {
        let own = self.identity();
        for subscriber in self.subscribers() {
            match route::receive(view, &subscriber.name, &own) {
                Ok(channel) => subscriber.set_bounds(bounds_of(channel)),
                Err(problem) => {
                    tracing::info!(channel = %subscriber.name, %problem, "subscription cut");
                    subscriber.end(problem);
                    self.changed();
                }
            }
        }
        self.revoke_guests(view);
        self.audit_standing(view);
        let mut outlets = lock(&self.outlets);
        outlets.retain(|name, outlet| view.channels.contains_key(name) || !outlet.is_unused());
        for (name, outlet) in &*outlets {
            match view.channels.get(name) {
                Some(channel) => {
                    outlet.apply(channel, self.now());
                    if let Some(rules) = rules_of(channel) {
                        outlet.set_rules(rules);
                    }
                }
                None => outlet.forget(),
            }
        }
    }

    /// Applies every view that comes, and meanwhile lets go of what was kept for long enough.
    pub(crate) async fn follow_views(self: Arc<Self>) {
        let mut receiver = self.view_receiver();
        loop {
            match tokio::time::timeout(SWEEP, receiver.changed()).await {
                Ok(Ok(())) => {
                    let view = Arc::clone(&receiver.borrow_and_update());
                    self.apply_view(&view);
                }
                Ok(Err(_)) => return,
                Err(_) => self.sweep(),
            }
        }
    }

    fn sweep(&self) {
        let now = self.now();
        for outlet in lock(&self.outlets).values() {
            outlet.sweep(now);
        }
        self.audit_again();
    }

    /// Takes nothing more from apps; their subscriptions end; connections flush and say goodbye.
    pub(crate) fn begin_drain(&self) {
        self.draining.begin();
        for subscriber in self.subscribers() {
            let text = format!("{}: the sidecar is shutting down", subscriber.name);
            subscriber.end(Problem::new(ProblemKind::Unavailable, text));
        }
    }
}

const fn acks_of(channel: &ChannelView, by_app: bool) -> Acks {
    match (channel.acknowledge, by_app) {
        (Acknowledge::Required, true) => Acks::ByApp,
        (Acknowledge::Required, false) => Acks::WhenTaken,
        _ => Acks::None,
    }
}

const fn bounds_of(channel: &ChannelView) -> Bounds {
    Bounds { message_bytes_max: channel.max_message_bytes, buffer_bytes: channel.buffer_bytes }
}

/// Checks every message and fills in the time where the app gave none.
pub(super) fn check(
    name: &ChannelName,
    channel: &ChannelView,
    messages: &mut [Message],
) -> Result<(), Problem> {
    if messages.is_empty() {
        let text = format!("{name}: a publish needs at least one message");
        return Err(Problem::new(ProblemKind::InvalidArgument, text));
    }
    let mut now = None;
    for message in messages {
        let size = message.size_bytes();
        if size > channel.max_message_bytes {
            let text = format!(
                "{name}: a message of {size} bytes is above spec.maxMessageSize of {} bytes",
                channel.max_message_bytes
            );
            return Err(Problem::new(ProblemKind::InvalidArgument, text));
        }
        message
            .check()
            .map_err(|problem| Problem::new(ProblemKind::InvalidArgument, format!("{name}: {problem}")))?;
        if message.timestamp_ms == 0 {
            message.timestamp_ms = *now.get_or_insert_with(clock::unix_ms);
        }
    }
    Ok(())
}
