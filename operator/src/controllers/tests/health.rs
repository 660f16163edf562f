//! What engines tell of their disks, from their word to the status, the Events and back, over hours.

use super::{
    steady::{REST, World, shop},
    *,
};
use crate::health::Health;
use serde_json::{Value, json};

impl World {
    /// The engine of the Broker of `shop` says something else.
    fn say(&self, change: impl FnOnce(&mut Health)) {
        self.brokers.edit(&shop(), |node| change(&mut node.health));
    }

    /// Status and reason of a condition of that Broker.
    fn told(&self, kind: &str) -> [String; 2] {
        let broker = self.api.find("Broker", "default").unwrap();
        let conditions = broker["status"]["conditions"].as_array().unwrap().clone();
        let found = conditions.into_iter().find(|condition| condition["type"] == kind).unwrap();
        ["status", "reason"].map(|field| found[field].as_str().unwrap().to_owned())
    }

    fn storage(&self) -> Value {
        self.api.find("Broker", "default").unwrap()["status"]["storage"].clone()
    }
}

async fn moments() {
    tokio::time::sleep(Duration::from_secs(3)).await;
}

/// Goal: what an engine tells is in the status of its Broker within moments, and Ready with it; Topics that are there stay
/// Ready, no broker is asked, and what stays as it is is not written again. A disk that heals is well again by itself.
#[tokio::test(start_paused = true)]
async fn what_an_engine_tells_is_in_the_status() {
    let world = World::start().await;
    assert_eq!(world.told("DiskHasRoom"), ["True", "HasRoom"]);
    assert_eq!(world.told("DataIntact"), ["True", "Intact"]);
    assert_eq!(world.storage(), json!({"capacity": "10Gi", "used": "1Gi", "usedPercent": 10}));
    world.say(|health| {
        health.used_bytes = 10 << 30;
        health.disk_nearly_full = true;
    });
    moments().await;
    assert_eq!(world.told("DiskHasRoom"), ["False", "DiskNearlyFull"]);
    assert_eq!(world.told("Ready"), ["False", "DiskNearlyFull"]);
    assert_eq!(world.storage()["usedPercent"], 100);
    assert_eq!(world.ready("Topic", "orders"), "True");
    let events = |world: &World| -> Vec<String> {
        world.api.take_events().into_iter().map(|(reason, _)| reason).collect()
    };
    assert_eq!(events(&world), ["DiskNearlyFull"]);
    let writes = world.api.take_writes();
    assert!(
        writes.iter().all(|write| write.contains("/brokers/default/status") || write.contains("/events")),
        "{writes:?}"
    );
    tokio::time::sleep(Duration::from_secs(7200)).await;
    assert_eq!((world.api.take_writes(), world.brokers.take_requests()), (Vec::new(), 0));
    world.say(|health| {
        health.read_only_partitions = 1;
        health.disk_nearly_full = false;
    });
    moments().await;
    assert_eq!(world.told("DiskHasRoom"), ["True", "HasRoom"]);
    assert_eq!(world.told("DataIntact"), ["False", "PartitionsReadOnly"]);
    assert_eq!(world.told("Ready"), ["False", "PartitionsReadOnly"]);
    assert_eq!(events(&world), ["PartitionsReadOnly", "HasRoom"]);
    world.say(|health| health.read_only_partitions = 0);
    moments().await;
    assert_eq!(world.told("Ready"), ["True", "Ready"]);
    // That it is Ready is one more of the Event that said so at first.
    assert_eq!(events(&world), ["Intact"]);
    assert_eq!(world.brokers.take_requests(), 0);
}

/// Goal: a disk that is written to all the time has its Broker's status written each ten seconds at most.
#[tokio::test(start_paused = true)]
async fn a_busy_disk_is_written_down_each_ten_seconds_at_most() {
    let world = World::start().await;
    for second in 0..100 {
        world.say(|health| health.used_bytes = (1 << 30) + (second << 26));
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    tokio::time::sleep(Duration::from_secs(10)).await;
    let writes = world.api.take_writes();
    assert!((9..=12).contains(&writes.len()), "{writes:?}");
    assert_eq!(world.storage()["used"], "7.1Gi");
}

/// Goal: a leader that takes over follows anew, takes nothing back that it was not told yet, and writes nothing when all is as
/// it was.
#[tokio::test(start_paused = true)]
async fn a_new_leader_follows_anew() {
    let world = World::start().await;
    world.say(|health| health.disk_nearly_full = true);
    moments().await;
    world.tasks.shutdown().begin();
    world.tasks.drain(REST).await;
    world.forget();
    // Engines say nothing yet, so that the first reconcile knows nothing.
    world.brokers.hush(true);
    let next = world.led_anew().await;
    assert_eq!(world.api.take_writes(), Vec::<String>::new());
    assert_eq!(next.told("DiskHasRoom"), ["False", "DiskNearlyFull"]);
    next.brokers.hush(false);
    moments().await;
    assert_eq!(next.api.take_writes(), Vec::<String>::new());
    next.say(|health| health.disk_nearly_full = false);
    moments().await;
    assert_eq!(next.told("Ready"), ["True", "Ready"]);
}

/// Goal: a Broker whose engine does not tell is no less Ready; its conditions say that nobody knows, and why, and once.
#[tokio::test(start_paused = true)]
async fn an_engine_that_does_not_tell_is_unknown() {
    let world = World::start().await;
    world.brokers.fail(Some(|address| KafkaError::Refused {
        bootstrap: address.bootstrap.clone(),
        action: "tell".into(),
        reason: "unknown path".into(),
    }));
    world.brokers.stir();
    moments().await;
    assert_eq!(world.told("DiskHasRoom"), ["Unknown", "NotTold"]);
    assert_eq!(world.told("DataIntact"), ["Unknown", "NotTold"]);
    assert_eq!(world.told("Ready"), ["True", "Ready"]);
    assert_eq!(world.storage()["used"], "1Gi", "it is what it was");
    world.api.take_writes();
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(world.api.take_writes(), Vec::<String>::new());
    let asked = world.brokers.take_requests();
    // Two Brokers, each five minutes.
    assert!((20..=40).contains(&asked), "asked {asked} times in an hour");
    world.brokers.fail(None);
    tokio::time::sleep(Duration::from_secs(300)).await;
    assert_eq!(world.told("DiskHasRoom"), ["True", "HasRoom"]);
}
