//! All flags and environment variables of the operator.

use crate::workloads::upgrade::{Amount, Mode};
use runtime::telemetry::LogArgs;
use std::{net::SocketAddr, path::PathBuf, time::Duration};

/// The Kubernetes operator of Pinnace.
#[derive(Clone, Debug, clap::Parser)]
#[command(name = "pinnace-operator", version)]
pub struct Args {
    /// The namespace that the operator runs in.
    #[arg(long, env = "PINNACE_NAMESPACE", default_value = "pinnace-system")]
    pub namespace: String,
    /// The one namespace whose objects and Pods are served; empty: all of them. Sidecars' tokens are then checked without the
    /// TokenReview of the API server, which needs a right over the whole cluster.
    #[arg(long, env = "PINNACE_WATCH_NAMESPACE", default_value = "")]
    pub watch_namespace: String,
    /// The Pod that the operator runs in: the holder of the Lease.
    #[arg(long, env = "PINNACE_POD_NAME")]
    pub pod_name: String,
    /// The operator's service account: super user of every broker.
    #[arg(long, env = "PINNACE_SERVICE_ACCOUNT", default_value = "pinnace-operator")]
    pub service_account: String,
    /// The trust domain of all certificates.
    #[arg(long, env = "PINNACE_TRUST_DOMAIN", default_value = "cluster.local")]
    pub trust_domain: String,
    /// The Lease that says which replica writes.
    #[arg(long, env = "PINNACE_LEASE", default_value = "pinnace-operator")]
    pub lease: String,
    /// The Secret with the roots of the certificate authority.
    #[arg(long, env = "PINNACE_CA_SECRET", default_value = "pinnace-ca")]
    pub ca_secret: String,
    /// How long a root of the certificate authority lives, in seconds, 60 at least and 30 years at most. The step to the
    /// next one begins at two thirds of it. Under two hours for tests alone: kubelets bring new roots to brokers within two
    /// minutes, and no leaf lives longer than a sixth of its root.
    #[arg(long, env = "PINNACE_ROOT_LIFETIME", default_value = "315360000", value_parser = parse_root_lifetime, hide = true)]
    pub root_lifetime: Duration,
    /// Where to serve /metrics, /live and /ready.
    #[arg(long, env = "PINNACE_ADMIN_LISTEN", default_value = "0.0.0.0:7402")]
    pub admin_listen: SocketAddr,
    /// How long work under way may take when the operator is told to end, in seconds.
    #[arg(long, env = "PINNACE_SHUTDOWN_GRACE", default_value = "15", value_parser = parse_seconds)]
    pub shutdown_grace: Duration,
    /// Webhooks.
    #[command(flatten)]
    pub webhook: WebhookArgs,
    /// Control plane.
    #[command(flatten)]
    pub control: ControlArgs,
    /// What pods run.
    #[command(flatten)]
    pub pods: PodArgs,
    /// Logs.
    #[command(flatten)]
    pub log: LogArgs,
}

/// Where the webhooks are.
#[derive(Clone, Debug, clap::Args)]
pub struct WebhookArgs {
    /// Where the webhooks listen.
    #[arg(long, env = "PINNACE_WEBHOOK_LISTEN", default_value = "0.0.0.0:9443")]
    pub webhook_listen: SocketAddr,
    /// Name of both webhook configurations, whose caBundle the operator writes; empty: somebody else does.
    #[arg(long, env = "PINNACE_WEBHOOK_CONFIGURATION", default_value = "pinnace-operator")]
    pub webhook_configuration: String,
    /// A folder with tls.crt, tls.key and maybe ca.crt, as of a mounted Secret: the webhooks' certificate, made and renewed by
    /// somebody else, who writes caBundle too. It is read again when it changes. Without, the operator makes its own.
    #[arg(long, env = "PINNACE_WEBHOOK_CERTIFICATE_DIR")]
    pub webhook_certificate_dir: Option<PathBuf>,
    /// The name that the API server dials.
    #[arg(long, env = "PINNACE_WEBHOOK_SERVER_NAME", default_value = "pinnace-operator.pinnace-system.svc")]
    pub webhook_server_name: String,
    /// A namespace whose Pods the webhooks do not see, as their configurations say; may be given again.
    #[arg(
        long = "webhook-excluded-namespace",
        env = "PINNACE_WEBHOOK_EXCLUDED_NAMESPACES",
        value_delimiter = ','
    )]
    pub webhook_excluded_namespaces: Vec<String>,
}

