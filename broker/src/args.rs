//! All flags and environment variables of the broker.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use runtime::{telemetry::LogArgs, tls::Identity};

/// The Embedded engine: a Kafka broker for one node, durable by default.
#[derive(Clone, Debug, clap::Parser)]
#[command(name = "pinnace-broker", version)]
pub struct Args {
    /// The folder for all data; made when it is not there.
    #[arg(long, env = "PINNACE_DATA", value_name = "DIR")]
    pub data: PathBuf,
    /// Where to listen without TLS; only on loopback. Without an authorizer, unless --config sets one.
    #[arg(long, env = "PINNACE_LISTEN", value_name = "ADDRESS:PORT")]
    pub listen: Option<SocketAddr>,
    /// Let --listen be an address that others can reach. Everybody who does may do everything.
    #[arg(long, env = "PINNACE_ALLOW_PLAIN")]
    pub allow_plain: bool,
    /// Where to listen with TLS, client certificates and ACLs.
    #[arg(long, env = "PINNACE_TLS_LISTEN", value_name = "ADDRESS:PORT", requires = "tls_dir")]
    pub tls_listen: Option<SocketAddr>,
    /// The folder with tls.crt, tls.key and ca.crt; read again when they change.
    #[arg(long, env = "PINNACE_TLS_DIR", value_name = "DIR")]
    pub tls_dir: Option<PathBuf>,
    /// Where clients reach the TLS listener, or the plain one when there is no other. Default: the address that
    /// they came to.
    #[arg(long, env = "PINNACE_ADVERTISE", value_name = "HOST:PORT", value_parser = parse_advertise)]
    pub advertise: Option<(String, u16)>,
    /// Where to serve /metrics, /live, /ready and /v1/health.
    #[arg(long, env = "PINNACE_ADMIN_LISTEN", value_name = "ADDRESS:PORT")]
    pub admin_listen: Option<SocketAddr>,
    /// A service account that may do everything; may be given again.
    #[arg(
        long = "super-user",
        env = "PINNACE_SUPER_USER",
        value_delimiter = ',',
        value_name = "NAMESPACE/NAME"
    )]
    pub super_users: Vec<Identity>,
    /// Make a topic when a client asks for one that is not there.
    #[arg(long, env = "PINNACE_AUTO_CREATE_TOPICS")]
    pub auto_create_topics: bool,
    /// Partitions of a topic that does not say how many.
    #[arg(long, env = "PINNACE_DEFAULT_PARTITIONS", value_name = "NUMBER",
          value_parser = clap::value_parser!(i32).range(1..=10_000))]
    pub default_partitions: Option<i32>,
    /// How long requests under way may take when the broker is told to end.
    #[arg(long, env = "PINNACE_SHUTDOWN_GRACE", value_name = "SECONDS", default_value = "20",
          value_parser = parse_seconds)]
    pub shutdown_grace: Duration,
    /// A file of key=value lines with more settings; an unknown key is refused.
    #[arg(long, env = "PINNACE_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Written with the real addresses, as JSON, once the broker serves.
    #[arg(long, env = "PINNACE_READY_FILE", value_name = "FILE")]
    pub ready_file: Option<PathBuf>,
    /// Logs.
    #[command(flatten)]
    pub log: LogArgs,
}

fn parse_advertise(text: &str) -> Result<(String, u16), String> {
    let parsed = text.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?)));
    let Some((host, port)) = parsed.filter(|(host, _)| !host.is_empty()) else {
        return Err(format!("{text} is not of the form HOST:PORT"));
    };
    Ok((host.trim_matches(['[', ']']).to_owned(), port))
}

fn parse_seconds(text: &str) -> Result<Duration, String> {
    let seconds: u64 = text.parse().map_err(|_| format!("{text} is not a whole number of seconds"))?;
    Ok(Duration::from_secs(seconds))
}
