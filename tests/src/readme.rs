//! Reads the commands out of README.md. Each block says, after its language, which test runs it.

use std::path::{Path, PathBuf};

/// One fenced block of commands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// The word after `test=`; empty when the block names no test.
    pub test: String,
    /// What a person would paste.
    pub commands: String,
}

/// The checkout that these tests belong to.
#[must_use]
pub fn checkout() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package is in the checkout").to_owned()
}

/// All fenced blocks of a Markdown text, in order.
#[must_use]
pub fn blocks(text: &str) -> Vec<Block> {
    let mut found = Vec::new();
    let mut open: Option<Block> = None;
    for line in text.lines() {
        match (line.strip_prefix("```"), open.as_mut()) {
            (Some(_), Some(_)) => found.extend(open.take()),
            (Some(info), None) => {
                let test = info.split_whitespace().find_map(|word| word.strip_prefix("test="));
                open = Some(Block { test: test.unwrap_or_default().to_owned(), commands: String::new() });
            }
            (None, Some(block)) => {
                block.commands.push_str(line);
                block.commands.push('\n');
            }
            (None, None) => {}
        }
    }
    found
}

/// The blocks of README.md that the test of this name runs.
///
/// # Panics
/// When README.md cannot be read.
#[must_use]
pub fn readme_blocks(test: &str) -> Vec<Block> {
    let text = std::fs::read_to_string(checkout().join("README.md")).expect("README.md is there");
    blocks(&text).into_iter().filter(|block| block.test == test).collect()
}
