//! Brokers as YAML in; child objects, status and writes out. No cluster.

mod kafka;
mod restarts;
mod scaling;

use super::*;
use crate::{
    kafka::KafkaError,
    testing::{FakeApi, FakeBrokers, context},
};
use serde_json::{Value, json};

fn one(spec: &str) -> FakeApi {
    FakeApi::with_yaml(&format!(
        "apiVersion: pinnace.dev/v1alpha1\nkind: Broker\nmetadata: {{name: default, namespace: shop, uid: b1, generation: 1}}\nspec: {spec}"
    ))
}

/// Reconciles over what is there, with the same authority each time.
async fn run(
    api: &FakeApi,
    brokers: &FakeBrokers,
    authority: &Arc<control_plane::Authority>,
) -> Result<Action, ReconcileError> {
    let mut context = context(api, brokers);
    context.authority = tokio::sync::watch::Sender::new(Arc::clone(authority)).subscribe();
    let context = Arc::new(context);
    let broker = context.cluster.brokers.get(&ObjectName::new("shop", "default")).unwrap();
    reconcile(broker, context).await
}

fn authority() -> Arc<control_plane::Authority> {
    Arc::new(control_plane::Authority::create("cluster.local", runtime::clock::unix_seconds()).unwrap())
}

fn condition_of(api: &FakeApi, kind: &str) -> (String, String, String) {
    let broker = api.find("Broker", "default").unwrap();
    let conditions = broker["status"]["conditions"].as_array().unwrap().clone();
    let found = conditions.into_iter().find(|condition| condition["type"] == kind).unwrap();
    let text = |field: &str| found[field].as_str().unwrap().to_owned();
    (text("status"), text("reason"), text("message"))
}

/// What the other controllers of Kubernetes do: the claim is bound, the pod is ready.
fn come_up(api: &FakeApi, capacity: &str) {
    let mut set = api.find("StatefulSet", "default-broker").unwrap();
    set["status"] = json!({"replicas": 1, "readyReplicas": 1});
    api.put(set);
    api.put(json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data-default-broker-0", "namespace": "shop"},
        "spec": {"resources": {"requests": {"storage": capacity}}},
        "status": {"capacity": {"storage": capacity}},
    }));
}

/// Goal: a Broker becomes its children in the stated order, serves, and then nothing is written any more.
#[tokio::test]
async fn a_broker_is_made_and_then_left_alone() {
    let (api, brokers, authority) = (one("{}"), FakeBrokers::default(), authority());
    run(&api, &brokers, &authority).await.unwrap();
    let writes: Vec<String> = api
        .take_writes()
        .iter()
        .map(|write| write.rsplit('/').take(2).collect::<Vec<_>>().join(" "))
        .collect();
    assert_eq!(
        writes[..5],
        [
            "default-broker-tls secrets",
            "default-broker-config configmaps",
            "default-broker-nodes services",
            "default-broker services",
            "default-broker statefulsets"
        ]
    );
    assert_eq!(condition_of(&api, "Ready").1, "Starting");
    come_up(&api, "10Gi");
    run(&api, &brokers, &authority).await.unwrap();
    assert_eq!(condition_of(&api, "Ready").0, "True");
    let status = api.find("Broker", "default").unwrap()["status"].clone();
    assert_eq!(status["bootstrap"], "default-broker.shop.svc:9093");
    assert_eq!(
        (status["clusterId"].as_str(), status["engineVersion"].as_str()),
        (Some("cluster-1"), Some("1.2.3"))
    );
    assert_eq!(status["brokers"], json!([{"id": 0, "ready": true}]));
    api.take_writes();
    run(&api, &brokers, &authority).await.unwrap();
    assert_eq!(api.take_writes(), Vec::<String>::new(), "a steady Broker writes nothing");
}

fn container(set: &Value) -> &Value {
    &set["spec"]["template"]["spec"]["containers"][0]
}

/// Goal: the pod is clean under `restricted` Pod Security, keeps its volume, and carries what the template says.
#[tokio::test]
async fn the_pod_is_restricted() {
    let spec = "{storage: {size: 20Gi, className: fast}, template: {labels: {team: shop}, nodeSelector: {disk: ssd}, affinity: {nodeAffinity: {}}}, config: {num.partitions: '3'}}";
    let (api, brokers) = (one(spec), FakeBrokers::default());
    run(&api, &brokers, &authority()).await.unwrap();
    let set = api.find("StatefulSet", "default-broker").unwrap();
    let pod = &set["spec"]["template"]["spec"];
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
    assert_eq!(pod["automountServiceAccountToken"], false);
    let security = &container(&set)["securityContext"];
    assert_eq!(security["allowPrivilegeEscalation"], false);
    assert_eq!(security["capabilities"]["drop"], json!(["ALL"]));
    assert_eq!(set["spec"]["persistentVolumeClaimRetentionPolicy"]["whenDeleted"], "Retain");
    let claim = &set["spec"]["volumeClaimTemplates"][0]["spec"];
    assert_eq!(
        (&claim["resources"]["requests"]["storage"], &claim["storageClassName"]),
        (&json!("20Gi"), &json!("fast"))
    );
    assert_eq!(pod["nodeSelector"]["disk"], "ssd");
    assert_eq!(set["spec"]["template"]["metadata"]["labels"]["team"], "shop");
    assert_eq!(
        api.find("ConfigMap", "default-broker-config").unwrap()["data"]["broker.properties"],
        "num.partitions=3\n"
    );
    let arguments = container(&set)["args"].to_string();
    assert!(arguments.contains("--super-user=pinnace-system/pinnace-operator"), "{arguments}");
    assert!(arguments.contains("$(POD_NAME).default-broker-nodes.shop.svc:9093"), "{arguments}");
}

