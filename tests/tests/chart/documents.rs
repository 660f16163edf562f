//! The manifests and values that the documents show: whoever copies them gets what the text says, or the test here
//! names the block.

use std::fs;
use std::path::PathBuf;

use serde::Deserialize as _;
use serde_json::{Value, json};
use tests::metrics::{documented, problems};

use crate::helm;
use crate::objects::wrong;

/// Where people copy from.
const FOLDERS: &[&str] = &["docs/guide", "docs/operations"];
/// Labels and annotations of Pods that mean something.
const WORDS: &[&str] = &[
    api::labels::INJECT,
    api::labels::BROKER_ANNOTATION,
    api::labels::ZMQ_CONNECT,
    api::labels::ZMQ_LISTEN,
    api::labels::PUSH,
    api::labels::SIDECAR_RESOURCES,
    api::labels::LOG_LEVEL,
    api::labels::SIDECAR_UPGRADE,
    api::labels::LOCAL_COMMAND,
];

/// A block of YAML, and where it stands.
struct Block {
    place: String,
    /// Values of the chart instead of objects: the fence says `yaml values`.
    values: bool,
    text: String,
}

fn pages() -> Vec<PathBuf> {
    let mut pages: Vec<PathBuf> = FOLDERS
        .iter()
        .flat_map(|folder| fs::read_dir(helm::root().join(folder)).unwrap())
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .collect();
    pages.push(helm::root().join("README.md"));
    pages.sort();
    pages
}

/// Fenced blocks of YAML, and what a shell block gives to `kubectl apply`.
fn blocks() -> Vec<Block> {
    let mut found = Vec::new();
    for page in pages() {
        let name = page.file_name().unwrap().to_string_lossy().into_owned();
        let text = fs::read_to_string(&page).unwrap();
        let mut lines = text.lines().enumerate();
        while let Some((number, line)) = lines.next() {
            let Some(fence) = line.trim_start().strip_prefix("```") else { continue };
            let inner: Vec<&str> = lines
                .by_ref()
                .map(|(_, line)| line)
                .take_while(|line| !line.trim_start().starts_with("```"))
                .collect();
            let place = format!("{name}:{}", number + 1);
            let inner = inner.join("\n");
            if fence.starts_with("yaml") {
                found.push(Block { place, values: fence.contains("values"), text: inner });
            } else if let Some((_, rest)) = inner.split_once("<<'YAML'\n") {
                let text = rest.split("\nYAML").next().unwrap_or_default().to_owned();
                found.push(Block { place, values: false, text });
            }
        }
    }
    found
}

fn of_text(text: &str) -> Vec<Value> {
    let documents = serde_yaml::Deserializer::from_str(text);
    documents.map(|document| Value::deserialize(document).unwrap()).collect()
}

/// What is wrong with a whole object.
fn wrong_object(object: &Value) -> Vec<String> {
    wrong(object).unwrap_or_else(|| vec![format!("nothing is known of the kind {}", object["kind"])])
}

/// A part of an object: a spec, a part of a Channel's, or what a Pod carries.
fn wrong_part(part: &Value) -> Vec<String> {
    let as_kind = |kind: &str, spec: &Value| {
        let head = json!({ "name": "name", "namespace": "namespace" });
        wrong_object(
            &json!({ "apiVersion": "pinnace.dev/v1alpha1", "kind": kind, "metadata": head, "spec": spec }),
        )
    };
    let members = part.as_object().unwrap();
    if members.contains_key("delivery") {
        return as_kind("Channel", part);
    }
    if let Some(spec) = members.get("spec") {
        let tried = ["Channel", "Topic", "Broker"].map(|kind| as_kind(kind, spec));
        return tried.into_iter().min_by_key(Vec::len).unwrap_or_default();
    }
    let carried = members.get("metadata").unwrap_or(part);
    let mut found = Vec::new();
    for (key, words) in carried.as_object().unwrap() {
        if !["labels", "annotations"].contains(&key.as_str()) {
            found.push(format!("{key} is no part that can be checked: show a whole object"));
            continue;
        }
        let unknown = words.as_object().unwrap().keys().filter(|word| !WORDS.contains(&word.as_str()));
        found.extend(unknown.map(|word| format!("{word} means nothing")));
    }
    found
}

/// Goal: every manifest in the guide, in the pages for operations and in the README is one that this version takes:
/// right fields, right values, nothing that is not built.
#[test]
fn manifests_are_right() {
    let all = blocks();
    assert!(all.len() > 20, "only {} blocks", all.len());
    for block in all.iter().filter(|block| !block.values) {
        for object in of_text(&block.text) {
            let whole = object.get("apiVersion").is_some();
            let found = if whole { wrong_object(&object) } else { wrong_part(&object) };
            assert!(found.is_empty(), "{}: {found:?}", block.place);
        }
    }
}

/// Goal: the chart takes the values that the documents show.
#[test]
fn values_are_right() {
    let mut seen = 0;
    for block in blocks().iter().filter(|block| block.values) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("values.yaml");
        fs::write(&file, &block.text).unwrap();
        let output =
            helm::run("template", &["pinnace", "charts/pinnace", "--values", &file.to_string_lossy()]);
        assert!(output.status.success(), "{}: {}", block.place, String::from_utf8_lossy(&output.stderr));
        seen += 1;
    }
    assert!(seen > 0, "no block of values");
}

/// Goal: every metric that the documents name is in the reference.
#[test]
fn metrics_in_documents_exist() {
    let table = documented();
    let mut seen = 0;
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        let words = text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
        for word in words.filter(|word| word.starts_with("pinnace_") && *word != "pinnace_") {
            let found = problems(word, &table);
            assert!(found.is_empty(), "{}: {found:?}", page.display());
            seen += 1;
        }
    }
    assert!(seen > 50, "only {seen} metrics are named");
}

/// Goal: the checks above find what they are for.
#[test]
fn wrong_blocks_are_found() {
    let topic = |spec: &str| of_text(&format!("kind: Topic\nmetadata: {{name: a}}\nspec: {spec}")).remove(0);
    assert!(wrong_object(&topic("{partitions: 3}")).is_empty());
    assert_eq!(wrong_object(&topic("{partition: 3}")).len(), 1);
    assert_eq!(wrong_object(&topic("{partitions: 0}")).len(), 1);
    let push = "kind: Subscription\nmetadata: {name: a}\nspec: {source: {topic: orders}, deliver: {url: 'https://a.example'}}";
    assert_eq!(wrong_object(&of_text(push).remove(0)).len(), 1, "what is not built is found");
    assert_eq!(wrong_object(&json!({ "kind": "Tpic" })).len(), 1);
    assert_eq!(wrong_part(&json!({ "labels": { "pinnace.dev/inyect": "true" } })).len(), 1);
    assert_eq!(wrong_part(&json!({ "delivery": { "acknowledged": "Required" } })).len(), 1);
}
