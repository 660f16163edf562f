//! What a new version brings beside sidecars: another chart, and another image for Brokers.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tests::readme::checkout;

use crate::apps::http_publisher;
use crate::channels::{arrived, pair};
use crate::install::{NAMESPACE, RELEASE, install, install_chart, install_with, installed};
use crate::kube::{self, condition, is_ready, object, until, wait_ready};
use crate::namespace::Namespace;
use crate::pods::App;
use crate::upgrades::Restore;

/// Another name for the same image, and one that nobody has.
const NEXT: &str = "ghcr.io/pinnace/broker:0.0.0-next";
const MISSING: &str = "ghcr.io/pinnace/broker:0.0.0-missing";
const BROKERS: [&str; 3] = ["ada", "bob", "cleo"];
/// The chart as it was before. Made anew from each version when the next one begins, before the chart is touched:
/// `helm package charts/pinnace --version 0.0.0-previous --destination tests/fixtures/charts`.
const PREVIOUS: &str = "tests/fixtures/charts/pinnace-0.0.0-previous.tgz";
const READ: &str = "timeout 60 kcat -b $KAFKA_BOOTSTRAP_SERVERS -C -t orders -o beginning -e -q -f '%s\\n'";
const OBJECTS: &[&str] = &["topic/orders", "channel/prices", "broker/default"];

/// The image of each Broker's node, and whether it is Ready.
fn nodes(namespace: &Namespace) -> Result<Vec<(String, bool)>> {
    let pod = |name: &&str| {
        let pod = object(&namespace.name, &format!("pod/{name}-broker-0"))?.unwrap_or_default();
        let image = pod["spec"]["containers"][0]["image"].as_str().unwrap_or_default();
        anyhow::Ok((image.to_owned(), is_ready(&pod)))
    };
    BROKERS.iter().map(pod).collect()
}

/// Whether all Brokers run this image; fails when more than one is down.
fn moved(namespace: &Namespace, image: &str) -> Result<bool> {
    let nodes = nodes(namespace)?;
    let down = nodes.iter().filter(|(_, ready)| !ready).count();
    ensure!(down <= 1, "{down} Brokers are down at a time: {nodes:?}");
    Ok(nodes.iter().all(|(its, ready)| its == image && *ready))
}

/// Promise: a new version's image reaches Brokers one after the other (as many at a time as the chart says); one that does not
/// run stops with the first, the others stay and say what they wait for, and the way back mends that one.
#[test]
fn brokers_get_a_new_image_one_after_the_other() -> Result<()> {
    installed()?;
    let namespace = Namespace::new("broker-images")?;
    for name in BROKERS {
        namespace.apply(&format!(
            "apiVersion: pinnace.dev/v1alpha1\nkind: Broker\nmetadata: {{name: {name}}}\nspec: {{storage: {{size: 1Gi}}}}\n"
        ))?;
    }
    for name in BROKERS {
        wait_ready(&namespace.name, &format!("broker/{name}"), kube::LIMIT)?;
    }
    let before = nodes(&namespace)?.swap_remove(0).0;
    kube::run("ctr", &["images", "tag", "--force", &before, NEXT])?;
    let _restore = Restore;
    install_with(&["--set", &format!("broker.image={NEXT}"), "--set", "broker.upgrade.maxAtOnce=1"])?;
    until("all Brokers to have the other image", kube::LIMIT, || Ok(moved(&namespace, NEXT)?.then_some(())))?;

    install_with(&["--set", &format!("broker.image={MISSING}"), "--set", "broker.upgrade.maxAtOnce=1"])?;
    until("a Broker to get an image that nobody has", kube::LIMIT, || {
        let nodes = nodes(&namespace)?;
        Ok(nodes.iter().any(|(image, _)| image == MISSING).then_some(()))
    })?;
    until("the others to say what they wait for", kube::LIMIT, || {
        ensure!(!moved(&namespace, MISSING)?, "an image that nobody has runs");
        let mut waiting = 0;
        for name in BROKERS {
            let broker = object(&namespace.name, &format!("broker/{name}"))?.unwrap_or_default();
            let nodes = condition(&broker, "NodesReady").cloned().unwrap_or_default();
            waiting += usize::from(nodes["reason"] == "UpgradeWaits" && is_ready(&broker));
        }
        Ok((waiting == BROKERS.len() - 1).then_some(()))
    })?;
    install_with(&["--set", &format!("broker.image={NEXT}")])?;
    until("the way back", kube::LIMIT, || Ok(moved(&namespace, NEXT)?.then_some(())))?;
    for name in BROKERS {
        wait_ready(&namespace.name, &format!("broker/{name}"), kube::LIMIT)?;
    }
    Ok(())
}

/// What an object is known by.
fn identity(namespace: &Namespace, name: &str) -> Result<Value> {
    let object = object(&namespace.name, name)?.with_context(|| format!("{name} is gone"))?;
    Ok(json!([object["metadata"]["uid"], object["status"]["topicId"], object["status"]["clusterId"]]))
}

/// Promise: the chart of the version before is upgraded by `helm upgrade`, CRDs with it, under traffic: objects, topics, data
/// and roots are those from before, messages flow, and what runs is what the new chart says.
#[test]
fn the_previous_chart_is_upgraded_under_traffic() -> Result<()> {
    installed()?;
    let _restore = Restore;
    kube::run("helm", &["uninstall", RELEASE, "--namespace", NAMESPACE, "--wait", "--timeout", "120s"])?;
    install_chart(&checkout().join(PREVIOUS), &[])?;
    let namespace = Namespace::new("previous-chart")?;
    namespace.apply("apiVersion: pinnace.dev/v1alpha1\nkind: Topic\nmetadata: {name: orders}\nspec: {}\n")?;
    let (pricing, shop) = pair(&namespace)?;
    wait_ready(&namespace.name, "topic/orders", kube::LIMIT)?;
    pricing.run("echo before | kcat -b $KAFKA_BOOTSTRAP_SERVERS -P -t orders -X acks=all")?;
    pricing.start_python("publisher", &http_publisher("/v1/channels/prices", 100_000, 0.02))?;
    arrived(&shop, 1)?;
    let identities = || OBJECTS.iter().map(|name| identity(&namespace, name)).collect::<Result<Vec<_>>>();
    let roots = || {
        kube::kubectl(&["--namespace", NAMESPACE, "get", "secret", "pinnace-ca", "--output=jsonpath={.data}"])
    };
    let before = (identities()?, roots()?);

    install()?;
    for name in OBJECTS {
        wait_ready(&namespace.name, name, kube::LIMIT)?;
    }
    let so_far = arrived(&shop, 1)?.len();
    arrived(&shop, so_far + 50)?;
    ensure!((identities()?, roots()?) == before, "objects or roots are not those from before");
    pricing.run("echo after | kcat -b $KAFKA_BOOTSTRAP_SERVERS -P -t orders -X acks=all")?;
    App::new(&namespace, "late").start()?;
    ensure!(shop.run(READ)? == "before\nafter\n", "messages are missing after the upgrade");
    let manifest = kube::run("helm", &["get", "manifest", RELEASE, "--namespace", NAMESPACE])?;
    let words = ["diff", "--server-side", "--force-conflicts", "--field-manager=scenario", "-f", "-"];
    let difference = kube::attempt("kubectl", &words, &manifest)?;
    ensure!(
        difference.status.success(),
        "what is there is not what the chart says: {}",
        kube::said(&difference)
    );
    Ok(())
}
