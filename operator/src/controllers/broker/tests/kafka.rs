//! Brokers with engine Kafka.

use super::*;

/// What the other controllers of Kubernetes do: claims are bound, so many nodes are ready.
fn come_up(api: &FakeApi, ready: i32) {
    let mut set = api.find("StatefulSet", "default-broker").unwrap();
    set["status"] = json!({"replicas": 3, "readyReplicas": ready});
    api.put(set);
    for node in 0..3 {
        api.put(json!({
            "apiVersion": "v1", "kind": "PersistentVolumeClaim",
            "metadata": {"name": format!("data-default-broker-{node}"), "namespace": "shop"},
            "spec": {"resources": {"requests": {"storage": "10Gi"}}},
            "status": {"capacity": {"storage": "10Gi"}},
        }));
    }
}

/// Goal: a cluster is three nodes, of which a drain takes one at a time; it is Ready when all are, and serves before.
#[tokio::test]
async fn a_kafka_cluster_is_made_and_then_left_alone() {
    let (api, brokers, authority) = (one("{engine: Kafka}"), FakeBrokers::default(), authority());
    run(&api, &brokers, &authority).await.unwrap();
    let set = api.find("StatefulSet", "default-broker").unwrap();
    assert_eq!(set["spec"]["replicas"], 3);
    assert_eq!(container(&set)["image"], "apache/kafka:4.4.0");
    let budget = api.find("PodDisruptionBudget", "default-broker").unwrap();
    assert_eq!(budget["spec"]["maxUnavailable"], 1);
    assert_eq!(budget["spec"]["selector"]["matchLabels"], set["spec"]["selector"]["matchLabels"]);
    come_up(&api, 2);
    run(&api, &brokers, &authority).await.unwrap();
    assert_eq!(condition_of(&api, "Serving").0, "True");
    let (status, _, message) = condition_of(&api, "NodesReady");
    assert_eq!(status, "False");
    assert!(message.starts_with("2 of 3 nodes are ready"), "{message}");
    come_up(&api, 3);
    run(&api, &brokers, &authority).await.unwrap();
    assert_eq!(condition_of(&api, "Ready").0, "True");
    let status = api.find("Broker", "default").unwrap()["status"].clone();
    assert_eq!(status["engineVersion"], "4.4.0");
    let node = |id: i32, ready: bool| json!({"id": id, "ready": ready});
    assert_eq!(
        status["brokers"],
        json!([node(0, true), node(1, false), node(2, false)]),
        "as the engine says"
    );
    api.take_writes();
    run(&api, &brokers, &authority).await.unwrap();
    assert_eq!(api.take_writes(), Vec::<String>::new(), "a steady cluster writes nothing");
}

/// Goal: the nodes know one another by a certificate that is for clients too, in the file that Kafka reads; every container is
/// restricted and has what it writes to.
#[tokio::test]
async fn the_nodes_are_restricted_and_know_one_another() {
    let (api, brokers) = (one("{engine: Kafka}"), FakeBrokers::default());
    run(&api, &brokers, &authority()).await.unwrap();
    let secret = api.find("Secret", "default-broker-tls").unwrap();
    let file = |name: &str| {
        use base64::Engine as _;
        let bytes = base64::engine::general_purpose::STANDARD.decode(secret["data"][name].as_str().unwrap());
        String::from_utf8(bytes.unwrap()).unwrap()
    };
    let keystore = file("keystore.pem");
    assert!(keystore.starts_with("-----BEGIN PRIVATE KEY-----\n") && keystore.ends_with(&file("tls.crt")));
    let set = api.find("StatefulSet", "default-broker").unwrap();
    let pod = &set["spec"]["template"]["spec"];
    for container in [&pod["initContainers"][0], &pod["containers"][0]] {
        let security = &container["securityContext"];
        assert_eq!(
            (&security["readOnlyRootFilesystem"], &security["capabilities"]["drop"]),
            (&json!(true), &json!(["ALL"]))
        );
        assert_eq!(container["command"][0], "java");
        let mounts = container["volumeMounts"].as_array().unwrap();
        assert!(mounts.iter().any(|mount| mount["mountPath"] == "/tmp"), "{container}");
    }
    assert_eq!(pod["volumes"][2]["emptyDir"]["sizeLimit"], "1Gi");
    let spread = pod["topologySpreadConstraints"].as_array().unwrap();
    let keys: Vec<_> = spread.iter().map(|one| one["topologyKey"].as_str().unwrap()).collect();
    assert_eq!(keys, ["topology.kubernetes.io/zone", "kubernetes.io/hostname"]);
    assert!(
        spread
            .iter()
            .all(|one| one["labelSelector"]["matchLabels"] == set["spec"]["selector"]["matchLabels"])
    );
}

