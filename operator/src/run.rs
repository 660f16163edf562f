//! Wires the operator. Every replica watches and serves the webhooks; the one with the Lease also runs the
//! controllers and the control plane.

use crate::{
    admission::{self, Webhooks, inject},
    apply::Writer,
    args::Args,
    cluster::Cluster,
    context::{Context, Settings},
    control_plane::{self, roots},
    controllers,
    kafka::{AdminBrokers, Identity},
    leadership::{Elector, Leadership},
    metrics::{Metrics, NotReadyObjects},
};
use anyhow::Context as _;
use kube::{Api, Client, Config};
use prometheus::Registry;
use runtime::{
    health::{self, Readiness},
    shutdown::Shutdown,
    tasks::{OnError, Tasks},
};
use std::{sync::Arc, time::Duration};

/// Audience of the sidecars' tokens.
const TOKEN_AUDIENCE: &str = "pinnace";
/// The API server answers within this time, or the request failed. Watches have their own.
const API_TIMEOUT: Duration = Duration::from_secs(30);

/// What every replica has.
struct Replica {
    args: Args,
    client: Client,
    cluster: Cluster,
    roots: roots::Roots,
    leadership: Leadership,
    metrics: Metrics,
    tasks: Tasks,
}

/// Runs until the shutdown begins or a part fails that nothing works without.
///
/// # Errors
/// When the API server cannot be reached at the start, a port is taken, or the roots cannot be used.
pub async fn run(args: Args, shutdown: Shutdown) -> anyhow::Result<()> {
    let registry = Registry::new();
    let metrics = Metrics::new(&registry)?;
    let readiness = Readiness::new();
    readiness.wait_for(
        "stores",
        "the watches are not complete yet: is the API server reachable, are the CRDs installed?",
    );
    health::serve_admin(args.admin_listen, registry.clone(), readiness.clone(), shutdown.clone())?;
    let client = connect().await?;
    let store = roots::Store::new(client.clone(), &args.namespace, &args.ca_secret, &args.trust_domain);
    let roots = shutdown.or(roots::Roots::open(store)).await;
    let Some(roots) = roots.transpose().context("failed to open the certificate authority")? else {
        return Ok(());
    };
    let tasks = Tasks::new(shutdown.clone());
    let cluster = Cluster::watch(&client, &tasks);
    registry.register(Box::new(NotReadyObjects::new(cluster.clone())?))?;
    let leadership = Leadership::new();
    let grace = args.shutdown_grace;
    // The Lease outlives the work: it is given back when nothing writes any more.
    let lease_tasks = Tasks::new(Shutdown::new());
    let replica = Replica { args, client, cluster, roots, leadership, metrics, tasks: tasks.clone() };
    replica.serve_webhooks(readiness.clone()).await?;
    replica.elect(&lease_tasks);
    shutdown.or(replica.cluster.ready()).await.transpose().context("a watch ended")?;
    readiness.done("stores");
    let lead = shutdown.or(replica.lead()).await;
    lead.transpose()?;
    shutdown.begun().await;
    tasks.drain(grace).await;
    lease_tasks.shutdown().begin();
    lease_tasks.drain(grace).await;
    Ok(())
}

async fn connect() -> anyhow::Result<Client> {
    let mut config =
        Config::infer().await.context("failed to find the API server: run in a Pod, or set KUBECONFIG")?;
    config.write_timeout = Some(API_TIMEOUT);
    config.connect_timeout = Some(API_TIMEOUT);
    Client::try_from(config).context("failed to use the configuration for the API server")
}

