//! `scope: Namespaced`: a release that needs no right over the cluster, and reaches nothing outside of its namespace.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use runtime::tls::Material;
use serde_json::{Value, json};

use crate::helm::{objects, of_kind, rendered, template, under};

const ALONE: &str = "scope=Namespaced";
/// Everything that changes what is rendered.
const ALL: &[&str] = &[
    ALONE,
    "networkPolicy.enabled=true",
    "networkPolicy.egress.enabled=true",
    "monitoring.serviceMonitor.enabled=true",
    "monitoring.podMonitor.enabled=true",
    "monitoring.rules.enabled=true",
    "monitoring.dashboards.enabled=true",
];
/// Objects of the cluster that whoever runs helm makes; none of them gives a right.
const OF_THE_CLUSTER: &[&str] = &[
    "CustomResourceDefinition",
    "MutatingWebhookConfiguration",
    "ValidatingWebhookConfiguration",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
];
const HOST: &str = "pinnace-operator.pinnace-system.svc";

fn rules(kind: &str, values: &[&str]) -> Vec<Value> {
    let roles = of_kind(values, kind);
    roles.iter().flat_map(|role| role["rules"].as_array().unwrap().clone()).collect()
}

/// Goal: no ClusterRole and no binding of one is rendered, whatever else is asked for, and all that is rendered is in the
/// release's namespace or is one of the few things of the cluster, under a name of its own.
#[test]
fn nothing_gives_a_right_over_the_cluster() {
    for values in [&[ALONE][..], ALL, &[ALONE, "rbac.aggregate=true", "sidecar.upgrade.mode=None"]] {
        let all = objects(&rendered(values));
        assert!(all.iter().any(|object| object["kind"] == "Role"), "{values:?}");
        for object in all {
            let (kind, metadata) = (object["kind"].as_str().unwrap(), &object["metadata"]);
            assert!(!kind.starts_with("ClusterRole"), "{values:?}: {object}");
            if kind == "RoleBinding" {
                assert_eq!(object["roleRef"]["kind"], "Role", "{object}");
            }
            let is_inside = metadata["namespace"] == "pinnace-system";
            assert!(is_inside || OF_THE_CLUSTER.contains(&kind), "{values:?}: {kind} {metadata}");
            if !is_inside && kind != "CustomResourceDefinition" {
                let name = metadata["name"].as_str().unwrap();
                assert!(name.starts_with("pinnace-system.pinnace-operator"), "{kind} {name}");
            }
        }
    }
}

/// Goal: what the operator may do everywhere in the other scope it may do here, but for what is the cluster's; no wildcard,
/// no list of Secrets, and of namespaces its own alone.
#[test]
fn the_role_has_what_the_cluster_role_had() {
    let role = rules("Role", &[ALONE]);
    let of_the_cluster = ["tokenreviews", "namespaces", "mutatingwebhookconfigurations"];
    let everywhere = rules("ClusterRole", &["rbac.aggregate=false"]);
    assert!(everywhere.len() > 10);
    for rule in everywhere {
        let is_namespaced = !of_the_cluster.iter().any(|name| rule["resources"][0] == *name);
        assert_eq!(role.contains(&rule), is_namespaced, "{rule}");
    }
    for rule in &role {
        assert!(!rule.to_string().contains('*'), "{rule}");
        let has = |verb: &str| rule["verbs"].as_array().unwrap().contains(&json!(verb));
        if rule["resources"] == json!(["secrets"]) {
            assert!(!has("list") && !has("watch") && !has("delete"), "{rule}");
        }
        if rule["resources"] == json!(["namespaces"]) {
            assert_eq!(
                (&rule["resourceNames"], &rule["verbs"]),
                (&json!(["pinnace-system"]), &json!(["get"]))
            );
        }
    }
}

/// Goal: webhooks, policies, scrapers and network rules pick the one namespace.
#[test]
fn everything_selects_the_one_namespace() {
    let own = json!({"matchLabels": {"kubernetes.io/metadata.name": "pinnace-system"}});
    let all = objects(&rendered(ALL));
    let mut seen = 0;
    for object in &all {
        let mut selectors = Vec::new();
        under(object, "namespaceSelector", &mut selectors);
        for selector in selectors {
            let monitor = json!({"matchNames": ["pinnace-system"]});
            assert!(*selector == own || *selector == monitor, "{}: {selector}", object["kind"]);
            seen += 1;
        }
        for webhook in object["webhooks"].as_array().into_iter().flatten() {
            assert_eq!(webhook["namespaceSelector"], own, "{}", webhook["name"]);
        }
        if object["kind"] == "ValidatingAdmissionPolicy" {
            assert_eq!(object["spec"]["matchConstraints"]["namespaceSelector"], own);
        }
    }
    assert!(seen >= 8, "only {seen} selectors were looked at");
}

/// Goal: the operator watches its own namespace, whose Pods it does not leave out, and is in no need of its own webhooks;
/// its Pods may be labelled by itself alone, whether or not sidecars are upgraded.
#[test]
fn the_operator_serves_its_own_namespace() {
    let deployment = of_kind(&[ALONE], "Deployment").remove(0);
    let pod = &deployment["spec"]["template"];
    let flags = pod["spec"]["containers"][0]["args"].to_string();
    assert!(flags.contains("--watch-namespace=$(POD_NAMESPACE)") && !flags.contains("excluded"), "{flags}");
    assert!(pod["metadata"]["labels"]["pinnace.dev/inject"].is_null());
    for mode in ["InPlace", "None"] {
        let values = [ALONE, &format!("sidecar.upgrade.mode={mode}")];
        let mut policies = of_kind(&values, "ValidatingAdmissionPolicy");
        policies.retain(|policy| policy["metadata"]["name"] == "pinnace-system.pinnace-operator-pods");
        let text = policies.remove(0).to_string();
        assert!(text.contains("variables.itself") && text.contains("pod-name"), "{mode}: {text}");
        assert_eq!(text.contains("ghcr.io/pinnace/sidecar"), mode == "InPlace", "{text}");
    }
}

