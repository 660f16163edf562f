//! A broker's disk, small enough to be filled: what a person sees of it, and that it is well again by itself.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::install::installed;
use crate::kube::{self, apply, condition, is_ready, kubectl, object, run, until, wait_ready};
use crate::namespace::Namespace;
use crate::processes::Processes;

/// Name of the volume and of its storage class.
const SMALL: &str = "small-disk";
const MEBIBYTES: usize = 64;
const BROKER: &str = "broker/default";

/// A small disk in memory, where the kubelet sees it, and a volume on it; taken away when it is dropped.
struct SmallDisk {
    folder: tempfile::TempDir,
    /// A process that sees it.
    pid: String,
}

impl SmallDisk {
    fn new() -> Result<Self> {
        kubectl(&["delete", "persistentvolume", SMALL, "--ignore-not-found", "--timeout=60s"])?;
        let folder = tempfile::tempdir().context("cannot make a folder")?;
        let pid = Processes::of_machine("kubelet")?.first().to_owned();
        let disk = Self { folder, pid };
        let size = format!("size={MEBIBYTES}m,mode=0777");
        disk.beside_kubelet(&["mount", "-t", "tmpfs", "-o", &size, "small", disk.path()?])?;
        let nodes: Value = serde_json::from_str(&kubectl(&["get", "nodes", "--output=json"])?)?;
        let node = nodes["items"][0]["metadata"]["labels"]["kubernetes.io/hostname"].clone();
        let class = json!({
            "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": SMALL},
            "provisioner": "kubernetes.io/no-provisioner", "volumeBindingMode": "WaitForFirstConsumer",
        });
        let volume = json!({
            "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": SMALL},
            "spec": {
                "capacity": {"storage": format!("{MEBIBYTES}Mi")}, "accessModes": ["ReadWriteOnce"],
                "persistentVolumeReclaimPolicy": "Retain", "storageClassName": SMALL,
                "local": {"path": disk.path()?},
                "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [
                    {"key": "kubernetes.io/hostname", "operator": "In", "values": [node]},
                ]}]}},
            },
        });
        apply(&format!("{class}\n---\n{volume}"))?;
        Ok(disk)
    }

    fn path(&self) -> Result<&str> {
        self.folder.path().to_str().context("the folder has a name that is no text")
    }

    /// The kubelet has mounts of its own, which pods get theirs from.
    fn beside_kubelet(&self, words: &[&str]) -> Result<String> {
        run("nsenter", &[&["--target", self.pid.as_str(), "--mount", "--"], words].concat())
    }

    /// A file on the disk, by the way on which others than the kubelet reach it.
    fn file(&self, name: &str) -> PathBuf {
        let inside = self.folder.path().strip_prefix("/").unwrap_or(self.folder.path());
        Path::new("/proc").join(&self.pid).join("root").join(inside).join(name)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        drop(kubectl(&[
            "delete",
            "persistentvolume,storageclass",
            SMALL,
            "--ignore-not-found",
            "--wait=false",
        ]));
        // Lazily: the broker may not have ended yet.
        drop(self.path().and_then(|path| self.beside_kubelet(&["umount", "--lazy", path])));
    }
}

/// Status and reason of a condition of the Broker.
fn told(broker: &Value, kind: &str) -> (String, String) {
    let found = condition(broker, kind).cloned().unwrap_or_default();
    let text = |field: &str| found[field].as_str().unwrap_or_default().to_owned();
    (text("status"), text("reason"))
}

/// Waits until the Broker says so, and shows what it says when it does not.
fn wait_told(namespace: &Namespace, kind: &str, wanted: (&str, &str)) -> Result<Value> {
    let mut last = Value::Null;
    let found = until(&format!("{kind} to be {wanted:?}"), kube::LIMIT, || {
        last = object(&namespace.name, BROKER)?.unwrap_or_default();
        let (status, reason) = told(&last, kind);
        Ok((status == wanted.0 && reason == wanted.1).then(|| last.clone()))
    });
    found.with_context(|| format!("its status is {}", last["status"]))
}

