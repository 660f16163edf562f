//! The page of metrics, from the places that declare them: every name stands beside its help.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use tests::readme::checkout;

/// Folders with metrics, and the program that serves them.
const PLACES: &[(&str, &str)] = &[
    ("operator/src", "operator"),
    ("crates/control-plane/src", "operator"),
    ("sidecar/src", "sidecar"),
    ("broker/src", "broker"),
];

/// A row per metric and program.
pub(crate) fn page() -> String {
    let mut rows = BTreeMap::new();
    for (folder, program) in PLACES {
        for file in sources(&checkout().join(folder)) {
            let text = std::fs::read_to_string(&file).expect("a source can be read");
            for (name, help) in declared(&text) {
                rows.insert((name, (*program).to_owned()), help);
            }
        }
    }
    let mut text = String::from(
        "# Metrics\n\nGenerated from the declarations by `cargo xtask generate`. Every program serves them on port 7402 under `/metrics`.\n\n| Metric | Program | Meaning |\n|---|---|---|\n",
    );
    for ((name, program), help) in rows {
        text.push_str(&format!("| `{name}` | {program} | {help} |\n"));
    }
    text
}

/// The files named `metrics.rs` and those in folders named `metrics`.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("the folder is there").flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.components().any(|part| part.as_os_str().to_string_lossy().starts_with("metrics")) {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Each string that is a metric's name, with the string after it: its help.
fn declared(text: &str) -> Vec<(String, String)> {
    let strings: Vec<&str> = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .flat_map(|line| line.split('"').skip(1).step_by(2))
        .collect();
    strings
        .windows(2)
        .filter(|pair| pair[0].starts_with("pinnace_"))
        .map(|pair| (pair[0].to_owned(), pair[1].to_owned()))
        .collect()
}
