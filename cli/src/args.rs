//! All flags and environment variables of `pinnace`.

use clap::{Args, Parser, Subcommand, ValueEnum};
use runtime::telemetry::{LogArgs, LogFormat};
use std::path::PathBuf;

/// Messaging for the workloads of a cluster, and of a laptop.
#[derive(Debug, Parser)]
#[command(name = "pinnace", version, about, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the manifests of a folder on this machine, without Kubernetes.
    Up(UpArgs),
    /// Run the Embedded engine alone: a Kafka broker in this one process.
    Broker(broker::args::Args),
    /// Run one command with a sidecar of its own, beside a running `pinnace up`.
    Run(RunArgs),
    /// Publish messages to a Topic or a Channel.
    Publish(PublishArgs),
    /// Print the messages of a Topic or a Channel as they come.
    Subscribe(SubscribeArgs),
    /// Send a request over a Channel of pattern RequestReply and print the answer.
    Request(RequestArgs),
    /// Show when certificates end, soonest first: of a cluster, of files, of a program.
    Certificates(CertificatesArgs),
    /// What local mode starts beside each app.
    #[command(hide = true)]
    Sidecar(Box<sidecar::args::Args>),
    /// Ends what `up` started should `up` be killed.
    #[command(hide = true)]
    Reaper,
}

/// `pinnace up`.
#[derive(Debug, Args)]
pub struct UpArgs {
    /// A folder of manifests (plain Kubernetes YAML), or one file. Edits are followed.
    #[arg(short, long, value_name = "DIR")]
    pub file: PathBuf,
    /// Where the data is kept over restarts. Default: `.pinnace` in the folder of the manifests.
    #[arg(long, value_name = "DIR", env = "PINNACE_LOCAL_DATA")]
    pub data: Option<PathBuf>,
    /// End by itself after this time, such as 30s or 5m.
    #[arg(long = "for", value_name = "DURATION", value_parser = parse_duration)]
    pub run_for: Option<std::time::Duration>,
    /// Print one JSON object as the last line: what was published, delivered and lost, and the memory
    /// of each part. Everything else goes to standard error.
    #[arg(long)]
    pub json: bool,
    /// Plain lines, even on a terminal.
    #[arg(long)]
    pub plain: bool,
    /// Where apps find programs.
    #[arg(long, hide = true, env = "PATH")]
    pub search_path: Option<String>,
    /// Which log lines of `up` itself to write: error, warn, info, debug, trace.
    #[arg(long, env = "PINNACE_LOG_LEVEL", default_value = "warn")]
    pub log_level: String,
}

impl UpArgs {
    /// Logs of `up` itself: for a person.
    pub(crate) fn log(&self) -> LogArgs {
        LogArgs { log_level: self.log_level.clone(), log_format: LogFormat::Text }
    }

    /// Where the data is kept.
    pub(crate) fn data_folder(&self) -> PathBuf {
        data_folder(self.data.as_ref(), &self.file)
    }
}

fn data_folder(data: Option<&PathBuf>, file: &std::path::Path) -> PathBuf {
    let beside = || {
        let folder = if file.is_file() { file.parent().unwrap_or(file) } else { file };
        folder.join(".pinnace")
    };
    data.cloned().unwrap_or_else(beside)
}

/// `pinnace run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// The service account to be: NAMESPACE/SERVICEACCOUNT.
    #[arg(long = "as", value_name = "NAMESPACE/SERVICEACCOUNT")]
    pub identity: String,
    /// The folder of manifests that `pinnace up` runs.
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    pub file: PathBuf,
    /// The data folder of that `pinnace up`. Default: `.pinnace` in the folder of the manifests.
    #[arg(long, value_name = "DIR", env = "PINNACE_LOCAL_DATA")]
    pub data: Option<PathBuf>,
    /// The Broker of the Kafka door: NAME or NAMESPACE/NAME. Default: `default` of the namespace.
    #[arg(long, value_name = "BROKER")]
    pub broker: Option<String>,
    /// The sidecar to run, such as the very program of its image. Default: the one that is part of `pinnace`.
    #[arg(long, value_name = "FILE")]
    pub sidecar_program: Option<PathBuf>,
    /// Where the command finds programs.
    #[arg(long, hide = true, env = "PATH")]
    pub search_path: Option<String>,
    /// The command.
    #[arg(last = true, required = true)]
    pub command: Vec<String>,
}

impl RunArgs {
    /// The data folder of the `up` to join.
    pub(crate) fn data_folder(&self) -> PathBuf {
        data_folder(self.data.as_ref(), &self.file)
    }
}

/// A door of the sidecar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Via {
    /// gRPC.
    Grpc,
    /// HTTP.
    Http,
    /// A Kafka client, for Topics.
    Kafka,
    /// A ZeroMQ socket, for Channels.
    Zmtp,
}

