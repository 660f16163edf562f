//! Folders in, objects and problems out.

use super::*;

fn folder(files: &[(&str, &str)]) -> (tempfile::TempDir, Reader) {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let reader = Reader::new(folder.path());
    (folder, reader)
}

const TOPIC: &str =
    "apiVersion: pinnace.dev/v1alpha1\nkind: Topic\nmetadata: {name: orders, namespace: shop}\n";

fn deployment(command: &str) -> String {
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: web, namespace: shop}}\nspec:\n  template:\n    metadata:\n      labels: {{pinnace.dev/inject: \"true\"}}\n      annotations:\n        pinnace.dev/local-command: '{command}'\n    spec:\n      containers:\n        - name: web\n          env: [{{name: A, value: b}}]\n"
    )
}

/// Goal: a bad manifest names file, line and field, and nothing else stops.
#[test]
fn a_problem_names_file_line_and_field() {
    let bad = format!(
        "# a comment\n{TOPIC}spec:\n  partitions: 3\n  retention:\n    tme: 7d\n---\n{TOPIC}spec: {{}}\n"
    );
    let (folder, mut reader) = folder(&[("a.yaml", &bad)]);
    let found = reader.poll().unwrap().unwrap();
    let text = found.problems[0].to_string();
    let file = folder.path().join("a.yaml").display().to_string();
    assert!(text.starts_with(&format!("{file}:8: Topic shop/orders: spec.retention")), "{text}");
    assert!(text.contains("tme") && text.contains("time"), "{text}");
    // The name was seen in the first document, so the second is left out with a reason.
    assert!(found.problems[1].to_string().contains("already in"), "{}", found.problems[1]);
}

/// Goal: what validation finds has its line too, and an object that turns bad stays as it was.
#[test]
fn an_edit_that_is_wrong_changes_nothing() {
    let (folder, mut reader) = folder(&[("a.yaml", &format!("{TOPIC}spec:\n  partitions: 3\n"))]);
    let found = reader.poll().unwrap().unwrap();
    assert_eq!((found.topics.len(), found.problems.len()), (1, 0));
    assert!(reader.poll().unwrap().is_none(), "nothing changed");
    let name = ObjectName::new("shop", "orders");
    for (edit, wanted) in [
        ("spec:\n  partitions: 2\n", ":5: Topic shop/orders: spec.partitions: cannot shrink"),
        ("spec:\n  partitions: [\n", ": "),
        ("spec:\n  partitions: many\n", ":5: Topic shop/orders: spec.partitions: "),
    ] {
        std::fs::write(folder.path().join("a.yaml"), format!("{TOPIC}{edit}")).unwrap();
        let found = reader.poll().unwrap().unwrap();
        assert!(found.problems[0].to_string().contains(wanted), "{}", found.problems[0]);
        assert_eq!(found.topics[&name].spec.partitions, 3);
    }
    std::fs::write(folder.path().join("a.yaml"), format!("{TOPIC}spec:\n  partitions: 6\n")).unwrap();
    let found = reader.poll().unwrap().unwrap();
    assert_eq!((found.topics[&name].spec.partitions, found.problems.len()), (6, 0));
    std::fs::remove_file(folder.path().join("a.yaml")).unwrap();
    assert!(reader.poll().unwrap().unwrap().topics.is_empty());
}

/// Goal: a Deployment is started with its command, account and environment; what cannot be is said.
#[test]
fn deployments_become_workloads() {
    let (_folder, mut reader) = folder(&[("a.yml", &deployment("[\"pinnace\", \"--help\"]"))]);
    let found = reader.poll().unwrap().unwrap();
    let workload = &found.workloads[&ObjectName::new("shop", "web")];
    assert_eq!(workload.command, ["pinnace", "--help"]);
    assert_eq!(workload.env, [("A".to_owned(), "b".to_owned())]);
    assert_eq!((workload.service_account.as_str(), workload.replicas), ("default", 1));
    for (command, wanted) in [("pinnace --help", "JSON list"), ("[]", "empty")] {
        let (_folder, mut reader) = folder(&[("a.yml", &deployment(command))]);
        let problem = reader.poll().unwrap().unwrap().problems[0].to_string();
        assert!(problem.contains(wanted) && problem.contains("a.yml:9: "), "{problem}");
    }
}

