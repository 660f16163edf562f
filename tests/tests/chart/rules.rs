//! The alerts: made of metrics that exist, each with a runbook, and each tried with Prometheus' own tool.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use tests::metrics::{documented, label_names, problems};

use crate::helm;

/// When a case is looked at, unless it says so.
const LOOKED_AT: &str = "2h";
const ENABLED: &[&str] = &["monitoring.rules.enabled=true"];

fn spec(values: &[&str]) -> Value {
    let mut rules = helm::of_kind(values, "PrometheusRule");
    assert_eq!(rules.len(), 1);
    rules.remove(0)["spec"].take()
}

fn alerts(spec: &Value) -> Vec<Value> {
    let groups = spec["groups"].as_array().unwrap();
    groups.iter().flat_map(|group| group["rules"].as_array().unwrap().clone()).collect()
}

fn name(alert: &Value) -> &str {
    alert["alert"].as_str().unwrap()
}

/// The text below each heading `## NAME`.
fn runbooks() -> BTreeMap<String, String> {
    let page = fs::read_to_string(helm::root().join("docs/operations/alerts.md")).unwrap();
    let sections = page.split("\n## ").skip(1);
    sections
        .map(|section| section.split_once('\n').unwrap_or((section, "")))
        .map(|(heading, text)| (heading.trim().to_owned(), text.to_owned()))
        .collect()
}

/// Goal: every metric and every label that an alert uses is in the reference.
#[test]
fn alerts_use_metrics_that_exist() {
    let table = documented();
    let all = alerts(&spec(ENABLED));
    assert!(all.len() > 30, "only {} alerts", all.len());
    for alert in &all {
        let expression = alert["expr"].as_str().unwrap();
        let found = problems(expression, &table);
        assert!(found.is_empty(), "{}: {found:?} in {expression}", name(alert));
    }
}

/// Goal: every alert says how bad it is, what is wrong and where the runbook is, and its texts use only labels that
/// the alert has.
#[test]
fn alerts_say_what_is_wrong() {
    for alert in alerts(&spec(ENABLED)) {
        let name = name(&alert);
        let severity = alert["labels"]["severity"].as_str().unwrap_or_default();
        assert!(["critical", "warning", "info"].contains(&severity), "{name} has severity {severity:?}");
        let labels = label_names(alert["expr"].as_str().unwrap());
        let grouped = alert["expr"].as_str().unwrap().contains("by (");
        for annotation in ["summary", "description"] {
            let text = alert["annotations"][annotation].as_str().unwrap_or_default();
            assert!(text.ends_with('.'), "{name} has no {annotation}: {text:?}");
            for used in text.split("$labels.").skip(1) {
                let used: String =
                    used.chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect();
                let there = if grouped {
                    labels.contains(&used)
                } else {
                    ["namespace", "pod"].contains(&used.as_str())
                };
                assert!(there, "{name} has no label {used} for its {annotation}");
            }
        }
        let runbook = alert["annotations"]["runbook_url"].as_str().unwrap_or_default();
        assert!(
            runbook.ends_with(&format!("docs/operations/alerts.md#{}", name.to_lowercase())),
            "{name}: {runbook}"
        );
    }
}

/// Goal: each alert has a section in the runbook that says what it means, where to look and what to do; no section is
/// about an alert that is not there.
#[test]
fn every_alert_has_its_runbook() {
    let mut sections = runbooks();
    for alert in alerts(&spec(ENABLED)) {
        let name = name(&alert);
        let text = sections
            .remove(name)
            .unwrap_or_else(|| panic!("docs/operations/alerts.md has no section {name}"));
        for part in ["**Users:**", "**Look:**", "**Do:**"] {
            assert!(text.contains(part), "the section {name} of alerts.md has no {part}");
        }
        assert!(text.contains('`'), "the section {name} of alerts.md has no command and no name to look at");
    }
    sections.retain(|heading, _| heading.starts_with("Pinnace"));
    assert!(sections.is_empty(), "alerts.md has sections without an alert: {:?}", sections.keys());
}

/// Writes the rules as Prometheus' own file of rules.
fn written(folder: &Path, spec: &Value) -> String {
    let place = folder.join("rules.yaml");
    fs::write(&place, serde_yaml::to_string(spec).unwrap()).unwrap();
    place.to_string_lossy().into_owned()
}

