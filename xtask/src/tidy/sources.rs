//! Sizes, openings and invariants of the Rust sources. Function sizes are clippy's work.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::Finding;
use crate::tools;

/// The longest file that one idea needs, without tests.
const LINES_MAX: usize = 500;

/// The longest `main.rs` of a program: it wires nothing.
const MAIN_LINES_MAX: usize = 40;

/// What each program consists of, whatever else it has.
const PROGRAM_FILES: &[&str] = &["main.rs", "lib.rs", "args.rs", "run.rs", "metrics.rs"];

/// The programs' folders.
const PROGRAMS: &[&str] = &["operator", "sidecar", "broker"];

/// Every file that git tracks or would track, relative to `root`.
pub(super) fn tracked(root: &Path) -> Result<Vec<PathBuf>> {
    let mut git = tools::command("git", ["ls-files", "--cached", "--others", "--exclude-standard"]);
    let listing = tools::output(git.current_dir(root))?;
    Ok(listing.lines().map(PathBuf::from).filter(|path| root.join(path).is_file()).collect())
}

pub(super) fn check(root: &Path, files: &[PathBuf]) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for path in files.iter().filter(|path| path.extension().is_some_and(|ending| ending == "rs")) {
        if is_generated(path) {
            continue;
        }
        let text = std::fs::read_to_string(root.join(path))
            .with_context(|| format!("failed to read {}", path.display()))?;
        findings.extend(check_text(path, &text));
    }
    for program in PROGRAMS {
        for file in PROGRAM_FILES {
            let path = Path::new(program).join("src").join(file);
            if !files.contains(&path) {
                findings.push(Finding::new(path, "every program has this file"));
            }
        }
    }
    Ok(findings)
}

fn is_generated(path: &Path) -> bool {
    path.starts_with("crates/proto/src/gen")
}

fn is_test(path: &Path) -> bool {
    path.ends_with("tests.rs") || path.components().any(|part| part.as_os_str() == "tests")
}

fn check_text(path: &Path, text: &str) -> Vec<Finding> {
    let mut rules = Vec::new();
    if !text.starts_with("//!") {
        rules.push("the first line is a //! comment: what the file does and must not do".to_owned());
    }
    if path.ends_with("mod.rs") {
        rules.push("name it after its folder: foo.rs beside foo/, never mod.rs".to_owned());
    }
    let lines = text.lines().count();
    if lines > LINES_MAX && !is_test(path) {
        rules.push(format!("{lines} lines, at most {LINES_MAX}: split it by idea"));
    }
    if path.ends_with("src/main.rs") && lines > MAIN_LINES_MAX && !path.starts_with("xtask") {
        rules.push(format!("{lines} lines in main.rs, at most {MAIN_LINES_MAX}: wire in run.rs"));
    }
    rules.extend(forbidden_words(path, text));
    rules.into_iter().map(|rule| Finding::new(path, rule)).collect()
}

/// Without one of them the client can change nothing.
const WRITING: [&str; 4] = ["Patch::", "PatchParams", "PostParams", "DeleteParams"];
/// Writes that ask for no Lease.
const UNFENCED: [&str; 3] = ["apply::create_once(", "apply::replace(", "apply::apply_part("];
/// Who may: the Lease itself, the roots that every replica needs at its start (and that the leader changes inside its
/// window), and what every replica says of itself.
const WITHOUT_LEASE: [&str; 4] = [
    "operator/src/leadership/elector.rs",
    "operator/src/control_plane/roots.rs",
    "operator/src/control_plane.rs",
    "operator/src/admission/certificate.rs",
];

fn writes_outside_its_door(path: &Path) -> bool {
    // A TokenReview is a question.
    let doors = ["operator/src/apply.rs", "operator/src/control_plane/reviewer.rs"];
    path.starts_with("operator/src") && !doors.iter().any(|door| path.ends_with(door))
}

/// What must not stand anywhere, and the files that are its only door.
fn forbidden_words(path: &Path, text: &str) -> Vec<String> {
    let mut rules = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let comment = line.trim_start().starts_with("//");
        let mut say = |rule: &str| rules.push(format!("line {}: {rule}", number + 1));
        if comment && (line.contains(concat!("TO", "DO")) || line.contains(concat!("FIX", "ME"))) {
            say("finish it or refuse it with an error; no notes to ourselves");
        }
        if comment || is_test(path) {
            continue;
        }
        if WRITING.iter().any(|word| line.contains(word)) && writes_outside_its_door(path) {
            say("only operator/src/apply.rs writes to Kubernetes");
        }
        if path.starts_with("operator/src")
            && UNFENCED.iter().any(|word| line.contains(word))
            && !WITHOUT_LEASE.iter().any(|file| path.ends_with(file))
        {
            say("this write asks for no Lease: go through apply::Writer");
        }
        if line.contains(concat!("#[", "ignore")) {
            say("a test that does not run is not a test");
        }
    }
    rules
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(path: &str, text: &str) -> usize {
        check_text(Path::new(path), text).len()
    }

    /// Goal: each rule is found where it is broken, and a clean file has nothing to say.
    #[test]
    fn finds_each_broken_rule() {
        assert_eq!(rules("a/src/b.rs", "//! Does b.\nfn b() {}\n"), 0);
        assert_eq!(rules("a/src/b.rs", "fn b() {}\n"), 1);
        assert_eq!(rules("a/src/b/mod.rs", "//! B.\n"), 1);
        assert_eq!(rules("a/src/b.rs", &format!("//! B.\n{}", "\n".repeat(500))), 1);
        assert_eq!(rules("a/src/tests.rs", &format!("//! B.\n{}", "\n".repeat(500))), 0);
        assert_eq!(rules("broker/src/main.rs", &format!("//! B.\n{}", "\n".repeat(41))), 1);
        assert_eq!(rules("a/src/b.rs", concat!("//! B.\n// TO", "DO: later\n")), 1);
        assert_eq!(rules("operator/src/x.rs", concat!("//! X.\nlet p = Patch::", "Apply(y);\n")), 1);
        assert_eq!(rules("operator/src/apply.rs", concat!("//! X.\nlet p = Patch::", "Apply(y);\n")), 0);
        assert_eq!(rules("operator/src/x.rs", concat!("//! X.\nuse kube::api::Post", "Params;\n")), 1);
        assert_eq!(rules("operator/src/x.rs", concat!("//! X.\napply::", "replace(&api, &x).await;\n")), 1);
        assert_eq!(
            rules(
                "operator/src/leadership/elector.rs",
                concat!("//! X.\napply::", "replace(&api, &x).await;\n")
            ),
            0
        );
    }
}
