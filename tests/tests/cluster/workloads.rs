//! What makes pods, and what a namespace allows them: Jobs, quotas, limits, users.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::apps::http_publisher;
use crate::channels::{arrived, pair, without_operator};
use crate::install::installed;
use crate::kube::{self, until, wait_ready};
use crate::namespace::Namespace;
use crate::pods::{APP, App, SIDECAR, container, spec};

const TOPIC: &str = "
apiVersion: pinnace.dev/v1alpha1
kind: Topic
metadata: {name: ledger}
spec: {}
";
const READ: &str = "timeout 60 kcat -b $KAFKA_BOOTSTRAP_SERVERS -C -t ledger -o beginning -e -q -f '%s\\n'";
/// Users of one namespace, as OpenShift writes and checks them.
const RANGE: &str = "1000650000/10000";
const USER_FIRST: u64 = 1_000_650_000;
const USER_LAST: u64 = 1_000_659_999;
const POLICY: &str = "users-of-a-namespace";

/// A pod that publishes one message to `ledger` in an init container, another one in its app, and ends.
fn task() -> Value {
    let mut pod = spec();
    let publish = json!(["python3", "-c", http_publisher("/v1/topics/ledger", 1, 0.0)]);
    pod["restartPolicy"] = json!("Never");
    pod["containers"][0]["command"] = publish;
    let mut first = pod["containers"][0].clone();
    first["name"] = json!("first");
    pod["initContainers"] = json!([first]);
    json!({ "metadata": { "labels": { "app": "task", "pinnace.dev/inject": "true" } }, "spec": pod })
}

fn completes(namespace: &Namespace, job: &str) -> Result<()> {
    let waited = namespace.kubectl(&["wait", job, "--for=condition=Complete", "--timeout=120s"]);
    waited.map(drop).with_context(|| {
        let seen = namespace.kubectl(&["get", "pods", "--selector=app=task", "--output=yaml"]);
        format!("its pods: {}", seen.unwrap_or_default())
    })
}

/// Promise: Jobs and CronJobs with a sidecar complete as without one, their init containers use it as their apps do, and
/// what they published is there.
#[test]
fn jobs_complete_with_their_sidecar() -> Result<()> {
    installed()?;
    let namespace = Namespace::new("jobs")?;
    namespace.apply(TOPIC)?;
    wait_ready(&namespace.name, "topic/ledger", kube::LIMIT)?;
    let job = json!({ "backoffLimit": 0, "template": task() });
    let once = json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": { "name": "once" }, "spec": job,
    });
    // Its time never comes: it is asked to run.
    let nightly = json!({
        "apiVersion": "batch/v1", "kind": "CronJob", "metadata": { "name": "nightly" },
        "spec": { "schedule": "0 0 1 1 *", "suspend": true, "jobTemplate": { "spec": job } },
    });
    namespace.apply(&once.to_string())?;
    namespace.apply(&nightly.to_string())?;
    namespace.kubectl(&["create", "job", "tonight", "--from=cronjob/nightly"])?;
    completes(&namespace, "job/once")?;
    completes(&namespace, "job/tonight")?;

    let pods = namespace.kubectl(&["get", "pods", "--selector=app=task", "--output=json"])?;
    let pods: Value = serde_json::from_str(&pods)?;
    let pods = pods["items"].as_array().context("kubectl lists no pods")?;
    ensure!(pods.len() == 2, "{} pods were made for two Jobs", pods.len());
    for pod in pods {
        ensure!(pod["status"]["phase"] == "Succeeded", "its status is {}", pod["status"]);
        let sidecar = container(pod, SIDECAR).context("it ran without a sidecar")?;
        ensure!(sidecar["state"]["terminated"]["exitCode"] == 0, "its sidecar ended with {sidecar}");
    }
    let reader = App::new(&namespace, "reader").start()?;
    let found = reader.run(READ)?;
    ensure!(found.lines().count() == 4, "of 4 messages there are: {found}");
    Ok(())
}

/// A pod whose app has limits, with these annotations.
fn bounded(name: &str, annotations: Value) -> String {
    let mut pod = spec();
    pod["containers"][0]["resources"] = json!({ "limits": { "cpu": "100m", "memory": "64Mi" } });
    let metadata =
        json!({ "name": name, "labels": { "pinnace.dev/inject": "true" }, "annotations": annotations });
    json!({ "apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": pod }).to_string()
}

