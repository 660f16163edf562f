//! Changing the sidecar under a running app.

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use crate::apps::http_publisher;
use crate::install::installed;
use crate::kube::{self, run, until};
use crate::namespace::Namespace;
use crate::pods::{self, APP, App, SIDECAR};

const CHANNEL: &str = "
apiVersion: pinnace.dev/v1alpha1
kind: Channel
metadata: {name: prices}
spec: {}
";
/// Another name for the same image; to the kubelet that is a change.
const OTHER_IMAGE: &str = "ghcr.io/pinnace/sidecar:0.0.0-again";

/// Promise: another image for the sidecar of a running pod restarts the sidecar and not the app,
/// and the app's doors open again.
#[test]
fn a_new_sidecar_image_restarts_the_sidecar_and_not_the_app() -> Result<()> {
    installed()?;
    let namespace = Namespace::new("sidecar-image")?;
    namespace.apply(CHANNEL)?;
    // The operator would give it the image of its release again.
    let annotations = &[("pinnace.dev/sidecar-upgrade", "disabled")];
    let app = App { annotations, ..App::new(&namespace, "pricing") }.start()?;
    app.python(&http_publisher("/v1/channels/prices", 1, 0.0))?;
    let before = app.pod()?;
    let image = before["spec"]["initContainers"][0]["image"].as_str().context("no image")?.to_owned();
    run("ctr", &["images", "tag", "--force", &image, OTHER_IMAGE])?;

    let patch = json!({ "spec": { "initContainers": [{ "name": SIDECAR, "image": OTHER_IMAGE }] } });
    namespace.kubectl(&["patch", "pod", app.name, "--patch", &patch.to_string()])?;
    let after = until("the sidecar to start again", kube::LIMIT, || {
        let pod = app.pod()?;
        let sidecar = pods::container(&pod, SIDECAR).cloned().unwrap_or_default();
        Ok((sidecar["restartCount"] == 1 && sidecar["ready"] == true).then_some(pod))
    })?;
    let identity = |pod| pods::container(pod, APP).map(|app| app["containerID"].clone());
    ensure!(identity(&after) == identity(&before), "the app was restarted");
    app.python(&http_publisher("/v1/channels/prices", 1, 0.0))?;
    Ok(())
}
