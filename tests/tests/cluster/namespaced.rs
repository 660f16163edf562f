//! A release that serves its own namespace and has no right over the cluster. While it runs, the one that the scenarios
//! share is away: two operators would act on the same objects.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::apps::http_publisher;
use crate::channels::{arrived, pair};
use crate::install::{NAMESPACE, RELEASE, install, installed};
use crate::kube::{self, attempt, kubectl, object, run, said, wait_ready};
use crate::namespace::Namespace;
use crate::rights::may;

/// The team's release, and what it makes outside of its namespace.
const TEAM: &str = "team";
const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../charts/pinnace");
const OF_THE_CLUSTER: &[&str] = &[
    "validatingadmissionpolicybinding",
    "validatingadmissionpolicy",
    "validatingwebhookconfiguration",
    "mutatingwebhookconfiguration",
];
const TOPIC: &str = "
apiVersion: pinnace.dev/v1alpha1
kind: Topic
metadata: {name: orders}
spec: {}
";
const READ: &str = "timeout 60 kcat -b $KAFKA_BOOTSTRAP_SERVERS -C -t orders -o beginning -e -q -f '%s\\n'";

/// The shared release is away, and comes back when the scenario ends, however it ends.
struct Away;

impl Away {
    fn new() -> Result<Self> {
        let away = Self;
        run("helm", &["uninstall", RELEASE, "--namespace", NAMESPACE, "--wait", "--timeout", "120s"])?;
        Ok(away)
    }
}

impl Drop for Away {
    fn drop(&mut self) {
        // The next scenario that needs it tells what went wrong.
        drop(install());
    }
}

/// What the team's release left outside of its namespace goes when the scenario ends.
struct Left<'a>(&'a str);

impl Drop for Left<'_> {
    fn drop(&mut self) {
        let name = format!("{}.{TEAM}-operator", self.0);
        for kind in OF_THE_CLUSTER {
            for suffix in ["", "-sidecar", "-pods"] {
                drop(kubectl(&["delete", kind, &format!("{name}{suffix}"), "--ignore-not-found"]));
            }
        }
    }
}

fn install_alone(namespace: &Namespace) -> Result<()> {
    let words = [
        "install",
        TEAM,
        CHART,
        "--namespace",
        &namespace.name,
        "--set",
        "scope=Namespaced",
        // They stayed when the shared release went, and are its.
        "--set",
        "crds.install=false",
        "--set",
        "operator.replicas=1",
        "--wait",
        "--timeout",
        "180s",
    ];
    run("helm", &words).map(drop)
}

/// No ClusterRole is the release's, and no binding of one names anybody of its namespace.
fn has_no_cluster_role(namespace: &str) -> Result<()> {
    let all = kubectl(&["get", "clusterroles,clusterrolebindings", "--output=json"])?;
    let all: Value = serde_json::from_str(&all).context("kubectl printed no JSON")?;
    for item in all["items"].as_array().context("kubectl lists nothing")? {
        let metadata = &item["metadata"];
        let is_theirs = metadata["annotations"]["meta.helm.sh/release-name"] == TEAM
            || metadata["labels"]["app.kubernetes.io/instance"] == TEAM
            || item["subjects"].as_array().into_iter().flatten().any(|one| one["namespace"] == namespace);
        ensure!(!is_theirs, "the release has {} {}", item["kind"], metadata["name"]);
    }
    Ok(())
}

fn may_no_more_than_it_needs(namespace: &str) -> Result<()> {
    let operator = format!("system:serviceaccount:{namespace}:{TEAM}-operator");
    let own = format!("namespaces/{namespace}");
    for (place, verb, what, expected) in [
        (namespace, "watch", "topics.pinnace.dev", true),
        (namespace, "create", "statefulsets.apps", true),
        (namespace, "get", own.as_str(), true),
        (namespace, "list", "secrets", false),
        (namespace, "update", "pods", false),
        ("default", "list", "topics.pinnace.dev", false),
        ("default", "watch", "pods", false),
        ("default", "get", "secrets", false),
        ("default", "get", "namespaces/default", false),
        ("default", "list", "namespaces", false),
        ("default", "create", "tokenreviews.authentication.k8s.io", false),
        ("default", "patch", "validatingwebhookconfigurations.admissionregistration.k8s.io", false),
    ] {
        let answer = may(&operator, place, verb, what)?;
        ensure!(answer == expected, "the operator may {verb} {what} in {place}: {answer}");
    }
    Ok(())
}

/// The operator's own right to patch Pods goes as far as its own label, and no Pod of the team's gets another.
fn labels_no_other_pod(namespace: &Namespace, pod: &str) -> Result<()> {
    let operator = format!("system:serviceaccount:{}:{TEAM}-operator", namespace.name);
    for label in ["pinnace.dev/leader=true", "app=other"] {
        let words =
            ["--namespace", &namespace.name, "--as", &operator, "label", "pod", pod, label, "--overwrite"];
        let output = attempt("kubectl", &words, "")?;
        let said = said(&output);
        ensure!(!output.status.success() && said.contains("label its own Pod"), "{label}: {said}");
    }
    Ok(())
}

/// Promise: a team installs it into its own namespace with no ClusterRole: Topics, Channels, sidecars and `helm test` work
/// there, objects of other namespaces are left alone, and the namespace goes when it is deleted.
#[test]
fn a_team_installs_it_into_its_own_namespace_with_no_cluster_role() -> Result<()> {
    installed()?;
    let elsewhere = Namespace::new("namespaced-elsewhere")?;
    let _away = Away::new()?;
    let team = Namespace::new("namespaced")?;
    let _left = Left(&team.name);
    install_alone(&team)?;
    has_no_cluster_role(&team.name)?;
    may_no_more_than_it_needs(&team.name)?;

    elsewhere.apply(TOPIC)?;
    team.apply(TOPIC)?;
    wait_ready(&team.name, "topic/orders", kube::LIMIT)?;
    let (pricing, shop) = pair(&team)?;
    pricing.start_python("publisher", &http_publisher("/v1/channels/prices", 100, 0.05))?;
    arrived(&shop, 10)?;
    pricing.run("echo kept | kcat -b $KAFKA_BOOTSTRAP_SERVERS -P -t orders -X acks=all")?;
    ensure!(shop.run(READ)?.trim() == "kept", "the message of the Topic did not arrive");
    labels_no_other_pod(&team, "pricing")?;

    let foreign = TOPIC
        .replace("name: orders", "name: foreign")
        .replace("spec: {}", "spec: {broker: {name: default, namespace: namespaced-elsewhere}}");
    let refusal = team.refused(&foreign)?;
    ensure!(refusal.contains("serves namespace namespaced alone"), "{refusal}");
    run("helm", &["test", TEAM, "--namespace", &team.name, "--timeout", "180s"])?;

    let untouched = object(&elsewhere.name, "topic/orders")?.context("the Topic elsewhere is gone")?;
    let is_untouched = untouched["status"].is_null() && untouched["metadata"]["finalizers"].is_null();
    ensure!(is_untouched, "a Topic of another namespace was touched: {untouched}");
    // The operator goes with it, and frees the Topics before.
    kubectl(&["delete", "namespace", &team.name, "--timeout=120s"])?;
    Ok(())
}