/// Goal: helm makes a certificate for the name that the API server dials, signed by the authority that the configurations
/// carry, for ten years; the authority's key is nowhere.
#[test]
fn helm_makes_the_certificate() {
    let all = objects(&rendered(&[ALONE]));
    let secrets: Vec<_> = all.iter().filter(|object| object["kind"] == "Secret").collect();
    assert_eq!(secrets.len(), 1);
    let data = secrets[0]["data"].as_object().unwrap();
    assert_eq!(data.keys().collect::<Vec<_>>(), ["ca.crt", "tls.crt", "tls.key"]);
    let text =
        |key: &str| String::from_utf8(BASE64_STANDARD.decode(data[key].as_str().unwrap()).unwrap()).unwrap();
    let material = Material::from_pem(&text("tls.crt"), &text("tls.key"), &text("ca.crt")).unwrap();
    material.valid_for(HOST).unwrap();
    material.signed_by_its_roots().unwrap();
    let years = (material.not_after().unwrap() - runtime::clock::unix_seconds()) / (365 * 86_400);
    assert!((9..=10).contains(&years), "{years}");
    let mut bundles = Vec::new();
    all.iter().for_each(|object| under(object, "caBundle", &mut bundles));
    assert_eq!(bundles.len(), 3);
    assert!(bundles.iter().all(|bundle| **bundle == data["ca.crt"]));
}

/// Goal: a certificate that somebody brings is used in either scope; then nothing is made, and the operator has no right to
/// write configurations. Without one, the other scope is as it was.
#[test]
fn a_certificate_can_be_brought() {
    let authority =
        "webhook.certificate.caBundle=-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for scope in ["scope=Cluster", ALONE] {
        let values = [scope, "webhook.certificate.secret=mine", authority, "webhook.annotations.a\\.b/c=d"];
        assert!(of_kind(&values, "Secret").is_empty(), "{scope}");
        let pod = &of_kind(&values, "Deployment").remove(0)["spec"]["template"]["spec"];
        let flags = pod["containers"][0]["args"].to_string();
        assert!(
            flags.contains("\"--webhook-configuration=\"")
                && flags.contains("--webhook-certificate-dir=/etc")
        );
        assert_eq!(pod["volumes"][0]["secret"]["secretName"], "mine", "{scope}");
        assert_eq!(pod["containers"][0]["volumeMounts"][0]["name"], pod["volumes"][0]["name"], "{scope}");
        let configuration = of_kind(&values, "MutatingWebhookConfiguration").remove(0);
        let bundle = configuration["webhooks"][0]["clientConfig"]["caBundle"].as_str().unwrap();
        assert!(BASE64_STANDARD.decode(bundle).unwrap().starts_with(b"-----BEGIN CERTIFICATE-----\nAAAA"));
        assert_eq!(configuration["metadata"]["annotations"]["a.b/c"], "d");
        let roles = [rules("ClusterRole", &values), rules("Role", &values)].concat();
        assert!(!json!(roles).to_string().contains("admissionregistration"), "{scope}");
    }
    let pod = &of_kind(&[], "Deployment").remove(0)["spec"]["template"]["spec"];
    assert!(pod["volumes"].is_null() && pod["containers"][0]["volumeMounts"].is_null());
    let configuration = of_kind(&[], "MutatingWebhookConfiguration").remove(0);
    assert!(configuration["webhooks"][0]["clientConfig"]["caBundle"].is_null());
}

/// Goal: `helm test` makes no namespace, leaves nothing behind, and takes no Broker of the team.
#[test]
fn helm_test_works_beside_the_release() {
    let all = objects(&rendered(&[ALONE]));
    let of_test: Vec<_> =
        all.iter().filter(|object| object["metadata"]["annotations"]["helm.sh/hook"] == "test").collect();
    assert!(of_test.len() >= 7, "{}", of_test.len());
    for object in of_test {
        let metadata = &object["metadata"];
        assert_ne!(object["kind"], "Namespace");
        assert!(metadata["name"].as_str().unwrap().starts_with("pinnace-test-"), "{metadata}");
        let policy = &metadata["annotations"]["helm.sh/hook-delete-policy"];
        assert_eq!(policy, "before-hook-creation,hook-succeeded", "{metadata}");
        if object["kind"] == "Topic" {
            assert_eq!(object["spec"]["broker"]["name"], "pinnace-test-broker");
        }
    }
}

/// Goal: values that cannot work are refused with the reason.
#[test]
fn what_cannot_work_is_refused() {
    for (values, part) in [
        (&[ALONE, "rbac.brokerNamespaces={infra}"][..], "serves namespace pinnace-system alone"),
        (&[ALONE, "webhook.excludedNamespaces={legacy}"], "webhook.excludedNamespaces"),
        (&[ALONE, "networkPolicy.brokers.namespaces={infra}"], "networkPolicy.brokers.namespaces"),
        (&[ALONE, "test.namespace=other"], "test.namespace"),
        (&[ALONE, "operator.podLabels.pinnace\\.dev/inject=on"], "its own webhook"),
        (
            &["webhook.certificate.caBundle=-----BEGIN CERTIFICATE-----\nA\n-----END CERTIFICATE-----"],
            "webhook.certificate.secret",
        ),
        (&["webhook.certificate.caBundle=LS0tLS1CRUdJTg=="], "caBundle"),
        (&["scope=Some"], "scope"),
    ] {
        let output = template(values);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(part), "{values:?}: {said}");
    }
}