/// Where the control plane is.
#[derive(Clone, Debug, clap::Args)]
pub struct ControlArgs {
    /// Where the control plane listens.
    #[arg(long, env = "PINNACE_CONTROL_LISTEN", default_value = "0.0.0.0:7410")]
    pub control_listen: SocketAddr,
    /// HOST:PORT that sidecars dial.
    #[arg(long, env = "PINNACE_CONTROL_ADDRESS", default_value = "pinnace-control.pinnace-system.svc:7410")]
    pub control_address: String,
    /// How long a sidecar's certificate lives, in seconds, 10 at least and 90 days at most. It is renewed at 60 % of that.
    #[arg(long, env = "PINNACE_SIDECAR_CERTIFICATE_LIFETIME", default_value = "86400", value_parser = parse_lifetime)]
    pub sidecar_certificate_lifetime: Duration,
}

/// What the pods run that the operator makes or changes.
#[derive(Clone, Debug, clap::Args)]
pub struct PodArgs {
    /// The sidecar's image.
    #[arg(long, env = "PINNACE_SIDECAR_IMAGE", default_value = "ghcr.io/pinnace/sidecar:0.0.0")]
    pub sidecar_image: String,
    /// The sidecar's resources, as JSON.
    #[arg(long, env = "PINNACE_SIDECAR_RESOURCES", default_value = "{}", value_parser = parse_object)]
    pub sidecar_resources: serde_json::Map<String, serde_json::Value>,
    /// How sidecars of Pods that run get another image: InPlace, without their Pods; None, with their Pods.
    #[arg(long, env = "PINNACE_SIDECAR_UPGRADE_MODE", default_value = "InPlace", value_parser = parse_mode)]
    pub sidecar_upgrade_mode: Mode,
    /// How many Pods of a workload may be down for it: a number, or a percentage such as 25%, which is one at least.
    #[arg(long, env = "PINNACE_SIDECAR_UPGRADE_MAX_UNAVAILABLE", default_value = "1", value_parser = parse_amount)]
    pub sidecar_upgrade_max_unavailable: Amount,
    /// How many Pods of the whole cluster may be down for it.
    #[arg(long, env = "PINNACE_SIDECAR_UPGRADE_MAX_AT_ONCE", default_value = "10",
          value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub sidecar_upgrade_max_at_once: u16,
    /// How long such a Pod may take to be Ready again, in seconds; its workload's other Pods keep their sidecar when it takes
    /// longer.
    #[arg(long, env = "PINNACE_SIDECAR_UPGRADE_DEADLINE", default_value = "300", value_parser = parse_deadline)]
    pub sidecar_upgrade_deadline: Duration,
    /// Level of the sidecar's log.
    #[arg(long, env = "PINNACE_SIDECAR_LOG_LEVEL", default_value = "info")]
    pub sidecar_log_level: String,
    /// Image of the Embedded engine.
    #[arg(long, env = "PINNACE_BROKER_IMAGE", default_value = "ghcr.io/pinnace/broker:0.0.0")]
    pub broker_image: String,
    /// Image of Apache Kafka for Brokers with that engine: any with `java` on its path and the jars in /opt/kafka/libs.
    #[arg(long, env = "PINNACE_KAFKA_IMAGE", default_value = "apache/kafka:4.4.0")]
    pub kafka_image: String,
    /// How many Brokers may start again at a time to get another image; the first one goes alone.
    #[arg(long, env = "PINNACE_BROKER_UPGRADE_MAX_AT_ONCE", default_value = "5",
          value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub broker_upgrade_max_at_once: u16,
    /// When images are pulled: IfNotPresent, Always or Never.
    #[arg(long, env = "PINNACE_IMAGE_PULL_POLICY", default_value = "IfNotPresent",
          value_parser = ["IfNotPresent", "Always", "Never"])]
    pub image_pull_policy: String,
    /// A Secret for pulling the broker's image, in the Broker's namespace; may be given again.
    #[arg(long = "image-pull-secret", env = "PINNACE_IMAGE_PULL_SECRETS", value_delimiter = ',')]
    pub image_pull_secrets: Vec<String>,
}

