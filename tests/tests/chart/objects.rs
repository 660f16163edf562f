//! Every object that the chart renders, held against the types of Kubernetes and of the other operators whose kinds
//! it brings: an unknown field, a field at the wrong place, or a value of a wrong type is found. And whether the
//! objects fit together.

use api::field::FieldError;
use k8s_openapi::api::admissionregistration::v1 as admission;
use k8s_openapi::api::{apps::v1 as apps, core::v1 as core, networking::v1 as networking};
use k8s_openapi::api::{policy::v1 as policy, rbac::v1 as rbac};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::helm;
use crate::renders::VALUE_SETS;

/// Kinds of the Prometheus operator, with the fields that the chart may use; its CRDs have hundreds.
const FOREIGN: &[(&str, &[&str])] = &[
    ("ServiceMonitor", &["spec.endpoints", "spec.selector"]),
    ("PodMonitor", &["spec.namespaceSelector", "spec.podMetricsEndpoints", "spec.selector"]),
    ("PrometheusRule", &["spec.groups"]),
];
/// Fields of their endpoints and rules.
const ENDPOINT: &[&str] = &["port", "targetPort", "interval", "relabelings", "metricRelabelings"];
const RULE: &[&str] = &["alert", "expr", "for", "labels", "annotations"];

/// Decodes as Kubernetes does and writes again: what is not there any more was no field.
fn kept<K: DeserializeOwned + Serialize>(object: &Value) -> Result<Value, String> {
    let decoded: K = serde_json::from_value(object.clone()).map_err(|error| error.to_string())?;
    serde_json::to_value(decoded).map_err(|error| error.to_string())
}

/// The paths of all that `given` has and `kept` has not, or has otherwise.
fn lost(given: &Value, kept: &Value, path: &str, found: &mut Vec<String>) {
    match (given, kept) {
        (Value::Object(given), Value::Object(kept)) => {
            for (key, value) in given {
                let place = format!("{path}.{key}");
                match kept.get(key) {
                    Some(same) => lost(value, same, &place, found),
                    None => found.push(place),
                }
            }
        }
        (Value::Array(given), Value::Array(kept)) if given.len() == kept.len() => {
            for (index, (value, same)) in given.iter().zip(kept).enumerate() {
                lost(value, same, &format!("{path}[{index}]"), found);
            }
        }
        // 1 and 1.0 are one number.
        _ if given == kept || (given.is_number() && given.as_f64() == kept.as_f64()) => {}
        _ => found.push(path.to_owned()),
    }
}

/// What is wrong with an object of Kubernetes or of ours; none when its kind is another's.
pub(crate) fn wrong(object: &Value) -> Option<Vec<String>> {
    let kept = match object["kind"].as_str().unwrap_or_default() {
        "ClusterRole" => kept::<rbac::ClusterRole>(object),
        "ClusterRoleBinding" => kept::<rbac::ClusterRoleBinding>(object),
        "ConfigMap" => kept::<core::ConfigMap>(object),
        "CustomResourceDefinition" => kept::<CustomResourceDefinition>(object),
        "Deployment" => kept::<apps::Deployment>(object),
        "MutatingWebhookConfiguration" => kept::<admission::MutatingWebhookConfiguration>(object),
        "Namespace" => kept::<core::Namespace>(object),
        "NetworkPolicy" => kept::<networking::NetworkPolicy>(object),
        "Pod" => kept::<core::Pod>(object),
        "PodDisruptionBudget" => kept::<policy::PodDisruptionBudget>(object),
        "Role" => kept::<rbac::Role>(object),
        "RoleBinding" => kept::<rbac::RoleBinding>(object),
        "Secret" => kept::<core::Secret>(object),
        "Service" => kept::<core::Service>(object),
        "ServiceAccount" => kept::<core::ServiceAccount>(object),
        "ValidatingAdmissionPolicy" => kept::<admission::ValidatingAdmissionPolicy>(object),
        "ValidatingAdmissionPolicyBinding" => kept::<admission::ValidatingAdmissionPolicyBinding>(object),
        "ValidatingWebhookConfiguration" => kept::<admission::ValidatingWebhookConfiguration>(object),
        "ResourceQuota" => kept::<core::ResourceQuota>(object),
        _ => return ours(object),
    };
    let mut found = Vec::new();
    match kept {
        Ok(kept) => lost(object, &kept, "", &mut found),
        Err(error) => found.push(error),
    }
    Some(found)
}

