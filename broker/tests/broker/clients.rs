//! Real clients, new and old: librdkafka of today, and kcat 1.7.1 with librdkafka 2.0.

use std::{collections::BTreeSet, time::Duration};

use rdkafka::{
    Message as _,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    client::DefaultClientContext,
    consumer::{BaseConsumer, CommitMode, Consumer as _},
};
use runtime::clock;

use crate::support::{Broker, DEADLINE, kcat, payloads};

/// Goal: what a client of today produces comes back whole and in order, with every codec, idempotent or not.
#[tokio::test]
async fn produces_and_consumes() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(folder.path());
    for (codec, idempotent) in [("none", "true"), ("gzip", "false"), ("snappy", "true"), ("lz4", "true")] {
        let topic = format!("topic-{codec}");
        let mut config = broker.client();
        config.set("compression.type", codec).set("enable.idempotence", idempotent).set("acks", "all");
        broker.produce(&config, &topic, &payloads(0..2_000)).await;
        let all = broker.consume(&topic, 2_000);
        for (at, (offset, payload)) in all.iter().enumerate() {
            assert_eq!((*offset, payload), (i64::try_from(at).unwrap(), &format!("message {at}")));
        }
    }
    broker.stop();
}

/// Goal: an old client lists, produces, consumes, and consumes in a group that goes on where it was.
#[test]
fn an_old_client_works() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(folder.path());
    let input: String = (0..500).map(|number| format!("line {number}\n")).collect();
    let produced = kcat(broker.kafka, &["-P", "-t", "old", "-X", "acks=all", "-z", "lz4"], &input);
    assert!(produced.status.success(), "{produced:?}");
    let consumed = kcat(broker.kafka, &["-C", "-t", "old", "-e", "-q"], "");
    assert_eq!(String::from_utf8(consumed.stdout).unwrap(), input);
    let listed = kcat(broker.kafka, &["-L", "-J"], "");
    assert!(String::from_utf8(listed.stdout).unwrap().contains("\"topic\":\"old\""));
    let in_group = ["-G", "old-group", "-X", "auto.offset.reset=earliest", "-e", "-q", "old"];
    assert_eq!(String::from_utf8(kcat(broker.kafka, &in_group, "").stdout).unwrap(), input);
    assert_eq!(String::from_utf8(kcat(broker.kafka, &in_group, "").stdout).unwrap(), "");
    let produced = kcat(broker.kafka, &["-P", "-t", "old"], "one more\n");
    assert!(produced.status.success(), "{produced:?}");
    assert_eq!(String::from_utf8(kcat(broker.kafka, &in_group, "").stdout).unwrap(), "one more\n");
}

fn poll_until(consumers: &[&BaseConsumer], seen: &mut BTreeSet<String>, count: usize) {
    let deadline = clock::now() + DEADLINE;
    while seen.len() < count {
        assert!(clock::now() < deadline, "{} of {count} came", seen.len());
        for consumer in consumers {
            if let Some(Ok(message)) = consumer.poll(Duration::from_millis(20)) {
                seen.insert(String::from_utf8(message.payload().unwrap().to_vec()).unwrap());
                consumer.commit_message(&message, CommitMode::Async).unwrap();
            }
        }
    }
}

/// Goal: two members share the partitions of a topic; when one leaves, the other gets them all.
#[tokio::test]
async fn a_group_shares_partitions() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(folder.path());
    let admin: AdminClient<DefaultClientContext> = broker.client().create().unwrap();
    let topic = NewTopic::new("shared", 4, TopicReplication::Fixed(1));
    admin.create_topics([&topic], &AdminOptions::new()).await.unwrap().remove(0).unwrap();
    let member = || -> BaseConsumer {
        let mut config = broker.client();
        config.set("group.id", "sharing").set("auto.offset.reset", "earliest");
        let consumer: BaseConsumer = config.create().unwrap();
        consumer.subscribe(&["shared"]).unwrap();
        consumer
    };
    let (one, two) = (member(), member());
    let mut seen = BTreeSet::new();
    broker.produce(&broker.client(), "shared", &payloads(0..400)).await;
    poll_until(&[&one, &two], &mut seen, 400);
    let deadline = clock::now() + DEADLINE;
    let share = |consumer: &BaseConsumer| consumer.assignment().unwrap().count();
    while (share(&one), share(&two)) != (2, 2) {
        assert!(clock::now() < deadline, "one has {}, two has {}", share(&one), share(&two));
        for consumer in [&one, &two] {
            drop(consumer.poll(Duration::from_millis(50)));
        }
    }
    drop(two);
    while share(&one) != 4 {
        assert!(clock::now() < deadline, "one has {}", share(&one));
        drop(one.poll(Duration::from_millis(50)));
    }
    broker.produce(&broker.client(), "shared", &payloads(400..500)).await;
    poll_until(&[&one], &mut seen, 500);
}
