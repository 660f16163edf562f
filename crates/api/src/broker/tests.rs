//! Brokers from YAML: defaults, allowed namespaces, validation, what is not supported.

use super::*;
use crate::field::join;

fn broker(spec: &str) -> Broker {
    let yaml = format!(
        "apiVersion: pinnace.dev/v1alpha1\nkind: Broker\nmetadata: {{name: default, namespace: shop}}\nspec: {spec}"
    );
    serde_yaml::from_str(&yaml).unwrap()
}

/// Goal: an empty spec is an Embedded Broker that keeps its volume.
#[test]
fn empty_spec_is_complete() {
    let broker = broker("{}");
    assert_eq!((broker.spec.engine, broker.spec.storage.size.bytes()), (Engine::Embedded, 10 << 30));
    assert_eq!(broker.spec, BrokerSpec::default());
    assert!(!broker.spec.paused());
    assert_eq!(validate(&broker), vec![]);
}

/// Goal: allowedNamespaces means what Kubernetes' selectors mean.
#[test]
fn namespaces_are_allowed() {
    let labels = BTreeMap::from([("team".to_owned(), "shop".to_owned())]);
    let allows = |spec: &str| broker(spec).spec.allows_namespace("infra", "shop", &labels);
    assert!(!allows("{}"));
    assert!(broker("{}").spec.allows_namespace("infra", "infra", &BTreeMap::new()));
    assert!(allows("{allowedNamespaces: {from: All}}"));
    for (selector, expected) in [
        ("{matchLabels: {team: shop}}", true),
        ("{matchLabels: {team: lab}}", false),
        ("{matchExpressions: [{key: team, operator: In, values: [lab, shop]}]}", true),
        ("{matchExpressions: [{key: team, operator: NotIn, values: [shop]}]}", false),
        ("{matchExpressions: [{key: team, operator: Exists}]}", true),
        ("{matchExpressions: [{key: team, operator: DoesNotExist}]}", false),
        ("{matchExpressions: [{key: zone, operator: NotIn, values: [a]}]}", true),
        ("{matchExpressions: [{key: team, operator: Nonsense}]}", false),
        ("{}", true),
    ] {
        let spec = format!("{{allowedNamespaces: {{from: Selector, selector: {selector}}}}}");
        assert_eq!(allows(&spec), expected, "{selector}");
    }
}

/// Goal: each mistake is named with its field.
#[test]
fn mistakes_are_named() {
    for (spec, field) in [
        ("{replicas: 2}", "spec.replicas"),
        ("{engine: Kafka, replicas: 101}", "spec.replicas"),
        ("{storage: {size: 1Mi}}", "spec.storage.size"),
        ("{allowedNamespaces: {from: Selector}}", "spec.allowedNamespaces.selector"),
        ("{allowedNamespaces: {selector: {}}}", "spec.allowedNamespaces.selector"),
        ("{config: {log.retention.hours: '1'}}", "spec.config[log.retention.hours]"),
        ("{quota: {perNamespace: {topics: -1}}}", "spec.quota.perNamespace.topics"),
        ("{quota: {perNamespace: {partitions: 1000001}}}", "spec.quota.perNamespace.partitions"),
        (r#"{config: {compression.type: "producer\nx=y"}}"#, "spec.config[compression.type]"),
        ("{config: {num.partitions: many}}", "spec.config[num.partitions]"),
        ("{engine: Kafka, config: {listeners: 'PLAINTEXT://:9092'}}", "spec.config[listeners]"),
        ("{engine: Kafka, config: {ssl.client.auth: none}}", "spec.config[ssl.client.auth]"),
        (r#"{engine: Kafka, config: {num.partitions: "1\nnode.id=7"}}"#, "spec.config[num.partitions]"),
        (
            r#"{engine: Kafka, config: {"num.partitions=1\nnode.id": "7"}}"#,
            "spec.config[num.partitions=1\nnode.id]",
        ),
        ("{engine: Kafka, config: {num.partitions: '${env:SECRET}'}}", "spec.config[num.partitions]"),
        ("{template: {labels: {pinnace.dev/broker: x}}}", "spec.template.labels[pinnace.dev/broker]"),
        ("{template: {affinity: {nodeAffinty: {}}}}", "spec.template.affinity.nodeAffinty"),
        (
            "{template: {affinity: {podAntiAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {}}}}}",
            "spec.template.affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution",
        ),
    ] {
        let errors = validate(&broker(spec));
        assert_eq!(errors.len(), 1, "{spec}: {}", join(&errors));
        assert_eq!(errors[0].field, field);
    }
}

/// Goal: a quota is supported, a quota of none is one, and one that names nothing is none.
#[test]
fn quotas_are_supported() {
    for (quota, is_one) in [
        ("{topics: 2, partitions: 4, size: 10Gi}", true),
        ("{topics: 0}", true),
        ("{size: \"0\"}", true),
        ("{}", false),
    ] {
        let broker = broker(&format!("{{quota: {{perNamespace: {quota}}}}}"));
        assert_eq!(validate(&broker), vec![], "{quota}");
        assert_eq!(broker.spec.namespace_quota().is_some(), is_one, "{quota}");
    }
    assert_eq!(broker("{quota: {}}").spec.namespace_quota(), None);
}

/// Goal: volumes grow and never shrink; engine and class stay.
#[test]
fn updates_are_checked() {
    let old = broker("{storage: {size: 10Gi, className: fast}}");
    let fields = |spec: &str| {
        validate_update(&old, &broker(spec)).into_iter().map(|error| error.field).collect::<Vec<_>>()
    };
    assert_eq!(fields("{storage: {size: 20Gi, className: fast}}"), Vec::<String>::new());
    assert_eq!(fields("{storage: {size: 9Gi, className: fast}}"), ["spec.storage.size"]);
    assert_eq!(fields("{storage: {size: 10Gi}}"), ["spec.storage.className"]);
    assert_eq!(fields("{engine: Kafka, storage: {className: fast}}"), ["spec.engine"]);
}

/// Goal: a Kafka cluster has three nodes unless said otherwise, and gets another number where its controllers stay the same ones;
/// its settings are Kafka's.
#[test]
fn a_kafka_cluster_gets_other_numbers_of_nodes() {
    let old = broker("{engine: Kafka, config: {num.network.threads: '2', log.segment.bytes: '1048576'}}");
    assert_eq!((validate(&old), old.spec.nodes()), (vec![], 3));
    assert_eq!(validate_update(&old, &broker("{engine: Kafka, replicas: 3}")), vec![]);
    let cluster = |replicas: i32| broker(&format!("{{engine: Kafka, replicas: {replicas}}}"));
    for (from, to, is_taken) in
        [(3, 5, true), (5, 3, true), (3, 2, false), (1, 3, false), (1, 2, false), (1, 1, true)]
    {
        let errors = validate_update(&cluster(from), &cluster(to));
        assert_eq!(errors.is_empty(), is_taken, "{from} to {to}");
        assert!(errors.iter().all(|error| error.field == "spec.replicas"), "{errors:?}");
    }
    assert_eq!([1, 2, 3, 4, 7].map(|nodes| cluster(nodes).spec.controllers()), [1, 1, 3, 3, 3]);
}
