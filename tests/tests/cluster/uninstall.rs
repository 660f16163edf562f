//! Taking Pinnace away and bringing it back.

use anyhow::{Context as _, Result, ensure};

use crate::install::{NAMESPACE, RELEASE, install, installed};
use crate::kube::{self, object, run, wait_ready};
use crate::namespace::Namespace;
use crate::pods::App;

const TOPIC: &str = "
apiVersion: pinnace.dev/v1alpha1
kind: Topic
metadata: {name: ledger}
spec: {}
";
const CRDS: &[&str] = &["brokers", "channels", "subscriptions", "topics"];
const READ: &str = "timeout 60 kcat -b $KAFKA_BOOTSTRAP_SERVERS -C -t ledger -o beginning -e -q -f '%s\\n'";

/// Promise: `helm uninstall` leaves the CRDs, the objects and the data, and a new install takes
/// them over.
#[test]
fn uninstalling_keeps_objects_and_data_and_a_new_install_takes_over() -> Result<()> {
    installed()?;
    let namespace = Namespace::new("uninstall")?;
    namespace.apply(TOPIC)?;
    wait_ready(&namespace.name, "topic/ledger", kube::LIMIT)?;
    let app = App::new(&namespace, "checkout").start()?;
    app.run("echo kept | kcat -b $KAFKA_BOOTSTRAP_SERVERS -P -t ledger -X acks=all")?;
    let claim = "persistentvolumeclaim/data-default-broker-0";
    let identity = |name: &str| -> Result<_> {
        Ok(object(&namespace.name, name)?.with_context(|| format!("{name} is gone"))?["metadata"]["uid"]
            .clone())
    };
    let before = (identity("topic/ledger")?, identity("broker/default")?, identity(claim)?);

    run("helm", &["uninstall", RELEASE, "--namespace", NAMESPACE, "--wait", "--timeout", "120s"])?;
    for kind in CRDS {
        kube::kubectl(&["get", "customresourcedefinition", &format!("{kind}.pinnace.dev")])?;
    }
    let without = (identity("topic/ledger")?, identity("broker/default")?, identity(claim)?);
    ensure!(before == without, "uninstalling touched objects: {before:?} {without:?}");
    // The broker runs on, and so do the apps.
    ensure!(app.run(READ)?.trim() == "kept", "the data is not readable without the operator");

    install()?;
    wait_ready(&namespace.name, "topic/ledger", kube::LIMIT)?;
    let after = (identity("topic/ledger")?, identity("broker/default")?, identity(claim)?);
    ensure!(before == after, "the new install made objects anew: {before:?} {after:?}");
    app.run("echo more | kcat -b $KAFKA_BOOTSTRAP_SERVERS -P -t ledger -X acks=all")?;
    ensure!(app.run(READ)? == "kept\nmore\n", "messages are missing after the new install");
    Ok(())
}
