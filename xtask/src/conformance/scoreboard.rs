//! What the last recorded runs said, beside what Apache Kafka does and why we differ: the results file, the
//! hand-written files, and the page made of them. Runs nothing.

mod page;

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use super::outcome::{Outcome, Verdict};
use crate::tools;

const FOLDER: &str = "docs/protocol/kafka-conformance";
const PAGE: &str = "docs/protocol/kafka-conformance.md";

/// The outcomes of a suite in the results file.
struct Recorded {
    /// The day of the last run that was recorded.
    date: String,
    outcome: Outcome,
}

/// All that the page is made of.
struct Scoreboard {
    foreword: String,
    results: BTreeMap<String, Recorded>,
    /// Rows of the first table, in order, with Apache Kafka's figures.
    rows: Vec<Row>,
    /// Suite, test, why it does not pass.
    findings: BTreeMap<String, BTreeMap<String, String>>,
}

/// A row of the first table.
struct Row {
    suite: String,
    title: String,
    /// What the names of its tests start with; empty for those that no other row of the suite takes.
    prefix: String,
    /// Apache Kafka's figures, as a sentence.
    kafka: String,
    /// Tests that Apache Kafka does not pass either, with its word: failed or skipped.
    kafka_differs: BTreeMap<String, String>,
}

/// Writes the outcome into the results file, test by test, so that a run of a part keeps the rest.
pub(super) fn record(root: &Path, suite: &str, outcome: &Outcome) -> Result<()> {
    let file = root.join(FOLDER).join("results.json");
    let text = std::fs::read_to_string(&file).unwrap_or_else(|_| "{}".to_owned());
    let mut all: BTreeMap<String, Value> =
        serde_json::from_str(&text).with_context(|| format!("cannot read {}", file.display()))?;
    let date = tools::output(&mut tools::command("date", ["--utc", "+%Y-%m-%d"]))?;
    let mut tests: BTreeMap<String, Value> = BTreeMap::new();
    if let Some(Value::Object(before)) = all.get(suite).and_then(|suite| suite.get("tests")) {
        tests.extend(before.iter().map(|(name, value)| (name.clone(), value.clone())));
    }
    let scoreboard = read(root)?;
    for (name, verdict) in &outcome.tests {
        // What a finding explains needs no words of this machine.
        let is_explained = matches!(verdict, Verdict::Failed(_)) && scoreboard.finding(suite, name).is_some();
        let kept = if is_explained { &Verdict::Failed(String::new()) } else { verdict };
        tests.insert(name.clone(), encode(kept));
    }
    all.insert(suite.to_owned(), json!({"date": date.trim(), "tests": tests}));
    let text = serde_json::to_string_pretty(&all)? + "\n";
    std::fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
    write(root)
}

/// The failed tests that no finding explains.
pub(super) fn unexplained(root: &Path, suite: &str, outcome: &Outcome) -> Result<Vec<String>> {
    let scoreboard = read(root)?;
    let failed = outcome.tests.iter().filter(|(_, verdict)| matches!(verdict, Verdict::Failed(_)));
    let unexplained = failed.filter(|(name, _)| scoreboard.finding(suite, name).is_none());
    Ok(unexplained.map(|(name, _)| name.clone()).collect())
}

/// Writes the page.
pub(crate) fn write(root: &Path) -> Result<()> {
    let text = page::page(&read(root)?);
    std::fs::write(root.join(PAGE), text).with_context(|| format!("cannot write {PAGE}"))
}

/// Compares the page with its data; each difference from Apache Kafka has an explanation, and no explanation is
/// about a test that passes.
pub(crate) fn check(root: &Path) -> Result<()> {
    let scoreboard = read(root)?;
    let problems = scoreboard.problems();
    if !problems.is_empty() {
        bail!("{FOLDER}/findings.yaml: {}", problems.join("; "));
    }
    let found = std::fs::read_to_string(root.join(PAGE)).unwrap_or_default();
    if found != page::page(&scoreboard) {
        bail!("{PAGE} is old: run cargo xtask generate");
    }
    Ok(())
}

