//! Wires the operator. Every replica watches and serves the webhooks; the one with the Lease also runs the
//! controllers and the control plane, for a term. A term that ends does not end the process: it takes part again.

use crate::{
    admission::{self, Webhooks, inject},
    apply::Writer,
    args::Args,
    cluster::Cluster,
    context::{Context, Settings},
    control_plane::{self, roots},
    controllers, departure,
    health::{self, HttpEngines},
    kafka::{AdminBrokers, FencedBrokers, Identity},
    leadership::{Elector, Leadership, Term},
    metrics::{Metrics, NotReadyObjects, Sidecars, UninjectedPods},
    scope::Scope,
    workloads::upgrade::Policy,
};
use anyhow::Context as _;
use kube::{Api, Client, Config};
use prometheus::Registry;
use runtime::{
    backoff::Backoff,
    health::{Pages, Readiness, serve_admin},
    shutdown::Shutdown,
    tasks::{OnError, Tasks},
};
use std::{sync::Arc, time::Duration};

/// Audience of the sidecars' tokens.
const TOKEN_AUDIENCE: &str = "pinnace";
/// The API server answers within this time, or the request failed. Watches have their own.
const API_TIMEOUT: Duration = Duration::from_secs(30);

/// So long may reconciles go on when the operator ends, before the Lease is given back and they are dropped.
const HANDOVER_MAX: Duration = Duration::from_millis(250);
/// The first and the longest pause before the Pod is labelled again.
const LABEL_PAUSE_FIRST: Duration = Duration::from_millis(200);
const LABEL_PAUSE_LONGEST: Duration = Duration::from_secs(5);

/// What every replica has.
#[derive(Clone)]
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
    let pages = Pages { registry: registry.clone(), readiness: readiness.clone(), lines: None };
    serve_admin(args.admin_listen, pages, shutdown.clone())?;
    let client = connect().await?;
    let store = roots::Store::new(client.clone(), &args.namespace, &args.ca_secret, &args.trust_domain)
        .with_root_lifetime(args.root_lifetime);
    let roots = shutdown.or(roots::Roots::open(store)).await;
    let Some(roots) = roots.transpose().context("failed to open the certificate authority")? else {
        return Ok(());
    };
    let tasks = Tasks::new(shutdown.clone());
    let cluster = Cluster::watch(&client, &Scope::of(&args.watch_namespace), &tasks);
    registry.register(Box::new(NotReadyObjects::new(cluster.clone())?))?;
    let excluded = args.webhook.webhook_excluded_namespaces.clone();
    registry.register(Box::new(UninjectedPods::new(cluster.clone(), excluded)?))?;
    registry.register(Box::new(Sidecars::new(cluster.clone(), sidecars(&args))?))?;
    let leadership = Leadership::new();
    let grace = args.shutdown_grace;
    // The Lease outlives the work: it is given back when nothing writes any more, or may.
    let lease_ended = Shutdown::new();
    let lease_tasks = Tasks::new(lease_ended.clone());
    let (ended, everything) = (lease_ended.clone(), shutdown.clone());
    drop(tasks.spawn_until_shutdown("lease watch", async move {
        ended.begun().await;
        everything.begin();
    }));
    let replica = Replica { args, client, cluster, roots, leadership, metrics, tasks: tasks.clone() };
    replica.serve_webhooks(readiness.clone()).await?;
    shutdown.or(replica.cluster.ready()).await.transpose().context("a watch ended")?;
    readiness.done("stores");
    // Who leads can work at once.
    replica.elect(&lease_tasks);
    let led = {
        let terms = replica.terms();
        tokio::pin!(terms);
        let handed_over = async {
            shutdown.begun().await;
            tokio::time::sleep(HANDOVER_MAX).await;
        };
        let led = tokio::select! {
            led = &mut terms => Some(led),
            () = handed_over => None,
        };
        replica.depart().await;
        lease_ended.begin();
        match led {
            Some(led) => led,
            None => terms.await,
        }
    };
    shutdown.begin();
    tasks.drain(grace).await;
    lease_tasks.drain(grace).await;
    led
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
        let args = &self.args;
        let webhooks = Webhooks {
            settings: inject_settings(args, self.roots.current().bundle_pem()),
            roots: self.roots.subscribe(),
            surroundings: Arc::new(self.cluster.clone()),
            metrics: self.metrics.admission.clone(),
        };
        let place = admission::Place {
            listen: args.webhook.webhook_listen,
            server_name: args.webhook.webhook_server_name.clone(),
            configuration: args.webhook.webhook_configuration.clone(),
            certificate_folder: args.webhook.webhook_certificate_dir.clone(),
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
        let ended = lease_tasks.shutdown().clone();
        drop(lease_tasks.spawn("lease", OnError::Shutdown, elector.run(ended)));
        let keep = self.roots.clone().keep(self.leadership.clone());
        drop(self.tasks.spawn_until_shutdown("roots", keep));
    }

    /// Leads as often and as long as this replica holds the Lease, until the shutdown.
    async fn terms(&self) -> anyhow::Result<()> {
        let shutdown = self.tasks.shutdown();
        while let Some(term) = self.wait_for_term().await {
            let tasks = Tasks::new(shutdown.child());
            let work = async {
                self.lead(&tasks).await?;
                self.leadership.ended(term).await;
                anyhow::Ok(())
            };
            let outcome = tasks.shutdown().or(work).await;
            if !matches!(outcome, Some(Ok(()))) {
                // A part failed that nothing works without, or everything ends.
                shutdown.begin();
            }
            tasks.shutdown().begin();
            tasks.drain(self.args.shutdown_grace).await;
            outcome.transpose()?;
        }
        Ok(())
    }

    /// `None` when everything ends.
    async fn wait_for_term(&self) -> Option<Term> {
        let shutdown = self.tasks.shutdown();
        let unlabelled = async {
            self.label_pod(false).await;
            std::future::pending::<Term>().await
        };
        let waited = async {
            tokio::select! {
                term = self.leadership.writable() => term,
                term = unlabelled => term,
            }
        };
        shutdown.or(waited).await.filter(|_| !shutdown.has_begun())
    }

    /// Starts what only the leader does.
    async fn lead(&self, tasks: &Tasks) -> anyhow::Result<()> {
        let args = &self.args;
        let account = control::Identity::new(&args.namespace, &args.service_account);
        let place = control_plane::Place {
            listen: args.control.control_listen,
            server_names: vec![server_name(&args.control.control_address)],
            identity: account.clone(),
            certificate_lifetime: args.control.sidecar_certificate_lifetime,
        };
        let control_metrics = self.metrics.control_plane.clone();
        let roots = (self.client.clone(), &self.roots);
        let membership = control_plane::lead(roots, &self.cluster, place, control_metrics, tasks).await?;
        let labelling = self.clone();
        drop(tasks.spawn_until_shutdown("label", async move { labelling.label_pod(true).await }));
        let identity = Identity::new(account.clone(), &self.roots.current())?;
        let brokers = Arc::new(AdminBrokers::new(&identity));
        drop(tasks.spawn_until_shutdown("operator identity", identity.keep(self.roots.subscribe())));
        let context = Context {
            cluster: self.cluster.clone(),
            writer: self.writer(),
            brokers: FencedBrokers::new(brokers, self.leadership.clone()),
            engines: controllers::broker::Engines::default(),
            health: health::Engines::new(Arc::new(HttpEngines)),
            leadership: self.leadership.clone(),
            authority: self.roots.subscribe(),
            membership,
            metrics: self.metrics.clone(),
            settings: settings(args, &account),
        };
        controllers::start(&Arc::new(context), tasks);
        Ok(())
    }

    fn writer(&self) -> Writer {
        let (leadership, metrics) = (self.leadership.clone(), self.metrics.reconciles.clone());
        Writer::new(self.client.clone(), leadership, metrics, &self.args.pod_name)
    }

    /// The last thing that is written.
    async fn depart(&self) {
        if let Some(namespace) = self.cluster.scope.namespace() {
            departure::free_topics(&self.client, namespace, &self.writer()).await;
        }
    }

    /// The Service of the control plane selects the label. Outside a Pod there is none to label.
    async fn label_pod(&self, leads: bool) {
        let pod = (self.args.namespace.as_str(), self.args.pod_name.as_str());
        let mut backoff = Backoff::new(LABEL_PAUSE_FIRST, LABEL_PAUSE_LONGEST);
        while let Err(error) = control_plane::label_pod(&self.client, pod, leads).await {
            tracing::warn!(%error, pod = pod.1, leads, "failed to label this Pod; sidecars may not find the leader");
            tokio::time::sleep(backoff.next_pause()).await;
        }
    }
}