/// Goal: while another Broker is on its way to the new image this one keeps what it has, says so and stays Ready; then it
/// is its turn.
#[tokio::test]
async fn a_broker_waits_for_its_turn() {
    let (api, brokers, authority) = (one("{}"), FakeBrokers::default(), authority());
    run(&api, &brokers, &authority).await.unwrap();
    come_up(&api, "10Gi");
    let image = |set: &Value| set["spec"]["template"]["spec"]["containers"][0]["image"].clone();
    let (mut own, mut other) = (
        api.find("StatefulSet", "default-broker").unwrap(),
        api.find("StatefulSet", "default-broker").unwrap(),
    );
    own["spec"]["template"]["spec"]["containers"][0]["image"] = json!("ghcr.io/pinnace/broker:1.2.2");
    api.put(own);
    other["metadata"]["name"] = json!("another-broker");
    other["metadata"]["labels"]["pinnace.dev/broker"] = json!("another");
    other["status"] = json!({"replicas": 1, "readyReplicas": 0});
    api.put(other.clone());
    let broker = "apiVersion: pinnace.dev/v1alpha1\nkind: Broker\nmetadata: {name: another, namespace: shop}\nspec: {}";
    api.put(serde_yaml::from_str(broker).unwrap());

    let again = run(&api, &brokers, &authority).await.unwrap().pause().unwrap();
    assert!(again < std::time::Duration::from_secs(30), "it looks again after {again:?}");
    assert_eq!(image(&api.find("StatefulSet", "default-broker").unwrap()), "ghcr.io/pinnace/broker:1.2.2");
    assert_eq!(condition_of(&api, "NodesReady").1, "UpgradeWaits");
    assert_eq!(condition_of(&api, "Ready").0, "True");
    assert_eq!(api.find("Broker", "default").unwrap()["status"]["engineVersion"], "1.2.2");

    other["status"] =
        json!({"replicas": 1, "readyReplicas": 1, "observedGeneration": other["metadata"]["generation"]});
    api.put(other);
    run(&api, &brokers, &authority).await.unwrap();
    assert_eq!(image(&api.find("StatefulSet", "default-broker").unwrap()), "ghcr.io/pinnace/broker:1.2.3");
    assert_eq!(condition_of(&api, "NodesReady").1, "Running");
}

/// Goal: where the namespace assigns users and groups to its pods, the pod names none; elsewhere it is that of our images.
#[tokio::test]
async fn a_namespace_that_assigns_users_is_obeyed() {
    for (annotations, user) in
        [(json!({}), json!(65_532)), (json!({crate::users::UID_RANGE: "1000/10"}), Value::Null)]
    {
        let (api, brokers) = (one("{}"), FakeBrokers::default());
        api.put(json!({
            "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop", "annotations": annotations},
        }));
        run(&api, &brokers, &authority()).await.unwrap();
        let set = api.find("StatefulSet", "default-broker").unwrap();
        let context = &set["spec"]["template"]["spec"]["securityContext"];
        for field in ["runAsUser", "runAsGroup", "fsGroup"] {
            assert_eq!(context[field], user, "{field}");
        }
        assert_eq!(context["runAsNonRoot"], true);
    }
}

/// Goal: a setting restarts the node through the hash; a certificate does not.
#[tokio::test]
async fn settings_restart_the_node() {
    let (api, brokers, authority) = (one("{}"), FakeBrokers::default(), authority());
    run(&api, &brokers, &authority).await.unwrap();
    let template =
        |api: &FakeApi| api.find("StatefulSet", "default-broker").unwrap()["spec"]["template"].clone();
    let before = template(&api);
    run(&api, &brokers, &self::authority()).await.unwrap();
    assert_eq!(template(&api), before);
    let mut broker = api.find("Broker", "default").unwrap();
    broker["spec"]["config"] = json!({"num.partitions": "3"});
    api.put(broker);
    run(&api, &brokers, &authority).await.unwrap();
    assert_ne!(template(&api), before);
}

