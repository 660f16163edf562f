//! Channels: from pod to pod, with nothing between, and nothing readable on the way.

use anyhow::{Context as _, Result, ensure};

use crate::apps::{http_publisher, http_subscriber, numbers};
use crate::capture::Capture;
use crate::install::{NAMESPACE, OPERATOR, installed};
use crate::kube::{self, kubectl, until, wait_ready};
use crate::namespace::Namespace;
use crate::pods::{App, address};

const CHANNEL: &str = "
apiVersion: pinnace.dev/v1alpha1
kind: Channel
metadata: {name: prices}
spec: {}
";
const TOPIC: &str = "
apiVersion: pinnace.dev/v1alpha1
kind: Topic
metadata: {name: orders}
spec: {}
";
/// The messages that must arrive while a part is away.
const MESSAGES_MEANWHILE: usize = 50;

/// A publisher and a subscriber of the Channel `prices`, the subscriber already listening.
pub(crate) fn pair(namespace: &Namespace) -> Result<(App<'_>, App<'_>)> {
    namespace.apply(CHANNEL)?;
    let pricing = App::new(namespace, "pricing").start()?;
    let shop = App::new(namespace, "shop").start()?;
    shop.start_python("subscriber", &http_subscriber("/v1/channels/prices/messages"))?;
    until("the subscription to stand", kube::LIMIT, || {
        Ok(shop.printed("subscriber")?.contains("status 200").then_some(()))
    })?;
    Ok((pricing, shop))
}

/// Waits until so many messages have arrived; they must be in order, and none missing from the
/// first one on.
pub(crate) fn arrived(shop: &App<'_>, count: usize) -> Result<Vec<u64>> {
    until(&format!("{count} messages to arrive"), kube::LIMIT, || {
        let printed = shop.printed("subscriber")?;
        let numbers = numbers(&printed);
        let steps = numbers.windows(2).all(|pair| pair[1] == pair[0] + 1);
        ensure!(steps, "messages are missing or out of order: {printed}");
        Ok((numbers.len() >= count).then_some(numbers))
    })
}

/// Promise: messages of a Channel go from pod to pod. They keep flowing when the operator is
/// scaled to zero, and when the broker is scaled to zero as well.
#[test]
fn channel_messages_keep_flowing_without_operator_and_without_broker() -> Result<()> {
    installed()?;
    let namespace = Namespace::new("pod-to-pod")?;
    namespace.apply(TOPIC)?;
    wait_ready(&namespace.name, "topic/orders", kube::LIMIT)?;
    let (pricing, shop) = pair(&namespace)?;
    pricing.start_python("publisher", &http_publisher("/v1/channels/prices", 100_000, 0.02))?;
    arrived(&shop, 1)?;

    let outcome = without_operator(|| {
        let so_far = arrived(&shop, 1)?.len();
        arrived(&shop, so_far + MESSAGES_MEANWHILE)?;
        namespace.kubectl(&["scale", "statefulset/default-broker", "--replicas=0"])?;
        namespace.kubectl(&["wait", "--for=delete", "pod/default-broker-0", "--timeout=120s"])?;
        let so_far = arrived(&shop, 1)?.len();
        arrived(&shop, so_far + MESSAGES_MEANWHILE)?;
        Ok(())
    });
    outcome?;
    // The operator puts the broker back, and the stream did not notice any of it.
    wait_ready(&namespace.name, "broker/default", kube::LIMIT)?;
    let so_far = arrived(&shop, 1)?.len();
    arrived(&shop, so_far + MESSAGES_MEANWHILE)?;
    Ok(())
}

/// Does something while the operator is scaled to zero, and brings it back whatever happens.
pub(crate) fn without_operator(meanwhile: impl FnOnce() -> Result<()>) -> Result<()> {
    kubectl(&["--namespace", NAMESPACE, "scale", OPERATOR, "--replicas=0"])?;
    let selector = "--selector=app.kubernetes.io/component=operator";
    let gone =
        kubectl(&["--namespace", NAMESPACE, "wait", "--for=delete", "pod", selector, "--timeout=120s"]);
    let outcome = gone.and_then(|_| meanwhile());
    kubectl(&["--namespace", NAMESPACE, "scale", OPERATOR, "--replicas=1"])?;
    kubectl(&["--namespace", NAMESPACE, "rollout", "status", OPERATOR, "--timeout=120s"])?;
    outcome
}

/// Promise: what pods say to each other is TLS: each connection between them opens with a TLS
/// handshake in both directions, and no payload is readable on the way.
#[test]
fn between_pods_there_is_only_tls() -> Result<()> {
    installed()?;
    let namespace = Namespace::new("only-tls")?;
    namespace.apply(CHANNEL)?;
    let pricing = App::new(&namespace, "pricing").start()?;
    let capture = Capture::start(address(&pricing.pod()?))?;
    let shop = App::new(&namespace, "shop").start()?;
    shop.start_python("subscriber", &http_subscriber("/v1/channels/prices/messages"))?;
    pricing.start_python("publisher", &http_publisher("/v1/channels/prices", 100_000, 0.02))?;
    arrived(&shop, MESSAGES_MEANWHILE)?;

    let shop_address: std::net::Ipv4Addr = address(&shop.pod()?).parse()?;
    let flows = capture.finish()?;
    let between: Vec<_> = flows
        .iter()
        .filter(|((from, _, to, _), payload)| {
            [from, to].contains(&&shop_address.octets()) && !payload.is_empty()
        })
        .collect();
    ensure!(between.len() >= 2, "no traffic between the pods was seen");
    for (flow, payload) in between {
        // Record type 22 is a handshake; its version field begins with 3 in every TLS.
        let opening = &payload[..payload.len().min(8)];
        ensure!(opening.starts_with(&[22, 3]), "{flow:?} does not open with TLS but with {opening:?}");
    }
    for (flow, payload) in &flows {
        let readable = payload.windows(b"message ".len()).any(|bytes| bytes == b"message ");
        ensure!(!readable, "a message is readable in {flow:?}");
    }
    Ok(())
}

/// Promise: a Channel's status counts who is there.
#[test]
fn a_channel_counts_publishers_and_subscribers() -> Result<()> {
    installed()?;
    let namespace = Namespace::new("channel-status")?;
    let (pricing, shop) = pair(&namespace)?;
    pricing.start_python("publisher", &http_publisher("/v1/channels/prices", 100_000, 0.1))?;
    arrived(&shop, 1)?;
    until("the Channel to count its members", kube::LIMIT, || {
        let channel = kube::object(&namespace.name, "channel/prices")?.context("no Channel")?;
        let status = &channel["status"];
        Ok((status["publishers"] == 1 && status["subscribers"] == 1).then_some(()))
    })
}
