//! Sidecars of two versions of peer-wire, and sidecars that know where they run.

use super::acks::required;
use super::mesh::*;
use crate::delivery::Presence;
use crate::peer::ALPN;
use crate::view::{ChannelView, Pattern};
use peer_wire::{Locality, limits};
use runtime::tls::Expect;
use rustls_pki_types::ServerName;
use testkit::certificates::TestAuthority;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

fn speaking(version_max: u16) -> Presence {
    Presence { version_max, ..Presence::default() }
}

fn at(node: &str, zone: &str) -> Presence {
    Presence { locality: Locality { node: node.to_owned(), zone: zone.to_owned() }, ..Presence::default() }
}

fn spoken(node: &Node, version: u16) -> i64 {
    node.core.metrics().peer_versions.with_label_values(&[&version.to_string()]).get()
}

/// Goal: a sidecar of the version before works with one of this version, whichever of them publishes, with and without
/// acknowledgement; both count the connection under the older version.
#[tokio::test]
async fn the_version_before_works_with_this_one() {
    let (now, before) = (limits::VERSION, limits::VERSION - 1);
    for (publishes, subscribes) in [(now, before), (before, now), (before, before), (now, now)] {
        for view in [channel(), required(Pattern::Pipeline), required(Pattern::PubSub)] {
            let authority = TestAuthority::new();
            let publisher = Node::start_as(&authority, ("publisher", "pricing"), speaking(publishes)).await;
            let subscriber =
                Node::start_as(&authority, ("subscriber", "billing"), speaking(subscribes)).await;
            publisher.show(view.clone());
            subscriber.show(ChannelView { publishers: vec![publisher.as_peer()], ..view });
            let mut subscription = subscriber.subscribe(100).await;
            publisher.wait_for_guests(1).await;
            publisher.publish(0..50).await;
            let mut seen = Seen::default();
            seen.take_total(&mut subscription, 50).await;
            assert_eq!((seen.numbers, seen.gaps), ((0..50).collect::<Vec<_>>(), vec![]));
            let common = publishes.min(subscribes);
            assert_eq!((spoken(&publisher, common), spoken(&subscriber, common)), (1, 1));
        }
    }
}

/// Goal: a peer that shares no version is told both ranges and what to do, and is counted.
#[tokio::test]
async fn a_peer_without_a_common_version_is_told_what_to_do() {
    let authority = TestAuthority::new();
    let node = Node::start(&authority, "publisher", "pricing").await;
    node.show(channel());
    let own = credentials(&authority.account("shop", "billing"));
    let config = own.client_config(Expect::Identity("shop/pricing".parse().unwrap()), &[ALPN]).unwrap();
    let stream = TcpStream::connect(node.address).await.unwrap();
    let name = ServerName::try_from("peer").unwrap();
    let mut stream = tokio_rustls::TlsConnector::from(config).connect(name, stream).await.unwrap();
    // Versions 8 to 9, epoch 7, shop/me, neither node nor zone.
    let hello = b"\0\0\0\x23\x01\0\0\0\0\0PNCE\0\x08\0\x09\0\0\0\0\0\0\0\x07\0\x07shop/me\0\0\0\0";
    stream.write_all(hello).await.unwrap();
    let mut answer = Vec::new();
    tokio::time::timeout(DEADLINE, stream.read_to_end(&mut answer)).await.expect("cut off").unwrap();
    let text = String::from_utf8_lossy(&answer);
    let ours = format!("this side {} to {}", limits::VERSION_OLDEST, limits::VERSION);
    for word in ["no common version", "the peer speaks 8 to 9", &ours, "one version at a time"] {
        assert!(text.contains(word), "{text}");
    }
    let refused = &node.core.metrics().peer_refusals;
    assert_eq!(refused.with_label_values(&["no_common_version"]).get(), 1);
}

/// Goal: in a Pipeline the receivers of the publisher's node get work first, as far as their credit goes, then those of its
/// zone, then the others; a peer of an older version, which does not say where it is, counts as one of the others.
#[tokio::test]
async fn work_goes_to_the_nearest_that_has_credit() {
    let authority = TestAuthority::new();
    let publisher = Node::start_as(&authority, ("publisher", "pricing"), at("n1", "z1")).await;
    let old = Presence { version_max: 2, ..at("n1", "z1") };
    let view = ChannelView { pattern: Pattern::Pipeline, ..channel() };
    publisher.show(view.clone());
    let mut receivers = Vec::new();
    for (count, (pod, presence, credit)) in
        [("old", old, 4), ("zone", at("n2", "z1"), 3), ("node", at("n1", "z1"), 2)].into_iter().enumerate()
    {
        let node = Node::start_as(&authority, (pod, "billing"), presence).await;
        node.show(ChannelView { publishers: vec![publisher.as_peer()], ..view.clone() });
        let subscription = node.subscribe(credit).await;
        publisher.wait_for_guests(count + 1).await;
        receivers.push((node, subscription));
    }
    publisher.publish(0..9).await;
    for ((_, subscription), wanted) in receivers.iter_mut().zip([5..9, 2..5, 0..2_u64]) {
        let mut seen = Seen::default();
        seen.take_total(subscription, wanted.end - wanted.start).await;
        assert_eq!(seen.numbers, wanted.collect::<Vec<_>>());
    }
}