/// Our kinds refuse unknown fields by themselves; what is not built is wrong too.
fn ours(object: &Value) -> Option<Vec<String>> {
    let judged = match object["kind"].as_str()? {
        "Broker" => strictly::<api::Broker>(object).map(|one| api::broker::validate(&one)),
        "Channel" => strictly::<api::Channel>(object)
            .map(|one| [api::channel::validate(&one), api::channel::not_supported(&one.spec)].concat()),
        "Subscription" => strictly::<api::Subscription>(object).map(|one| {
            [api::subscription::validate(&one), api::subscription::not_supported(&one.spec)].concat()
        }),
        "Topic" => strictly::<api::Topic>(object)
            .map(|one| [api::topic::validate(&one), api::topic::not_supported(&one.spec)].concat()),
        _ => return None,
    };
    let found = judged.unwrap_or_else(|error| vec![error]);
    Some(found.iter().map(ToString::to_string).collect())
}

fn strictly<K: DeserializeOwned>(object: &Value) -> Result<K, FieldError> {
    api::decode::decode::<K>(object)
}

fn only(object: &Value, allowed: &[&str], what: &str) {
    for key in object.as_object().unwrap().keys() {
        assert!(allowed.contains(&key.as_str()), "{what} has the field {key}");
    }
}

/// An object of a kind whose types are not in our dependencies.
fn foreign(object: &Value) {
    let kind = object["kind"].as_str().unwrap();
    let fields = FOREIGN.iter().find(|(known, _)| *known == kind);
    let (_, fields) = fields.unwrap_or_else(|| panic!("nothing is known of the kind {kind}"));
    only(object, &["apiVersion", "kind", "metadata", "spec"], kind);
    let spec: Vec<&str> = fields.iter().map(|field| field.trim_start_matches("spec.")).collect();
    only(&object["spec"], &spec, kind);
    let items = |value: &Value| value.as_array().cloned().unwrap_or_default();
    for endpoint in ["endpoints", "podMetricsEndpoints"].iter().flat_map(|key| items(&object["spec"][*key])) {
        only(&endpoint, ENDPOINT, kind);
    }
    for group in items(&object["spec"]["groups"]) {
        items(&group["rules"]).iter().for_each(|rule| only(rule, RULE, kind));
    }
}

/// Goal: the API server would take every object as it is written: no field is unknown, misplaced or of a wrong type.
#[test]
fn every_object_fits_its_type() {
    let mut seen = 0;
    for (set, values) in VALUE_SETS {
        for object in helm::objects(&helm::rendered(values)) {
            let name = format!("{set}: {} {}", object["kind"], object["metadata"]["name"]);
            match wrong(&object) {
                Some(found) => assert!(found.is_empty(), "{name}: {found:?}"),
                None => foreign(&object),
            }
            seen += 1;
        }
    }
    assert!(seen > 100, "only {seen} objects were looked at");
}

/// Goal: the check above finds what it is for.
#[test]
fn wrong_objects_are_found() {
    let found = |text: &str| wrong(&serde_yaml::from_str(text).unwrap()).unwrap();
    assert_eq!(found("{kind: Service, metadata: {name: a}, spec: {port: 1}}"), [".spec.port"]);
    let nested = "{kind: Pod, metadata: {name: a}, spec: {containers: [{name: a, readinesProbe: {}}]}}";
    assert_eq!(found(nested), [".spec.containers[0].readinesProbe"]);
    assert_eq!(found("{kind: Deployment, metadata: {name: a}, spec: {replicas: many}}").len(), 1);
    assert_eq!(found("{kind: Topic, metadata: {name: a}, spec: {partitons: 1}}").len(), 1);
    assert!(found("{kind: ConfigMap, metadata: {name: a}, data: {a: b}}").is_empty());
}

