//! Topics against librdkafka's own mock of a cluster: real protocol, no broker process.

use std::time::Duration;

use bytes::Bytes;
use rdkafka::mocking::MockCluster;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use runtime::shutdown::Shutdown;
use tokio::sync::watch;

use super::*;
use crate::messaging::ProblemKind;
use crate::view::{BrokerView, TopicView, View};

/// Generous: the machine may be busy, and joining a group takes seconds.
const DEADLINE: Duration = Duration::from_secs(60);

/// A mock cluster with one Topic `shop/orders`, and the handle under test.
pub(crate) struct Bench {
    cluster: MockCluster<'static, rdkafka::producer::DefaultProducerContext>,
    pub(crate) view: watch::Sender<Arc<View>>,
    pub(crate) topics: Topics,
    pub(crate) metrics: Metrics,
    pub(crate) tasks: Tasks,
}

impl Bench {
    pub(crate) fn settings(&self) -> Settings {
        Settings { bootstrap: self.cluster.bootstrap_servers(), client_name: "shop/web-0".into() }
    }

    pub(crate) fn broker_down(&self) {
        self.cluster.broker_down(1).unwrap();
    }

    pub(crate) fn broker_up(&self) {
        self.cluster.broker_up(1).unwrap();
    }

    /// Another topic with one partition.
    pub(crate) fn add_topic(&self, name: &str) {
        self.cluster.create_topic(name, 1, 1).unwrap();
    }

    /// The next batch that is produced.
    pub(crate) fn refuse_once_as_too_large(&self) {
        let too_large = RDKafkaRespErr::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE;
        self.cluster.request_errors(RDKafkaApiKey::Produce, &[too_large]);
    }
}

impl Topics {
    /// Topics without a broker.
    pub(crate) fn nowhere(view: ViewReceiver, metrics: Metrics, tasks: Tasks) -> Self {
        let settings = Settings { bootstrap: "127.0.0.1:1".into(), client_name: "shop/web-0".into() };
        Self::new(settings, view, metrics, tasks)
    }
}

pub(crate) fn orders() -> TopicName {
    TopicName { namespace: "shop".into(), name: "orders".into() }
}

pub(crate) fn view_with(partitions: u32) -> View {
    let topic = TopicView {
        topic_name: "orders".into(),
        partitions,
        max_message_bytes: 100_000,
        may_publish: true,
        may_subscribe: true,
        broker: "shop/default".into(),
        problem: String::new(),
    };
    View {
        version: 1,
        topics: [(orders(), topic)].into(),
        broker: Some(BrokerView {
            namespace: "shop".into(),
            name: "default".into(),
            bootstrap: vec![],
            server_names: vec![],
        }),
        ..View::default()
    }
}

pub(crate) fn bench(partitions: u32) -> Bench {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic("orders", i32::try_from(partitions).unwrap(), 1).unwrap();
    let tasks = Tasks::new(Shutdown::new());
    let (view, receiver) = watch::channel(Arc::new(view_with(partitions)));
    let metrics = Metrics::new().unwrap();
    let settings = Settings { bootstrap: cluster.bootstrap_servers(), client_name: "shop/web-0".into() };
    let topics = Topics::new(settings, receiver, metrics.clone(), tasks.clone());
    Bench { cluster, view, topics, metrics, tasks }
}

pub(crate) fn text(text: &str) -> Message {
    Message { parts: vec![Bytes::copy_from_slice(text.as_bytes())], ..Message::default() }
}

pub(crate) fn options(group: &str, start: Start, credit: u32, acknowledge: bool) -> TopicOptions {
    TopicOptions { group: group.to_owned(), start, credit, acknowledge }
}

async fn soon<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, work).await.expect("it did not happen in time")
}

/// Takes deliveries until there are `count`.
pub(crate) async fn take(subscription: &mut TopicSubscription, count: usize) -> Vec<Delivery> {
    let mut taken = Vec::new();
    while taken.len() < count {
        for event in soon(subscription.next()).await.expect("the subscription ended") {
            match event {
                TopicEvent::Delivery(delivery) => taken.push(delivery),
                TopicEvent::End(problem) => panic!("ended: {problem}"),
            }
        }
    }
    taken
}

fn payload(delivery: &Delivery) -> &str {
    std::str::from_utf8(&delivery.message.parts[0]).unwrap()
}

