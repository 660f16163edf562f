//! nats-server from its Go module, built once. Starts nothing.

use std::path::PathBuf;

use anyhow::{Context as _, Result};

use crate::cache::{Cache, key};
use crate::tools;

/// The release that is measured.
pub(super) const VERSION: &str = "2.15.2";
const MODULE: &str = "github.com/nats-io/nats-server/v2";

/// Builds it once; gives the program.
pub(super) fn install(cache: &Cache) -> Result<PathBuf> {
    let key = key([("module", MODULE.as_bytes()), ("version", VERSION.as_bytes())]);
    let folder = cache.folder("nats-server", &key, |folder| {
        println!("building nats-server {VERSION}");
        let module = format!("{MODULE}@v{VERSION}");
        let mut install = tools::command("go", ["install", "-trimpath", &module]);
        install.env("GOBIN", folder).env("CGO_ENABLED", "0").env_remove("GOFLAGS");
        tools::output(&mut install).context("cannot build nats-server; Go 1.26 is needed").map(drop)
    })?;
    Ok(folder.join("nats-server"))
}
