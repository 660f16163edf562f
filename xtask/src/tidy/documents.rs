//! Links between our documents lead somewhere, and ARCHITECTURE.md stays short.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::Finding;

/// A map that is longer is not read.
const ARCHITECTURE_LINES_MAX: usize = 300;

pub(super) fn check(root: &Path, files: &[PathBuf]) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for path in files.iter().filter(|path| path.extension().is_some_and(|ending| ending == "md")) {
        let text = std::fs::read_to_string(root.join(path))
            .with_context(|| format!("failed to read {}", path.display()))?;
        let folder = path.parent().unwrap_or_else(|| Path::new(""));
        for target in links(&text) {
            if !root.join(folder).join(target).exists() {
                findings.push(Finding::new(path, format!("the link to {target} leads nowhere")));
            }
        }
        let lines = text.lines().count();
        if path == Path::new("ARCHITECTURE.md") && lines > ARCHITECTURE_LINES_MAX {
            findings.push(Finding::new(path, format!("{lines} lines, at most {ARCHITECTURE_LINES_MAX}")));
        }
    }
    Ok(findings)
}

/// Targets of Markdown links that name a file of ours, without their anchors.
fn links(text: &str) -> Vec<&str> {
    let mut in_code = false;
    let mut found = Vec::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        }
        if in_code {
            continue;
        }
        for part in line.split("](").skip(1) {
            let target = part.split([')', '#', ' ']).next().unwrap_or_default();
            if !target.is_empty() && !target.contains("://") && !target.starts_with("mailto:") {
                found.push(target);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: links to files are found; anchors, other sites and code are not.
    #[test]
    fn finds_links_to_files() {
        let text =
            "[a](docs/a.md#part) [b](https://example.com) [c](#here)\n```\n[d](d.md)\n```\n[e](../e.md)";
        assert_eq!(links(text), ["docs/a.md", "../e.md"]);
    }
}
