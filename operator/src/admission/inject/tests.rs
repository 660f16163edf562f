//! Pods in, wanted Pods out; no cluster.

use serde_json::{Value, json};

use super::{Outcome, Settings, Skip, USER_ID, inject, settings_hash};

fn settings() -> Settings {
    let resources = json!({"requests": {"cpu": "10m", "memory": "24Mi"}, "limits": {"memory": "128Mi"}});
    Settings {
        image: "ghcr.io/pinnace/sidecar:0.0.0".into(),
        image_pull_policy: "IfNotPresent".into(),
        control_address: "pinnace-control.pinnace-system.svc:7410".into(),
        control_server_name: "pinnace-control.pinnace-system.svc".into(),
        trust_bundle_pem: "PEM".into(),
        audience: "pinnace".into(),
        resources: resources.as_object().expect("an object").clone(),
        log_level: "info".into(),
        user_id: USER_ID,
    }
}

fn pod() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"generateName": "shop-", "labels": {"pinnace.dev/inject": "true", "app": "shop"}},
        "spec": {"containers": [{"name": "shop", "image": "shop:1"}], "fieldOfTheFuture": {"kept": true}},
    })
}

/// The Pod after injection, and the warnings.
fn injected(pod: &Value) -> (Value, Vec<String>) {
    match inject(pod, &settings()) {
        Outcome::Patched { patch, warnings } => {
            let mut result = pod.clone();
            json_patch::patch(&mut result, &patch).expect("the patch applies to the Pod it was made for");
            (result, warnings)
        }
        other => panic!("not injected: {other:?}"),
    }
}

fn refused(pod: &Value) -> String {
    match inject(pod, &settings()) {
        Outcome::Refused { problems } => problems.join("; "),
        other => panic!("not refused: {other:?}"),
    }
}

fn annotated(name: &str, value: &str) -> Value {
    let mut pod = pod();
    pod["metadata"]["annotations"] = json!({name: value});
    pod
}

fn arguments(pod: &Value) -> Vec<&str> {
    let arguments = pod["spec"]["initContainers"][0]["args"].as_array().expect("arguments");
    arguments.iter().filter_map(Value::as_str).collect()
}

/// Goal: the sidecar is native and first, and everything the app brought stays as it was.
#[test]
fn sidecar_is_the_first_init_container_and_the_rest_is_kept() {
    let mut before = pod();
    before["spec"]["initContainers"] = json!([{"name": "migrate", "image": "migrate:1"}]);
    let (after, warnings) = injected(&before);
    let first = &after["spec"]["initContainers"][0];
    assert_eq!(first["name"], "pinnace-sidecar");
    assert_eq!(first["restartPolicy"], "Always");
    assert_eq!(first["startupProbe"]["httpGet"], json!({"path": "/ready", "port": 7402, "scheme": "HTTP"}));
    assert_eq!(after["spec"]["initContainers"][1]["name"], "migrate");
    assert_eq!(after["spec"]["fieldOfTheFuture"], json!({"kept": true}));
    assert_eq!(after["metadata"]["labels"]["pinnace.dev/injected"], "true");
    assert_eq!(after["metadata"]["labels"]["app"], "shop");
    assert_eq!(after["metadata"]["annotations"]["kubectl.kubernetes.io/default-container"], "shop");
    assert!(warnings.is_empty(), "{warnings:?}");
}

/// Goal: the sidecar passes the `restricted` standard by its own settings.
#[test]
fn sidecar_is_restricted() {
    let (after, _) = injected(&pod());
    let context = &after["spec"]["initContainers"][0]["securityContext"];
    assert_eq!(context["allowPrivilegeEscalation"], false);
    assert_eq!(context["runAsNonRoot"], true);
    assert_eq!(context["runAsUser"], 65532);
    assert_eq!(context["capabilities"], json!({"drop": ["ALL"]}));
    assert_eq!(context["seccompProfile"], json!({"type": "RuntimeDefault"}));
    assert_eq!(context["readOnlyRootFilesystem"], true);
    for volume in after["spec"]["volumes"].as_array().expect("volumes") {
        assert!(volume.get("emptyDir").is_some() || volume.get("projected").is_some(), "{volume}");
    }
}

