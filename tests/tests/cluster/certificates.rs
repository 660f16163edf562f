//! Certificates that live for seconds: renewed again and again under traffic.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tests::load::HUSH;

use crate::install::{NAMESPACE, OPERATOR, installed};
use crate::kube::{self, kubectl, until};
use crate::load::{CHANNELS, FLOWING, JOBS, Load, PRICES, Scene};
use crate::pods::address;
use crate::scrape;

/// Certificates live for so many seconds, and are renewed at 60 % of that.
const LIFETIME_S: u32 = 15;
/// Certificates that each sidecar is seen with: two more lives than the connection's first one.
const CERTIFICATES: usize = 4;

/// Does something while certificates live for seconds, and brings the operator back whatever happens.
fn with_short_lives(more: &[&str], meanwhile: impl FnOnce() -> Result<()>) -> Result<()> {
    let arguments = || -> Result<Vec<Value>> {
        let operator = kube::object(NAMESPACE, OPERATOR)?.context("there is no operator")?;
        let arguments = &operator["spec"]["template"]["spec"]["containers"][0]["args"];
        Ok(arguments.as_array().cloned().unwrap_or_default())
    };
    let set = |arguments: Vec<Value>| -> Result<()> {
        let path = "/spec/template/spec/containers/0/args";
        let patch = json!([{ "op": "replace", "path": path, "value": arguments }]).to_string();
        kubectl(&["--namespace", NAMESPACE, "patch", OPERATOR, "--type=json", "--patch", &patch])?;
        kubectl(&["--namespace", NAMESPACE, "rollout", "status", OPERATOR, "--timeout=120s"])?;
        // The one before leads, and signs for as long as it was told, until it has ended.
        let replicas = ["get", "pods", "--selector=app.kubernetes.io/component=operator", "--output=name"];
        until("the operator before to end", kube::LIMIT, || {
            let names = kubectl(&[["--namespace", NAMESPACE].as_slice(), &replicas].concat())?;
            Ok((names.lines().count() == 1).then_some(()))
        })
    };
    let mut changed = arguments()?;
    changed.push(json!(format!("--sidecar-certificate-lifetime={LIFETIME_S}")));
    changed.extend(more.iter().map(|word| json!(word)));
    let outcome = set(changed).and_then(|()| meanwhile());
    let mut restored = arguments()?;
    let is_ours = |word: &str| {
        word.starts_with("--sidecar-certificate-lifetime") || more.iter().any(|flag| *flag == word)
    };
    restored.retain(|word| !word.as_str().is_some_and(is_ours));
    set(restored)?;
    outcome
}

/// Waits until each of these sidecars was seen with so many certificates, the last of which is still good.
fn renewed(loads: &[&Load<'_>]) -> Result<()> {
    let mut seen: BTreeMap<&str, BTreeSet<u64>> = BTreeMap::new();
    until("certificates to be renewed", kube::LIMIT, || {
        for load in loads {
            let metrics = scrape::get(address(&load.pod()?), scrape::ADMIN_PORT, "/metrics")?;
            let ends = scrape::sum(&metrics, "pinnace_certificate_expiration_timestamp_seconds", &[]);
            seen.entry(load.name).or_default().insert(ends.to_bits());
        }
        Ok(seen.values().all(|ends| ends.len() >= CERTIFICATES).then_some(()))
    })
}

/// Messages flow while certificates live for seconds, until `happened` says that enough did, each sidecar was seen with new
/// certificates, and who comes later was let in: and nobody noticed any of it.
fn nobody_notices(name: &str, flags: &[&str], happened: impl FnOnce() -> Result<()>) -> Result<()> {
    installed()?;
    with_short_lives(flags, || {
        let scene = Scene::new(name, CHANNELS)?;
        let listen = ["--subscribe", PRICES, "--work", JOBS];
        let witness = scene.load("witness", 1, &listen)?;
        let publisher = scene.load("publisher", 1, &["--publish", PRICES, "--publish", JOBS])?;
        witness.wait()?;
        publisher.wait()?;
        let flows = |pods: &'static str| {
            scene.clerk.until("messages to flow", |book| {
                let flows = [JOBS, PRICES].iter().all(|channel| book.arrivals(pods, channel) >= FLOWING);
                flows.then_some(())
            })
        };
        flows("witness")?;
        happened()?;
        renewed(&[&witness, &publisher])?;
        scene.load("late", 1, &listen)?.wait()?;
        flows("late")?;
        ensure!(scene.clerk.order("publisher", HUSH)? == 1, "the publisher does not listen");
        settle(&scene)
    })
}