/// Goal: Prometheus' own tool takes the rules.
#[test]
fn promtool_accepts_the_rules() {
    let folder = tempfile::tempdir().unwrap();
    let file = written(folder.path(), &spec(ENABLED));
    let output = helm::promtool(&["check", "rules", "--lint=all", "--lint-fatal", &file]);
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("SUCCESS"), "{said}");
}

/// One case of alerts.yaml as promtool takes it.
fn case(alert: &str, series: &Value, fires: bool) -> Value {
    let series = series.as_object().unwrap();
    let at = series.get("at").and_then(Value::as_str).unwrap_or(LOOKED_AT);
    let input: Vec<Value> = series
        .iter()
        .filter(|(name, _)| *name != "at")
        .map(|(name, values)| json!({ "series": name, "values": values }))
        .collect();
    let expression = format!("count(ALERTS{{alertname=\"{alert}\",alertstate=\"firing\"}}) > bool 0");
    let samples = if fires { json!([{ "labels": "{}", "value": 1 }]) } else { json!([]) };
    json!({
        "interval": "1m",
        "name": format!("{alert} {}", if fires { "fires" } else { "is quiet" }),
        "input_series": input,
        "promql_expr_test": [{ "expr": expression, "eval_time": at, "exp_samples": samples }],
    })
}

/// Goal: each alert fires at what it is for, and not at what is well or another alert's, as Prometheus itself
/// evaluates it.
#[test]
fn alerts_fire_and_are_quiet() {
    let spec = spec(ENABLED);
    let mut cases: BTreeMap<String, Value> = serde_yaml::from_str(&helm::fixture("alerts.yaml")).unwrap();
    let mut tests = Vec::new();
    for alert in alerts(&spec) {
        let name = name(&alert);
        let of_alert = cases.remove(name).unwrap_or_else(|| panic!("alerts.yaml has no cases for {name}"));
        for (key, fires) in [("fires", true), ("quiet", false)] {
            let list = of_alert[key].as_array().filter(|list| !list.is_empty());
            let list = list.unwrap_or_else(|| panic!("alerts.yaml has no case where {name} {key}"));
            tests.extend(list.iter().map(|series| case(name, series, fires)));
        }
    }
    assert!(cases.is_empty(), "alerts.yaml has cases for alerts that are not there: {:?}", cases.keys());
    let folder = tempfile::tempdir().unwrap();
    let rules = written(folder.path(), &spec);
    let all = json!({ "rule_files": [rules], "evaluation_interval": "1m", "tests": tests });
    let place = folder.path().join("tests.yaml");
    fs::write(&place, serde_yaml::to_string(&all).unwrap()).unwrap();
    let output = helm::promtool(&["test", "rules", &place.to_string_lossy()]);
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
}

/// Goal: labels, left-out alerts and the place of the runbooks are as the values say, and a name that is no alert's
/// is refused.
#[test]
fn values_of_rules_hold() {
    let set = |values: &[&'static str]| [ENABLED, values].concat();
    let values = set(&[
        "monitoring.rules.alertLabels.team=platform",
        "monitoring.rules.alertLabels.severity=page",
        "monitoring.rules.disabled={PinnaceGaps}",
        "monitoring.rules.runbookUrl=https://runbooks.example/pinnace",
        "monitoring.rules.labels.release=prometheus",
    ]);
    let rule = helm::of_kind(&values, "PrometheusRule").remove(0);
    assert_eq!(rule["metadata"]["labels"]["release"], "prometheus");
    let all = alerts(&rule["spec"]);
    assert_eq!(all.len(), alerts(&spec(ENABLED)).len() - 1);
    for alert in &all {
        assert_ne!(name(alert), "PinnaceGaps");
        assert_eq!(
            (&alert["labels"]["team"], &alert["labels"]["severity"]),
            (&json!("platform"), &json!("page"))
        );
        let runbook = format!("https://runbooks.example/pinnace#{}", name(alert).to_lowercase());
        assert_eq!(alert["annotations"]["runbook_url"], json!(runbook));
    }
    let output = helm::template(&set(&["monitoring.rules.disabled={PinnaceNothing}"]));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("there is no alert PinnaceNothing"), "{said}");
}
