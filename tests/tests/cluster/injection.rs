//! Who gets a sidecar.

use anyhow::{Context as _, Result, ensure};

use crate::install::{NAMESPACE, installed};
use crate::kube;
use crate::namespace::Namespace;
use crate::pods::{self, APP, App, SIDECAR};
use crate::scrape;

/// How many pods the API server asked the operator about so far.
fn asked() -> Result<f64> {
    let address = kube::kubectl(&[
        "--namespace",
        NAMESPACE,
        "get",
        "pods",
        "--selector=app.kubernetes.io/component=operator",
        "--output=jsonpath={.items[0].status.podIP}",
    ])?;
    let metrics = scrape::get(&address, scrape::ADMIN_PORT, "/metrics")?;
    Ok(scrape::sum(&metrics, "pinnace_admission_requests_total", &["webhook=\"inject\""]))
}

/// Promise: a labelled pod gets the sidecar, as its first init container that stays, and is
/// admitted by `restricted` Pod Security; for an unlabelled pod the operator is not even asked.
#[test]
fn labelled_pods_get_the_sidecar_and_unlabelled_ones_never_reach_the_webhook() -> Result<()> {
    installed()?;
    let namespace = Namespace::new("injection")?;
    let before = asked()?;
    let plain = App { labelled: false, ..App::new(&namespace, "plain") }.start()?;
    let pod = plain.pod()?;
    ensure!(pod["spec"]["initContainers"].is_null(), "an unlabelled pod was changed");
    ensure!(asked()? == before, "the webhook was asked about an unlabelled pod");

    let labelled = App::new(&namespace, "labelled").start()?;
    let pod = labelled.pod()?;
    let first = &pod["spec"]["initContainers"][0];
    ensure!(first["name"] == SIDECAR, "the first init container is {}", first["name"]);
    ensure!(first["restartPolicy"] == "Always", "the sidecar does not stay: {first}");
    ensure!(asked()? == before + 1.0, "the webhook was not asked exactly once");

    let sidecar = pods::container(&pod, SIDECAR).context("the sidecar has no status")?;
    let app = pods::container(&pod, APP).context("the app has no status")?;
    ensure!(sidecar["ready"] == true && app["ready"] == true, "status: {}", pod["status"]);
    let environment = labelled.run("echo $PINNACE_ADDRESS $KAFKA_BOOTSTRAP_SERVERS $PINNACE_ZMQ_DIR")?;
    ensure!(
        environment.trim() == "127.0.0.1:7400 127.0.0.1:9092 /run/pinnace/zmq",
        "the app is told: {environment}"
    );
    Ok(())
}
