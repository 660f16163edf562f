//! The cluster's persistent volumes: folders made beforehand, with a default storage class that
//! binds them when a pod wants one. Gives used ones back only when asked.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;

use anyhow::{Context as _, Result, bail};

use super::{Cluster, namespace, programs};
use crate::{cache, tools};

/// How many volumes there are, as many as the benchmark of the operator has Brokers and some more; each test run gives
/// its own back.
const VOLUMES: usize = 64;
/// Pods of any user write into a volume.
const VOLUME_MODE: u32 = 0o777;
/// kubectl's answer format: volumes whose claim is gone.
const RELEASED: &str = r#"jsonpath={.items[?(@.status.phase=="Released")].metadata.name}"#;

/// Makes the storage class and all volumes; those that were released are emptied and offered anew.
pub(crate) fn prepare(cluster: &Cluster) -> Result<()> {
    let layout = &cluster.layout;
    let released = tools::output(&mut namespace::kubectl(cluster, ["get", "pv", "-o", RELEASED])?)?;
    for name in released.split_whitespace() {
        tools::output(&mut namespace::kubectl(cluster, ["delete", "pv", name])?)?;
        cache::remove_folder(&layout.volumes().join(name))?;
    }
    let mut objects = fs::read_to_string(layout.settings().join("storage-class.yaml"))
        .context("the rendered storage class is missing")?;
    for number in 1..=VOLUMES {
        let name = format!("volume-{number:02}");
        let folder = layout.volumes().join(&name);
        fs::create_dir_all(&folder)
            .and_then(|()| fs::set_permissions(&folder, fs::Permissions::from_mode(VOLUME_MODE)))
            .with_context(|| format!("cannot make the volume {}", folder.display()))?;
        objects.push_str("---\n");
        objects.push_str(&programs::render(layout, &programs::VOLUME.replace("@volume@", &name)));
    }
    apply(cluster, &objects)
}

/// `kubectl apply` of a text.
fn apply(cluster: &Cluster, objects: &str) -> Result<()> {
    let mut command = namespace::kubectl(cluster, ["apply", "--server-side", "-f", "-"])?;
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().context("cannot start kubectl")?;
    let mut input = child.stdin.take().context("kubectl has no standard input")?;
    input.write_all(objects.as_bytes()).context("kubectl does not read its input")?;
    drop(input);
    let output = child.wait_with_output().context("cannot wait for kubectl")?;
    if !output.status.success() {
        bail!("kubectl apply failed:\n{}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}
