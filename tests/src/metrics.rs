//! The reference of metrics, as a table that other tests look names up in.

use std::collections::{BTreeMap, BTreeSet};

use crate::readme::checkout;

/// What Prometheus adds to every series that it scrapes with the chart's monitors.
pub const TARGET_LABELS: &[&str] = &["namespace", "pod", "container", "job", "instance", "pod_namespace"];
/// What a histogram is scraped as.
const PARTS: &[&str] = &["_bucket", "_count", "_sum"];

/// Labels by metric; programs that serve the same metric put theirs together.
#[must_use]
pub fn documented() -> BTreeMap<String, BTreeSet<String>> {
    let page = checkout().join("docs/reference/metrics.md");
    let text = std::fs::read_to_string(page).expect("the reference of metrics is there");
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for row in text.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let labels = cells[3].split('`').skip(1).step_by(2).map(str::to_owned);
        found.entry(cells[1].trim_matches('`').to_owned()).or_default().extend(labels);
    }
    found
}

/// What is wrong with an expression: names that are no metric, labels that none of its metrics has.
#[must_use]
pub fn problems(expression: &str, documented: &BTreeMap<String, BTreeSet<String>>) -> Vec<String> {
    let mut problems = Vec::new();
    let mut labels: BTreeSet<&str> = TARGET_LABELS.iter().copied().collect();
    let mut used = 0;
    for word in words(expression).filter(|word| word.starts_with("pinnace_")) {
        used += 1;
        let base = PARTS
            .iter()
            .find_map(|part| word.strip_suffix(part))
            .filter(|base| documented.contains_key(*base))
            .unwrap_or(word);
        match documented.get(base) {
            Some(its) => labels.extend(its.iter().map(String::as_str)),
            None => problems.push(format!("there is no metric {word}")),
        }
        if base != word && word.ends_with("_bucket") {
            labels.insert("le");
        }
    }
    if used == 0 {
        problems.push("it has no metric of ours".to_owned());
    }
    for label in label_names(expression).into_iter().filter(|label| !labels.contains(label.as_str())) {
        problems.push(format!("none of its metrics has the label {label}"));
    }
    problems
}

fn is_word(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || letter == '_'
}

/// Words of an expression outside of its strings.
fn words(expression: &str) -> impl Iterator<Item = &str> {
    expression.split('"').step_by(2).flat_map(|code| code.split(|letter: char| !is_word(letter)))
}

/// Labels in matchers and after `by`, `without`, `on`, `ignoring`, `group_left`.
#[must_use]
pub fn label_names(expression: &str) -> BTreeSet<String> {
    let code: String = expression.split('"').step_by(2).collect::<Vec<_>>().join("\"\"");
    let mut found = BTreeSet::new();
    for matchers in code.split('{').skip(1).filter_map(|rest| rest.split('}').next()) {
        let names = matchers.split(',').map(|matcher| matcher.split(['=', '!']).next().unwrap_or_default());
        found.extend(names.map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()));
    }
    for keyword in ["by", "without", "on", "ignoring", "group_left"] {
        let mut pieces = code.split(keyword);
        let mut before = pieces.next().unwrap_or_default();
        for rest in pieces {
            let list = rest.trim_start().strip_prefix('(').and_then(|list| list.split(')').next());
            if !before.ends_with(is_word) {
                let names = list.unwrap_or_default().split(',').map(|name| name.trim().to_owned());
                found.extend(names.filter(|name| !name.is_empty()));
            }
            before = rest;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: an unknown metric, and a label that its metric has not, are found; right expressions are not.
    #[test]
    fn wrong_names_are_found() {
        let table: BTreeMap<String, BTreeSet<String>> = [
            ("pinnace_a_total".to_owned(), BTreeSet::from(["reason".to_owned()])),
            ("pinnace_b_seconds".to_owned(), BTreeSet::new()),
        ]
        .into();
        let right = "sum by (reason, pod) (rate(pinnace_a_total{reason!~\"pinnace_x|y\"}[5m])) > 0";
        assert!(problems(right, &table).is_empty(), "{:?}", problems(right, &table));
        assert!(
            problems("histogram_quantile(0.9, sum by (le) (pinnace_b_seconds_bucket))", &table).is_empty()
        );
        assert_eq!(problems("pinnace_c_total > 0", &table).len(), 1);
        assert_eq!(problems("sum by (kind) (pinnace_a_total)", &table).len(), 1);
        assert_eq!(problems("pinnace_b_seconds{reason=\"x\"}", &table).len(), 1);
        assert_eq!(problems("up == 0", &table).len(), 1);
    }
}