/// Goal: a batch gets one position for each message, and comes back whole and in order.
#[tokio::test]
async fn publishes_and_reads_back() {
    let bench = bench(1);
    let full = Message {
        subject: Bytes::from_static(b"eu"),
        key: Some(Bytes::from_static(b"k")),
        headers: vec![("ce-id".into(), Bytes::from_static(b"1"))],
        parts: vec![Bytes::from_static(b"x")],
        timestamp_ms: 1_700_000_000_000,
    };
    let messages = vec![text("a"), full.clone(), text("")];
    let positions = soon(bench.topics.publish(&orders(), messages)).await.unwrap();
    let offsets: Vec<i64> = positions.iter().map(|position| position.offset).collect();
    assert_eq!(offsets, [offsets[0], offsets[0] + 1, offsets[0] + 2]);

    let earliest = options("", Start::Earliest, 10, false);
    let mut subscription = soon(bench.topics.subscribe(&orders(), earliest)).await.unwrap();
    let taken = take(&mut subscription, 3).await;
    assert_eq!(payload(&taken[0]), "a");
    assert_eq!(taken[1].message, full);
    assert_eq!(taken[2].message.parts, [Bytes::new()]);
    assert_eq!(
        taken.iter().map(|delivery| &delivery.position).collect::<Vec<_>>(),
        positions.iter().collect::<Vec<_>>()
    );
    let labels = ObjectLabels::from(&orders()).values().map(str::to_owned);
    let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
    assert_eq!(bench.metrics.published.with_label_values(&labels).get(), 3);
    assert_eq!(bench.metrics.delivered.with_label_values(&labels).get(), 3);
}

/// Goal: without a group, `latest` begins exactly where the log ended when the subscription was opened.
#[tokio::test]
async fn latest_misses_nothing_after_opening() {
    let bench = bench(2);
    soon(bench.topics.publish(&orders(), vec![text("before"); 5])).await.unwrap();
    let latest = options("", Start::Latest, 10, false);
    let mut subscription = soon(bench.topics.subscribe(&orders(), latest)).await.unwrap();
    soon(bench.topics.publish(&orders(), vec![text("after")])).await.unwrap();
    assert_eq!(payload(&take(&mut subscription, 1).await[0]), "after");
}

/// Goal: no more than the credit is delivered, and more comes with more credit, also after the
/// partitions were paused.
#[tokio::test]
async fn credit_bounds_deliveries() {
    let bench = bench(1);
    let messages: Vec<Message> = (0..10).map(|index| text(&index.to_string())).collect();
    soon(bench.topics.publish(&orders(), messages)).await.unwrap();
    let earliest = options("", Start::Earliest, 3, false);
    let mut subscription = soon(bench.topics.subscribe(&orders(), earliest)).await.unwrap();
    assert_eq!(take(&mut subscription, 3).await.len(), 3);
    // Longer than it takes to pause.
    let more = tokio::time::timeout(Duration::from_millis(2500), subscription.next()).await;
    assert!(more.is_err(), "delivered past the credit: {more:?}");
    subscription.grant(7).await;
    let rest = take(&mut subscription, 7).await;
    assert_eq!(rest.iter().map(payload).collect::<String>(), "3456789");
}

/// Goal: with acks, the next reader of the group goes on behind the contiguous acknowledged
/// prefix: nothing that was not acknowledged is lost.
#[tokio::test]
async fn a_group_goes_on_behind_the_acknowledged_prefix() {
    let bench = bench(1);
    let messages: Vec<Message> = (0..6).map(|index| text(&index.to_string())).collect();
    soon(bench.topics.publish(&orders(), messages)).await.unwrap();
    let billing = options("billing", Start::Earliest, 6, true);
    let mut first = soon(bench.topics.subscribe(&orders(), billing.clone())).await.unwrap();
    let taken = take(&mut first, 6).await;
    // 0, 1 and 4 are done; 2 holds back 4.
    first.ack(vec![taken[4].id, taken[0].id, taken[1].id]).await;
    soon(first.end()).await;
    let mut second = soon(bench.topics.subscribe(&orders(), billing)).await.unwrap();
    let taken = take(&mut second, 4).await;
    assert_eq!(taken.iter().map(payload).collect::<String>(), "2345");
}

