//! The entries of the suite, read from the table in its own source: so that none is left out unseen.

use anyhow::{Context as _, Result, ensure};

/// The scenario of an entry that names none.
pub(super) const DEFAULT_SCENARIO: &str = "default";

/// One test that talks to a broker.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) scenario: String,
}

impl Entry {
    /// What its set-up is picked by: `0045` of `0045_subscribe_update`.
    pub(super) fn number(&self) -> &str {
        self.name.split('_').next().unwrap_or(&self.name)
    }
}

/// Reads the table `struct test tests[]`; local and manual entries are left out.
pub(super) fn of_source(source: &str) -> Result<Vec<Entry>> {
    let table = source.split("struct test tests[] = {").nth(1).context("test.c has no table of tests")?;
    let table = table.split("{NULL}").next().unwrap_or(table);
    let mut entries = Vec::new();
    for entry in table.split("_TEST(").skip(1) {
        if entry.contains("TEST_F_LOCAL") || entry.contains("TEST_F_MANUAL") {
            continue;
        }
        let name = entry.split(',').next().unwrap_or(entry).trim();
        let scenario = entry.split(".scenario = \"").nth(1).and_then(|rest| rest.split('"').next());
        // An entry may serve several; the default one is the first where it is named.
        let scenario = scenario.and_then(|all| all.split(',').next()).unwrap_or(DEFAULT_SCENARIO);
        entries.push(Entry { name: name.to_owned(), scenario: scenario.to_owned() });
    }
    ensure!(!entries.is_empty(), "test.c has no test in its table");
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: entries are read with their scenario, those without a broker are left out.
    #[test]
    fn the_table_is_read() {
        let source = "x\nstruct test tests[] = {\n {.name = \"<MAIN>\"},\n _TEST(0001_one, 0),\n _TEST(0002_two,\n 0, .scenario = \"noautocreate\"),\n _TEST(0003_three, TEST_F_LOCAL),\n _TEST(0004_four, 0, .scenario = \"default,ak23\"),\n _TEST(8000_idle, TEST_F_MANUAL),\n {NULL}};";
        let entries = of_source(source).unwrap();
        let read: Vec<_> =
            entries.iter().map(|entry| (entry.name.as_str(), entry.scenario.as_str())).collect();
        assert_eq!(read, [("0001_one", "default"), ("0002_two", "noautocreate"), ("0004_four", "default")]);
        assert_eq!(entries.first().unwrap().number(), "0001");
        assert!(of_source("nothing").is_err());
    }
}
