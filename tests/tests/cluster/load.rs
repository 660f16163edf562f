//! Deployments of the app that publishes and counts (`tests/load`), and what their sidecars count.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::clerk::Clerk;
use crate::kube::{self, kubectl};
use crate::namespace::Namespace;
use crate::pods::{APP, address};
use crate::scrape;

/// Channels of scenarios about something else: work that is acknowledged, and messages that are not.
pub(crate) const CHANNELS: &str = "
apiVersion: pinnace.dev/v1alpha1
kind: Channel
metadata: {name: jobs}
spec:
  pattern: Pipeline
  delivery: {acknowledge: Required}
---
apiVersion: pinnace.dev/v1alpha1
kind: Channel
metadata: {name: prices}
spec:
  ready: {subscribers: 1}
";
/// The first of them.
pub(crate) const JOBS: &str = "channels/jobs";
/// The second.
pub(crate) const PRICES: &str = "channels/prices";
/// Messages after which a stream counts as flowing.
pub(crate) const FLOWING: usize = 50;
const IMAGE: &str = "pinnace.dev/test/load:0.0.0";
/// Longer than a sidecar takes to hand over what it has.
const GRACE_S: u64 = 20;

/// Where a scenario runs, and who listens.
pub(crate) struct Scene {
    pub(crate) namespace: Namespace,
    pub(crate) clerk: Clerk,
}

impl Scene {
    /// A namespace with these Channels.
    pub(crate) fn new(name: &str, channels: &str) -> Result<Self> {
        crate::install::installed()?;
        let namespace = Namespace::new(name)?;
        namespace.apply(channels)?;
        Ok(Self { namespace, clerk: Clerk::open()? })
    }

    /// Starts a Deployment; follow it with [`Load::wait`].
    pub(crate) fn load<'a>(&'a self, name: &'a str, replicas: usize, flags: &[&str]) -> Result<Load<'a>> {
        self.load_with(name, replicas, flags, &json!({}))
    }

    /// The same, with annotations on its pods.
    pub(crate) fn load_with<'a>(
        &'a self,
        name: &'a str,
        replicas: usize,
        flags: &[&str],
        annotations: &Value,
    ) -> Result<Load<'a>> {
        let load = Load { scene: self, name };
        let mut manifest = load.manifest(replicas, flags);
        manifest["spec"]["template"]["metadata"]["annotations"] = annotations.clone();
        self.namespace.apply(&manifest.to_string())?;
        Ok(load)
    }
}

/// A Deployment of the app; its pods' names begin with its name.
pub(crate) struct Load<'a> {
    scene: &'a Scene,
    pub(crate) name: &'a str,
}

impl Load<'_> {
    /// Waits until all replicas are there.
    pub(crate) fn wait(&self) -> Result<()> {
        let name = format!("deployment/{}", self.name);
        self.scene.namespace.kubectl(&["rollout", "status", &name, "--timeout=120s"])?;
        Ok(())
    }

    /// Restarts all replicas as a person would, one after the other, and waits until the old ones are gone.
    pub(crate) fn restart(&self) -> Result<()> {
        let before = self.pods()?;
        self.scene.namespace.kubectl(&["rollout", "restart", &format!("deployment/{}", self.name)])?;
        self.wait()?;
        for pod in before {
            let name = pod["metadata"]["name"].as_str().context("a pod has a name")?;
            self.scene.namespace.kubectl(&[
                "wait",
                "--for=delete",
                &format!("pod/{name}"),
                "--timeout=120s",
            ])?;
        }
        Ok(())
    }

    /// The pods that run and are not about to end.
    pub(crate) fn pods(&self) -> Result<Vec<Value>> {
        let namespace = self.scene.namespace.name.as_str();
        let selector = format!("--selector=app={}", self.name);
        let list = kubectl(&["--namespace", namespace, "get", "pods", &selector, "--output=json"])?;
        let mut list: Value = serde_json::from_str(&list).context("kubectl printed no JSON")?;
        let Value::Array(mut pods) = list["items"].take() else { return Ok(Vec::new()) };
        pods.retain(|pod| kube::is_ready(pod) && pod["metadata"]["deletionTimestamp"].is_null());
        Ok(pods)
    }

    /// The one pod.
    pub(crate) fn pod(&self) -> Result<Value> {
        let mut pods = self.pods()?;
        ensure!(pods.len() == 1, "{} has {} pods", self.name, pods.len());
        pods.pop().context("one is there")
    }

    /// What the sidecars of all pods count together.
    pub(crate) fn sum(&self, metric: &str, labels: &[&str]) -> Result<f64> {
        let mut sum = 0.0;
        for pod in self.pods()? {
            let metrics = scrape::get(address(&pod), scrape::ADMIN_PORT, "/metrics")?;
            sum += scrape::sum(&metrics, metric, labels);
        }
        Ok(sum)
    }

    fn manifest(&self, replicas: usize, flags: &[&str]) -> Value {
        let field = |path: &str| json!({ "fieldRef": { "fieldPath": path } });
        json!({
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": { "name": self.name },
            "spec": {
                "replicas": replicas,
                "selector": { "matchLabels": { "app": self.name } },
                "strategy": { "rollingUpdate": { "maxSurge": 1, "maxUnavailable": 0 } },
                "template": {
                    "metadata": { "labels": { "app": self.name, "pinnace.dev/inject": "true" } },
                    "spec": {
                        "terminationGracePeriodSeconds": GRACE_S,
                        "securityContext": {
                            "runAsNonRoot": true,
                            "seccompProfile": { "type": "RuntimeDefault" },
                        },
                        "containers": [{
                            "name": APP,
                            "image": IMAGE,
                            "args": flags,
                            "env": [
                                { "name": "POD", "valueFrom": field("metadata.name") },
                                { "name": "NODE", "valueFrom": field("status.hostIP") },
                                { "name": "CLERK", "value": format!("$(NODE):{}", self.scene.clerk.port) },
                            ],
                            "securityContext": {
                                "allowPrivilegeEscalation": false,
                                "capabilities": { "drop": ["ALL"] },
                            },
                        }],
                    },
                },
            },
        })
    }
}

/// The labels of a Channel's metrics.
pub(crate) fn labels(channel: &str) -> [String; 2] {
    let name = channel.strip_prefix("channels/").unwrap_or(channel);
    ["kind=\"channel\"".to_owned(), format!("name=\"{name}\"")]
}