/// Goal: other kinds are left out with a word, and an account that is not there is named.
#[test]
fn other_kinds_and_missing_accounts_are_told() {
    let account = deployment("[\"a\"]").replace("    spec:\n", "    spec:\n      serviceAccountName: web\n");
    let config = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\n";
    let (_folder, mut reader) = folder(&[("a.yaml", &account), ("b.yaml", config), ("c.txt", "not read")]);
    let found = reader.poll().unwrap().unwrap();
    assert!(found.notices.iter().any(|notice| notice.contains("v1 ConfigMap default/c")));
    assert!(found.workloads.is_empty());
    assert!(found.problems[0].to_string().contains("there is no ServiceAccount web in namespace shop"));
}

/// Goal: what only a cluster acts on is not left out in silence.
#[test]
fn fields_that_only_a_cluster_uses_are_told() {
    let broker = "apiVersion: pinnace.dev/v1alpha1\nkind: Broker\nmetadata: {name: default, namespace: shop}\nspec: {engine: Embedded, storage: {size: 7Gi}, config: {num.partitions: \"3\"}}\n";
    let (_folder, mut reader) = folder(&[("a.yaml", broker)]);
    let found = reader.poll().unwrap().unwrap();
    assert!(found.problems.is_empty(), "{:?}", found.problems);
    let told = "Broker shop/default: local mode leaves out spec.storage, spec.config";
    assert!(found.notices.contains(told), "{:?}", found.notices);
}

const BOUNDED: &str = "apiVersion: pinnace.dev/v1alpha1\nkind: Broker\nmetadata: {name: default, namespace: shop}\nspec: {quota: {perNamespace: {topics: 2, partitions: 4, size: 4Gi}}}\n---\n";

fn bounded(topics: &[(&str, &str)]) -> String {
    let topic = |(name, spec): &(&str, &str)| {
        format!(
            "apiVersion: pinnace.dev/v1alpha1\nkind: Topic\nmetadata: {{name: {name}, namespace: shop}}\nspec: {spec}\n---\n"
        )
    };
    topics.iter().map(topic).collect()
}

/// Goal: a quota holds here as in a cluster: what does not fit is left out or stays as it was, with the numbers; what was
/// there comes first, and one that goes makes room.
#[test]
fn a_quota_holds_here_too() {
    let small = "{partitions: 2, retention: {size: 1Gi}}";
    let first = format!("{BOUNDED}{}", bounded(&[("b", small), ("c", small)]));
    let (folder, mut reader) = folder(&[("a.yaml", &first)]);
    let found = reader.poll().unwrap().unwrap();
    assert_eq!((found.topics.len(), found.problems.len()), (2, 0), "{:?}", found.problems);
    let mut again = |topics: &[(&str, &str)]| {
        std::fs::write(folder.path().join("a.yaml"), format!("{BOUNDED}{}", bounded(topics))).unwrap();
        let found = reader.poll().unwrap().unwrap();
        let names: Vec<String> = found.topics.keys().map(|name| name.name.clone()).collect();
        (
            names.join(" "),
            found.problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"),
            found,
        )
    };
    let (names, told, _) = again(&[("a", small), ("b", small), ("c", small)]);
    assert_eq!(names, "b c");
    assert!(told.contains("a.yaml:5: Topic shop/a: spec.broker: more Topics than namespace shop"), "{told}");
    assert!(told.contains("used 2, asked 1, quota 2"), "{told}");
    let (_, told, found) = again(&[("b", small), ("c", "{partitions: 3, retention: {size: 1Gi}}")]);
    assert!(told.contains("used 2, asked 3, quota 4") && told.contains("used 2Gi, asked 3Gi"), "{told}");
    assert_eq!(found.topics[&ObjectName::new("shop", "c")].spec.partitions, 2);
    let (names, told, _) = again(&[("a", "{retention: {size: 2Gi}}"), ("b", small)]);
    assert_eq!((names.as_str(), told.as_str()), ("a b", ""));
    let (names, told, _) = again(&[("b", small), ("d", "{}")]);
    assert_eq!(names, "b");
    assert!(told.contains("spec.retention.size: Broker shop/default has a quota of 4Gi"), "{told}");
}

/// Goal: a Broker of the engine that local mode does not run is refused with its line, not run as another.
#[test]
fn another_engine_is_refused() {
    let kafka = "apiVersion: pinnace.dev/v1alpha1\nkind: Broker\nmetadata: {name: default, namespace: shop}\nspec: {engine: Kafka}\n";
    let (_folder, mut reader) = folder(&[("a.yaml", kafka)]);
    let found = reader.poll().unwrap().unwrap();
    let told: Vec<String> = found.problems.iter().map(ToString::to_string).collect();
    assert_eq!((found.brokers.len(), told.len()), (0, 1), "{told:?}");
    assert!(
        told[0].contains("a.yaml:4") && told[0].contains("spec.engine: local mode runs the Embedded"),
        "{told:?}"
    );
}
