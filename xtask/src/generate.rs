//! `cargo xtask generate`: everything checked in that is made from something else. The tests that
//! compare such files are the generators; this runs them with permission to write.

use std::path::Path;

use anyhow::Result;
use clap::Args;

use crate::conformance::scoreboard;
use crate::tools;

/// Packages whose tests compare generated files, and the test targets that do.
const GENERATORS: &[(&str, &str)] = &[
    ("proto", "generated"),
    ("api", "generated"),
    ("tests", "chart"),
    ("pinnace", "flags"),
    ("operator", "flags"),
    ("sidecar", "flags"),
    ("broker", "flags"),
    ("tests", "references"),
];

/// Whether to write.
#[derive(Args)]
pub(crate) struct GenerateArgs {
    /// Only compare: fails when a file is not what it would be made to be.
    #[arg(long)]
    check: bool,
}

/// Runs the generators.
pub(crate) fn run(root: &Path, args: &GenerateArgs) -> Result<()> {
    for (package, target) in GENERATORS {
        let arguments = ["test", "--locked", "--quiet", "--package", package, "--test", target];
        let mut cargo = tools::command("cargo", arguments);
        cargo.current_dir(root);
        if !args.check {
            cargo.env("PINNACE_GENERATE", "1");
        }
        tools::visible(&mut cargo)?;
    }
    if args.check { scoreboard::check(root) } else { scoreboard::write(root) }
}