fn read(root: &Path) -> Result<Scoreboard> {
    let text = |name: &str| {
        let file = root.join(FOLDER).join(name);
        std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))
    };
    let results: BTreeMap<String, Value> =
        serde_json::from_str(&text("results.json")?).context("cannot read results.json")?;
    let results = results.into_iter().map(|(suite, value)| Ok((suite, decode_suite(&value)?)));
    let rows: Vec<Value> =
        serde_yaml::from_str(&text("apache-kafka.yaml")?).context("cannot read apache-kafka.yaml")?;
    Ok(Scoreboard {
        foreword: text("foreword.txt")?,
        results: results.collect::<Result<_>>()?,
        rows: rows.iter().map(row).collect::<Result<_>>()?,
        findings: serde_yaml::from_str(&text("findings.yaml")?).context("cannot read findings.yaml")?,
    })
}

fn encode(verdict: &Verdict) -> Value {
    if verdict.reason().is_empty() {
        json!([verdict.word()])
    } else {
        json!([verdict.word(), verdict.reason()])
    }
}

fn decode_suite(value: &Value) -> Result<Recorded> {
    let date = value.get("date").and_then(Value::as_str).context("a suite without a date")?.to_owned();
    let tests = value.get("tests").and_then(Value::as_object).context("a suite without tests")?;
    let tests = tests.iter().map(|(name, value)| Ok((name.clone(), decode(name, value)?)));
    Ok(Recorded { date, outcome: Outcome { tests: tests.collect::<Result<_>>()? } })
}

fn decode(name: &str, value: &Value) -> Result<Verdict> {
    let text = |at: usize| value.get(at).and_then(Value::as_str).unwrap_or_default();
    let reason = text(1).to_owned();
    Ok(match text(0) {
        "passed" => Verdict::Passed,
        "flaky" => Verdict::Flaky(reason),
        "skipped" => Verdict::Skipped(reason),
        "failed" => Verdict::Failed(reason),
        other => bail!("{name} came out {other:?}"),
    })
}

fn row(value: &Value) -> Result<Row> {
    let text = |name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let mut kafka_differs = BTreeMap::new();
    for word in ["failed", "skipped"] {
        let names = value.get(word).and_then(Value::as_array).into_iter().flatten();
        kafka_differs.extend(names.filter_map(|name| Some((name.as_str()?.to_owned(), word.to_owned()))));
    }
    let row = Row {
        suite: text("suite"),
        title: text("title"),
        prefix: text("prefix"),
        kafka: text("kafka"),
        kafka_differs,
    };
    if row.suite.is_empty() || row.title.is_empty() || row.kafka.is_empty() {
        bail!("a row of apache-kafka.yaml needs suite, title and kafka");
    }
    Ok(row)
}

impl Scoreboard {
    /// The tests of a row, by name.
    fn tests<'a>(&'a self, row: &'a Row) -> impl Iterator<Item = (&'a String, &'a Verdict)> {
        let recorded = self.results.get(&row.suite);
        let all = recorded.into_iter().flat_map(|recorded| &recorded.outcome.tests);
        all.filter(move |(name, _)| self.row_of(&row.suite, name).is_some_and(|of| std::ptr::eq(of, row)))
    }

    fn row_of(&self, suite: &str, name: &str) -> Option<&Row> {
        let rows = self.rows.iter().filter(|row| row.suite == suite && name.starts_with(&row.prefix));
        rows.max_by_key(|row| row.prefix.len())
    }

    fn finding(&self, suite: &str, name: &str) -> Option<&String> {
        self.findings.get(suite)?.get(name)
    }

    /// What is wrong with the hand-written files.
    fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        for (suite, recorded) in &self.results {
            for (name, verdict) in &recorded.outcome.tests {
                let Some(row) = self.row_of(suite, name) else {
                    problems.push(format!("{suite} has no row for {name}"));
                    continue;
                };
                if needs_finding(row, name, verdict) && self.finding(suite, name).is_none() {
                    problems.push(format!("{suite}, {name} is {} without a word why", verdict.word()));
                }
            }
        }
        for (suite, findings) in &self.findings {
            for name in findings.keys() {
                let verdict = self.results.get(suite).and_then(|suite| suite.outcome.tests.get(name));
                if verdict.is_none_or(|verdict| *verdict == Verdict::Passed) {
                    problems.push(format!("{suite}, {name} passes or is not there: take its finding out"));
                }
            }
        }
        problems
    }
}

/// A failure always needs a word, a skipped test where Apache Kafka passes.
fn needs_finding(row: &Row, name: &str, verdict: &Verdict) -> bool {
    match verdict {
        Verdict::Passed => false,
        Verdict::Flaky(_) | Verdict::Failed(_) => true,
        Verdict::Skipped(_) => !row.kafka_differs.contains_key(name),
    }
}

#[cfg(test)]
mod tests;