/// Promise: certificates are renewed under traffic, several times over, and apps see none of it: no message is lost, no
/// publish fails, no subscription begins anew; and who comes later is let in with what is valid then.
#[test]
fn certificates_are_renewed_under_traffic_and_nobody_notices() -> Result<()> {
    nobody_notices("short-lives", &[], || Ok(()))
}

/// Roots live so long: the step to the next one comes after a minute, and it signs a quarter of a minute later.
const ROOT_LIFETIME_FLAG: &str = "--root-lifetime=90";
/// Roots that are seen as the newest: two changes of root, from the first to the third.
const ROOTS: usize = 3;

/// The certificates of a PEM text, apart.
fn roots_in(pem: &str) -> Vec<String> {
    pem.split_inclusive("-----END CERTIFICATE-----")
        .map(|root| root.trim().to_owned())
        .filter(|root| !root.is_empty())
        .collect()
}

fn bundle() -> Result<String> {
    let template = "--output=go-template={{index .data \"ca.crt\" | base64decode}}";
    kubectl(&["--namespace", NAMESPACE, "get", "secret", "pinnace-ca", template])
}

/// What the API server believes when it calls the webhooks.
fn published() -> Result<String> {
    let template = "--output=go-template={{(index .webhooks 0).clientConfig.caBundle | base64decode}}";
    kubectl(&["get", "validatingwebhookconfiguration", "pinnace-operator", template])
}

/// Waits until so many roots were the newest of the bundle, and the bundle held more than one, which the webhooks' callers
/// were told too.
fn roots_cross_over() -> Result<()> {
    let mut newest = BTreeSet::new();
    until("roots to cross over", kube::LIMIT * 2, || {
        let roots = roots_in(&bundle()?);
        ensure!(roots.len() <= 4, "roots pile up: {}", roots.len());
        newest.extend(roots.last().cloned());
        Ok((newest.len() >= ROOTS && roots.len() >= 2).then_some(()))
    })?;
    until("the webhooks' callers to know all roots", kube::LIMIT, || {
        Ok((published()?.trim() == bundle()?.trim()).then_some(()))
    })
}

/// Promise: roots of the certificate authority cross over twice under traffic, with leaves of sidecars, control plane and
/// webhooks that live for seconds, and nobody notices: no message is lost, no publish fails, no subscription begins anew,
/// and Pods that come later are injected and let in.
#[test]
fn roots_cross_over_under_traffic_and_nobody_notices() -> Result<()> {
    nobody_notices("short-roots", &[ROOT_LIFETIME_FLAG], roots_cross_over)
}

fn settle(scene: &Scene) -> Result<()> {
    let mut last = String::new();
    let settled = until("all that was published to arrive", kube::LIMIT, || {
        let missing = scene.clerk.read(|book| [book.missing("witness", PRICES), book.missing("", JOBS)])?;
        last = format!("{missing:?}");
        Ok(missing.iter().all(BTreeMap::is_empty).then_some(()))
    });
    settled.map_err(|error| error.context(last))?;
    scene.clerk.read(|book| -> Result<()> {
        ensure!(book.failed.is_empty(), "a publish failed: {}", book.failed[0].problem);
        for channel in [PRICES, JOBS] {
            ensure!(book.gap_messages("", channel, |_| true) == 0, "{channel} has gaps");
            for pods in ["witness", "late"] {
                let subscriptions = book.of(pods, channel).count();
                ensure!(subscriptions == 1, "{pods} subscribed {subscriptions} times to {channel}");
            }
        }
        book.check("", PRICES)
    })?
}