/// Whether labels have all that a selector asks for.
fn selected(selector: &Value, labels: &Value) -> bool {
    selector.as_object().unwrap().iter().all(|(key, value)| labels[key] == *value)
}

/// Goal: selectors select the operator's Pod, ports have the names that it gives them, and bindings bind what is there.
#[test]
fn objects_fit_together() {
    for (set, values) in VALUE_SETS {
        let all = helm::objects(&helm::rendered(values));
        let of = |kind: &str| -> Vec<&Value> {
            all.iter()
                .filter(|object| object["kind"] == kind && object["metadata"]["namespace"] != "pinnace-test")
                .collect()
        };
        let deployment = of("Deployment")[0];
        let template = &deployment["spec"]["template"];
        let mut labels = template["metadata"]["labels"].clone();
        assert!(selected(&deployment["spec"]["selector"]["matchLabels"], &labels), "{set}");
        // The leader adds it to itself.
        labels["pinnace.dev/leader"] = "true".into();
        let ports = template["spec"]["containers"][0]["ports"].as_array().unwrap();
        let named = |name: &Value| name.is_u64() || ports.iter().any(|port| port["name"] == *name);
        for service in of("Service") {
            assert!(selected(&service["spec"]["selector"], &labels), "{set}: {service}");
            for port in service["spec"]["ports"].as_array().unwrap() {
                assert!(named(&port["targetPort"]), "{set}: {port}");
            }
        }
        for budget in of("PodDisruptionBudget") {
            assert!(selected(&budget["spec"]["selector"]["matchLabels"], &labels), "{set}");
        }
        for spread in template["spec"]["topologySpreadConstraints"].as_array().into_iter().flatten() {
            assert!(selected(&spread["labelSelector"]["matchLabels"], &labels), "{set}");
        }
        for policy in
            of("NetworkPolicy").into_iter().filter(|one| one["metadata"]["namespace"] == "pinnace-system")
        {
            assert!(selected(&policy["spec"]["podSelector"]["matchLabels"], &labels), "{set}");
            let ports = policy["spec"]["ingress"].as_array().unwrap().iter();
            let ports = ports.flat_map(|rule| rule["ports"].as_array().unwrap());
            ports.for_each(|port| assert!(named(&port["port"]), "{set}: {port}"));
        }
        let roles = [of("Role"), of("ClusterRole")].concat();
        for binding in [of("RoleBinding"), of("ClusterRoleBinding")].concat() {
            let (kind, name) = (&binding["roleRef"]["kind"], &binding["roleRef"]["name"]);
            let there = roles.iter().any(|role| role["kind"] == *kind && role["metadata"]["name"] == *name);
            assert!(there, "{set}: {kind} {name} is bound and not there");
        }
    }
}

/// Goal: with several replicas one may be away at a time, and they keep apart; with one, no budget keeps a node from
/// being drained.
#[test]
fn replicas_keep_apart() {
    let spread = |values: &[&str]| {
        let deployment = helm::of_kind(values, "Deployment").remove(0);
        deployment["spec"]["template"]["spec"]["topologySpreadConstraints"].as_array().map_or(0, Vec::len)
    };
    let budgets = |values: &[&str]| helm::of_kind(values, "PodDisruptionBudget").len();
    assert_eq!((budgets(&[]), spread(&[])), (1, 2));
    assert_eq!((budgets(&["operator.replicas=1"]), spread(&["operator.replicas=1"])), (0, 0));
    let own = [
        "operator.topologySpreadConstraints[0].maxSkew=1",
        "operator.topologySpreadConstraints[0].topologyKey=rack",
        "operator.topologySpreadConstraints[0].whenUnsatisfiable=DoNotSchedule",
    ];
    assert_eq!(spread(&own), 1);
}

