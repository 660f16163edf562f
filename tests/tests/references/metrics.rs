//! The page of metrics, from the places that declare them: every name stands beside its labels and its help.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use tests::readme::checkout;

/// Folders with metrics, and the program that serves them.
const PLACES: &[(&str, &str)] = &[
    ("operator/src", "operator"),
    ("crates/control-plane/src", "operator"),
    ("sidecar/src", "sidecar"),
    ("broker/src", "broker"),
];
/// Functions that make a metric with labels that the call does not name.
const HELPERS: &[(&str, &[&str])] = &[
    (".latencies(", &["kind", "namespace", "name"]),
    (".by_topic(", &["topic"]),
    (".by_quota(", &["quota"]),
];

/// One metric as the source declares it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Metric {
    pub(crate) name: String,
    pub(crate) labels: Vec<String>,
    pub(crate) help: String,
}

/// A row per metric and program.
pub(crate) fn page() -> String {
    let mut rows = BTreeMap::new();
    for (folder, program) in PLACES {
        for file in sources(&checkout().join(folder)) {
            let text = std::fs::read_to_string(&file).expect("a source can be read");
            for metric in declared(&text) {
                rows.insert((metric.name.clone(), *program), metric);
            }
        }
    }
    let mut text = String::from(
        "# Metrics\n\nGenerated from the declarations by `cargo xtask generate`. Every program serves them on port 7402 under `/metrics`.\n\n| Metric | Program | Labels | Meaning |\n|---|---|---|---|\n",
    );
    for ((name, program), metric) in rows {
        let labels: Vec<String> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
        text.push_str(&format!("| `{name}` | {program} | {} | {} |\n", labels.join(", "), metric.help));
    }
    text
}

/// The files named `metrics.rs` and those in folders named `metrics`.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("the folder is there").flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.components().any(|part| part.as_os_str().to_string_lossy().starts_with("metrics")) {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Each string that is a metric's name, with the string after it, its help, and the labels around them.
fn declared(text: &str) -> Vec<Metric> {
    let code =
        text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
    // Odd pieces are strings, even ones are code.
    let pieces: Vec<&str> = code.split('"').collect();
    let mut found = Vec::new();
    for at in (1..pieces.len()).step_by(2).filter(|at| is_name(pieces[*at])) {
        let Some(help) = pieces.get(at + 2) else { continue };
        let (before, after) = (pieces[..at].join("\""), pieces[at + 3..].join("\""));
        found.push(Metric {
            name: pieces[at].to_owned(),
            labels: labels(&before, &after, &code),
            help: (*help).to_owned(),
        });
    }
    found
}

fn is_name(text: &str) -> bool {
    text.strip_prefix("pinnace_")
        .is_some_and(|rest| rest.chars().all(|letter| letter.is_ascii_lowercase() || letter == '_'))
}

/// The labels of the metric whose name and help stand between `before` and `after`.
fn labels(before: &str, after: &str, code: &str) -> Vec<String> {
    let call = before.trim_end();
    for (helper, labels) in HELPERS {
        if call.ends_with(helper) {
            return labels.iter().map(|label| (*label).to_owned()).collect();
        }
    }
    // `by("reason", NAME, HELP)`
    if let Some(label) = call.strip_suffix("\",").filter(|_| call.contains(".by(")) {
        return label.rsplit('"').next().map(|label| vec![label.to_owned()]).unwrap_or_default();
    }
    // `let options = Opts::new(NAME, HELP);`, and the labels where `options` is used.
    let statement = call.rsplit([';', '{']).next().unwrap_or_default().trim();
    if let Some((variable, "Opts::new(" | "HistogramOpts::new(")) =
        statement.strip_prefix("let ").and_then(|rest| rest.split_once(" = "))
    {
        let used = code.split_once(&format!("Vec::new({variable}")).map(|(_, rest)| rest);
        return used.map(|rest| listed(rest, before, code)).unwrap_or_default();
    }
    listed(after, before, code)
}

/// The list after the next `&`, written out, or by the name of a constant or of the last variable so called before it,
/// if it comes before the call ends.
fn listed(after: &str, before: &str, code: &str) -> Vec<String> {
    let call = after.split_once('?').map_or(after, |(call, _)| call);
    let Some((_, list)) = call.split_once('&') else { return Vec::new() };
    let name: String =
        list.chars().take_while(|letter| letter.is_ascii_alphanumeric() || *letter == '_').collect();
    let list = if name.is_empty() {
        list
    } else {
        let variable = before.rsplit_once(&format!("let {name} = [")).map(|(_, rest)| rest);
        let constant =
            || code.split_once(&format!("const {name}: ")).and_then(|(_, rest)| rest.split_once("= ["));
        variable.or_else(|| constant().map(|(_, rest)| rest)).unwrap_or_default()
    };
    let list = list.split_once(']').map_or(list, |(list, _)| list);
    list.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

/// Goal: labels are found in each of the ways in which a source can give them.
#[test]
fn labels_are_read() {
    let source = r#"
        const NAMES: [&str; 2] = ["kind", "name"];
        fn make() {
            let options = Opts::new("pinnace_a_total", "A.");
            let by_reason = make.by("reason", "pinnace_b_total", "B.")?;
            let labels = ["another"];
            let labels = ["one", "two"];
            (
                IntCounterVec::new(options, &["webhook", "result"])?,
                make.counters("pinnace_c_total", "C.", &NAMES)?,
                make.counters("pinnace_d_total", "D.", &labels)?,
                make.gauge("pinnace_e", "E.")?,
                IntGaugeVec::new(Opts::new("pinnace_f", "F."), &["f"])?,
                make.latencies("pinnace_g_seconds", "G.")?,
            );
            let labels = ["a third"];
        }
    "#;
    let found: Vec<(String, String)> =
        declared(source).into_iter().map(|metric| (metric.name, metric.labels.join(","))).collect();
    let found: Vec<(&str, &str)> =
        found.iter().map(|(name, labels)| (name.as_str(), labels.as_str())).collect();
    assert_eq!(
        found,
        [
            ("pinnace_a_total", "webhook,result"),
            ("pinnace_b_total", "reason"),
            ("pinnace_c_total", "kind,name"),
            ("pinnace_d_total", "one,two"),
            ("pinnace_e", ""),
            ("pinnace_f", "f"),
            ("pinnace_g_seconds", "kind,namespace,name"),
        ]
    );
}
