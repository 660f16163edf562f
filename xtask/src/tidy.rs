//! `cargo xtask tidy`: the house rules that no compiler checks. Reads files and `cargo metadata`,
//! changes nothing, and has no list of exceptions.

mod arrows;
mod documents;
mod sources;

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

/// One broken rule, and where.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Finding {
    path: PathBuf,
    rule: String,
}

impl Finding {
    fn new(path: impl Into<PathBuf>, rule: impl Into<String>) -> Self {
        Self { path: path.into(), rule: rule.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.path.display(), self.rule)
    }
}

/// Checks the checkout at `root`; prints each finding and fails when there is one.
pub(crate) fn run(root: &Path) -> Result<()> {
    let files = sources::tracked(root)?;
    let mut findings = arrows::check(root)?;
    findings.extend(sources::check(root, &files)?);
    findings.extend(documents::check(root, &files)?);
    findings.sort();
    for finding in &findings {
        println!("{finding}");
    }
    if findings.is_empty() {
        println!("tidy: {} files, nothing to say", files.len());
        return Ok(());
    }
    bail!("tidy: {} findings; each names the rule it breaks, ARCHITECTURE.md says why", findings.len())
}
