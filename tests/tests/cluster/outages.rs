//! What goes wrong around the operator: an API server that forgets, clocks that differ.

use std::process::Output;

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use crate::apps::{http_publisher, http_subscriber};
use crate::channels::{arrived, pair};
use crate::install::{NAMESPACE, OPERATOR, installed, operator_metrics};
use crate::kube::{self, kubectl, object, until, wait_ready};
use crate::lifecycle::setting;
use crate::namespace::Namespace;
use crate::pods::{App, TOOLS};
use crate::processes::Processes;
use crate::scrape;

const API_SERVER: &str = "kube-apiserver";
const ETCD: &str = "http://127.0.0.1:2379/v3/kv";
/// How long a certificate of the webhooks lives.
const WEBHOOK_LIFE_S: f64 = 30.0 * 86_400.0;

fn topic(name: &str) -> String {
    format!("apiVersion: pinnace.dev/v1alpha1\nkind: Topic\nmetadata: {{name: {name}}}\nspec: {{}}\n")
}

/// A call of etcd's gateway.
fn etcd(call: &str, body: &Value) -> Result<Value> {
    let url = format!("{ETCD}/{call}");
    let answer = kube::run("curl", &["-sS", "--fail-with-body", "-m", "10", "-d", &body.to_string(), &url])?;
    serde_json::from_str(&answer).context("etcd answered no JSON")
}

/// Deletes an object where the API server keeps it, and all of the past; nobody is told of either.
fn forget(namespace: &Namespace, object: &str) -> Result<()> {
    let key = BASE64_STANDARD.encode(format!("/registry/pinnace.dev/{object}"));
    let deleted = etcd("deleterange", &json!({ "key": key }))?;
    ensure!(deleted["deleted"] == "1", "etcd has no {object} of {}: {deleted}", namespace.name);
    let revision = deleted["header"]["revision"].as_str().context("etcd names no revision")?;
    etcd("compaction", &json!({ "revision": revision, "physical": true })).map(drop)
}

/// How often each container of the operator was started again.
fn restarts() -> Result<String> {
    kubectl(&[
        "--namespace",
        NAMESPACE,
        "get",
        "pods",
        "--selector=app.kubernetes.io/component=operator",
        "--output=jsonpath={.items[*].metadata.name} {.items[*].status.containerStatuses[0].restartCount}",
    ])
}

/// Promise: when the API server forgets the past, the operator lists everything anew and misses nothing: what went unseen is
/// gone for sidecars too, what stays is neither made again nor stopped, and nobody is restarted.
#[test]
fn a_forgotten_past_is_listed_anew() -> Result<()> {
    installed()?;
    let namespace = Namespace::new("forgotten")?;
    namespace.apply(&topic("orders"))?;
    let (pricing, shop) = pair(&namespace)?;
    namespace
        .apply("apiVersion: pinnace.dev/v1alpha1\nkind: Channel\nmetadata: {name: rumours}\nspec: {}\n")?;
    pricing.start_python("publisher", &http_publisher("/v1/channels/prices", 100_000, 0.02))?;
    arrived(&shop, 1)?;
    let publish = |name: &str| -> Result<Output> {
        let script = format!(
            "curl -sS -m 5 -o /dev/null -w '%{{http_code}}' -d x $PINNACE_ADDRESS/v1/channels/{name}"
        );
        let words =
            ["--namespace", &namespace.name, "exec", "pricing", "-c", "app", "--", "sh", "-c", &script];
        kube::attempt("kubectl", &words, "")
    };
    let code = |name: &str| -> Result<String> { Ok(kube::said(&publish(name)?)) };
    until("the Channel to be known", kube::LIMIT, || Ok((code("rumours")? == "202").then_some(())))?;
    let before = wait_ready(&namespace.name, "topic/orders", kube::LIMIT)?["status"]["topicId"].clone();
    let started = restarts()?;

    let still = Processes::of_machine(API_SERVER)?;
    let outage = still.stopped()?;
    forget(&namespace, &format!("channels/{}/rumours", namespace.name))?;
    kube::run(&setting("PINNACE_XTASK")?, &["cluster", "restart", API_SERVER])?;
    // What stood still is gone.
    std::mem::forget(outage);

    until("the lost Channel to be gone for sidecars", kube::LIMIT, || {
        Ok((code("rumours")? == "404").then_some(()))
    })?;
    until("a Topic to be taken", kube::LIMIT, || Ok(namespace.apply(&topic("later")).ok()))?;
    wait_ready(&namespace.name, "topic/later", kube::LIMIT)?;
    let orders = object(&namespace.name, "topic/orders")?.context("the Topic is gone")?;
    ensure!(kube::is_ready(&orders) && orders["status"]["topicId"] == before, "it is {}", orders["status"]);
    let so_far = arrived(&shop, 1)?.len();
    arrived(&shop, so_far + 50)?;
    App::new(&namespace, "late").start()?.python(&http_publisher("/v1/topics/later", 1, 0.0))?;
    ensure!(restarts()? == started, "an operator was started again");
    Ok(())
}

