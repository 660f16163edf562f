//! App pods for scenarios: other people's clients in a pod that `restricted` Pod Security lets in.

use anyhow::{Result, ensure};
use serde_json::{Map, Value, json};

use crate::kube;
use crate::namespace::Namespace;

/// kcat, Python with Kafka and ZeroMQ clients, curl, ss, a shell.
pub(crate) const TOOLS: &str = "pinnace.dev/test/apptools:0.0.0";
/// The container of the app in its pod.
pub(crate) const APP: &str = "app";
/// The container of the sidecar in a labelled pod.
pub(crate) const SIDECAR: &str = "pinnace-sidecar";

/// An app that does nothing until a scenario runs something in it.
pub(crate) struct App<'a> {
    pub(crate) namespace: &'a Namespace,
    pub(crate) name: &'a str,
    /// Made when it is not there.
    pub(crate) service_account: &'a str,
    /// With the label that asks for the sidecar.
    pub(crate) labelled: bool,
    pub(crate) annotations: &'a [(&'a str, &'a str)],
}

impl<'a> App<'a> {
    /// A labelled app whose service account has its name.
    pub(crate) fn new(namespace: &'a Namespace, name: &'a str) -> Self {
        Self { namespace, name, service_account: name, labelled: true, annotations: &[] }
    }

    /// Starts the pod and waits until it is Ready.
    pub(crate) fn start(self) -> Result<Self> {
        self.create()?;
        kube::wait_ready(&self.namespace.name, &format!("pod/{}", self.name), kube::LIMIT)?;
        Ok(self)
    }

    /// Starts the pod.
    pub(crate) fn create(&self) -> Result<()> {
        let account = json!({
            "apiVersion": "v1", "kind": "ServiceAccount",
            "metadata": { "name": self.service_account },
        });
        self.namespace.apply(&account.to_string())?;
        self.namespace.apply(&self.manifest().to_string())
    }

    /// Runs a shell script in the app's container and gives what it printed.
    pub(crate) fn run(&self, script: &str) -> Result<String> {
        kube::exec(&self.namespace.name, self.name, APP, script)
    }

    /// Runs a Python script in the app's container to its end and gives what it printed.
    pub(crate) fn python(&self, script: &str) -> Result<String> {
        let output = kube::attempt("kubectl", &self.exec(&["python3", "-"]), script)?;
        ensure!(output.status.success(), "a script failed in {}: {}", self.name, kube::said(&output));
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Starts a Python script in the app's container and lets it run; what it prints is read
    /// with [`Self::printed`].
    pub(crate) fn start_python(&self, name: &str, script: &str) -> Result<()> {
        let start =
            format!("cat > /tmp/{name}.py; (python3 -u /tmp/{name}.py < /dev/null > /tmp/{name}.out 2>&1 &)");
        let output = kube::attempt("kubectl", &self.exec(&["sh", "-c", &start]), script)?;
        ensure!(output.status.success(), "cannot start {name}: {}", kube::said(&output));
        Ok(())
    }

    /// What a started script printed so far.
    pub(crate) fn printed(&self, name: &str) -> Result<String> {
        self.run(&format!("cat /tmp/{name}.out"))
    }

    fn exec<'b>(&'b self, words: &[&'b str]) -> Vec<&'b str> {
        let mut all = vec!["--namespace", &self.namespace.name, "exec", "-i", self.name, "-c", APP, "--"];
        all.extend_from_slice(words);
        all
    }

    /// The pod as the API server has it.
    pub(crate) fn pod(&self) -> Result<Value> {
        let pod = kube::object(&self.namespace.name, &format!("pod/{}", self.name))?;
        Ok(pod.unwrap_or_default())
    }

    fn manifest(&self) -> Value {
        let mut labels = Map::new();
        labels.insert("app".to_owned(), json!(self.name));
        if self.labelled {
            labels.insert("pinnace.dev/inject".to_owned(), json!("true"));
        }
        let annotations: Map<String, Value> =
            self.annotations.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
        let mut spec = spec();
        spec["serviceAccountName"] = json!(self.service_account);
        json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": { "name": self.name, "labels": labels, "annotations": annotations },
            "spec": spec,
        })
    }
}

/// A pod that `restricted` Pod Security lets in, and that does nothing.
pub(crate) fn spec() -> Value {
    json!({
        "terminationGracePeriodSeconds": 1,
        "securityContext": {
            "runAsNonRoot": true,
            "seccompProfile": { "type": "RuntimeDefault" },
        },
        "containers": [{
            "name": APP,
            "image": TOOLS,
            "command": ["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 1; done"],
            "securityContext": {
                "allowPrivilegeEscalation": false,
                "capabilities": { "drop": ["ALL"] },
            },
        }],
    })
}

/// The address of a pod.
pub(crate) fn address(pod: &Value) -> &str {
    pod["status"]["podIP"].as_str().unwrap_or_default()
}

/// A container's status in a pod, also that of a native sidecar.
pub(crate) fn container<'a>(pod: &'a Value, name: &str) -> Option<&'a Value> {
    ["initContainerStatuses", "containerStatuses"]
        .iter()
        .filter_map(|kind| pod["status"][*kind].as_array())
        .flatten()
        .find(|status| status["name"] == name)
}
