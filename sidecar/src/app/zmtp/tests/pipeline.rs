//! PUSH and PULL: the sockets of a Pipeline. `shop/jobs` asks for acknowledgement.

use super::*;
use crate::messaging::{Message, Receipt};
use crate::view::Acknowledge;

async fn workers(stage: &Stage, credit: u32) -> ChannelSubscription {
    let options = SubscribeOptions { credit, acknowledge: true, ..SubscribeOptions::default() };
    stage.doors.channels.subscribe(&channel("shop", "jobs"), options).await.unwrap()
}

/// Takes so many messages, and acknowledges them.
async fn done(subscription: &mut ChannelSubscription, count: usize) -> Vec<(i64, Message)> {
    let mut taken = Vec::new();
    while taken.len() < count {
        for event in soon(subscription.next()).await.expect("the subscription goes on") {
            if let ChannelEvent::Message { position, message, receipt } = event {
                let receipt: Receipt = receipt.expect("a receipt");
                taken.push((position.offset, message));
                subscription.ack(&[receipt]);
            }
        }
    }
    taken
}

async fn publish(stage: &Stage, parts: Vec<Vec<Bytes>>) {
    let messages = parts.into_iter().map(|parts| Message { parts, ..Message::default() }).collect();
    stage.doors.channels.publish(&channel("shop", "jobs"), messages).await.unwrap();
}

/// Goal: all frames of a PUSH are parts, with empty ones in their places, and the subject is empty.
#[tokio::test]
async fn frames_of_a_push_are_parts() {
    let stage = Stage::open().await;
    let mut subscription = workers(&stage, 100).await;
    let mut push = app(&stage, "jobs.push", SocketType::Push).await.ready().await;
    let sent = [bytes(&["a"]), bytes(&["", "b", ""]), bytes(&[""])];
    for frames in &sent {
        push.session.send_message(frames);
    }
    push.flush().await;
    let taken = done(&mut subscription, sent.len()).await;
    assert!(taken.iter().all(|(_, message)| message.subject.is_empty()));
    assert_eq!(taken.into_iter().map(|(_, message)| message.parts).collect::<Vec<_>>(), sent);
}

/// Goal: a PULL gets the parts as frames, one without parts as an empty frame, in order; and each is acknowledged.
#[tokio::test]
async fn parts_are_frames_of_a_pull() {
    let stage = Stage::open().await;
    let mut pull = app(&stage, "jobs.pull", SocketType::Pull).await.ready().await;
    publish(&stage, vec![bytes(&["a"]), vec![], bytes(&["b", "", "c"])]).await;
    let mut got = Vec::new();
    while got.len() < 3 {
        match pull.next().await {
            Ok(Some(Event::Message(frames))) => got.push(frames),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(got, [bytes(&["a"]), bytes(&[""]), bytes(&["b", "", "c"])]);
    drop(pull);
    // Nothing of it comes to the next one. What is published before the door has noticed may be tried twice.
    let mut next = workers(&stage, 10).await;
    publish(&stage, vec![bytes(&["d"])]).await;
    let taken = done(&mut next, 1).await;
    assert_eq!(taken[0].0, 4);
}

/// Goal: more than the credit goes through one socket: it comes back as the socket takes messages.
#[tokio::test]
async fn the_credit_of_a_pull_comes_back() {
    let stage = Stage::open().await;
    let mut pull = app(&stage, "jobs.pull", SocketType::Pull).await.ready().await;
    let publishing = async {
        for batch in 0..50 {
            let numbers = batch * 100..(batch + 1) * 100;
            publish(&stage, numbers.map(|number: u32| vec![Bytes::from(number.to_string())]).collect()).await;
        }
    };
    let reading = async {
        for number in 0..5000 {
            let Ok(Some(Event::Message(frames))) = pull.next().await else { panic!("the door closed") };
            assert_eq!(frames[0], number.to_string());
        }
    };
    tokio::join!(publishing, reading);
}

/// Goal: what the socket of an app that died did not take is done by another: nothing is acknowledged before.
#[tokio::test]
async fn what_a_pull_did_not_take_goes_to_another() {
    let stage = Stage::open().await;
    let pull = app(&stage, "jobs.pull", SocketType::Pull).await.ready().await;
    // Each is larger than what the socket buffers; the app reads nothing.
    let large = |first: u8| vec![Bytes::from(vec![first; MESSAGE_BYTES_MAX * 3 / 4])];
    publish(&stage, (0..5).map(large).collect()).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    drop(pull);
    let mut other = workers(&stage, 100).await;
    let mut sequences: Vec<i64> =
        done(&mut other, 5).await.into_iter().map(|(sequence, _)| sequence).collect();
    sequences.sort_unstable();
    assert_eq!(sequences, [1, 2, 3, 4, 5]);
}

/// Goal: without acknowledgement, what the socket did not take is counted.
#[tokio::test]
async fn without_acknowledgement_the_loss_is_counted() {
    let stage = Stage::open().await;
    stage.change(|view| {
        view.channels.get_mut(&channel("shop", "jobs")).unwrap().acknowledge = Acknowledge::None;
    });
    let pull = app(&stage, "jobs.pull", SocketType::Pull).await.ready().await;
    publish(&stage, vec![vec![Bytes::from(vec![0; MESSAGE_BYTES_MAX * 3 / 4])]]).await;
    let delivered = stage.doors.metrics.delivered.with_label_values(&["channel", "shop", "jobs"]);
    soon(async {
        while delivered.get() == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    drop(pull);
    let dropped = stage.doors.metrics.dropped.with_label_values(&["channel", "shop", "jobs", "disconnected"]);
    soon(async {
        while dropped.get() == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    assert_eq!(dropped.get(), 1);
}

/// Goal: a socket of another pattern is refused by name.
#[tokio::test]
async fn other_sockets_are_refused() {
    let stage = Stage::open().await;
    let told = app(&stage, "jobs.pull", SocketType::Sub).await.next().await;
    assert!(told.is_err(), "{told:?}");
    assert!(!stage.folder.path().join("zmq/jobs.sub").exists());
    assert!(!stage.folder.path().join("zmq/prices.push").exists());
}
