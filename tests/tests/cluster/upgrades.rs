//! Sidecars that get another image while their pods run and messages flow.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tests::load::HUSH;

use crate::install::{install, install_with, operator_metrics};
use crate::kube::{self, attempt, run, said, until};
use crate::load::{CHANNELS, FLOWING, JOBS, Load, PRICES, Scene};
use crate::pods::{APP, SIDECAR, container};
use crate::scrape;

/// Another name for the same image; to the kubelet that is a change.
const OTHER_IMAGE: &str = "ghcr.io/pinnace/sidecar:0.0.0-next";
const OPERATOR_ACCOUNT: &str = "system:serviceaccount:pinnace-system:pinnace-operator";

/// Brings the installation back to what other scenarios expect, however this one ends.
pub(crate) struct Restore;

impl Drop for Restore {
    fn drop(&mut self) {
        // The next scenario says so if that did not go well.
        drop(install());
    }
}

fn image(pod: &Value) -> &str {
    pod["spec"]["initContainers"][0]["image"].as_str().unwrap_or_default()
}

/// All pods of a Deployment, Ready or not.
fn all(scene: &Scene, name: &str) -> Result<Vec<Value>> {
    let selector = format!("--selector=app={name}");
    let list = scene.namespace.kubectl(&["get", "pods", &selector, "--output=json"])?;
    let mut list: Value = serde_json::from_str(&list)?;
    match list["items"].take() {
        Value::Array(pods) => Ok(pods),
        _ => Ok(Vec::new()),
    }
}

/// Whether all pods of a Deployment run the other image; fails when more than one is down, or an app was restarted.
fn moved(scene: &Scene, name: &str) -> Result<bool> {
    let pods = all(scene, name)?;
    let down = pods.iter().filter(|pod| !kube::is_ready(pod)).count();
    ensure!(down <= 1, "{down} pods of {name} are down at a time");
    let mut moved = down == 0;
    for pod in &pods {
        let app = container(pod, APP).context("an app has no status")?;
        ensure!(app["restartCount"] == 0, "an app of {name} was restarted: {app}");
        let sidecar = container(pod, SIDECAR).context("a sidecar has no status")?;
        moved &= image(pod) == OTHER_IMAGE && sidecar["restartCount"] == 1 && sidecar["ready"] == true;
    }
    Ok(moved)
}

fn counted(state: &str) -> Result<f64> {
    Ok(scrape::sum(&operator_metrics()?, "pinnace_sidecars", &[&format!("state=\"{state}\"")]))
}

/// The operator has the right to patch pods, and a policy lets it do this with it and nothing else.
fn is_bounded(scene: &Scene, pod: &str) -> Result<()> {
    for (patch, part) in [
        (json!({ "spec": { "containers": [{ "name": APP, "image": OTHER_IMAGE }] } }), "image of an app"),
        (
            json!({ "spec": { "initContainers": [{ "name": SIDECAR, "image": "elsewhere/sidecar:1" }] } }),
            "the image of this release",
        ),
        (json!({ "metadata": { "labels": { "role": "admin" } } }), "labels"),
    ] {
        let patch = patch.to_string();
        let namespace = scene.namespace.name.as_str();
        let words =
            ["--namespace", namespace, "patch", "pod", pod, "--as", OPERATOR_ACCOUNT, "--patch", &patch];
        let output = attempt("kubectl", &words, "")?;
        let said = said(&output);
        ensure!(!output.status.success() && said.contains(part), "the operator may {patch}: {said}");
    }
    Ok(())
}

/// Who is there to be upgraded, and one who wants to be left alone.
struct Apps<'a> {
    workers: Load<'a>,
    publishers: Load<'a>,
    witness: Load<'a>,
}

impl<'a> Apps<'a> {
    fn start(scene: &'a Scene) -> Result<Self> {
        let kept = json!({ "pinnace.dev/sidecar-upgrade": "disabled" });
        let apps = Self {
            witness: scene.load_with("witness", 1, &["--subscribe", PRICES], &kept)?,
            workers: scene.load("workers", 2, &["--work", JOBS])?,
            publishers: scene.load("publishers", 2, &["--publish", JOBS, "--publish", PRICES])?,
        };
        for load in [&apps.witness, &apps.workers, &apps.publishers] {
            load.wait()?;
        }
        Ok(apps)
    }

    /// Waits until every pod takes part, from now on.
    fn flow(&self, scene: &Scene) -> Result<()> {
        let (workers, witness) = (self.workers.name, self.witness.name);
        let so_far =
            scene.clerk.read(|book| (book.arrivals(workers, JOBS), book.arrivals(witness, PRICES)))?;
        scene.clerk.until("messages to flow", |book| {
            let jobs = book.arrivals(workers, JOBS) >= so_far.0 + FLOWING;
            (jobs && book.arrivals(witness, PRICES) >= so_far.1 + FLOWING).then_some(())
        })
    }
}

/// Promise: a new version's sidecar image reaches the pods that run, one of each workload at a time; no app is restarted,
/// whoever wants to be left alone is, every number of which a publisher was told that it is published arrives, and the operator
/// can change nothing else of a pod.
#[test]
fn sidecars_are_upgraded_in_place_under_load() -> Result<()> {
    let scene = Scene::new("upgrades", CHANNELS)?;
    let apps = Apps::start(&scene)?;
    apps.flow(&scene)?;
    let witness = apps.witness.pod()?;
    let before = image(&witness).to_owned();
    run("ctr", &["images", "tag", "--force", &before, OTHER_IMAGE])?;
    let _restore = Restore;
    install_with(&["--set", &format!("sidecar.image={OTHER_IMAGE}")])?;

    until("all sidecars to have the other image", kube::LIMIT * 2, || {
        let moved = moved(&scene, apps.workers.name)? & moved(&scene, apps.publishers.name)?;
        Ok(moved.then_some(()))
    })?;
    apps.flow(&scene)?;
    let after = apps.witness.pod()?;
    ensure!(image(&after) == before, "who opted out was upgraded");
    ensure!(container(&after, SIDECAR).is_some_and(|sidecar| sidecar["restartCount"] == 0), "{after}");
    until("the sidecars to be counted", kube::LIMIT, || {
        let counted = [counted("current")? >= 4.0, counted("kept")? >= 1.0, counted("failed")? == 0.0];
        Ok(counted.iter().all(|right| *right).then_some(()))
    })?;
    let pod = apps.workers.pods()?.pop().context("there are no workers")?;
    is_bounded(&scene, pod["metadata"]["name"].as_str().unwrap_or_default())?;

    ensure!(scene.clerk.order("publishers", HUSH)? == 2, "the publishers do not listen");
    let mut last = String::new();
    let settled = until("all that was published to arrive", kube::LIMIT, || {
        let missing =
            scene.clerk.read(|book| [book.missing("workers", JOBS), book.missing("witness", PRICES)])?;
        last = format!("{missing:?}");
        Ok(missing.iter().all(std::collections::BTreeMap::is_empty).then_some(()))
    });
    settled.map_err(|error| error.context(last))?;
    scene.clerk.read(|book| -> Result<()> {
        book.check("witness", PRICES)?;
        ensure!(book.gap_messages("witness", PRICES, |_| true) == 0, "the witness missed messages");
        // Each publisher's sidecar numbered anew after its restart.
        ensure!(book.told(PRICES).count() == 4, "{} sources", book.told(PRICES).count());
        Ok(())
    })?
}
