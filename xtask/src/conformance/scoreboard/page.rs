//! The page: a table of all suites, then each suite's differences and its tests.

use super::super::outcome::Verdict;
use super::{Row, Scoreboard, needs_finding};

pub(super) fn page(scoreboard: &Scoreboard) -> String {
    let mut text = scoreboard.foreword.clone();
    text.push_str("\n| Suite | Passed | of them flaky | Failed | Skipped | Apache Kafka 4.4, one node, as measured | Last run |\n|---|---|---|---|---|---|---|\n");
    for row in &scoreboard.rows {
        text.push_str(&summary(scoreboard, row));
    }
    for row in &scoreboard.rows {
        text.push_str(&section(scoreboard, row));
    }
    text
}

fn summary(scoreboard: &Scoreboard, row: &Row) -> String {
    let number = |word: &str| scoreboard.tests(row).filter(|(_, verdict)| verdict.word() == word).count();
    let Some(recorded) = scoreboard.results.get(&row.suite) else {
        return format!("| {} | not run | | | | {} | |\n", row.title, row.kafka);
    };
    format!(
        "| {} | **{}** | {} | {} | {} | {} | {} |\n",
        row.title,
        number("passed") + number("flaky"),
        number("flaky"),
        number("failed"),
        number("skipped"),
        row.kafka,
        recorded.date
    )
}

fn section(scoreboard: &Scoreboard, row: &Row) -> String {
    let mut differences = String::new();
    let mut passed = Vec::new();
    for (name, verdict) in scoreboard.tests(row) {
        let short = name.strip_prefix(row.prefix.as_str()).unwrap_or(name);
        let kafka = row.kafka_differs.get(name).map_or("passes", String::as_str);
        if *verdict == Verdict::Passed {
            passed.push(if kafka == "passes" {
                format!("`{short}`")
            } else {
                format!("`{short}` (Apache Kafka: {kafka})")
            });
            continue;
        }
        let finding = scoreboard.finding(&row.suite, name).map(String::as_str);
        let as_kafka = if needs_finding(row, name, verdict) { "no word" } else { verdict.reason() };
        let why = cell(finding.unwrap_or(as_kafka));
        differences.push_str(&format!("| `{}` | {} | {kafka} | {why} |\n", cell(short), verdict.word()));
    }
    let mut text = format!("\n## {}\n", row.title);
    if !differences.is_empty() {
        text.push_str(&format!(
            "\n| Not simply passed | Here | Apache Kafka | Why |\n|---|---|---|---|\n{differences}"
        ));
    }
    if !passed.is_empty() {
        text.push_str(&format!("\nPassed: {}.\n", passed.join(", ")));
    }
    text
}

/// Text that cannot break a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ").trim().to_owned()
}