fn inject_settings(args: &Args, trust_bundle_pem: String) -> inject::Settings {
    let pods = &args.pods;
    inject::Settings {
        image: pods.sidecar_image.clone(),
        image_pull_policy: pods.image_pull_policy.clone(),
        control_address: args.control.control_address.clone(),
        control_server_name: server_name(&args.control.control_address),
        trust_bundle_pem,
        audience: TOKEN_AUDIENCE.to_owned(),
        resources: pods.sidecar_resources.clone(),
        log_level: pods.sidecar_log_level.clone(),
        user_id: inject::USER_ID,
    }
}

fn sidecars(args: &Args) -> Policy {
    let pods = &args.pods;
    Policy {
        mode: pods.sidecar_upgrade_mode,
        image: pods.sidecar_image.clone(),
        max_unavailable: pods.sidecar_upgrade_max_unavailable,
        at_once_max: pods.sidecar_upgrade_max_at_once.into(),
        deadline: pods.sidecar_upgrade_deadline,
        settings: inject::settings_hash(&inject_settings(args, String::new())),
    }
}

fn settings(args: &Args, account: &control::Identity) -> Settings {
    Settings {
        broker_image: args.pods.broker_image.clone(),
        kafka_image: args.pods.kafka_image.clone(),
        broker_upgrades_max: args.pods.broker_upgrade_max_at_once.into(),
        image_pull_policy: args.pods.image_pull_policy.clone(),
        image_pull_secrets: args.pods.image_pull_secrets.clone(),
        trust_domain: args.trust_domain.clone(),
        identity: account.to_string(),
        excluded_namespaces: args.webhook.webhook_excluded_namespaces.clone(),
        sidecars: sidecars(args),
    }
}

/// The host of `HOST:PORT`.
fn server_name(address: &str) -> String {
    address.rsplit_once(':').map_or(address, |(host, _)| host).to_owned()
}