/// Where the doors are.
#[derive(Clone, Debug, Args)]
pub struct DoorArgs {
    /// The sidecar's gRPC and HTTP door.
    #[arg(long, env = "PINNACE_ADDRESS", value_name = "HOST:PORT", default_value = "127.0.0.1:7400")]
    pub address: String,
    /// The sidecar's Kafka door, or any Kafka broker.
    #[arg(long, env = "KAFKA_BOOTSTRAP_SERVERS", value_name = "HOST:PORT", default_value = "127.0.0.1:9092")]
    pub bootstrap: String,
    /// The folder of the sidecar's ZeroMQ sockets.
    #[arg(long, env = "PINNACE_ZMQ_DIR", value_name = "DIR", default_value = "/run/pinnace/zmq")]
    pub zmq_dir: PathBuf,
}

/// `pinnace publish`.
#[derive(Debug, Args)]
pub struct PublishArgs {
    /// topics/NAME or channels/NAME; `.NAMESPACE` behind it for another namespace's.
    pub name: String,
    /// The payload; an n in braces becomes the message's number, from 1. Without it: each line of standard input
    /// is a message, or, with --every, a small JSON object.
    pub message: Option<String>,
    /// Through which door. Default: gRPC.
    #[arg(long, value_enum, default_value = "grpc")]
    pub via: Via,
    /// Go on publishing, one message each time, such as 100ms.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub every: Option<std::time::Duration>,
    /// End after so many messages. Default: 1, or no end with --every.
    #[arg(long, value_name = "NUMBER")]
    pub count: Option<u64>,
    /// The key: messages of one key keep their order. An n in braces as above.
    #[arg(long)]
    pub key: Option<String>,
    /// The subject: what subscribers of a Channel filter by. An n in braces as above.
    #[arg(long, default_value = "")]
    pub subject: String,
    /// Print one JSON object a message.
    #[arg(long)]
    pub json: bool,
    /// Where the doors are.
    #[command(flatten)]
    pub doors: DoorArgs,
}

/// `pinnace subscribe`.
#[derive(Debug, Args)]
pub struct SubscribeArgs {
    /// topics/NAME or channels/NAME; `.NAMESPACE` behind it for another namespace's.
    pub name: String,
    /// Through which door; given again, one more subscription through another one. Default: gRPC.
    #[arg(long, value_enum, default_value = "grpc")]
    pub via: Vec<Via>,
    /// The consumer group, for Topics: its members share the messages, and it goes on where it ended.
    #[arg(long, default_value = "")]
    pub group: String,
    /// From the oldest message that is kept, where the group has not read yet.
    #[arg(long)]
    pub from_start: bool,
    /// Only subjects that begin with this, for Channels; may be given again.
    #[arg(long)]
    pub prefix: Vec<String>,
    /// End after so many messages.
    #[arg(long, value_name = "NUMBER")]
    pub count: Option<u64>,
    /// Print a line of totals this often instead of each message.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub every: Option<std::time::Duration>,
    /// Print one JSON object a message.
    #[arg(long)]
    pub json: bool,
    /// Where the doors are.
    #[command(flatten)]
    pub doors: DoorArgs,
}

/// `pinnace certificates`.
#[derive(Debug, Args)]
pub struct CertificatesArgs {
    /// What to read, `-` for standard input: PEM, or Secrets and webhook configurations as
    /// `kubectl get … -o json` (or yaml) prints them. Keys beside the certificates are passed over.
    #[arg(value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// The admin port of an operator or a sidecar, whose metrics tell; may be given again.
    #[arg(long, value_name = "HOST:PORT")]
    pub address: Vec<String>,
    /// End with code 2 when one ends within this time, such as 12h or 7d.
    #[arg(long, value_name = "DURATION", default_value = "7d", value_parser = parse_days)]
    pub within: std::time::Duration,
    /// Print a JSON list.
    #[arg(long)]
    pub json: bool,
}

/// `pinnace request`.
#[derive(Debug, Args)]
pub struct RequestArgs {
    /// channels/NAME.
    pub name: String,
    /// The payload.
    pub message: Option<String>,
}

/// `250ms`, `30s`, `5m`, `2h`.
fn parse_days(text: &str) -> Result<std::time::Duration, String> {
    let Some(days) = text.strip_suffix('d') else { return parse_duration(text) };
    let days: u64 = days.parse().map_err(|_| format!("{text} is not a time: write 12h or 7d"))?;
    Ok(std::time::Duration::from_secs(days.saturating_mul(86_400)))
}

fn parse_duration(text: &str) -> Result<std::time::Duration, String> {
    let number_length = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(number_length);
    let number: u64 =
        number.parse().map_err(|_| format!("{text} is not a time: write 250ms, 30s, 5m or 2h"))?;
    let unit_ms: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(format!("{text} has no unit: write 250ms, 30s, 5m or 2h")),
    };
    let duration = std::time::Duration::from_millis(number.saturating_mul(unit_ms));
    if duration.is_zero() { Err(format!("{text} is no time at all")) } else { Ok(duration) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    /// Goal: no flag contradicts another one, here and in the programs that this one contains.
    #[test]
    fn flags_are_consistent() {
        Cli::command().debug_assert();
        let cli = Cli::parse_from(["pinnace", "up", "-f", "x", "--for", "90s", "--json"]);
        let Command::Up(up) = cli.command else { panic!("another command") };
        assert_eq!(up.run_for, Some(std::time::Duration::from_secs(90)));
        assert_eq!(up.data_folder(), PathBuf::from("x/.pinnace"));
        for bad in ["5", "0s", "x", "5d"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }
}