/// Goal: every container of the app finds the doors, and keeps the values it set itself.
#[test]
fn app_containers_get_the_doors_and_keep_their_own_values() {
    let mut before = pod();
    before["spec"]["initContainers"] = json!([{"name": "migrate", "image": "migrate:1"}]);
    before["spec"]["containers"][0]["env"] = json!([{"name": "KAFKA_BOOTSTRAP_SERVERS", "value": "elsewhere:9092"}, {"name": "A", "value": "$(PINNACE_ADDRESS)"}]);
    let (after, _) = injected(&before);
    for container in [&after["spec"]["initContainers"][1], &after["spec"]["containers"][0]] {
        let environment = container["env"].as_array().expect("an environment");
        assert_eq!(environment[0], json!({"name": "PINNACE_ADDRESS", "value": "127.0.0.1:7400"}));
        assert_eq!(environment[1], json!({"name": "PINNACE_SOCKET", "value": "/run/pinnace/api.sock"}));
        assert_eq!(container["volumeMounts"], json!([{"name": "pinnace-run", "mountPath": "/run/pinnace"}]));
    }
    let environment = after["spec"]["containers"][0]["env"].as_array().expect("an environment");
    let bootstrap: Vec<&Value> =
        environment.iter().filter(|variable| variable["name"] == "KAFKA_BOOTSTRAP_SERVERS").collect();
    assert_eq!(bootstrap, [&json!({"name": "KAFKA_BOOTSTRAP_SERVERS", "value": "elsewhere:9092"})]);
    assert_eq!(environment.last(), Some(&json!({"name": "A", "value": "$(PINNACE_ADDRESS)"})));
}

/// Goal: a second call changes nothing, and equips a container that another webhook added.
#[test]
fn second_call_only_equips_what_is_new() {
    let (once, _) = injected(&pod());
    assert!(matches!(inject(&once, &settings()), Outcome::Skipped(Skip::AlreadyInjected)));
    let mut later = once.clone();
    later["spec"]["containers"]
        .as_array_mut()
        .expect("containers")
        .push(json!({"name": "late", "image": "late:1"}));
    let (twice, _) = injected(&later);
    assert_eq!(twice["spec"]["initContainers"], once["spec"]["initContainers"]);
    assert_eq!(twice["spec"]["containers"][0], once["spec"]["containers"][0]);
    assert_eq!(twice["spec"]["containers"][1]["env"][0]["name"], "PINNACE_ADDRESS");
}

/// Goal: local volumes of the app stay safe to evict, and ours are named once.
#[test]
fn scale_down_is_not_blocked() {
    let (after, _) =
        injected(&annotated("cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes", "cache"));
    assert_eq!(
        after["metadata"]["annotations"]["cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes"],
        "cache,pinnace-run,pinnace-state"
    );
}

/// Goal: Pods that did not ask, and Pods that no patch can change, are left alone.
#[test]
fn unlabelled_and_static_pods_are_left_alone() {
    let mut unlabelled = pod();
    unlabelled["metadata"]["labels"]["pinnace.dev/inject"] = json!("yes");
    assert!(matches!(inject(&unlabelled, &settings()), Outcome::Skipped(Skip::NotLabelled)));
    let mirror = annotated("kubernetes.io/config.mirror", "hash");
    assert!(matches!(inject(&mirror, &settings()), Outcome::Skipped(Skip::StaticPod)));
    let mut owned = pod();
    owned["metadata"]["ownerReferences"] = json!([{"kind": "Node", "name": "n1"}]);
    assert!(matches!(inject(&owned, &settings()), Outcome::Skipped(Skip::StaticPod)));
}

/// Goal: what cannot work is refused with the field to change, all reasons at once.
#[test]
fn obstacles_name_the_field() {
    let mut pod = pod();
    pod["spec"]["hostNetwork"] = json!(true);
    pod["spec"]["containers"][0]["ports"] = json!([{"containerPort": 9092}]);
    pod["spec"]["containers"][0]["volumeMounts"] = json!([{"name": "own", "mountPath": "/run/pinnace/"}]);
    pod["spec"]["volumes"] = json!([{"name": "pinnace-run", "emptyDir": {}}]);
    let message = refused(&pod);
    for part in [
        "spec.hostNetwork is true",
        "spec.containers[shop].ports: 9092",
        "spec.containers[shop].volumeMounts: /run/pinnace",
        "spec.volumes: the name pinnace-run",
    ] {
        assert!(message.contains(part), "{part} not in {message}");
    }
}

