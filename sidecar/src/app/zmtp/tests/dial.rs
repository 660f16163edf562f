//! Sockets of the app that bind: we connect to them.

use tokio::net::{TcpListener, UnixListener};

use super::*;
use crate::messaging::ChannelSubscription;

/// Has the doors connect as `--zmq-connect` would.
fn dial(stage: &Stage, target: &str, address: &str) {
    crate::app::zmtp::connect(&stage.doors, vec![format!("{target}={address}").parse().unwrap()]);
}

async fn everything(stage: &Stage) -> ChannelSubscription {
    let options = SubscribeOptions { credit: 1000, ..SubscribeOptions::default() };
    stage.doors.channels.subscribe(&channel("shop", "prices"), options).await.unwrap()
}

/// The parts of the next message.
async fn next_parts(subscription: &mut ChannelSubscription) -> Vec<Bytes> {
    loop {
        for event in soon(subscription.next()).await.unwrap() {
            if let ChannelEvent::Message { message, .. } = event {
                return message.parts;
            }
        }
    }
}

/// Goal: what an app's PUB socket that binds sends is published, also after the app has started again.
#[tokio::test]
async fn a_bound_pub_is_found_again() {
    let stage = Stage::open().await;
    let mut subscription = everything(&stage).await;
    let mut listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    dial(&stage, "prices.pub", &format!("tcp://{address}"));
    for word in ["before", "after"] {
        let (stream, _) = soon(listener.accept()).await.unwrap();
        let mut publisher = App::new(stream, SocketType::XPub).ready().await;
        assert_eq!(publisher.next().await, Ok(Some(Event::Subscribe(Bytes::new()))));
        publisher.session.send_message(&bytes(&["eu", word]));
        publisher.flush().await;
        assert_eq!(next_parts(&mut subscription).await, bytes(&[word]));
        drop((publisher, listener));
        listener = TcpListener::bind(address).await.unwrap();
    }
}

/// Goal: an app's SUB socket that binds, here on a Unix socket that comes late, gets what it asked for.
#[tokio::test]
async fn a_bound_sub_may_come_late() {
    let stage = Stage::open().await;
    let path = stage.folder.path().join("app");
    dial(&stage, "prices.sub", &format!("ipc://{}", path.display()));
    tokio::task::yield_now().await;
    let listener = UnixListener::bind(&path).unwrap();
    let (stream, _) = soon(listener.accept()).await.unwrap();
    let mut sub = App::new(stream, SocketType::Sub).ready().await;
    sub.session.send_subscribe(&Bytes::from_static(b"eu."));
    until_subscribed(&stage, &mut sub, "eu.x").await;
}

/// Goal: an app that may not use the Channel is not connected to, which is counted; it is as soon as it may.
#[tokio::test]
async fn who_may_not_is_not_connected_to() {
    let stage = Stage::open().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    dial(&stage, "closed.pub", &format!("tcp://{}", listener.local_addr().unwrap()));
    assert_eq!(soon_counted(&stage, "refused").await, 1);
    tokio::select! {
        biased;
        accepted = listener.accept() => panic!("{accepted:?}"),
        () = std::future::ready(()) => {}
    }
    stage.change(|view| {
        view.channels.insert(channel("shop", "closed"), pub_sub());
    });
    let (stream, _) = soon(listener.accept()).await.unwrap();
    drop(App::new(stream, SocketType::Pub).ready().await);
}

/// Goal: something else at the address is told apart and tried again later; the end of the doors ends it all.
#[tokio::test]
async fn another_server_is_left_and_tried_again() {
    let stage = Stage::open().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    dial(&stage, "prices.pub", &format!("tcp://{}", listener.local_addr().unwrap()));
    let (mut stream, _) = soon(listener.accept()).await.unwrap();
    stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
    assert_eq!(soon_counted(&stage, "protocol").await, 1);
    let mut rest = Vec::new();
    drop(soon(stream.read_to_end(&mut rest)).await);
    drop(stream);
    let (stream, _) = soon(listener.accept()).await.unwrap();
    drop(App::new(stream, SocketType::Pub).ready().await);
    stage.doors.tasks.shutdown().begin();
    assert_eq!(soon(stage.doors.tasks.drain(Duration::from_secs(30))).await, 0);
}
