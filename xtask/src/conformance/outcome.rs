//! How the tests of a suite came out, and the one line of JSON that says so. Knows no suite.

use std::collections::BTreeMap;

use anyhow::Result;
use serde_json::json;

/// How one test came out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Passed,
    /// It failed once, for this reason, and passed when it was run again.
    Flaky(String),
    /// The suite itself left it out, for this reason.
    Skipped(String),
    Failed(String),
}

impl Verdict {
    /// The word in files and on the page.
    pub(crate) const fn word(&self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Flaky(_) => "flaky",
            Self::Skipped(_) => "skipped",
            Self::Failed(_) => "failed",
        }
    }

    /// Why it did not simply pass.
    pub(crate) fn reason(&self) -> &str {
        match self {
            Self::Passed => "",
            Self::Flaky(reason) | Self::Skipped(reason) | Self::Failed(reason) => reason,
        }
    }

    /// What two attempts say together: only a test that failed is judged by the second.
    pub(crate) fn and_again(self, second: Self) -> Self {
        match (self, second) {
            (Self::Failed(reason), Self::Passed) => Self::Flaky(reason),
            (Self::Failed(first), Self::Failed(second)) if first != second => {
                Self::Failed(format!("{first}; again: {second}"))
            }
            (Self::Failed(_), second) => second,
            (first, _) => first,
        }
    }
}

/// The verdicts of tests, by name.
pub(crate) type Verdicts = BTreeMap<String, Verdict>;

/// The tests of a suite, by name.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) tests: Verdicts,
}

impl Outcome {
    /// Counts one test that is run once.
    pub(crate) fn count(&mut self, name: &str, outcome: Result<()>) {
        let verdict =
            outcome.map_or_else(|error| Verdict::Failed(format!("{error:#}")), |()| Verdict::Passed);
        self.record(name, verdict);
    }

    /// Keeps and prints how one test came out.
    pub(crate) fn record(&mut self, name: &str, verdict: Verdict) {
        let colon = if verdict.reason().is_empty() { "" } else { ": " };
        println!("{:<7} {name}{colon}{}", verdict.word(), verdict.reason());
        self.tests.insert(name.to_owned(), verdict);
    }

    /// How many ended with this word.
    pub(crate) fn number(&self, word: &str) -> usize {
        self.tests.values().filter(|verdict| verdict.word() == word).count()
    }

    /// `NAME: REASON` of each test with this word.
    fn reasons(&self, word: &str) -> Vec<String> {
        let with = self.tests.iter().filter(|(_, verdict)| verdict.word() == word);
        with.map(|(name, verdict)| format!("{name}: {}", verdict.reason())).collect()
    }

    /// The line. A flaky test counts as passed and is named.
    pub(crate) fn line(&self, suite: &str) -> String {
        json!({
            "suite": suite,
            "passed": self.number("passed") + self.number("flaky"),
            "failed": self.number("failed"),
            "skipped": self.number("skipped"),
            "failures": self.reasons("failed"),
            "flaky": self.reasons("flaky"),
        })
        .to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: a test that failed once is told apart from one that passed and from one that failed twice.
    #[test]
    fn a_retry_hides_nothing() {
        let failed = |reason: &str| Verdict::Failed(reason.into());
        assert_eq!(Verdict::Passed.and_again(Verdict::Passed), Verdict::Passed);
        assert_eq!(failed("late").and_again(Verdict::Passed), Verdict::Flaky("late".into()));
        assert_eq!(failed("late").and_again(failed("lost")), failed("late; again: lost"));
        assert_eq!(failed("late").and_again(failed("late")), failed("late"));
        // Another test of the same process failed, so this one was run again.
        assert_eq!(Verdict::Passed.and_again(failed("late")), Verdict::Passed);
    }

    /// Goal: the last line is one JSON object with the agreed keys; a failure is counted by its text, a flaky
    /// test counts as passed and is named.
    #[test]
    fn an_outcome_is_one_line() {
        let mut outcome = Outcome::default();
        outcome.count("one", Ok(()));
        outcome.count("two", Err(anyhow::anyhow!("the \"reason\"")));
        outcome.record("three", Verdict::Flaky("late".into()));
        outcome.record("four", Verdict::Skipped("no TLS".into()));
        let line: serde_json::Value = serde_json::from_str(&outcome.line("kcat")).unwrap();
        let wanted = json!({
            "suite": "kcat", "passed": 2, "failed": 1, "skipped": 1,
            "failures": ["two: the \"reason\""], "flaky": ["three: late"]
        });
        assert_eq!(line, wanted);
    }
}