/// Goal: each annotation that works reaches the sidecar.
#[test]
fn annotations_reach_the_sidecar() {
    let (after, _) = injected(&annotated("pinnace.dev/broker", "infra/default"));
    assert!(arguments(&after).contains(&"--broker-ref=infra/default"));
    let (after, _) = injected(&annotated("pinnace.dev/log-level", "debug"));
    assert!(arguments(&after).contains(&"--log-level=debug"));
    let doors = "prices.sub=tcp://127.0.0.1:5556, alerts.shop.pub=tcp://127.0.0.1:5557, quotes.req=tcp://127.0.0.1:5558";
    let (after, _) = injected(&annotated("pinnace.dev/zmq-listen", doors));
    assert!(arguments(&after).contains(&"--zmq-listen=prices.sub=tcp://127.0.0.1:5556"));
    assert!(arguments(&after).contains(&"--zmq-listen=alerts.shop.pub=tcp://127.0.0.1:5557"));
    assert!(arguments(&after).contains(&"--zmq-listen=quotes.req=tcp://127.0.0.1:5558"));
    let sockets = "kv.pub=tcp://127.0.0.1:5557 alerts.shop.sub=ipc:///run/pinnace/alerts quotes.router=tcp://127.0.0.1:5558";
    let (after, _) = injected(&annotated("pinnace.dev/zmq-connect", sockets));
    assert!(arguments(&after).contains(&"--zmq-connect=kv.pub=tcp://127.0.0.1:5557"));
    assert!(arguments(&after).contains(&"--zmq-connect=alerts.shop.sub=ipc:///run/pinnace/alerts"));
    assert!(arguments(&after).contains(&"--zmq-connect=quotes.router=tcp://127.0.0.1:5558"));
    let push = "channels/prices=http://127.0.0.1:8080/in, topics/orders.shop=http://localhost:8080/#group=a&concurrency=8";
    let (after, _) = injected(&annotated("pinnace.dev/push", push));
    assert!(arguments(&after).contains(&"--push=channels/prices=http://127.0.0.1:8080/in"));
    let topic = "--push=topics/orders.shop=http://localhost:8080/#group=a&concurrency=8";
    assert!(arguments(&after).contains(&topic));
    let wanted = r#"{"requests":{"cpu":"50m"},"limits":{"cpu":"1","memory":"64Mi"}}"#;
    let (after, _) = injected(&annotated("pinnace.dev/sidecar-resources", wanted));
    assert_eq!(
        after["spec"]["initContainers"][0]["resources"],
        json!({"requests": {"cpu": "50m", "memory": "24Mi"}, "limits": {"cpu": "1", "memory": "64Mi"}})
    );
}

