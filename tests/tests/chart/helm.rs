//! What the tests of the chart share: helm and promtool as xtask brings them, renders, and objects in them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{LazyLock, OnceLock};

use serde_json::Value;

/// The checkout.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Whether to write goldens instead of comparing them.
#[expect(clippy::disallowed_methods, reason = "a test that writes files only when asked to")]
pub(crate) fn generating() -> bool {
    std::env::var("PINNACE_GENERATE").is_ok_and(|value| value == "1")
}

/// Where a program is; xtask gets it where it is missing.
fn program(name: &str) -> PathBuf {
    let words = ["run", "--quiet", "--package", "xtask", "--", "cluster", "build", name];
    let output = Command::new("cargo").args(words).current_dir(root()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let place = said.lines().rev().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    let problem = String::from_utf8_lossy(&output.stderr);
    PathBuf::from(place.unwrap_or_else(|| panic!("xtask gave no {name}: {said}{problem}")))
}

/// Runs Prometheus' own tool.
pub(crate) fn promtool(arguments: &[&str]) -> Output {
    static PROMTOOL: LazyLock<PathBuf> = LazyLock::new(|| program("promtool"));
    Command::new(&*PROMTOOL).args(arguments).output().unwrap()
}

/// Runs helm in the checkout, without anything that a person has set for it.
pub(crate) fn run(command: &str, arguments: &[&str]) -> Output {
    static HELM: OnceLock<PathBuf> = OnceLock::new();
    let home = tempfile::tempdir().unwrap();
    Command::new(HELM.get_or_init(|| program("helm")))
        .arg(command)
        .args(arguments)
        .current_dir(root())
        .env("HELM_CACHE_HOME", home.path())
        .env("HELM_CONFIG_HOME", home.path())
        .env("HELM_DATA_HOME", home.path())
        .output()
        .unwrap()
}

/// `helm template` with these values.
pub(crate) fn template(values: &[&str]) -> Output {
    let mut arguments = vec!["pinnace", "charts/pinnace", "--namespace", "pinnace-system"];
    arguments.extend(values.iter().flat_map(|value| ["--set", value]));
    run("template", &arguments)
}

/// What `helm template` prints with these values.
pub(crate) fn rendered(values: &[&str]) -> String {
    let output = template(values);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The objects in a text of YAML documents.
pub(crate) fn objects(text: &str) -> Vec<Value> {
    let documents = text.split("\n---\n").map(|document| serde_yaml::from_str(document).unwrap());
    documents.filter(|object: &Value| !object.is_null()).collect()
}

/// The objects of one kind that these values bring.
pub(crate) fn of_kind(values: &[&str], kind: &str) -> Vec<Value> {
    let mut all = objects(&rendered(values));
    all.retain(|object| object["kind"] == kind);
    all
}

/// Whether it is a CRD.
pub(crate) fn is_crd(object: &Value) -> bool {
    object["kind"] == "CustomResourceDefinition"
}

/// All values under a key, wherever it is.
pub(crate) fn under<'a>(value: &'a Value, key: &str, found: &mut Vec<&'a Value>) {
    match value {
        Value::Object(members) => {
            found.extend(members.get(key));
            members.values().for_each(|member| under(member, key, found));
        }
        Value::Array(items) => items.iter().for_each(|item| under(item, key, found)),
        _ => {}
    }
}

/// A file of these tests.
pub(crate) fn fixture(name: &str) -> String {
    fs::read_to_string(root().join("tests/tests/chart").join(name)).unwrap()
}
