//! Tests of the scoreboard.

use super::*;

fn scoreboard() -> Scoreboard {
    let yaml = "[{suite: s, title: Suite, kafka: 3 passed, failed: [bad], skipped: [tls]}, {suite: s, title: New, prefix: 'new: ', kafka: 1 passed}]";
    let rows: Vec<Value> = serde_yaml::from_str(yaml).unwrap();
    let tests = [
        ("good", Verdict::Passed),
        ("bad", Verdict::Passed),
        ("tls", Verdict::Skipped("no files".into())),
        ("late", Verdict::Flaky("once".into())),
        ("new: good", Verdict::Failed("not | built".into())),
    ];
    let tests = tests.into_iter().map(|(name, verdict)| (name.to_owned(), verdict)).collect();
    Scoreboard {
        foreword: "# Page\n".into(),
        results: [("s".to_owned(), Recorded { date: "2026-01-02".into(), outcome: Outcome { tests } })]
            .into(),
        rows: rows.iter().map(|value| row(value).unwrap()).collect(),
        findings: [("s".to_owned(), [("late".to_owned(), "a busy machine".to_owned())].into())].into(),
    }
}

/// Goal: a failure without a word is a problem, and so is a word about a test that passes; what Kafka skips as
/// well needs none.
#[test]
fn every_difference_has_a_word() {
    let mut scoreboard = scoreboard();
    assert_eq!(scoreboard.problems(), ["s, new: good is failed without a word why"]);
    let findings = scoreboard.findings.get_mut("s").unwrap();
    findings.insert("new: good".into(), "not built".into());
    findings.insert("good".into(), "old".into());
    assert_eq!(scoreboard.problems(), ["s, good passes or is not there: take its finding out"]);
}

/// Goal: tests are counted in their own row, reasons cannot break the table.
#[test]
fn rows_and_reasons_are_told() {
    let mut scoreboard = scoreboard();
    let findings = scoreboard.findings.get_mut("s").unwrap();
    findings.insert("new: good".into(), "not | built".into());
    let page = page::page(&scoreboard);
    assert!(page.contains("| Suite | **3** | 1 | 0 | 1 | 3 passed | 2026-01-02 |"), "{page}");
    assert!(page.contains("| New | **0** | 0 | 1 | 0 | 1 passed | 2026-01-02 |"), "{page}");
    assert!(page.contains("| `late` | flaky | passes | a busy machine |"), "{page}");
    assert!(page.contains("| `tls` | skipped | skipped | no files |"), "{page}");
    assert!(page.contains("| `good` | failed | passes | not \\| built |"), "{page}");
    assert!(page.contains("Passed: `bad` (Apache Kafka: failed), `good`."), "{page}");
}

/// Goal: what is recorded is read back, and a run of a part keeps the rest.
#[test]
fn results_are_kept() {
    let verdicts = [
        Verdict::Passed,
        Verdict::Flaky("a".into()),
        Verdict::Skipped("b".into()),
        Verdict::Failed("c".into()),
    ];
    for verdict in verdicts {
        assert_eq!(decode("x", &encode(&verdict)).unwrap(), verdict);
    }
    assert!(decode("x", &json!(["lost"])).is_err());
}

/// Goal: the page says what the recorded results say, and each difference from Apache Kafka has an explanation.
#[test]
fn the_page_is_generated_and_every_difference_is_explained() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    check(root).unwrap();
}
