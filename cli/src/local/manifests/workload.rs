//! A Deployment as far as local mode needs it, and what of it is started here.

use super::documents::{Document, Wrong};
use super::locate::line_of;
use api::labels;
use control::ObjectName;
use serde::Deserialize;
use std::collections::BTreeMap;

/// The most replicas of one Deployment on a laptop.
const REPLICAS_MAX: u32 = 50;

/// What is started for a Deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Workload {
    pub(crate) name: ObjectName,
    pub(crate) service_account: String,
    pub(crate) replicas: u32,
    pub(crate) command: Vec<String>,
    pub(crate) env: Vec<(String, String)>,
    /// The Broker of the Kafka door; empty = `default`.
    pub(crate) broker: String,
    /// Extra TCP doors for ZeroMQ.
    pub(crate) zmq_listen: Vec<String>,
    /// Sockets of the app that bind.
    pub(crate) zmq_connect: Vec<String>,
    pub(crate) push: Vec<String>,
    pub(crate) log_level: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Deployment {
    spec: Spec,
}

#[derive(Debug, Default, Deserialize)]
struct Metadata {
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
struct Spec {
    replicas: Option<u32>,
    template: Template,
}

#[derive(Debug, Deserialize)]
struct Template {
    #[serde(default)]
    metadata: Metadata,
    spec: PodSpec,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PodSpec {
    service_account_name: Option<String>,
    #[serde(default)]
    containers: Vec<Container>,
}

#[derive(Debug, Deserialize)]
struct Container {
    #[serde(default)]
    env: Vec<Variable>,
}

#[derive(Debug, Deserialize)]
struct Variable {
    name: String,
    value: Option<String>,
}

/// A Deployment that was read.
pub(super) enum Outcome {
    /// Start this.
    Start(Box<Workload>),
    /// Leave it out, and say why.
    Leave(String),
}

/// What a Deployment means here.
pub(super) fn understand(
    document: Document<'_>,
    name: &ObjectName,
    deployment: &Deployment,
) -> Result<Outcome, Wrong> {
    let pod = &deployment.spec.template.metadata;
    if pod.labels.get(labels::INJECT).map(String::as_str) != Some("true") {
        return Ok(Outcome::Leave(format!(
            "Deployment {name} has no pod label {}: \"true\"; local mode does not start it",
            labels::INJECT
        )));
    }
    let Some(text) = pod.annotations.get(labels::LOCAL_COMMAND) else {
        return Ok(Outcome::Leave(format!(
            "Deployment {name} has no pod annotation {}; local mode does not start it",
            labels::LOCAL_COMMAND
        )));
    };
    let wrong = |annotation: &str, text: String| {
        let field = format!("spec.template.metadata.annotations[{annotation}]");
        Wrong { line: line_of(document, &field), field, text }
    };
    let command: Vec<String> = serde_json::from_str(text).map_err(|error| {
        wrong(
            labels::LOCAL_COMMAND,
            format!("write a JSON list of strings, such as [\"pinnace\", \"--help\"]: {error}"),
        )
    })?;
    if command.is_empty() {
        return Err(wrong(labels::LOCAL_COMMAND, "the list is empty: name a program".to_owned()));
    }
    let replicas = deployment.spec.replicas.unwrap_or(1);
    if replicas > REPLICAS_MAX {
        let field = "spec.replicas".to_owned();
        let text = format!("{replicas} are too many for one machine: use at most {REPLICAS_MAX}");
        return Err(Wrong { line: line_of(document, &field), field, text });
    }
    let pod_spec = &deployment.spec.template.spec;
    let variables = pod_spec.containers.first().map(|container| container.env.as_slice()).unwrap_or_default();
    let set = |variable: &Variable| Some((variable.name.clone(), variable.value.clone()?));
    let list = |annotation: &str| {
        let text = pod.annotations.get(annotation).map(String::as_str).unwrap_or_default();
        text.split([',', ' ', '\n']).filter(|one| !one.is_empty()).map(str::to_owned).collect()
    };
    Ok(Outcome::Start(Box::new(Workload {
        name: name.clone(),
        service_account: pod_spec.service_account_name.clone().unwrap_or_else(|| "default".to_owned()),
        replicas,
        command,
        env: variables.iter().filter_map(set).collect(),
        broker: pod.annotations.get(labels::BROKER_ANNOTATION).cloned().unwrap_or_default(),
        zmq_listen: list(labels::ZMQ_LISTEN),
        zmq_connect: list(labels::ZMQ_CONNECT),
        push: list(labels::PUSH),
        log_level: pod.annotations.get(labels::LOG_LEVEL).cloned(),
    })))
}
