//! What the pages of promises name as a proof exists: tests by their names, commands by theirs.

use std::collections::BTreeSet;
use std::path::Path;

use tests::readme::checkout;

/// The pages, and where the tests are that each of them names.
const PAGES: [(&str, &[&str]); 3] = [
    ("promises.md", &["broker/src", "broker/tests", "crates/record-log/src", "crates/kafka-wire/src"]),
    ("operator-promises.md", &["operator/src", "crates/control-plane/src", "tests/tests"]),
    (
        "channel-promises.md",
        &["sidecar/src", "crates/peer-wire/src", "crates/zmtp/src", "tests/tests/cluster"],
    ),
];

/// The names of functions that a line before marks as tests.
fn collect(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).expect("the folder is there").flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).expect("a source can be read");
            let mut marked = false;
            for line in text.lines().map(str::trim) {
                marked |= line == "#[test]" || line.starts_with("#[tokio::test");
                let name = line.trim_start_matches("async ").strip_prefix("fn ");
                if let Some(name) = name.and_then(|rest| rest.split('(').next())
                    && std::mem::take(&mut marked)
                {
                    found.insert(name.to_owned());
                }
            }
        }
    }
}

/// Goal: no promise names a proof that is not there, and none has no proof.
#[test]
fn each_promise_has_its_proof() {
    let commands = std::fs::read_to_string(checkout().join("xtask/src/main.rs")).unwrap().to_lowercase();
    for (page, places) in PAGES {
        let mut tests = BTreeSet::new();
        places.iter().for_each(|place| collect(&checkout().join(place), &mut tests));
        assert!(tests.len() > 100, "tests are found: {}", tests.len());
        let page = std::fs::read_to_string(checkout().join("docs/operations").join(page)).unwrap();
        let rows: Vec<&str> = page.lines().filter(|line| line.starts_with("| **")).collect();
        assert!(rows.len() > 10, "promises are found: {}", rows.len());
        rows.into_iter().for_each(|row| check(row, &tests, &commands));
    }
}

fn check(row: &str, tests: &BTreeSet<String>, commands: &str) {
    let proofs: Vec<&str> =
        row.rsplit('|').nth(1).expect("a row has cells").split('`').skip(1).step_by(2).collect();
    assert!(!proofs.is_empty(), "no proof of: {row}");
    for proof in proofs {
        let there = match proof.strip_prefix("cargo xtask ") {
            Some(command) => commands.contains(&format!("{command}(")),
            None => tests.contains(proof),
        };
        assert!(there, "{proof} is named as a proof and does not exist: {row}");
    }
}
