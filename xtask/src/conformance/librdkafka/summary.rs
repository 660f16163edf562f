//! Reads the summary that a process of the suite prints: one line a test, with a colour and a reason.

use std::collections::BTreeMap;

use super::Verdict;

/// How many characters of a reason are kept.
const REASON_CHARACTERS: usize = 300;

/// Name and verdict of each line `| NAME | STATE | SECONDS | REASON`, and of the tests that passed before another
/// one ended the process without a summary.
pub(super) fn verdicts(printed: &str) -> BTreeMap<String, Verdict> {
    let words = printed.lines().filter_map(|line| line.split_once("= Test ")?.1.split_once(" PASSED ="));
    let passed = words.map(|(name, _)| (name.to_owned(), Verdict::Passed));
    let summary = printed.rsplit_once(" SUMMARY").map_or("", |(_, summary)| summary);
    let lines = summary.lines().map(without_colours);
    passed.chain(lines.filter_map(|line| verdict(&line))).collect()
}

/// What a process said of the failure that it did not live to sum up: where, and the line after it.
pub(super) fn last_words(printed: &str) -> Option<String> {
    let mut lines = printed.lines().map(without_colours);
    let place = lines.find(|line| line.starts_with("### Test "))?;
    let place = place.trim_start_matches("### Test ").split(" at ").nth(1)?.trim_end_matches("()").to_owned();
    let words = format!("{place}: {}", lines.next().unwrap_or_default().trim());
    Some(words.chars().take(REASON_CHARACTERS).collect())
}

fn verdict(line: &str) -> Option<(String, Verdict)> {
    let mut columns = line.strip_prefix('|')?.splitn(4, '|').map(str::trim);
    let (name, state, _seconds) = (columns.next()?, columns.next()?, columns.next()?);
    let reason: String = columns.next().unwrap_or_default().chars().take(REASON_CHARACTERS).collect();
    let verdict = match state {
        "PASSED" => Verdict::Passed,
        "SKIPPED" => Verdict::Skipped(reason),
        _ => Verdict::Failed(if reason.is_empty() { state.to_lowercase() } else { reason }),
    };
    Some((name.to_owned(), verdict))
}

/// The text without the escape sequences of a terminal, which all end in `m` here.
fn without_colours(line: &str) -> String {
    let mut pieces = line.split('\u{1b}');
    let mut text = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        text.push_str(piece.split_once('m').map_or("", |(_, rest)| rest));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: each state is read with its reason; what is printed before the summary is not.
    #[test]
    fn the_summary_is_read() {
        let printed = "| 0009_no |     FAILED |   1.0s |\nTEST 2026 (bare, scenario default) SUMMARY\n#===#\n|\u{1b}[35m <MAIN>      |    RUNNING |   0.5s \u{1b}[0m|\n|\u{1b}[32m 0001_one    |     PASSED |   0.495s \u{1b}[0m|\n|\u{1b}[36m 0002_two |    SKIPPED |   0.0s \u{1b}[0m|\u{1b}[36m no | TLS\u{1b}[0m\n|\u{1b}[31m 0003_three |     FAILED |   3.0s \u{1b}[0m|\u{1b}[31m lost\u{1b}[0m\n#===#\n";
        let verdicts = verdicts(printed);
        assert_eq!(verdicts.get("0001_one"), Some(&Verdict::Passed));
        assert_eq!(verdicts.get("0002_two"), Some(&Verdict::Skipped("no | TLS".into())));
        assert_eq!(verdicts.get("0003_three"), Some(&Verdict::Failed("lost".into())));
        assert_eq!(verdicts.get("<MAIN>"), Some(&Verdict::Failed("running".into())));
        assert_eq!(verdicts.get("0009_no"), None);
        assert_eq!(last_words(printed), None);
    }

    /// Goal: the failure of a process that ended without a summary is told.
    #[test]
    fn last_words_are_read() {
        let printed = "x\n\u{1b}[31m### Test \"0011_x (sub:629)\" failed at 0011-x.c:718:sub() at Tue Nov 24 14:04:36 2026: ###\nTest assertion failed: \"a == 10\": \nmore";
        let wanted = "0011-x.c:718:sub: Test assertion failed: \"a == 10\":";
        assert_eq!(last_words(printed).as_deref(), Some(wanted));
        let before = "[0045_one / 1.5s] ================= Test 0045_one PASSED =================\n";
        assert_eq!(verdicts(before).get("0045_one"), Some(&Verdict::Passed));
    }
}
