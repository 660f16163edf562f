//! Licences, sources and double versions of our dependencies, with cargo-deny.
//!
//! Security advisories are not asked for here: their database is a git repository that a closed
//! network cannot reach. Where it can be reached, `cargo deny check advisories` uses the same file.

use std::path::Path;

use anyhow::Result;

use crate::cache::Cache;
use crate::tools;

/// The version whose answers we rely on.
const VERSION: &str = "0.20.2";

/// Checks the workspace, building cargo-deny into the cache first where it is missing.
pub(crate) fn run(root: &Path, cache: &Cache) -> Result<()> {
    let folder = cache.folder("cargo-deny", VERSION, |folder| {
        println!("building cargo-deny {VERSION} into the cache, a few minutes");
        let mut install = tools::command("cargo", ["install", "--quiet", "--locked", "--root"]);
        install.arg(folder).arg(format!("cargo-deny@{VERSION}"));
        tools::visible(&mut install)
    })?;
    let arguments =
        ["--locked", "--workspace", "check", "--hide-inclusion-graph", "bans", "licenses", "sources"];
    tools::visible(tools::command(folder.join("bin/cargo-deny"), arguments).current_dir(root))
}
