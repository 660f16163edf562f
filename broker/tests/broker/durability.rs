//! Acknowledged is on disk: killed without warning, the broker comes back with all of it.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use rdkafka::producer::{FutureProducer, FutureRecord};

use crate::support::{Broker, payloads};

/// Goal: 10 000 acknowledged messages all come back in order after a kill, three times in a row.
#[tokio::test]
async fn acknowledged_messages_survive_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    for round in 1..=3 {
        let broker = Broker::start(folder.path());
        let mut config = broker.client();
        config.set("enable.idempotence", "true").set("linger.ms", "1");
        broker.produce(&config, "kept", &payloads((round - 1) * 10_000..round * 10_000)).await;
        broker.kill();
        let broker = Broker::start(folder.path());
        let all = broker.consume("kept", round * 10_000);
        for (at, (offset, payload)) in all.iter().enumerate() {
            assert_eq!((*offset, payload), (i64::try_from(at).unwrap(), &format!("message {at}")));
        }
    }
}

/// Goal: killed in the middle of producing, the broker has every message that was acknowledged, and those it has
/// are in the order they were sent.
#[tokio::test]
async fn a_kill_while_producing_loses_nothing_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let mut base = 0;
    for _ in 0..3 {
        let broker = Broker::start(folder.path());
        let mut config = broker.client();
        config.set("enable.idempotence", "true").set("linger.ms", "1").set("message.timeout.ms", "2000");
        let producer: FutureProducer = config.create().unwrap();
        let acknowledged = AtomicUsize::new(0);
        let produce = async {
            for number in base.. {
                let payload = format!("{number}");
                let record = FutureRecord::<(), _>::to("torn").payload(&payload);
                let Ok(delivery) = producer.send_result(record) else { break };
                if number % 50 == 49 {
                    match delivery.await {
                        Ok(Ok(_)) => acknowledged.store(number + 1, Ordering::SeqCst),
                        _ => break,
                    }
                }
            }
        };
        let kill = async {
            while acknowledged.load(Ordering::SeqCst) < base + 1_000 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            broker.kill();
        };
        tokio::join!(produce, kill);
        let broker = Broker::start(folder.path());
        let known = acknowledged.load(Ordering::SeqCst);
        let all = broker.consume("torn", known);
        for (at, (_, payload)) in all.iter().enumerate() {
            assert_eq!(*payload, format!("{at}"));
        }
        // What was sent behind the last acknowledgement may be there as well: count on from it.
        let end = broker.end_of("torn");
        base = usize::try_from(end).unwrap();
        broker.kill();
    }
}
