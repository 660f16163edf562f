//! The page of fields, from the CRDs: what `kubectl explain` says, on one page.

use serde_yaml::Value;
use tests::readme::checkout;

const KINDS: [&str; 4] = ["topics", "channels", "brokers", "subscriptions"];

/// One table per kind.
pub(crate) fn page() -> String {
    let mut text = String::from(
        "# Fields\n\nGenerated from the CRDs by `cargo xtask generate`; the same text as `kubectl explain KIND --recursive`.\n",
    );
    for kind in KINDS {
        let path = checkout().join(format!("crds/{kind}.yaml"));
        let source = std::fs::read_to_string(path).expect("the CRD is there");
        let crd: Value = serde_yaml::from_str(&source).expect("the CRD is YAML");
        let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        let name = crd["spec"]["names"]["kind"].as_str().unwrap_or_default();
        text.push_str(&format!("\n## {name}\n\n{}\n\n", string(&schema["description"])));
        text.push_str("| Field | Type | Default | Meaning |\n|---|---|---|---|\n");
        rows(&mut text, "", schema);
    }
    text
}

fn rows(text: &mut String, path: &str, schema: &Value) {
    let Some(properties) = schema["properties"].as_mapping() else { return };
    for (name, field) in properties {
        let name = string(name);
        let here = if path.is_empty() { name } else { format!("{path}.{name}") };
        let (kind, inner, suffix) = match field["type"].as_str() {
            Some("array") => ("list", &field["items"], "[]"),
            Some(kind) => (kind, field, ""),
            None => ("any", field, ""),
        };
        let values: Vec<String> = field["enum"]
            .as_sequence()
            .into_iter()
            .flatten()
            .map(|value| format!("`{}`", string(value)))
            .collect();
        let kind = if values.is_empty() { kind.to_owned() } else { values.join(" ") };
        let default = match &field["default"] {
            Value::Null => String::new(),
            value => format!("`{}`", serde_json::to_string(value).unwrap_or_default()),
        };
        let meaning = string(&field["description"]).replace('|', "\\|").replace('\n', " ");
        text.push_str(&format!("| `{here}` | {kind} | {default} | {meaning} |\n"));
        rows(text, &format!("{here}{suffix}"), inner);
    }
}

fn string(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
