//! What people and the operator may do, as the API server answers; and the limits for teams that the page on tenancy
//! shows.

use anyhow::{Result, ensure};
use tests::readme::{blocks, checkout};

use crate::install::{NAMESPACE, chart_objects, installed};
use crate::kube::{self, apply, attempt, kubectl, said, until};
use crate::namespace::Namespace;

/// Roles of Kubernetes that the chart adds to, each with somebody who has it in the namespace of the scenario.
const PEOPLE: &[(&str, &str)] = &[("view", "vera"), ("edit", "edith"), ("admin", "adam")];
const KINDS: &[&str] =
    &["topics.pinnace.dev", "channels.pinnace.dev", "brokers.pinnace.dev", "subscriptions.pinnace.dev"];
const OPERATOR_ACCOUNT: &str = "system:serviceaccount:pinnace-system:pinnace-operator";
/// Values that change what is rendered; kinds of other operators are left out.
const VALUES: &[&[&str]] = &[
    &[],
    &["operator.replicas=3", "operator.priorityClassName=system-cluster-critical"],
    &[
        "networkPolicy.enabled=true",
        "networkPolicy.egress.enabled=true",
        "networkPolicy.brokers.namespaces={default}",
        "monitoring.dashboards.enabled=true",
    ],
    &["scope=Namespaced", "networkPolicy.enabled=true", "sidecar.upgrade.mode=None"],
];

/// Whether somebody may do something; `what` is a resource, with a name or a subresource as kubectl takes them.
pub(crate) fn may(who: &str, namespace: &str, verb: &str, what: &str) -> Result<bool> {
    let mut words = vec!["auth", "can-i", verb];
    words.extend(what.split_whitespace());
    words.extend(["--as", who, "--namespace", namespace]);
    let output = attempt("kubectl", &words, "")?;
    // It may warn beside its answer, and ends with 1 for no.
    match String::from_utf8_lossy(&output.stdout).trim() {
        "yes" => Ok(true),
        "no" => Ok(false),
        _ => anyhow::bail!("kubectl auth can-i {verb} {what} said {}", said(&output)),
    }
}

/// Promise: who has the roles view, edit and admin in a namespace may read, or read and write, the kinds there and
/// nowhere else; who has none may not.
#[test]
fn roles_of_a_namespace_include_the_kinds() -> Result<()> {
    installed()?;
    let namespace = Namespace::new("rights")?;
    for (role, person) in PEOPLE {
        namespace.kubectl(&["create", "rolebinding", role, "--clusterrole", role, "--user", person])?;
    }
    // Roles are put together by a controller.
    until("vera to read Topics", kube::LIMIT, || {
        Ok(may("vera", &namespace.name, "list", KINDS[0])?.then_some(()))
    })?;
    until("edith to write Topics", kube::LIMIT, || {
        Ok(may("edith", &namespace.name, "create", KINDS[0])?.then_some(()))
    })?;
    for kind in KINDS {
        for (verb, writes) in [("list", false), ("watch", false), ("create", true), ("delete", true)] {
            for (role, person) in PEOPLE {
                let expected = !writes || *role != "view";
                let answer = may(person, &namespace.name, verb, kind)?;
                ensure!(answer == expected, "{person} with role {role} may {verb} {kind}: {answer}");
                ensure!(!may(person, "default", verb, kind)?, "{person} may {verb} {kind} in default");
            }
            ensure!(!may("nobody", &namespace.name, verb, kind)?, "nobody may {verb} {kind}");
        }
        ensure!(
            !may("adam", &namespace.name, "update", &format!("{kind} --subresource=status"))?,
            "adam may write a status"
        );
    }
    Ok(())
}