/// Promise: quotas and limits of a namespace hold for the sidecar as for any container: without the CPU limit that a quota
/// wants the pod is refused by the sidecar's name, with an annotation or a default of the namespace it is let in.
#[test]
fn quotas_and_limits_of_a_namespace_hold_for_the_sidecar() -> Result<()> {
    installed()?;
    let namespace = Namespace::new("bounded")?;
    let quota = json!({
        "apiVersion": "v1", "kind": "ResourceQuota", "metadata": { "name": "team" },
        "spec": { "hard": { "limits.cpu": "2", "limits.memory": "1Gi", "pods": "4" } },
    });
    namespace.apply(&quota.to_string())?;
    until("the quota to act", kube::LIMIT, || {
        let quota = kube::object(&namespace.name, "resourcequota/team")?.unwrap_or_default();
        Ok(quota["status"]["hard"]["limits.cpu"].is_string().then_some(()))
    })?;
    let refusal = namespace.refused(&bounded("unlimited", json!({})))?;
    ensure!(refusal.contains("limits.cpu") && refusal.contains(SIDECAR), "the refusal is {refusal}");

    let asked = json!({ "pinnace.dev/sidecar-resources": "{\"limits\":{\"cpu\":\"150m\"}}" });
    namespace.apply(&bounded("asked", asked))?;
    let pod = wait_ready(&namespace.name, "pod/asked", kube::LIMIT)?;
    let limits = &pod["spec"]["initContainers"][0]["resources"]["limits"];
    ensure!(*limits == json!({ "cpu": "150m", "memory": "128Mi" }), "the sidecar's limits are {limits}");

    let range = json!({
        "apiVersion": "v1", "kind": "LimitRange", "metadata": { "name": "team" },
        "spec": { "limits": [{ "type": "Container", "default": { "cpu": "200m" } }] },
    });
    namespace.apply(&range.to_string())?;
    // The API server reads it when it gets to know of it.
    until("the default to act", kube::LIMIT, || {
        let taken = namespace.attempt(&bounded("defaulted", json!({})))?;
        Ok(taken.status.success().then_some(()))
    })?;
    let pod = wait_ready(&namespace.name, "pod/defaulted", kube::LIMIT)?;
    let limits = &pod["spec"]["initContainers"][0]["resources"]["limits"];
    ensure!(*limits == json!({ "cpu": "200m", "memory": "128Mi" }), "the sidecar's limits are {limits}");
    Ok(())
}

/// What OpenShift does to pods of a namespace, as far as users go: who names none is the first of the range, others are
/// refused. Goes when the scenario ends, however it ends.
struct Users;

impl Users {
    fn assign(namespace: &Namespace) -> Result<Self> {
        let metadata = json!({ "name": POLICY });
        let place = json!({
            "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": namespace.name } },
            "resourceRules": [{
                "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"],
            }],
        });
        let unset = "!has(object.spec.securityContext) || !has(object.spec.securityContext.runAsUser)";
        let assigned = format!(
            "Object{{spec: Object.spec{{securityContext: Object.spec.securityContext{{runAsUser: {USER_FIRST}, \
             fsGroup: {USER_FIRST}}}}}}}"
        );
        let version = "admissionregistration.k8s.io/v1";
        let mutating = json!({
            "apiVersion": version, "kind": "MutatingAdmissionPolicy", "metadata": metadata,
            "spec": {
                "matchConstraints": place,
                "matchConditions": [{ "name": "unset", "expression": unset }],
                "reinvocationPolicy": "Never",
                "mutations": [{
                    "patchType": "ApplyConfiguration",
                    "applyConfiguration": { "expression": assigned },
                }],
            },
        });
        let all =
            "(object.spec.containers + (has(object.spec.initContainers) ? object.spec.initContainers : []))";
        let within = |user: &str| format!("({user} >= {USER_FIRST} && {user} <= {USER_LAST})");
        let own = within("container.securityContext.runAsUser");
        let pods = within("object.spec.securityContext.runAsUser");
        let expression = format!(
            "{pods} && {all}.all(container, !has(container.securityContext) || \
             !has(container.securityContext.runAsUser) || {own})"
        );
        let message = "runAsUser is not in the range of the namespace";
        let validating = json!({
            "apiVersion": version, "kind": "ValidatingAdmissionPolicy", "metadata": metadata,
            "spec": {
                "failurePolicy": "Fail",
                "matchConstraints": place,
                "validations": [{ "expression": expression, "message": message }],
            },
        });
        let users = Self;
        kube::apply(&mutating.to_string())?;
        kube::apply(&validating.to_string())?;
        for (kind, spec) in [
            ("MutatingAdmissionPolicyBinding", json!({ "policyName": POLICY })),
            (
                "ValidatingAdmissionPolicyBinding",
                json!({ "policyName": POLICY, "validationActions": ["Deny"] }),
            ),
        ] {
            let binding = json!({ "apiVersion": version, "kind": kind, "metadata": metadata, "spec": spec });
            kube::apply(&binding.to_string())?;
        }
        until("other users to be refused", kube::LIMIT, || {
            let mut pod = spec();
            pod["securityContext"]["runAsUser"] = json!(65_532);
            let pod =
                json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "probe" }, "spec": pod });
            let words = ["--namespace", &namespace.name, "apply", "--dry-run=server", "-f", "-"];
            let output = kube::attempt("kubectl", &words, &pod.to_string())?;
            Ok(kube::said(&output).contains(message).then_some(()))
        })?;
        Ok(users)
    }
}