/// Goal: the nodes start again with a new certificate and with other roots, which Kafka reads at its start, and not otherwise.
#[tokio::test]
async fn new_certificates_start_the_nodes_again() {
    let (api, brokers, first) = (one("{engine: Kafka}"), FakeBrokers::default(), authority());
    let template = || api.find("StatefulSet", "default-broker").unwrap()["spec"]["template"].clone();
    run(&api, &brokers, &first).await.unwrap();
    let before = template();
    run(&api, &brokers, &first).await.unwrap();
    assert_eq!(template(), before);
    run(&api, &brokers, &authority()).await.unwrap();
    assert_ne!(template(), before);
}

/// Goal: each volume grows that is smaller than the spec.
#[tokio::test]
async fn the_volumes_of_all_nodes_grow() {
    let (api, brokers, authority) = (one("{engine: Kafka}"), FakeBrokers::default(), authority());
    run(&api, &brokers, &authority).await.unwrap();
    come_up(&api, 3);
    let mut broker = api.find("Broker", "default").unwrap();
    broker["spec"]["storage"]["size"] = json!("20Gi");
    api.put(broker);
    api.edit("PersistentVolumeClaim", "data-default-broker-1", |claim| {
        claim["spec"]["resources"]["requests"]["storage"] = json!("20Gi");
        claim["status"]["capacity"]["storage"] = json!("20Gi");
    });
    api.take_writes();
    run(&api, &brokers, &authority).await.unwrap();
    let grown: Vec<String> =
        api.take_writes().into_iter().filter(|write| write.contains("persistentvolumeclaims")).collect();
    assert_eq!(grown.len(), 2, "{grown:?}");
    assert_eq!(condition_of(&api, "StorageReady").1, "Resizing");
}

/// Goal: the number of controllers does not change behind the webhook's back: the cluster stays as it is, and the Broker says so.
#[tokio::test]
async fn another_number_of_nodes_is_not_taken() {
    let (api, brokers, authority) = (one("{engine: Kafka}"), FakeBrokers::default(), authority());
    run(&api, &brokers, &authority).await.unwrap();
    come_up(&api, 3);
    api.edit("Broker", "default", |broker| broker["spec"]["replicas"] = json!(2));
    run(&api, &brokers, &authority).await.unwrap();
    assert_eq!(api.find("StatefulSet", "default-broker").unwrap()["spec"]["replicas"], 3);
    assert_eq!(condition_of(&api, "Accepted").1, "NotSupported");
}

/// Goal: a cluster whose node that was asked went is asked again before it is said not to serve; a lone node is not.
#[tokio::test(start_paused = true)]
async fn a_cluster_is_asked_again() {
    for (spec, serves) in
        [("{engine: Kafka}", "True"), ("{engine: Kafka, replicas: 1}", "False"), ("{}", "False")]
    {
        let (api, brokers, authority) = (one(spec), FakeBrokers::default(), authority());
        run(&api, &brokers, &authority).await.unwrap();
        come_up(&api, 2);
        let failures = std::sync::atomic::AtomicUsize::new(2);
        brokers.disturb(Some(Arc::new(move |address: &Address| {
            let left = failures.load(std::sync::atomic::Ordering::Relaxed);
            failures.store(left.saturating_sub(1), std::sync::atomic::Ordering::Relaxed);
            let error =
                KafkaError::Unreachable { bootstrap: address.bootstrap.clone(), reason: "reset".into() };
            (left > 0).then_some((error, false))
        })));
        drop(run(&api, &brokers, &authority).await);
        assert_eq!(condition_of(&api, "Serving").0, serves, "{spec}");
    }
}
