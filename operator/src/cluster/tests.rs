//! Followers over a watch that the test feeds.

use super::*;
use futures::SinkExt as _;
use k8s_openapi::api::core::v1::ConfigMap;
use runtime::shutdown::Shutdown;

fn config_map(name: &str, value: &str) -> ConfigMap {
    serde_json::from_value(serde_json::json!({
        "metadata": {"name": name, "namespace": "shop"}, "data": {"key": value}
    }))
    .unwrap()
}

fn print(object: &ConfigMap) -> u64 {
    fingerprint(&object.data)
}

fn text(change: Option<Change<ConfigMap>>) -> String {
    match change.unwrap() {
        Change::Applied(object) => {
            format!("{}={}", name_of(object.as_ref()), object.data.as_ref().unwrap()["key"])
        }
        Change::Gone(name) => format!("{name} gone"),
    }
}

/// Goal: a follower sees what is there, then only changes that matter, then what vanished while the watch was away.
#[tokio::test]
async fn followers_see_what_matters() {
    let (mut events, feed) =
        futures::channel::mpsc::channel::<watcher::Result<watcher::Event<ConfigMap>>>(16);
    let tasks = Tasks::new(Shutdown::new());
    let kind = Kind::watch("test", &tasks, feed.boxed());
    let mut follow = kind.follow(print);
    for event in
        [watcher::Event::Init, watcher::Event::InitApply(config_map("a", "1")), watcher::Event::InitDone]
    {
        events.send(Ok(event)).await.unwrap();
    }
    assert_eq!(text(follow.next().await), "shop/a=1");
    for event in [watcher::Event::Apply(config_map("a", "1")), watcher::Event::Apply(config_map("b", "1"))] {
        events.send(Ok(event)).await.unwrap();
    }
    assert_eq!(text(follow.next().await), "shop/b=1");
    events.send(Ok(watcher::Event::Apply(config_map("a", "2")))).await.unwrap();
    assert_eq!(text(follow.next().await), "shop/a=2");
    for event in
        [watcher::Event::Init, watcher::Event::InitApply(config_map("b", "1")), watcher::Event::InitDone]
    {
        events.send(Ok(event)).await.unwrap();
    }
    assert_eq!(text(follow.next().await), "shop/a gone");
    events.send(Ok(watcher::Event::Delete(config_map("b", "1")))).await.unwrap();
    assert_eq!(text(follow.next().await), "shop/b gone");
    tasks.shutdown().begin();
}

/// Goal: an operator of one namespace asks for nothing outside of it, and holds nothing from there.
#[tokio::test]
async fn nothing_outside_the_namespace_is_asked_for() {
    let mut yaml = String::new();
    for namespace in ["shop", "infra"] {
        yaml += &format!(
            "{{apiVersion: v1, kind: Namespace, metadata: {{name: {namespace}}}}}\n---\n\
             {{apiVersion: pinnace.dev/v1alpha1, kind: Topic, metadata: {{name: orders, namespace: {namespace}}}, spec: {{}}}}\n---\n\
             {{apiVersion: pinnace.dev/v1alpha1, kind: Broker, metadata: {{name: default, namespace: {namespace}}}, spec: {{}}}}\n---\n\
             {{apiVersion: v1, kind: Pod, metadata: {{name: a, namespace: {namespace}, labels: {{pinnace.dev/inject: 'true'}}}}, spec: {{}}}}\n---\n"
        );
    }
    let api = crate::testing::FakeApi::with_yaml(&yaml);
    let tasks = Tasks::new(Shutdown::new());
    let cluster = Cluster::watch(&api.client(), &Scope::of("shop"), &tasks);
    cluster.ready().await.unwrap();
    cluster.pods.ready().await.unwrap();
    let own = ObjectName::new("shop", "orders");
    assert_eq!(cluster.topics.all().iter().map(|topic| name_of(topic.as_ref())).collect::<Vec<_>>(), [own]);
    assert_eq!((cluster.brokers.all().len(), cluster.pods.all().len()), (1, 1));
    assert!(cluster.namespace_labels("shop").is_some() && cluster.namespace_labels("infra").is_none());
    let asked = api.take_requests();
    let is_inside = |request: &&String| {
        let (_, path) = request.split_once("/namespaces/").unwrap_or_default();
        path == "shop" || path.starts_with("shop/")
    };
    assert!(asked.len() >= 8 && asked.iter().all(|request| is_inside(&request)), "{asked:?}");
    tasks.shutdown().begin();
}
