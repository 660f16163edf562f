//! The dashboards: JSON that Grafana can load, made of metrics that exist.

use std::collections::BTreeSet;
use std::fs;

use serde_json::{Value, json};
use tests::metrics::{documented, problems};

use crate::helm;

const ENABLED: &[&str] = &["monitoring.dashboards.enabled=true"];
/// What Grafana puts in by itself.
const BUILT_IN: &[&str] = &["__rate_interval", "__all"];
/// Grafana divides a dashboard into so many columns.
const COLUMNS: u64 = 24;

fn dashboards() -> Vec<Value> {
    let maps = helm::of_kind(ENABLED, "ConfigMap");
    let texts = maps.iter().flat_map(|map| map["data"].as_object().unwrap().values());
    let all: Vec<Value> = texts.map(|text| serde_json::from_str(text.as_str().unwrap()).unwrap()).collect();
    assert_eq!(all.len(), 4);
    all
}

/// Panels that show something, rows left out.
fn panels(dashboard: &Value) -> impl Iterator<Item = &Value> {
    dashboard["panels"].as_array().unwrap().iter().filter(|panel| panel["type"] != "row")
}

fn expressions(panel: &Value) -> impl Iterator<Item = &str> {
    panel["targets"].as_array().unwrap().iter().map(|target| target["expr"].as_str().unwrap())
}

/// An expression as Prometheus gets it.
fn sent(expression: &str) -> String {
    expression.replace("$__rate_interval", "5m")
}

fn variables(dashboard: &Value) -> &Vec<Value> {
    dashboard["templating"]["list"].as_array().unwrap()
}

/// Names after `$`, with or without braces.
fn used(text: &str) -> BTreeSet<String> {
    let names = text.split('$').skip(1).map(|rest| {
        let rest = rest.strip_prefix('{').unwrap_or(rest);
        rest.chars().take_while(|letter| letter.is_ascii_alphanumeric() || *letter == '_').collect()
    });
    names.filter(|name: &String| !BUILT_IN.contains(&name.as_str())).collect()
}

/// Goal: every metric and every label in a panel or a variable is in the reference.
#[test]
fn dashboards_use_metrics_that_exist() {
    let table = documented();
    for dashboard in dashboards() {
        let title = &dashboard["title"];
        for panel in panels(&dashboard) {
            for expression in expressions(panel) {
                let found = problems(&sent(expression), &table);
                assert!(found.is_empty(), "{title}, {}: {found:?} in {expression}", panel["title"]);
            }
        }
        for variable in variables(&dashboard).iter().filter(|variable| variable["type"] == "query") {
            let query = variable["query"]["query"].as_str().unwrap();
            let inner = query.strip_prefix("label_values(").and_then(|rest| rest.strip_suffix(')'));
            let (series, label) = inner.and_then(|inner| inner.rsplit_once(", ")).unwrap();
            let found = problems(&format!("sum by ({label}) ({series})"), &table);
            assert!(found.is_empty(), "{title}, variable {}: {found:?}", variable["name"]);
        }
    }
}

/// Goal: every panel says what it shows and in which unit, has something to show, and lies beside the others.
#[test]
fn panels_have_titles_and_units() {
    let mut uids = BTreeSet::new();
    for dashboard in dashboards() {
        let title = dashboard["title"].as_str().unwrap();
        assert!(title.starts_with("Pinnace / ") && uids.insert(dashboard["uid"].to_string()), "{title}");
        let (mut ids, mut places) = (BTreeSet::new(), BTreeSet::new());
        for panel in dashboard["panels"].as_array().unwrap() {
            let name = panel["title"].as_str().filter(|name| !name.is_empty());
            let name = name.unwrap_or_else(|| panic!("{title} has a panel without a title"));
            assert!(ids.insert(panel["id"].as_u64().unwrap()), "{title}, {name}: its id is another's");
            let number = |key: &str| panel["gridPos"][key].as_u64().unwrap();
            for x in number("x")..number("x") + number("w") {
                for y in number("y")..number("y") + number("h") {
                    assert!(x < COLUMNS && places.insert((x, y)), "{title}, {name} lies on another");
                }
            }
        }
        for panel in panels(&dashboard) {
            let unit = panel["fieldConfig"]["defaults"]["unit"].as_str().unwrap_or_default();
            assert!(!unit.is_empty(), "{title}, {} has no unit", panel["title"]);
            assert!(expressions(panel).count() > 0, "{title}, {} shows nothing", panel["title"]);
        }
    }
}

/// Goal: each variable is used, and what is used is a variable; all panels ask the source that is chosen.
#[test]
fn variables_are_used() {
    for dashboard in dashboards() {
        let title = &dashboard["title"];
        let declared: BTreeSet<String> = variables(&dashboard)
            .iter()
            .map(|variable| variable["name"].as_str().unwrap().to_owned())
            .collect();
        let mut in_panels = BTreeSet::new();
        for panel in panels(&dashboard) {
            assert_eq!(panel["datasource"]["uid"], "${datasource}", "{title}, {}", panel["title"]);
            in_panels.extend(used(&panel["targets"].to_string()));
        }
        assert_eq!(in_panels, declared, "{title}: variables used and declared");
        let queries = used(&dashboard["templating"].to_string());
        assert!(queries.is_subset(&declared), "{title}: {queries:?}");
    }
}

/// Goal: Prometheus' own tool can parse every expression.
#[test]
fn promtool_parses_the_expressions() {
    let all = dashboards();
    let asked = all.iter().flat_map(|dashboard| panels(dashboard).flat_map(expressions));
    let rules: Vec<Value> = asked
        .enumerate()
        .map(|(index, expression)| json!({ "record": format!("panel:{index}"), "expr": sent(expression) }))
        .collect();
    assert!(rules.len() > 70, "only {} expressions", rules.len());
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("rules.yaml");
    let groups = json!({ "groups": [{ "name": "panels", "rules": rules }] });
    fs::write(&place, serde_yaml::to_string(&groups).unwrap()).unwrap();
    let output = helm::promtool(&["check", "rules", "--lint=none", &place.to_string_lossy()]);
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
}

/// Goal: Grafana's sidecar finds the ConfigMaps by the label that is set, and by no other.
#[test]
fn config_maps_have_the_label() {
    let default = helm::of_kind(ENABLED, "ConfigMap");
    assert!(default.iter().all(|map| map["metadata"]["labels"]["grafana_dashboard"] == "1"));
    let values = [
        ENABLED,
        &[
            "monitoring.dashboards.labels.grafana_dashboard=null",
            "monitoring.dashboards.labels.dashboards=platform",
            "monitoring.dashboards.annotations.grafana_folder=Messaging",
        ],
    ]
    .concat();
    for map in helm::of_kind(&values, "ConfigMap") {
        let metadata = &map["metadata"];
        assert_eq!(metadata["labels"]["dashboards"], "platform");
        assert!(metadata["labels"].get("grafana_dashboard").is_none());
        assert_eq!(metadata["annotations"]["grafana_folder"], "Messaging");
    }
    assert!(helm::of_kind(&[], "ConfigMap").is_empty());
}