/// Goal: a volume grows through its claim, since the template of a StatefulSet cannot change.
#[tokio::test]
async fn the_volume_grows() {
    let (api, brokers, authority) = (one("{}"), FakeBrokers::default(), authority());
    run(&api, &brokers, &authority).await.unwrap();
    come_up(&api, "10Gi");
    let mut broker = api.find("Broker", "default").unwrap();
    broker["spec"]["storage"]["size"] = json!("20Gi");
    api.put(broker);
    run(&api, &brokers, &authority).await.unwrap();
    let claim = api.find("PersistentVolumeClaim", "data-default-broker-0").unwrap();
    assert_eq!(claim["spec"]["resources"]["requests"]["storage"], "20Gi");
    let set = api.find("StatefulSet", "default-broker").unwrap();
    assert_eq!(set["spec"]["volumeClaimTemplates"][0]["spec"]["resources"]["requests"]["storage"], "10Gi");
    let (status, reason, _) = condition_of(&api, "StorageReady");
    assert_eq!((status.as_str(), reason.as_str()), ("Unknown", "Resizing"));
}

/// Goal: a certificate is kept while it is good, and made anew when the roots changed.
#[tokio::test]
async fn certificates_are_kept_while_good() {
    let own = ObjectName::new("shop", "default");
    let (first, other, now) = (authority(), authority(), runtime::clock::unix_seconds());
    let broker =
        serde_yaml::from_str("metadata: {name: default, namespace: shop, uid: b1}\nspec: {}").unwrap();
    let made = certificate::current((&broker, &own), None, &first, now).unwrap();
    let secret = objects::secret::build(&broker, &own, &made).unwrap();
    let again = |authority, now| {
        certificate::current((&broker, &own), Some(&secret), authority, now).unwrap().chain_pem
    };
    assert_eq!(again(&first, now), made.chain_pem);
    assert_ne!(again(&other, now), made.chain_pem);
    let late = i64::try_from(certificate::LIFETIME.as_secs()).unwrap() - 86_400;
    assert_ne!(again(&first, now + late), made.chain_pem);
}

/// Goal: what the spec asks and nobody can do is told, and nothing is made.
#[tokio::test]
async fn refusals_make_nothing() {
    for (spec, reason, field) in [
        ("{engine: Kafka, config: {listeners: 'PLAINTEXT://:9092'}}", "Invalid", "spec.config[listeners]"),
        ("{replicas: 2}", "Invalid", "spec.replicas"),
        ("{storage: {size: lots}}", "Invalid", "spec.storage.size"),
    ] {
        let (api, brokers) = (one(spec), FakeBrokers::default());
        run(&api, &brokers, &authority()).await.unwrap();
        let (status, found, message) = condition_of(&api, "Ready");
        assert_eq!((status.as_str(), found.as_str()), ("False", reason), "{message}");
        assert!(message.contains(field), "{message}");
        assert!(api.find("StatefulSet", "default-broker").is_none());
    }
}

/// Goal: a paused Broker is watched, not changed.
#[tokio::test]
async fn a_paused_broker_is_only_watched() {
    let (api, brokers) = (one("{maintenance: {paused: true}}"), FakeBrokers::default());
    run(&api, &brokers, &authority()).await.unwrap();
    assert!(api.find("StatefulSet", "default-broker").is_none());
    assert_eq!(condition_of(&api, "Accepted").1, "Paused");
}

/// Goal: a node that is ready and does not answer is said to be so, and asked again.
#[tokio::test]
async fn a_silent_node_is_told() {
    let (api, brokers, authority) = (one("{}"), FakeBrokers::default(), authority());
    run(&api, &brokers, &authority).await.unwrap();
    come_up(&api, "10Gi");
    brokers.fail(Some(|address| KafkaError::Unreachable {
        bootstrap: address.bootstrap.clone(),
        reason: "no".into(),
    }));
    assert!(run(&api, &brokers, &authority).await.is_err());
    let (status, reason, _) = condition_of(&api, "Serving");
    assert_eq!((status.as_str(), reason.as_str()), ("False", "Unreachable"));
}

/// Goal: a Broker of a name that had one before goes on with the volume that was retained, and says so once.
#[tokio::test]
async fn a_retained_volume_is_taken_over() {
    let (api, brokers, authority) = (one("{}"), FakeBrokers::default(), authority());
    run(&api, &brokers, &authority).await.unwrap();
    come_up(&api, "10Gi");
    run(&api, &brokers, &authority).await.unwrap();
    assert!(
        !api.take_events().iter().any(|(reason, _)| reason == "Adopted"),
        "its own volume is not adopted"
    );
    api.delete("Broker", "default");
    assert!(api.find("StatefulSet", "default-broker").is_none(), "it goes with the Broker");
    assert!(api.find("PersistentVolumeClaim", "data-default-broker-0").is_some(), "it is retained");
    for broker in one("{storage: {size: 20Gi}}").objects() {
        api.put(broker);
    }
    run(&api, &brokers, &authority).await.unwrap();
    let claim = api.find("PersistentVolumeClaim", "data-default-broker-0").unwrap();
    assert_eq!(claim["spec"]["resources"]["requests"]["storage"], "20Gi", "it grows if asked to");
    run(&api, &brokers, &authority).await.unwrap();
    let events = api.take_events();
    let adopted: Vec<_> = events.iter().filter(|(reason, _)| reason == "Adopted").collect();
    assert!(matches!(&adopted[..], [(_, note)] if note.contains("data-default-broker-0")), "{events:?}");
}