impl Replica {
    async fn serve_webhooks(&self, readiness: Readiness) -> anyhow::Result<()> {
        let (args, pods) = (&self.args, &self.args.pods);
        let server_name = server_name(&args.control.control_address);
        let settings = inject::Settings {
            image: pods.sidecar_image.clone(),
            image_pull_policy: pods.image_pull_policy.clone(),
            control_address: args.control.control_address.clone(),
            control_server_name: server_name,
            trust_bundle_pem: self.roots.current().bundle_pem(),
            audience: TOKEN_AUDIENCE.to_owned(),
            resources: pods.sidecar_resources.clone(),
            log_level: pods.sidecar_log_level.clone(),
        };
        let webhooks = Webhooks {
            settings,
            roots: self.roots.subscribe(),
            surroundings: Arc::new(self.cluster.clone()),
            metrics: self.metrics.admission.clone(),
        };
        let place = admission::Place {
            listen: args.webhook.webhook_listen,
            server_name: args.webhook.webhook_server_name.clone(),
            configuration: args.webhook.webhook_configuration.clone(),
        };
        let expiration = self.metrics.control_plane.certificate_expiration.clone();
        admission::start(place, webhooks, (self.client.clone(), readiness), expiration, &self.tasks).await?;
        Ok(())
    }

    fn elect(&self, lease_tasks: &Tasks) {
        let elector = Elector {
            leases: Api::namespaced(self.client.clone(), &self.args.namespace),
            name: self.args.lease.clone(),
            identity: self.args.pod_name.clone(),
            leadership: self.leadership.clone(),
            gauge: self.metrics.leader.clone(),
        };
        let (ended, everything) = (lease_tasks.shutdown().clone(), self.tasks.shutdown().clone());
        drop(lease_tasks.spawn("lease", OnError::Shutdown, async move {
            let outcome = elector.run(ended).await;
            // Whoever lost the Lease must not go on, and whoever gave it back is done.
            everything.begin();
            outcome
        }));
        let leadership = self.leadership.clone();
        let keep = self.roots.clone().keep(move || leadership.is_leader());
        drop(self.tasks.spawn_until_shutdown("roots", keep));
    }

    /// Waits for the Lease, then starts what only the leader does.
    async fn lead(&self) -> anyhow::Result<()> {
        let args = &self.args;
        let pod = (args.namespace.as_str(), args.pod_name.as_str());
        self.label_pod(pod, false).await;
        self.leadership.acquired().await;
        let account = control::Identity::new(&args.namespace, &args.service_account);
        let place = control_plane::Place {
            listen: args.control.control_listen,
            server_names: vec![server_name(&args.control.control_address)],
            identity: account.clone(),
            certificate_lifetime: args.control.sidecar_certificate_lifetime,
        };
        let control_metrics = self.metrics.control_plane.clone();
        let roots = (self.client.clone(), &self.roots);
        let membership =
            control_plane::lead(roots, &self.cluster, place, control_metrics, &self.tasks).await?;
        self.label_pod(pod, true).await;
        let identity = Identity::new(account.clone(), &self.roots.current())?;
        let brokers = AdminBrokers::new(&identity, self.leadership.clone());
        drop(self.tasks.spawn_until_shutdown("operator identity", identity.keep(self.roots.subscribe())));
        let context = Context {
            cluster: self.cluster.clone(),
            writer: Writer::new(
                self.client.clone(),
                self.leadership.clone(),
                self.metrics.reconciles.clone(),
                &args.pod_name,
            ),
            brokers: Arc::new(brokers),
            authority: self.roots.subscribe(),
            membership,
            metrics: self.metrics.clone(),
            settings: settings(args, &account),
        };
        controllers::start(&Arc::new(context), &self.tasks);
        Ok(())
    }

    /// The Service of the control plane selects the label. Outside a Pod there is none to label.
    async fn label_pod(&self, pod: (&str, &str), leads: bool) {
        if let Err(error) = control_plane::label_pod(&self.client, pod, leads).await {
            tracing::warn!(%error, pod = pod.1, leads, "failed to label this Pod; sidecars may not find the leader");
        }
    }
}

fn settings(args: &Args, account: &control::Identity) -> Settings {
    Settings {
        broker_image: args.pods.broker_image.clone(),
        image_pull_policy: args.pods.image_pull_policy.clone(),
        image_pull_secrets: args.pods.image_pull_secrets.clone(),
        trust_domain: args.trust_domain.clone(),
        identity: account.to_string(),
    }
}

/// The host of `HOST:PORT`.
fn server_name(address: &str) -> String {
    address.rsplit_once(':').map_or(address, |(host, _)| host).to_owned()
}
