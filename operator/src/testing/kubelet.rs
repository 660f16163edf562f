//! What happens in a cluster by itself: a StatefulSet gets its volume and its node becomes ready; what belongs to nobody is
//! collected.

use super::FakeApi;
use serde_json::{Value, json};
use std::time::Duration;

/// How long it takes at most.
const PERIOD: Duration = Duration::from_millis(700);

/// Runs until it is dropped.
pub(crate) async fn run(api: FakeApi) {
    let mut changes = api.changes();
    loop {
        changes.changed().await;
        tokio::time::sleep(PERIOD).await;
        step(&api);
        collect(&api);
    }
}

/// Deletes what belongs to an owner who is gone.
fn collect(api: &FakeApi) {
    let all = api.objects();
    let there: Vec<&Value> = all.iter().map(|object| &object["metadata"]["uid"]).collect();
    for object in &all {
        let Some(owners) = object["metadata"]["ownerReferences"].as_array() else { continue };
        if owners.iter().all(|owner| !there.contains(&&owner["uid"])) {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let metadata = &object["metadata"];
            api.delete_in(&text(&metadata["namespace"]), &text(&object["kind"]), &text(&metadata["name"]));
        }
    }
}

fn step(api: &FakeApi) {
    for set in api.objects().into_iter().filter(|object| object["kind"] == "StatefulSet") {
        let claim = claim_of(&set);
        if api.find("PersistentVolumeClaim", claim["metadata"]["name"].as_str().unwrap()).is_none() {
            api.put(claim);
        } else if set["status"]["readyReplicas"].is_null() {
            let mut set = set;
            set["status"] = json!({"replicas": 1, "readyReplicas": 1});
            api.put(set);
        }
    }
}

fn claim_of(set: &Value) -> Value {
    let template = &set["spec"]["volumeClaimTemplates"][0];
    let name = format!(
        "{}-{}-0",
        template["metadata"]["name"].as_str().unwrap(),
        set["metadata"]["name"].as_str().unwrap()
    );
    json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, "namespace": set["metadata"]["namespace"], "labels": template["metadata"]["labels"]},
        "spec": template["spec"],
        "status": {"phase": "Bound", "capacity": template["spec"]["resources"]["requests"]},
    })
}
