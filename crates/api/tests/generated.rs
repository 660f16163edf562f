//! The CRDs in `crds/` are what the types say. `PINNACE_GENERATE=1` writes them anew.

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    /// Largest CRD: client-side `kubectl apply` stores it in an annotation of at most 256 KiB, and the chart carries all four.
    const CRD_BYTES_MAX: usize = 64 * 1024;

    const HEADER: &str = "# Generated from crates/api by its test `crds_are_generated`. Do not edit.\n";

    /// Goal: the checked-in CRDs are the generated ones, small, and no file too many.
    #[test]
    #[expect(clippy::disallowed_methods, reason = "a test that writes files only when asked to")]
    fn crds_are_generated() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../crds");
        let generate = std::env::var("PINNACE_GENERATE").is_ok_and(|value| value == "1");
        let definitions = api::custom_resource_definitions();
        for (name, definition) in &definitions {
            let text = format!("{HEADER}{}", serde_yaml::to_string(definition).unwrap());
            assert!(text.len() < CRD_BYTES_MAX, "{name} has {} bytes", text.len());
            let path = folder.join(name);
            if generate {
                fs::write(&path, &text).unwrap();
            }
            let found = fs::read_to_string(&path).unwrap_or_default();
            assert!(found == text, "crds/{name} is stale: run `cargo xtask generate`");
        }
        let mut found: Vec<String> = fs::read_dir(&folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.ends_with(".yaml"))
            .collect();
        found.sort();
        assert_eq!(found, definitions.map(|(name, _)| name));
    }

    /// Goal: `kubectl explain` has a text on every field.
    #[test]
    fn every_field_is_described() {
        fn walk(path: &str, schema: &serde_json::Value, missing: &mut Vec<String>) {
            if let Some(properties) = schema["properties"].as_object() {
                for (name, property) in properties {
                    let path = format!("{path}.{name}");
                    if property["description"].as_str().is_none_or(str::is_empty) {
                        missing.push(path.clone());
                    }
                    walk(&path, property, missing);
                }
            }
            for inner in ["items", "additionalProperties"] {
                if schema[inner].is_object() {
                    walk(&format!("{path}[]"), &schema[inner], missing);
                }
            }
        }
        let mut missing = Vec::new();
        for (name, definition) in api::custom_resource_definitions() {
            let definition = serde_json::to_value(definition).unwrap();
            let schema = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
            for part in ["spec", "status"] {
                walk(&format!("{name} {part}"), &schema["properties"][part], &mut missing);
            }
        }
        assert_eq!(missing, Vec::<String>::new());
    }
}