impl Drop for Users {
    fn drop(&mut self) {
        for kind in ["mutatingadmissionpolicy", "validatingadmissionpolicy"] {
            drop(kube::kubectl(&["delete", &format!("{kind}binding"), POLICY, "--ignore-not-found"]));
            drop(kube::kubectl(&["delete", kind, POLICY, "--ignore-not-found"]));
        }
    }
}

/// Promise: in a namespace that has users of its own, as on OpenShift, sidecars and Brokers are such users, another one
/// than the app is, and messages go through Channels, Unix sockets and Topics as elsewhere.
#[test]
fn a_namespace_with_users_of_its_own_is_obeyed() -> Result<()> {
    installed()?;
    let namespace = Namespace::new("ranged")?;
    let annotation = format!("openshift.io/sa.scc.uid-range={RANGE}");
    kube::kubectl(&["annotate", "namespace", &namespace.name, &annotation])?;
    let _users = Users::assign(&namespace)?;
    namespace.apply(TOPIC)?;
    let (pricing, shop) = pair(&namespace)?;
    let pod = pricing.pod()?;
    let user = &pod["spec"]["initContainers"][0]["securityContext"]["runAsUser"];
    ensure!(*user == json!(USER_LAST), "the sidecar is user {user}");
    ensure!(pricing.run("id -u")?.trim() == USER_FIRST.to_string(), "the app is somebody else");
    pricing.start_python("publisher", &http_publisher("/v1/channels/prices", 100_000, 0.02))?;
    arrived(&shop, 1)?;
    let socket =
        "curl -sS --fail-with-body --unix-socket $PINNACE_SOCKET -d hello http://pinnace/v1/topics/ledger";
    wait_ready(&namespace.name, "topic/ledger", kube::LIMIT)?;
    pricing.run(socket)?;
    ensure!(shop.run(READ)?.trim() == "hello", "what went through the socket is not in the Topic");
    Ok(())
}

/// Promise: while nobody answers the webhook, pods that ask for a sidecar wait, and say for whom; others start; afterwards
/// those that wait come by themselves.
#[test]
fn while_nobody_answers_pods_that_ask_wait_and_others_start() -> Result<()> {
    installed()?;
    let namespace = Namespace::new("unanswered")?;
    let mut template = json!({ "metadata": { "labels": { "app": "web" } }, "spec": spec() });
    template["metadata"]["labels"]["pinnace.dev/inject"] = json!("true");
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "web" },
        "spec": { "selector": { "matchLabels": { "app": "web" } }, "template": template },
    });
    without_operator(|| {
        namespace.apply(&deployment.to_string())?;
        App { labelled: false, ..App::new(&namespace, "plain") }.start()?;
        until("the ReplicaSet to be told", kube::LIMIT, || {
            let events = namespace.kubectl(&["get", "events", "--field-selector=reason=FailedCreate"])?;
            Ok(events.contains("the operator of Pinnace did not answer").then_some(()))
        })
    })?;
    namespace.kubectl(&["rollout", "status", "deployment/web", "--timeout=120s"])?;
    let pods = namespace.kubectl(&["get", "pods", "--selector=app=web", "--output=json"])?;
    let pods: Value = serde_json::from_str(&pods)?;
    let pod = &pods["items"][0];
    ensure!(container(pod, SIDECAR).is_some() && container(pod, APP).is_some(), "the pod is {pod}");
    Ok(())
}
