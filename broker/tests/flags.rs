//! Keeps the pages of the reference equal to what the program says.

use clap::CommandFactory as _;
use testkit::reference::{check_page, flags_page};

/// Goal: the page of flags says what `--help` says.
#[test]
fn flags_are_generated() {
    check_page("flags-broker.md", &flags_page(broker::args::Args::command()));
}

/// Goal: the pages of APIs and topic configs say what the broker serves and takes.
#[test]
fn tables_are_generated() {
    check_page("kafka-apis-embedded.md", &broker::reference::kafka_apis());
    check_page("topic-configs-embedded.md", &broker::reference::topic_configs());
}
