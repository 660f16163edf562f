//! Keeps the page of flags equal to what the program says.

use clap::CommandFactory as _;
use testkit::reference::{check_page, flags_page};

/// Goal: the page of flags says what `--help` says.
#[test]
fn flags_are_generated() {
    check_page("flags-operator.md", &flags_page(operator::args::Args::command()));
}