fn parse_seconds(text: &str) -> Result<Duration, String> {
    let seconds: u64 = text.parse().map_err(|_| format!("{text} is not a whole number of seconds"))?;
    Ok(Duration::from_secs(seconds))
}

/// The shortest life of a certificate that can still be renewed in time.
const LIFETIME_MIN: Duration = Duration::from_secs(10);

fn parse_lifetime(text: &str) -> Result<Duration, String> {
    let lifetime = parse_seconds(text)?;
    if (LIFETIME_MIN..=control_plane::authority::SERVER_LIFETIME_MAX).contains(&lifetime) {
        return Ok(lifetime);
    }
    Err(format!("{text} is not between 10 seconds and 90 days"))
}

/// The longest life of a root.
const ROOT_LIFETIME_MAX: Duration = Duration::from_secs(30 * 365 * 86_400);

fn parse_root_lifetime(text: &str) -> Result<Duration, String> {
    let lifetime = parse_seconds(text)?;
    if (control_plane::authority::ROOT_LIFETIME_MIN..=ROOT_LIFETIME_MAX).contains(&lifetime) {
        return Ok(lifetime);
    }
    Err(format!("{text} is not between 60 seconds and 30 years"))
}

fn parse_deadline(text: &str) -> Result<Duration, String> {
    let deadline = parse_seconds(text)?;
    if deadline.is_zero() { Err("0 gives no Pod the time to start".to_owned()) } else { Ok(deadline) }
}

fn parse_mode(text: &str) -> Result<Mode, String> {
    match text {
        "InPlace" => Ok(Mode::InPlace),
        "None" => Ok(Mode::None),
        _ => Err(format!("{text} is neither InPlace nor None")),
    }
}

fn parse_amount(text: &str) -> Result<Amount, String> {
    let (digits, is_percent) = text.strip_suffix('%').map_or((text, false), |digits| (digits, true));
    match digits.parse::<usize>() {
        Ok(percent @ 1..=100) if is_percent => Ok(Amount::Percent(percent)),
        Ok(count @ 1..) if !is_percent => Ok(Amount::Pods(count)),
        _ => Err(format!("{text} is neither a number from 1 nor a percentage from 1% to 100%")),
    }
}

fn parse_object(text: &str) -> Result<serde_json::Map<String, serde_json::Value>, String> {
    serde_json::from_str(text).map_err(|error| format!("not a JSON object: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{CommandFactory as _, Parser as _};

    /// Goal: the flags are consistent, a JSON object is read, and a life that is too short or too long is refused.
    #[test]
    fn flags_are_consistent() {
        Args::command().debug_assert();
        let resources = r#"{"requests": {"cpu": "10m"}}"#;
        let args =
            Args::try_parse_from(["pinnace-operator", "--pod-name", "a", "--sidecar-resources", resources])
                .unwrap();
        assert!(args.pods.sidecar_resources.contains_key("requests"));
        assert!(
            Args::try_parse_from(["pinnace-operator", "--pod-name", "a", "--sidecar-resources", "[]"])
                .is_err()
        );
        for (amount, read) in [
            ("1", Some(Amount::Pods(1))),
            ("25%", Some(Amount::Percent(25))),
            ("0", None),
            ("0%", None),
            ("101%", None),
            ("some", None),
        ] {
            assert_eq!(parse_amount(amount).ok(), read, "{amount}");
        }
        for (lifetime, is_good) in [("9", false), ("10", true), ("7776000", true), ("7776001", false)] {
            let flags = ["pinnace-operator", "--pod-name", "a", "--sidecar-certificate-lifetime", lifetime];
            assert_eq!(Args::try_parse_from(flags).is_ok(), is_good, "{lifetime}");
        }
    }
}
