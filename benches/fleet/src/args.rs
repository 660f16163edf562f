//! How many of everything.

use clap::Parser;

/// What the teams of a large cluster do, made in a few minutes.
#[derive(Parser)]
pub(crate) struct Args {
    /// Topics, spread over the Brokers.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) topics: u32,
    /// Channels, spread over the namespaces of the Brokers.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) channels: u32,
    /// Brokers, each in a namespace of its own.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(crate) brokers: u32,
    /// Sidecars that are made up: each proves a service account and follows its view.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) sidecars: u32,
    /// How long nothing changes.
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    pub(crate) idle_seconds: u64,
    /// Where the operator is installed.
    #[arg(long, default_value = "pinnace-system")]
    pub(crate) namespace: String,
    /// Under which name.
    #[arg(long, default_value = "pinnace")]
    pub(crate) release: String,
}