/// Goal: each container of the chart says what it needs, so that a namespace with a ResourceQuota takes it.
#[test]
fn containers_have_requests_and_a_memory_limit() {
    let mut seen = 0;
    for object in helm::objects(&helm::rendered(&[])).iter().filter(|object| !helm::is_crd(object)) {
        let mut lists = Vec::new();
        helm::under(object, "containers", &mut lists);
        helm::under(object, "initContainers", &mut lists);
        for container in lists.iter().flat_map(|list| list.as_array().unwrap()) {
            let resources = &container["resources"];
            for value in [
                &resources["requests"]["cpu"],
                &resources["requests"]["memory"],
                &resources["limits"]["memory"],
            ] {
                assert!(value.is_string(), "{}: {resources}", container["name"]);
            }
            seen += 1;
        }
    }
    assert!(seen >= 5, "only {seen} containers were looked at");
}

/// Goal: with policies on, brokers and operator are reached by whom they are for, and reach what they need alone.
#[test]
fn network_policies_are_as_said() {
    let values = [
        "networkPolicy.enabled=true",
        "networkPolicy.egress.enabled=true",
        "networkPolicy.egress.apiServerCidrs={10.0.0.1/32}",
        "rbac.brokerNamespaces={infra,shop}",
        "networkPolicy.metricsFrom[0].namespaceSelector.matchLabels.team=monitoring",
    ];
    let policies = helm::of_kind(&values, "NetworkPolicy");
    let namespaces: Vec<&str> =
        policies.iter().map(|policy| policy["metadata"]["namespace"].as_str().unwrap()).collect();
    assert_eq!(namespaces, ["pinnace-system", "infra", "infra", "shop", "shop"]);
    let operator = &policies[0]["spec"];
    assert_eq!(operator["policyTypes"], serde_json::json!(["Ingress", "Egress"]));
    assert_eq!(operator["ingress"][1]["from"][0]["namespaceSelector"]["matchLabels"]["team"], "monitoring");
    assert_eq!(operator["egress"][0]["to"][0]["ipBlock"]["cidr"], "10.0.0.1/32");
    let (nodes, brokers): (Vec<_>, Vec<_>) = policies[1..]
        .iter()
        .partition(|policy| policy["metadata"]["name"].as_str().unwrap().ends_with("-kafka-nodes"));
    assert_eq!((nodes.len(), brokers.len()), (2, 2));
    for policy in nodes {
        let spec = &policy["spec"];
        assert_eq!(spec["podSelector"]["matchLabels"], serde_json::json!({"pinnace.dev/engine": "Kafka"}));
        assert_eq!(spec["ingress"][0]["from"][0]["podSelector"], spec["podSelector"]);
        assert_eq!(spec["egress"][0]["to"][0]["podSelector"], spec["podSelector"]);
        assert_eq!(spec["egress"][0]["ports"], spec["ingress"][0]["ports"]);
        assert_eq!(spec["egress"][1]["ports"][0]["port"], 53);
    }
    for policy in brokers {
        let spec = &policy["spec"];
        assert!(spec["egress"].is_null() && spec["policyTypes"][1] == "Egress", "{policy}");
        assert_eq!(spec["ingress"][0]["from"].as_array().unwrap().len(), 2);
        assert_eq!(spec["ingress"][1]["from"], operator["ingress"][1]["from"]);
        // Metrics are for others alone, and the operator follows how a broker is all the same.
        assert_eq!(spec["ingress"][2]["ports"], spec["ingress"][1]["ports"]);
        assert_eq!(spec["ingress"][2]["from"][0], spec["ingress"][0]["from"][1]);
    }
    assert!(helm::of_kind(&[], "NetworkPolicy").is_empty());
}