/// Goal: without acks, what the app took is committed, so that the next reader does not get it again.
#[tokio::test]
async fn a_group_without_acks_goes_on_behind_what_was_taken() {
    let bench = bench(1);
    soon(bench.topics.publish(&orders(), vec![text("a"), text("b")])).await.unwrap();
    let plain = options("plain", Start::Earliest, 10, false);
    let mut first = soon(bench.topics.subscribe(&orders(), plain.clone())).await.unwrap();
    take(&mut first, 2).await;
    // The call that says that the batch was taken.
    let more = tokio::time::timeout(Duration::from_millis(200), first.next()).await;
    assert!(more.is_err());
    soon(first.end()).await;
    soon(bench.topics.publish(&orders(), vec![text("c")])).await.unwrap();
    let mut second = soon(bench.topics.subscribe(&orders(), plain)).await.unwrap();
    assert_eq!(payload(&take(&mut second, 1).await[0]), "c");
}

/// Goal: a refused message comes again after its delay, with the attempt counted.
#[tokio::test]
async fn refused_messages_come_again() {
    let bench = bench(1);
    soon(bench.topics.publish(&orders(), vec![text("a"), text("b")])).await.unwrap();
    let options = options("retry", Start::Earliest, 10, true);
    let mut subscription = soon(bench.topics.subscribe(&orders(), options)).await.unwrap();
    let taken = take(&mut subscription, 2).await;
    subscription.nack(vec![taken[0].id], Duration::from_millis(300)).await;
    let begun = runtime::clock::now();
    let again = take(&mut subscription, 1).await;
    assert!(runtime::clock::now() - begun >= Duration::from_millis(300));
    assert_eq!((payload(&again[0]), again[0].attempt), ("a", 2));
    assert!(again[0].id > taken[1].id);
}

/// Goal: a Topic that is taken away ends its subscriptions with the field that did it.
#[tokio::test]
async fn losing_access_ends_a_subscription() {
    let bench = bench(1);
    let earliest = options("", Start::Earliest, 10, false);
    let mut subscription = soon(bench.topics.subscribe(&orders(), earliest)).await.unwrap();
    let mut view = view_with(1);
    view.topics.get_mut(&orders()).unwrap().may_subscribe = false;
    bench.view.send_replace(Arc::new(view));
    let events = soon(subscription.next()).await.unwrap();
    assert!(
        matches!(&events[..], [TopicEvent::End(problem)] if problem.kind == ProblemKind::PermissionDenied && problem.message.contains("spec.access.subscribe")),
        "{events:?}"
    );
    assert_eq!(soon(subscription.next()).await, None);
}

/// Goal: new partitions are read by readers without a group, from their beginning.
#[tokio::test]
async fn new_partitions_are_read() {
    let bench = bench(2);
    bench.view.send_replace(Arc::new(view_with(1)));
    let earliest = options("", Start::Earliest, 100, false);
    let mut subscription = soon(bench.topics.subscribe(&orders(), earliest)).await.unwrap();
    bench.view.send_replace(Arc::new(view_with(2)));
    // Enough different keys for both partitions.
    let messages: Vec<Message> =
        (0..40).map(|index| Message { key: Some(Bytes::from(format!("k{index}"))), ..text("x") }).collect();
    let positions = soon(bench.topics.publish(&orders(), messages)).await.unwrap();
    assert!(positions.iter().any(|position| position.partition == 1), "the keys chose one partition");
    let taken = take(&mut subscription, 40).await;
    assert!(taken.iter().any(|delivery| delivery.position.partition == 1));
}

/// Goal: a broker that is not there fails a subscription to the end of the log in bounded time,
/// and says so.
#[tokio::test]
async fn an_absent_broker_is_unavailable() {
    let bench = bench(1);
    let topics = Topics::nowhere(bench.view.subscribe(), bench.metrics.clone(), bench.tasks.clone());
    let refused = soon(topics.subscribe(&orders(), options("", Start::Latest, 1, false))).await;
    let problem = refused.err().expect("there is no broker");
    assert!(matches!(problem.kind, ProblemKind::Unavailable | ProblemKind::DeadlineExceeded), "{problem:?}");
    assert!(problem.message.contains("shop/orders"), "{problem}");
}