/// Promise: the operator may do what it needs, and neither list Secrets, nor touch Pods of others or rights.
#[test]
fn the_operator_may_not_more_than_it_needs() -> Result<()> {
    installed()?;
    for (namespace, verb, what, expected) in [
        ("default", "patch", "topics.pinnace.dev", true),
        ("default", "create", "brokers.pinnace.dev", true),
        ("default", "create", "statefulsets.apps", true),
        ("default", "get", "secrets", true),
        ("default", "watch", "pods", true),
        ("default", "get", "replicasets.apps", true),
        ("default", "list", "replicasets.apps", false),
        ("default", "watch", "serviceaccounts", true),
        ("default", "patch", "serviceaccounts", false),
        ("default", "create", "poddisruptionbudgets.policy", true),
        ("default", "delete", "poddisruptionbudgets.policy", false),
        (NAMESPACE, "update", "leases.coordination.k8s.io/pinnace-operator", true),
        ("default", "list", "secrets", false),
        (NAMESPACE, "list", "secrets", false),
        ("default", "delete", "secrets", false),
        ("default", "create", "pods", false),
        // The sidecar's image, and a policy sees to it that it is nothing else.
        ("default", "patch", "pods", true),
        ("default", "update", "pods", false),
        ("default", "delete", "pods", false),
        ("default", "create", "pods --subresource=eviction", true),
        ("default", "create", "pods --subresource=exec", false),
        ("default", "create", "serviceaccounts --subresource=token", false),
        ("default", "create", "rolebindings.rbac.authorization.k8s.io", false),
        ("default", "create", "clusterroles.rbac.authorization.k8s.io", false),
        ("default", "update", "customresourcedefinitions.apiextensions.k8s.io", false),
        ("default", "delete", "topics.pinnace.dev", false),
        ("default", "delete", "persistentvolumeclaims", false),
    ] {
        let answer = may(OPERATOR_ACCOUNT, namespace, verb, what)?;
        ensure!(answer == expected, "the operator may {verb} {what} in {namespace}: {answer}");
    }
    Ok(())
}

/// Promise: the API server takes what the chart renders, for the values that people use.
#[test]
fn the_api_server_takes_every_render() -> Result<()> {
    installed()?;
    for values in VALUES {
        for object in chart_objects(values)? {
            let namespace = &object["metadata"]["namespace"];
            // What `helm test` makes goes into a namespace that is not there yet, and its Pods ask for a service account
            // that is not there yet.
            let kind = object["kind"].as_str().unwrap_or_default();
            if object.is_null()
                || namespace == "pinnace-test"
                || ["CustomResourceDefinition", "Pod"].contains(&kind)
            {
                continue;
            }
            let words = [
                "apply",
                "--server-side",
                "--dry-run=server",
                "--force-conflicts",
                "--validate=strict",
                "-f",
                "-",
            ];
            let output = attempt("kubectl", &words, &object.to_string())?;
            let name = &object["metadata"]["name"];
            ensure!(output.status.success(), "{values:?}: {} {name}: {}", object["kind"], said(&output));
        }
    }
    Ok(())
}

/// What is not of one namespace goes when the scenario ends, however it ends.
struct Policy;

impl Drop for Policy {
    fn drop(&mut self) {
        for kind in ["validatingadmissionpolicybinding", "validatingadmissionpolicy"] {
            drop(kubectl(&["delete", kind, "topics-on-the-shared-broker", "--ignore-not-found"]));
        }
    }
}

/// Promise: the admission policy of the page on tenancy refuses a Topic beside the shared Broker, under a name of its
/// own, or without a bound, and lets in one that is as it should be.
#[test]
fn the_policy_of_the_tenancy_page_holds() -> Result<()> {
    installed()?;
    let page = std::fs::read_to_string(checkout().join("docs/operations/tenancy.md"))?;
    let shown: Vec<_> = blocks(&page).into_iter().filter(|block| block.test == "policy").collect();
    ensure!(shown.len() == 1, "tenancy.md shows {} blocks of the policy", shown.len());
    let namespace = Namespace::new("tenant")?;
    kubectl(&["label", "namespace", &namespace.name, "messaging=shared"])?;
    let _policy = Policy;
    apply(&shown[0].commands)?;

    let attempt = |spec: &str| {
        let topic = format!(
            "apiVersion: pinnace.dev/v1alpha1\nkind: Topic\nmetadata: {{name: orders}}\nspec: {spec}\n"
        );
        let words = ["--namespace", &namespace.name, "apply", "--dry-run=server", "-f", "-"];
        attempt("kubectl", &words, &topic)
    };
    let right = "broker: {name: default, namespace: infra}, retention: {size: 1Gi}";
    until("the policy to act", kube::LIMIT, || Ok((!attempt("{}")?.status.success()).then_some(())))?;
    for (spec, part) in [
        ("{retention: {size: 1Gi}}".to_owned(), "shared Broker"),
        (format!("{{{right}, topicName: finance.orders}}"), "topicName"),
        (format!("{{{right}, partitions: 25}}"), "24 partitions"),
        ("{broker: {name: default, namespace: infra}}".to_owned(), "retention.size"),
    ] {
        let output = attempt(&spec)?;
        let said = said(&output);
        ensure!(!output.status.success() && said.contains(part), "{spec}: {said}");
    }
    let output = attempt(&format!("{{{right}, partitions: 24}}"))?;
    ensure!(output.status.success(), "a right Topic is refused: {}", said(&output));
    Ok(())
}
