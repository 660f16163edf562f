//! Logs: JSON for machines, text for terminals, always on standard error.

use clap::ValueEnum;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

/// Flags that every program shares: flatten them into its arguments.
#[derive(Debug, Clone, clap::Args)]
pub struct LogArgs {
    /// Which log lines to write: error, warn, info, debug, trace, or a filter such as
    /// `info,sidecar::peer=debug`.
    #[arg(long, env = "PINNACE_LOG_LEVEL", default_value = "info")]
    pub log_level: String,
    /// json or text.
    #[arg(long, env = "PINNACE_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
}

/// The log filter could not be read.
#[derive(Debug, thiserror::Error)]
#[error("log level {level:?} is not one: use error, warn, info, debug, trace or a filter of them")]
pub struct BadLogLevel {
    level: String,
    source: tracing_subscriber::filter::ParseError,
}

/// Not the filter that also knows spans and fields: it brings regular expressions into every program.
fn filter(level: &str) -> Result<Targets, BadLogLevel> {
    level.parse().map_err(|source| BadLogLevel { level: level.to_owned(), source })
}

/// Installs the process's log writer. A second call does nothing.
///
/// # Errors
/// When the level cannot be read.
pub fn init(args: &LogArgs) -> Result<(), BadLogLevel> {
    let filter = filter(&args.log_level)?;
    let registry = tracing_subscriber::registry().with(filter);
    let lines = fmt::layer().with_writer(std::io::stderr);
    let installed = match args.log_format {
        LogFormat::Json => registry.with(lines.json().flatten_event(true)).try_init(),
        LogFormat::Text => {
            let terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
            registry.with(lines.with_ansi(terminal)).try_init()
        }
    };
    // Only a second installation fails, in tests and in local mode; the first one stays.
    drop(installed);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing::Level;

    /// Goal: a level holds for all, a filter for what it names, and what is neither is refused with its text.
    #[test]
    fn levels_and_filters_are_read() {
        let plain = filter("info").unwrap();
        assert!(plain.would_enable("sidecar::peer", &Level::INFO));
        assert!(!plain.would_enable("sidecar::peer", &Level::DEBUG));
        let parts = filter("warn,sidecar::peer=debug").unwrap();
        assert!(parts.would_enable("sidecar::peer::link", &Level::DEBUG));
        assert!(!parts.would_enable("sidecar::delivery", &Level::INFO));
        let problem = filter("sidecar=loud").unwrap_err().to_string();
        assert!(problem.contains("sidecar=loud"), "{problem}");
    }
}
