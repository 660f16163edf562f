//! Logs: JSON for machines, text for terminals, always on standard error.

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;

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

/// Installs the process's log writer. A second call does nothing.
///
/// # Errors
/// When the level cannot be read.
pub fn init(args: &LogArgs) -> Result<(), BadLogLevel> {
    let filter = EnvFilter::try_new(&args.log_level)
        .map_err(|source| BadLogLevel { level: args.log_level.clone(), source })?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let installed = match args.log_format {
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
        LogFormat::Text => {
            let terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
            builder.with_ansi(terminal).try_init()
        }
    };
    // Only a second installation fails, in tests and in local mode; the first one stays.
    drop(installed);
    Ok(())
}
