//! Who may publish and subscribe.

use anyhow::{Result, ensure};

use crate::install::installed;
use crate::kube::{self, attempt, said, until, wait_ready};
use crate::namespace::Namespace;
use crate::pods::{APP, App};

const OBJECTS: &str = "
apiVersion: pinnace.dev/v1alpha1
kind: Topic
metadata: {name: orders}
spec: {access: {publish: [{serviceAccount: checkout}], subscribe: [{serviceAccount: checkout}]}}
---
apiVersion: pinnace.dev/v1alpha1
kind: Channel
metadata: {name: prices}
spec: {access: {publish: [{serviceAccount: checkout}], subscribe: [{serviceAccount: checkout}]}}
";

/// Status and body of a publish over HTTP.
fn publish(app: &App<'_>, path: &str) -> Result<(String, String)> {
    let answer = app.run(&format!(
        "curl --silent --max-time 30 --write-out '\\n%{{http_code}}' --data hello http://$PINNACE_ADDRESS{path}"
    ))?;
    let (body, status) = answer.rsplit_once('\n').unwrap_or_default();
    Ok((status.to_owned(), body.to_owned()))
}

/// Promise: a service account that is not allowed is refused, on a Channel and on a Topic, over
/// HTTP and over the Kafka door, in a transaction and without, with an error that names the object and the field to
/// change; one that is allowed is not.
#[test]
fn a_service_account_that_is_not_allowed_is_refused() -> Result<()> {
    installed()?;
    let namespace = Namespace::new("refusals")?;
    namespace.apply(OBJECTS)?;
    wait_ready(&namespace.name, "topic/orders", kube::LIMIT)?;
    let stranger = App::new(&namespace, "stranger").start()?;
    let checkout = App::new(&namespace, "checkout").start()?;

    for (path, object) in
        [("/v1/topics/orders", "Topic refusals/orders"), ("/v1/channels/prices", "Channel refusals/prices")]
    {
        let (status, body) = publish(&stranger, path)?;
        ensure!(status == "403", "{path} answered a stranger with {status}: {body}");
        ensure!(body.contains(object), "{path}: the refusal does not name {object}: {body}");
        ensure!(body.contains("spec.access.publish"), "{path}: the refusal names no field: {body}");
        let refused =
            stranger.run(&format!("curl --silent --max-time 30 http://$PINNACE_ADDRESS{path}/messages"))?;
        ensure!(refused.contains("spec.access.subscribe"), "{path}/messages: {refused}");
        until(&format!("{path} to take a message of the right one"), kube::LIMIT, || {
            Ok((publish(&checkout, path)?.0 == "202").then_some(()))
        })?;
    }

    let produce =
        "timeout 30 kcat -b $KAFKA_BOOTSTRAP_SERVERS -P -t orders -X acks=all -X message.timeout.ms=10000";
    let plainly = format!("echo plainly | {produce}");
    let in_transaction = format!("echo in a transaction | {produce} -X transactional.id=payments");
    for produce in [&plainly, &in_transaction] {
        let words =
            ["--namespace", &namespace.name, "exec", stranger.name, "-c", APP, "--", "sh", "-c", produce];
        let output = attempt("kubectl", &words, "")?;
        let refusal = said(&output);
        ensure!(!output.status.success(), "the broker took a stranger's message");
        ensure!(refusal.to_lowercase().contains("authorization failed"), "kcat was told: {refusal}");
        checkout.run(produce)?;
    }
    let read = checkout.run(
        "timeout 30 kcat -b $KAFKA_BOOTSTRAP_SERVERS -C -t orders -o beginning -e -q -X isolation.level=read_committed",
    )?;
    for line in ["plainly", "in a transaction"] {
        ensure!(read.lines().filter(|read| *read == line).count() == 1, "{line:?} once: {read}");
    }
    Ok(())
}
