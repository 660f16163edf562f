//! The Helm chart: what it renders, what it refuses, and that its CRDs are the generated ones.
//! Uses the very helm that the test cluster uses; `PINNACE_GENERATE=1` writes the goldens anew.

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};
    use std::process::{Command, Output};
    use std::sync::OnceLock;

    use serde_json::Value;

    /// Sets of values, each with its golden: the defaults, one replica more and everything that is
    /// off by default on, and everything off.
    const VALUE_SETS: [(&str, &[&str]); 3] = [
        ("default", &[]),
        (
            "all",
            &[
                "operator.replicas=2",
                "image.pullSecrets={mirror}",
                "rbac.brokerNamespaces={infra,shop}",
                "webhook.excludedNamespaces={legacy}",
                "networkPolicy.enabled=true",
                "monitoring.serviceMonitor.enabled=true",
                "monitoring.podMonitor.enabled=true",
                "operator.priorityClassName=system-cluster-critical",
                "operator.nodeSelector.disk=fast",
            ],
        ),
        (
            "least",
            &[
                "crds.install=false",
                "rbac.create=false",
                "serviceAccount.create=false",
                "serviceAccount.name=mine",
                "webhook.requireSidecar=false",
            ],
        ),
    ];

    fn root() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
    }

    #[expect(clippy::disallowed_methods, reason = "a test that writes files only when asked to")]
    fn generating() -> bool {
        std::env::var("PINNACE_GENERATE").is_ok_and(|value| value == "1")
    }

    /// Where helm is; xtask builds it where it is missing.
    fn helm() -> &'static Path {
        static HELM: OnceLock<PathBuf> = OnceLock::new();
        HELM.get_or_init(|| {
            let words = ["run", "--quiet", "--package", "xtask", "--", "cluster", "build", "helm"];
            let output = Command::new("cargo").args(words).current_dir(root()).output().unwrap();
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            let place = said.lines().rev().find_map(|line| line.strip_prefix("helm "));
            let problem = String::from_utf8_lossy(&output.stderr);
            PathBuf::from(place.unwrap_or_else(|| panic!("xtask gave no helm: {said}{problem}")))
        })
    }

    fn run(command: &str, arguments: &[&str]) -> Output {
        let home = tempfile::tempdir().unwrap();
        Command::new(helm())
            .arg(command)
            .args(arguments)
            .current_dir(root())
            .env("HELM_CACHE_HOME", home.path())
            .env("HELM_CONFIG_HOME", home.path())
            .env("HELM_DATA_HOME", home.path())
            .output()
            .unwrap()
    }

    fn template(values: &[&str]) -> Output {
        let mut arguments = vec!["pinnace", "charts/pinnace", "--namespace", "pinnace-system"];
        arguments.extend(values.iter().flat_map(|value| ["--set", value]));
        run("template", &arguments)
    }

    fn rendered(values: &[&str]) -> String {
        let output = template(values);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn objects(text: &str) -> Vec<Value> {
        let documents = text.split("\n---\n").map(|document| serde_yaml::from_str(document).unwrap());
        documents.filter(|object: &Value| !object.is_null()).collect()
    }

    fn is_crd(object: &Value) -> bool {
        object["kind"] == "CustomResourceDefinition"
    }

    /// All values under a key, wherever it is.
    fn under<'a>(value: &'a Value, key: &str, found: &mut Vec<&'a Value>) {
        match value {
            Value::Object(members) => {
                found.extend(members.get(key));
                members.values().for_each(|member| under(member, key, found));
            }
            Value::Array(items) => items.iter().for_each(|item| under(item, key, found)),
            _ => {}
        }
    }

    /// Goal: the chart carries the generated CRDs, all of them and no other.
    #[test]
    fn crds_are_the_generated_ones() {
        let (from, to) = (root().join("crds"), root().join("charts/pinnace/files/crds"));
        let names = |folder: &Path| {
            let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
            let mut names: Vec<_> =
                entries.filter(|name| name.to_string_lossy().ends_with(".yaml")).collect();
            names.sort();
            names
        };
        if generating() {
            names(&to).iter().for_each(|name| fs::remove_file(to.join(name)).unwrap());
            for name in names(&from) {
                fs::copy(from.join(&name), to.join(&name)).unwrap();
            }
        }
        assert_eq!(names(&to), names(&from), "run `cargo xtask generate`");
        for name in names(&from) {
            let (ours, theirs) = (fs::read_to_string(to.join(&name)), fs::read_to_string(from.join(&name)));
            assert!(ours.unwrap() == theirs.unwrap(), "{name:?} is stale: run `cargo xtask generate`");
        }
    }

    /// Goal: a change of what is installed is seen in review.
    #[test]
    fn renders_are_the_goldens() {
        for (name, values) in VALUE_SETS {
            let all = objects(&rendered(values));
            let mut text = format!(
                "# Generated by `helm template` with the values of set `{name}` in chart.rs; without CRDs.\n"
            );
            for object in all.iter().filter(|object| !is_crd(object)) {
                text.push_str("---\n");
                text.push_str(&serde_yaml::to_string(object).unwrap());
            }
            let path = root().join(format!("tests/tests/chart/{name}.yaml"));
            if generating() {
                fs::write(&path, &text).unwrap();
            }
            let golden = fs::read_to_string(&path).unwrap_or_default();
            assert!(
                golden == text,
                "tests/tests/chart/{name}.yaml is stale: run `cargo xtask generate`, then look at the difference"
            );
        }
    }

    /// Goal: helm itself has nothing to object to.
    #[test]
    fn helm_lint_passes() {
        let output = run("lint", &["--strict", "charts/pinnace"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }

    /// Goal: a value that the chart does not know, or of a wrong shape, is refused by its name.
    #[test]
    fn wrong_values_are_refused() {
        for (value, part) in [
            ("operater.replicas=2", "operater"),
            ("operator.replica=2", "replica"),
            ("operator.replicas=many", "replicas"),
            ("image.pullPolicy=Sometimes", "pullPolicy"),
            ("sidecar.resources.limits.gpu=1", "gpu"),
            ("webhook.timeoutSeconds=60", "timeoutSeconds"),
            ("trustDomain=Cluster.Local", "trustDomain"),
        ] {
            let output = template(&[value]);
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(!output.status.success() && said.contains(part), "{value}: {said}");
        }
    }

    /// Goal: every Pod of the chart passes the `restricted` Pod Security Standard.
    #[test]
    fn pods_are_restricted() {
        let mut seen = 0;
        for (_, values) in VALUE_SETS {
            let all = objects(&rendered(values));
            let mut containers = Vec::new();
            all.iter()
                .filter(|object| !is_crd(object))
                .for_each(|object| under(object, "containers", &mut containers));
            for container in containers.iter().flat_map(|list| list.as_array().unwrap()) {
                let context = &container["securityContext"];
                let name = &container["name"];
                assert_eq!(context["allowPrivilegeEscalation"], false, "{name}");
                assert_eq!(context["runAsNonRoot"], true, "{name}");
                assert_eq!(context["readOnlyRootFilesystem"], true, "{name}");
                assert_eq!(context["capabilities"]["drop"], serde_json::json!(["ALL"]), "{name}");
                assert_eq!(context["seccompProfile"]["type"], "RuntimeDefault", "{name}");
                seen += 1;
            }
        }
        assert!(seen >= VALUE_SETS.len(), "only {seen} containers were looked at");
    }

    /// Goal: no wildcard in any rule, and nobody lists or watches Secrets.
    #[test]
    fn rights_are_the_least() {
        let all = objects(&rendered(&[]));
        let mut rules = Vec::new();
        all.iter().filter(|object| !is_crd(object)).for_each(|object| under(object, "rules", &mut rules));
        let lists = |rule: &Value, member: &str| -> Vec<String> {
            let items = rule[member].as_array().into_iter().flatten();
            items.map(|item| item.as_str().unwrap().to_owned()).collect()
        };
        let mut looked_at = 0;
        for rule in
            rules.iter().flat_map(|list| list.as_array().unwrap()).filter(|rule| rule["verbs"].is_array())
        {
            for member in ["apiGroups", "resources", "verbs"] {
                assert!(!lists(rule, member).iter().any(|item| item.contains('*')), "{rule}");
            }
            if lists(rule, "resources").contains(&"secrets".to_owned()) {
                assert!(!lists(rule, "verbs").iter().any(|verb| verb == "list" || verb == "watch"), "{rule}");
            }
            looked_at += 1;
        }
        assert!(looked_at > 10, "only {looked_at} rules were looked at");
    }

    /// Goal: uninstalling keeps the CRDs, and whoever does not want that says so.
    #[test]
    fn crds_are_kept() {
        let kept = |values: &[&str]| {
            let all = objects(&rendered(values));
            let crds: Vec<Value> = all.into_iter().filter(is_crd).collect();
            assert_eq!(crds.len(), 4);
            crds.iter().all(|crd| crd["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep")
        };
        assert!(kept(&[]));
        assert!(!kept(&["crds.keep=false"]));
    }
}