/// The Events about the Broker: type and reason.
fn events(namespace: &Namespace) -> Result<Vec<(String, String)>> {
    let events = ["get", "events", "--field-selector=involvedObject.kind=Broker", "--output=json"];
    let events: Value = serde_json::from_str(&namespace.kubectl(&events)?)?;
    let events = events["items"].as_array().context("kubectl lists no events")?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    Ok(events.iter().map(|event| (text(&event["type"]), text(&event["reason"]))).collect())
}

/// Promise: a Broker whose disk is nearly full says so in its status, its conditions, an Event and `kubectl get`, with the next
/// step, while its Topics stay Ready and its Pod is not restarted; when there is room again it is well by itself, and says
/// that too.
#[test]
fn a_disk_that_fills_makes_its_broker_not_ready_until_it_is_freed() -> Result<()> {
    installed()?;
    let namespace = Namespace::new("small-disk")?;
    let disk = SmallDisk::new()?;
    let storage = json!({"size": format!("{MEBIBYTES}Mi"), "className": SMALL});
    let broker = json!({
        "apiVersion": "pinnace.dev/v1alpha1", "kind": "Broker", "metadata": {"name": "default"}, "spec": {"storage": storage},
    });
    let topic = json!({
        "apiVersion": "pinnace.dev/v1alpha1", "kind": "Topic", "metadata": {"name": "orders"}, "spec": {},
    });
    namespace.apply(&format!("{broker}\n---\n{topic}"))?;
    wait_ready(&namespace.name, BROKER, kube::LIMIT)?;
    wait_ready(&namespace.name, "topic/orders", kube::LIMIT)?;
    let well = wait_told(&namespace, "DiskHasRoom", ("True", "HasRoom"))?;
    ensure!(told(&well, "DataIntact").0 == "True", "its status is {}", well["status"]);
    let percent = |broker: &Value| broker["status"]["storage"]["usedPercent"].as_u64().unwrap_or_default();
    ensure!((1..90).contains(&percent(&well)), "it has {}", well["status"]["storage"]);

    // A disk of which nothing is left takes no file whole.
    let filling = disk.file("filling");
    drop(fs::write(&filling, vec![1; MEBIBYTES * 1024 * 1024]));
    let full = wait_told(&namespace, "DiskHasRoom", ("False", "DiskNearlyFull"))?;
    ensure!(told(&full, "Ready") == ("False".into(), "DiskNearlyFull".into()), "Ready is {}", full["status"]);
    ensure!(percent(&full) > 90, "it has {}", full["status"]["storage"]);
    let message = condition(&full, "Ready").and_then(|ready| ready["message"].as_str()).unwrap_or_default();
    ensure!(message.contains("spec.storage.size"), "the next step is missing: {message}");
    let table = namespace.kubectl(&["get", "pbroker"])?;
    ensure!(table.contains("USED%") && table.contains("DiskNearlyFull"), "kubectl get prints\n{table}");
    let topic = object(&namespace.name, "topic/orders")?.unwrap_or_default();
    ensure!(is_ready(&topic), "the Topic went with the disk: {}", topic["status"]);
    let is_told = |kind: &str, reason: &str| -> Result<Option<()>> {
        Ok(events(&namespace)?.contains(&(kind.to_owned(), reason.to_owned())).then_some(()))
    };
    until("the Event", kube::LIMIT, || is_told("Warning", "DiskNearlyFull"))?;

    fs::remove_file(&filling).context("cannot free the disk")?;
    wait_told(&namespace, "DiskHasRoom", ("True", "HasRoom"))?;
    let healed = wait_ready(&namespace.name, BROKER, kube::LIMIT)?;
    ensure!(percent(&healed) < 90, "it has {}", healed["status"]["storage"]);
    until("the Event that it is well", kube::LIMIT, || is_told("Normal", "HasRoom"))?;
    let pod = object(&namespace.name, "pod/default-broker-0")?.unwrap_or_default();
    let restarts = &pod["status"]["containerStatuses"][0]["restartCount"];
    ensure!(*restarts == 0, "the broker was restarted {restarts} times");
    Ok(())
}