/// Goal: an annotation that cannot be obeyed refuses the Pod and says what to write.
#[test]
fn bad_annotations_are_refused_by_name() {
    for (name, value, part) in [
        ("pinnace.dev/zmq-connect", "", "names 0 sockets"),
        ("pinnace.dev/zmq-connect", "prices.pub=tcp://*:5557", "no loopback address"),
        ("pinnace.dev/zmq-connect", "prices.pub=tcp://10.0.0.1:5557", "no loopback address"),
        ("pinnace.dev/zmq-connect", "prices.pair=tcp://127.0.0.1:5557", "not supported yet"),
        ("pinnace.dev/zmq-connect", "prices.pub=inproc://x", "no loopback address"),
        ("pinnace.dev/zmq-connect", "prices.pub=ipc:///tmp/x", "both containers"),
        ("pinnace.dev/zmq-connect", "prices.pub=ipc:///run/pinnace/zmq/prices.sub", "both containers"),
        ("pinnace.dev/zmq-connect", "prices.pub=ipc:///run/pinnace/../x", "both containers"),
        ("pinnace.dev/push", "", "names 0 targets"),
        ("pinnace.dev/push", "8080", "no `=`"),
        ("pinnace.dev/push", "prices=http://127.0.0.1:8080", "topics/ or channels/"),
        ("pinnace.dev/push", "queues/prices=http://127.0.0.1:8080", "neither topics nor channels"),
        ("pinnace.dev/push", "channels/Prices=http://127.0.0.1:8080", "names nothing"),
        ("pinnace.dev/push", "channels/prices=https://127.0.0.1:8080", "not http://"),
        ("pinnace.dev/push", "channels/prices=http://10.0.0.1:8080", "loopback"),
        ("pinnace.dev/push", "channels/prices=http://127.0.0.1/a", "no port"),
        ("pinnace.dev/push", "channels/prices=http://127.0.0.1:80/{a}", "%XX"),
        ("pinnace.dev/push", "topics/orders=http://127.0.0.1:8080", "#group=GROUP"),
        ("pinnace.dev/push", "channels/prices=http://127.0.0.1:8080#group=a", "no groups"),
        ("pinnace.dev/push", "channels/prices=http://127.0.0.1:8080#concurrency=0", "1 to 1000"),
        ("pinnace.dev/push", "channels/prices=http://127.0.0.1:8080#speed=9", "unknown"),
        ("pinnace.dev/broker", "a/b/c", "NAMESPACE/NAME"),
        ("pinnace.dev/broker", "Default", "names no Broker"),
        ("pinnace.dev/log-level", "loud", "is no level"),
        ("pinnace.dev/sidecar-upgrade", "no", "write disabled"),
        ("pinnace.dev/zmq-listen", "", "names 0 sockets"),
        ("pinnace.dev/zmq-listen", "prices=tcp://127.0.0.1:5556", "names no socket type"),
        ("pinnace.dev/zmq-listen", "prices.REQ=tcp://127.0.0.1:5556", "req, rep, dealer, router are"),
        ("pinnace.dev/zmq-listen", "prices.sub=tcp://0.0.0.0:5556", "no loopback address"),
        ("pinnace.dev/zmq-listen", "prices.sub=tcp://127.0.0.1:0", "no loopback address"),
        ("pinnace.dev/sidecar-resources", "cpu=1", "not a JSON object"),
        ("pinnace.dev/sidecar-resources", r#"{"claims":[]}"#, "neither requests nor limits"),
        ("pinnace.dev/sidecar-resources", r#"{"limits":{"cpu":"lots"}}"#, "no quantity"),
        ("pinnace.dev/sidecar-resources", r#"{"limits":{"gpu":"1"}}"#, "none of cpu"),
    ] {
        let message = refused(&annotated(name, value));
        assert!(message.contains(name) && message.contains(part), "{name}={value}: {message}");
    }
}

/// Goal: a sidecar is never told to connect to a door of its own.
#[test]
fn own_doors_are_no_sockets_of_the_app() {
    let mut pod = annotated("pinnace.dev/zmq-listen", "prices.sub=tcp://127.0.0.1:5556");
    pod["metadata"]["annotations"]["pinnace.dev/zmq-connect"] = json!("prices.pub=tcp://127.0.0.1:5556");
    let message = refused(&pod);
    assert!(message.contains("pinnace.dev/zmq-connect") && message.contains("5556"), "{message}");
}

/// Goal: a misspelt annotation is not lost in silence, and local mode's is no mistake.
#[test]
fn unknown_annotations_warn() {
    let (_, warnings) = injected(&annotated("pinnace.dev/loglevel", "debug"));
    assert!(warnings.iter().any(|warning| warning.contains("pinnace.dev/loglevel")), "{warnings:?}");
    let (_, warnings) = injected(&annotated("pinnace.dev/local-command", "[\"true\"]"));
    assert!(warnings.is_empty(), "{warnings:?}");
}

/// Goal: the key's volume and the tokens are in the sidecar alone.
#[test]
fn state_and_token_are_mounted_in_the_sidecar_alone() {
    let (after, _) = injected(&pod());
    let mounts = after["spec"]["containers"][0]["volumeMounts"].as_array().expect("mounts");
    assert!(mounts.iter().all(|mount| mount["name"] == "pinnace-run"), "{mounts:?}");
    let ours = after["spec"]["initContainers"][0]["volumeMounts"].as_array().expect("mounts");
    let api_token =
        ours.iter().find(|mount| mount["mountPath"] == "/var/run/secrets/kubernetes.io/serviceaccount");
    assert_eq!(api_token.expect("the path is taken")["name"], "pinnace-token");
}

/// Goal: Pods whose sidecar was injected with other settings are told by a label, which neither the image, nor the roots,
/// nor what a Pod asks for itself changes; a second call leaves it as it was.
#[test]
fn settings_are_told_by_a_label() {
    let label = |pod: &Value| pod["metadata"]["labels"]["pinnace.dev/sidecar-settings"].clone();
    let (once, _) = injected(&annotated("pinnace.dev/log-level", "debug"));
    assert_eq!(label(&once), json!(settings_hash(&settings())));
    let same = Settings { image: "another".into(), trust_bundle_pem: "another".into(), ..settings() };
    assert_eq!(settings_hash(&same), settings_hash(&settings()));
    let other = Settings { log_level: "trace".into(), ..settings() };
    assert_ne!(settings_hash(&other), settings_hash(&settings()));
    assert!(matches!(inject(&once, &other), Outcome::Skipped(Skip::AlreadyInjected)));
}