/// Where the Debian package puts the library that changes what a program takes for the time.
const CLOCK: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";

/// The operator's Deployment as it is now. It comes back when this is dropped, however the scenario ends.
struct Clocks {
    revision: String,
}

impl Clocks {
    fn new() -> Result<Self> {
        let path = "--output=jsonpath={.metadata.annotations.deployment\\.kubernetes\\.io/revision}";
        Ok(Self { revision: kubectl(&["--namespace", NAMESPACE, "get", OPERATOR, path])? })
    }

    /// Starts the operator again with a clock that is so far off: `+10m`, `-10m`.
    fn set(&self, offset: &str) -> Result<()> {
        let clock = json!({
            "name": "clock", "image": TOOLS, "command": ["sh", "-c", format!("cat {CLOCK} > /clock/clock.so")],
            "securityContext": { "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"] } },
            "volumeMounts": [{ "name": "clock", "mountPath": "/clock" }],
        });
        let operator = json!({
            "name": "operator",
            "env": [
                { "name": "LD_PRELOAD", "value": "/clock/clock.so" },
                { "name": "FAKETIME", "value": offset },
                // Timers and leases are not a matter of the time of day.
                { "name": "DONT_FAKE_MONOTONIC", "value": "1" },
                { "name": "NO_FAKE_STAT", "value": "1" },
            ],
            "volumeMounts": [{ "name": "clock", "mountPath": "/clock" }],
        });
        let pod = json!({
            "initContainers": [clock], "containers": [operator],
            "volumes": [{ "name": "clock", "emptyDir": {} }],
        });
        let patch = json!({ "spec": { "template": { "spec": pod } } }).to_string();
        kubectl(&["--namespace", NAMESPACE, "patch", OPERATOR, "--patch", &patch])?;
        kubectl(&["--namespace", NAMESPACE, "rollout", "status", OPERATOR, "--timeout=120s"]).map(drop)
    }
}

impl Drop for Clocks {
    fn drop(&mut self) {
        let revision = format!("--to-revision={}", self.revision);
        // The next scenario says so if that did not go well.
        drop(kubectl(&["--namespace", NAMESPACE, "rollout", "undo", OPERATOR, &revision]));
        drop(kubectl(&["--namespace", NAMESPACE, "rollout", "status", OPERATOR, "--timeout=120s"]));
    }
}

/// By how many seconds the operator's clock is ahead of ours, as far as its certificates tell.
fn ahead() -> Result<f64> {
    let ends = scrape::sum(
        &operator_metrics()?,
        "pinnace_certificate_expiration_timestamp_seconds",
        &["certificate=\"webhook\""],
    );
    let now: f64 = kube::run("date", &["+%s"])?.trim().parse()?;
    Ok(ends - now - WEBHOOK_LIFE_S)
}

/// Promise: an operator whose clock is ten minutes ahead, or behind, serves as any other: new pods and new Brokers get
/// certificates that everybody takes, and what runs runs on.
#[test]
fn clocks_that_differ_by_ten_minutes_stop_nobody() -> Result<()> {
    installed()?;
    let namespace = Namespace::new("clocks")?;
    let (pricing, shop) = pair(&namespace)?;
    pricing.start_python("publisher", &http_publisher("/v1/channels/prices", 100_000, 0.02))?;
    arrived(&shop, 1)?;
    let clocks = Clocks::new()?;
    for (offset, seconds, name) in [("+10m", 600.0, "early"), ("-10m", -600.0, "late")] {
        clocks.set(offset)?;
        // The one before goes away meanwhile.
        until("the operator's clock to be off", kube::LIMIT, || {
            Ok(ahead().is_ok_and(|off: f64| (off - seconds).abs() < 120.0).then_some(()))
        })?;
        let broker = format!(
            "apiVersion: pinnace.dev/v1alpha1\nkind: Broker\nmetadata: {{name: {name}}}\nspec: {{}}\n---\n\
             apiVersion: pinnace.dev/v1alpha1\nkind: Topic\nmetadata: {{name: {name}}}\n\
             spec: {{broker: {{name: {name}}}}}\n"
        );
        namespace.apply(&broker)?;
        wait_ready(&namespace.name, &format!("topic/{name}"), kube::LIMIT)?;
        // Its sidecar speaks to the broker, and to a sidecar with a certificate of the other clock.
        let broker = [("pinnace.dev/broker", name)];
        let app = App { annotations: &broker, ..App::new(&namespace, name) }.start()?;
        app.run(&format!(
            "curl -sS --fail-with-body --retry 30 --retry-all-errors --retry-delay 1 -d x $PINNACE_ADDRESS/v1/topics/{name}"
        ))?;
        app.start_python("subscriber", &http_subscriber("/v1/channels/prices/messages"))?;
        arrived(&app, 1)?;
        let so_far = arrived(&shop, 1)?.len();
        arrived(&shop, so_far + 50)?;
    }
    Ok(())
}
