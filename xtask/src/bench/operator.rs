//! The operator on a real, empty cluster of its own: thousands of Topics and Channels on real Brokers, then a thousand
//! sidecars. What is done, and measured, is in `benches/fleet`; here is the cluster, and what is expected.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Map, Value};

use super::{BenchArgs, Report};
use crate::cluster::{self, Cluster};
use crate::{images, tools};

/// The cluster is made for a run, and deleted.
const CLUSTER: &str = "bench";
const NAMESPACE: &str = "pinnace-system";
const RELEASE: &str = "pinnace";
/// How many of everything with `--quick`.
const QUICK: &[&str] =
    &["--topics=200", "--channels=20", "--brokers=2", "--sidecars=50", "--idle-seconds=20"];

/// A figure, and the most that it may be.
const GOALS: &[(&str, f64)] = &[
    ("topics_ready_seconds", 120.0),
    ("operator_resident_megabytes_most", 100.0),
    ("single_change_seconds_most", 1.0),
    ("idle_api_writes", 0.0),
    ("idle_total_broker_requests", 0.0),
    ("change_reached_sidecars_seconds", 1.0),
    ("leader_killed_lease_taken_seconds", 5.0),
    ("leader_killed_views_without_a_publisher", 0.0),
];

/// Measures, on a cluster that is there for nothing else.
pub(super) fn measure(root: &Path, args: &BenchArgs) -> Result<Report> {
    let once = args.rounds.is_none_or(|rounds| rounds == 1);
    ensure!(once, "the benchmark operator runs once: leave out --rounds");
    cluster::check_machine()?;
    let cache = args.cache.open()?;
    let fleet = fleet(root)?;
    let archives = images::make_ours()?;
    let cluster = Cluster::named(CLUSTER, cache, &args.path);
    // What a run that was killed left behind is no empty cluster.
    cluster::down(&cluster)?;
    let figures = on_a_cluster(&cluster, archives, root, &fleet, args);
    if figures.is_err() {
        tell_why(&cluster);
    }
    cluster::down(&cluster)?;
    let mut report = Report::default();
    report.figure(
        "operator_profile",
        "release, as `cargo xtask images` makes it; the images shipped are `dist`",
    );
    for (name, value) in figures? {
        report.figure(name, value);
    }
    judge(&mut report)?;
    Ok(report)
}

fn on_a_cluster(
    cluster: &Cluster,
    archives: Vec<PathBuf>,
    root: &Path,
    fleet: &Path,
    args: &BenchArgs,
) -> Result<Map<String, Value>> {
    cluster::up(cluster)?;
    cluster::load(cluster, archives)?;
    let chart = root.join("charts/pinnace").display().to_string();
    let install =
        ["helm", "install", RELEASE, &chart, "--namespace", NAMESPACE, "--create-namespace", "--wait"];
    tools::visible(&mut cluster::beside(cluster, install)?).context("the chart could not be installed")?;
    let mut words = vec![fleet.display().to_string()];
    if args.quick {
        words.extend(QUICK.iter().map(|word| (*word).to_owned()));
    }
    let told = tools::output(cluster::beside(cluster, words)?.stderr(Stdio::inherit()))?;
    let last = told.lines().last().context("the fleet printed nothing")?;
    serde_json::from_str(last).context("the fleet printed no JSON")
}

/// The program, built together with the images' programs: alone it would have dependencies with fewer features, and all
/// would be built again.
fn fleet(root: &Path) -> Result<PathBuf> {
    let mut words = vec!["--release", "--package", "fleet"];
    words.extend(images::PROGRAMS.iter().flat_map(|name| ["--package", *name]));
    tools::build(root, "fleet", &words)
}

/// What the operator said before the measurement failed.
fn tell_why(cluster: &Cluster) {
    let words =
        ["logs", "--namespace", NAMESPACE, "--selector=app.kubernetes.io/component=operator", "--tail=20"];
    if let Ok(mut command) = cluster::beside(cluster, ["kubectl"].iter().chain(&words))
        && let Ok(said) = tools::output(&mut command)
    {
        eprintln!("the operator said last:\n{said}");
    }
}

fn judge(report: &mut Report) -> Result<()> {
    for (name, goal) in GOALS {
        let value = report.figures.get(*name).and_then(Value::as_f64);
        ensure!(value.is_some(), "the fleet did not measure {name}");
        report.at_most(*name, value.unwrap_or(f64::NAN), *goal);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: a figure above its goal fails it, one that is missing is an error and no success.
    #[test]
    fn goals_are_judged() {
        let mut report = Report::default();
        for (name, goal) in GOALS {
            report.figures.insert((*name).to_owned(), Value::from(*goal));
        }
        report.figures.insert("idle_api_writes".to_owned(), Value::from(1));
        judge(&mut report).unwrap();
        assert_eq!(report.ratios["idle_api_writes"]["ok"], false);
        assert_eq!(report.ratios["topics_ready_seconds"]["ok"], true);
        report.figures.remove("topics_ready_seconds");
        assert!(judge(&mut report).is_err());
    }
}
