//! The story: Brokers, Topics and Channels come, change, one by one and all at once; nothing happens for a while;
//! sidecars come, their leader goes; all is deleted.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Namespace, Pod, Service, ServiceAccount};
use kube::api::{DeleteParams, ObjectMeta, PostParams};
use kube::{Api, Client, Config, ResourceExt as _};
use runtime::clock;
use runtime::shutdown::Shutdown;
use runtime::tasks::Tasks;
use serde_json::json;

use crate::args::Args;
use crate::census::Census;
use crate::crowd::{Crowd, Deed};
use crate::figures::Figures;
use crate::machine;
use crate::meter::Meter;
use crate::objects::{self, ACCOUNT, SHARED_CHANNEL, SHARED_NAMESPACE, Wanted};
use crate::sidecars::{Herd, Place};

/// How long one part may take; the goals are far below.
const LIMIT: Duration = Duration::from_secs(900);
/// Between the last change and the time in which nothing may happen: statuses are written at most every 10 s.
const SETTLE: Duration = Duration::from_secs(30);
/// Topics that are changed one at a time.
const SINGLES: usize = 50;
/// Between two looks at who leads.
const LOOK: Duration = Duration::from_millis(20);
/// Token requests at a time.
const TOKENS_AT_A_TIME: usize = 32;
/// What the sidecars' Channel is changed to.
const BLOCK_TIMEOUT_MS: u32 = 7_000;
/// Where a sidecar finds the control plane.
const CONTROL_PORT: u16 = 7410;

/// What all parts share.
struct World<'a> {
    args: &'a Args,
    client: Client,
    crowd: &'a Crowd,
    tasks: Tasks,
    topics: Census,
    channels: Census,
    brokers: Census,
}

/// Does all of it.
pub(crate) async fn run(args: &Args) -> Result<Figures> {
    let config = Config::infer().await.context("failed to find the API server: set KUBECONFIG")?;
    let client = Client::try_from(config).context("failed to use the configuration for the API server")?;
    let crowd = Crowd::new(client.clone());
    let tasks = Tasks::new(Shutdown::new());
    let census = |resource| Census::begin(&client, &tasks, &resource);
    let (topics, channels, brokers) =
        (census(objects::topics()), census(objects::channels()), census(objects::brokers()));
    let world = World {
        args,
        client: client.clone(),
        crowd: &crowd,
        tasks: tasks.clone(),
        topics,
        channels,
        brokers,
    };
    let meter = Meter { client, namespace: &args.namespace, crowd: &crowd };
    let mut figures = Figures::default();
    figures.set("topics", args.topics);
    figures.set("channels", args.channels);
    figures.set("brokers", args.brokers);
    figures.set("sidecars", args.sidecars);
    world.bring_brokers(&mut figures).await?;
    world.bring(&meter, &mut figures).await?;
    world.change_all(&meter, &mut figures).await?;
    world.change_singly(&mut figures).await?;
    world.rest(&meter, &mut figures).await?;
    world.follow(&meter, &mut figures).await?;
    world.delete(&meter, &mut figures).await?;
    world.tasks.shutdown().begin();
    Ok(figures)
}

impl World<'_> {
    fn all_topics(&self) -> Vec<Wanted> {
        objects::all_topics(self.args.topics, self.args.brokers)
    }

    async fn bring_brokers(&self, figures: &mut Figures) -> Result<()> {
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        for number in 0..self.args.brokers {
            let metadata = ObjectMeta { name: Some(objects::namespace(number)), ..ObjectMeta::default() };
            let namespace = Namespace { metadata, ..Namespace::default() };
            namespaces
                .create(&PostParams::default(), &namespace)
                .await
                .context("failed to make a namespace")?;
        }
        let begin = clock::now();
        let brokers = objects::all_brokers(self.args.brokers);
        self.crowd.work(&brokers, &objects::brokers(), &Deed::Create).await?;
        let wanted = brokers.len();
        let end = self.brokers.wait("all Brokers", LIMIT, |count| count.ready == wanted).await?;
        figures.set("brokers_ready_seconds", (end - begin).as_secs_f64());
        Ok(())
    }

    /// From nothing to all Ready.
    async fn bring(&self, meter: &Meter<'_>, figures: &mut Figures) -> Result<()> {
        let before = meter.look().await?;
        figures.set("empty_operator_resident_megabytes", before.resident_megabytes());
        let (topics, channels) =
            (self.all_topics(), objects::all_channels(self.args.channels, self.args.brokers));
        let begin = clock::now();
        let (of_topics, of_channels) = (objects::topics(), objects::channels());
        let writing = async {
            self.crowd.work(&topics, &of_topics, &Deed::Create).await?;
            figures.set("topics_created_seconds", begin.elapsed().as_secs_f64());
            self.crowd.work(&channels, &of_channels, &Deed::Create).await
        };
        let topics_ready = self.topics.wait("all Topics", LIMIT, |count| count.ready == topics.len());
        let channels_ready = self.channels.wait("all Channels", LIMIT, |count| count.ready == channels.len());
        let ((), topics_end, channels_end) = tokio::try_join!(writing, topics_ready, channels_ready)?;
        figures.set("topics_ready_seconds", (topics_end - begin).as_secs_f64());
        figures.set("channels_ready_seconds", (channels_end - begin).as_secs_f64());
        meter.look().await?.tell(&before, "bring", figures);
        Ok(())
    }

    async fn change_all(&self, meter: &Meter<'_>, figures: &mut Figures) -> Result<()> {
        let before = meter.look().await?;
        let topics = self.all_topics();
        let begin = clock::now();
        let change = Deed::Patch(json!({"spec": {"retention": {"time": "6d"}}}));
        self.crowd.work(&topics, &objects::topics(), &change).await?;
        figures.set("change_written_seconds", begin.elapsed().as_secs_f64());
        let end = self.topics.wait("all changes", LIMIT, |count| count.ready == topics.len()).await?;
        figures.set("change_ready_seconds", (end - begin).as_secs_f64());
        meter.look().await?.tell(&before, "change", figures);
        Ok(())
    }

    /// Among all of them one changes, and is looked at.
    async fn change_singly(&self, figures: &mut Figures) -> Result<()> {
        let topics = self.all_topics();
        let step = (topics.len() / SINGLES).max(1);
        let change = Deed::Patch(json!({"spec": {"retention": {"time": "5d"}}}));
        let mut times = Vec::new();
        for topic in topics.iter().step_by(step).take(SINGLES) {
            let begin = clock::now();
            let generation = self.crowd.one(topic, &objects::topics(), &change).await?;
            let place = (topic.namespace.clone(), topic.name.clone());
            let end = self.topics.wait_for(place, generation, LIMIT).await?;
            times.push((end - begin).as_secs_f64());
        }
        times.sort_by(f64::total_cmp);
        figures.set("single_change_seconds_p50", times.get(times.len() / 2).copied());
        figures.set("single_change_seconds_most", times.last().copied());
        Ok(())
    }

    /// Nothing happens, and nothing may be written or asked.
    async fn rest(&self, meter: &Meter<'_>, figures: &mut Figures) -> Result<()> {
        eprintln!("nothing happens for {} s", SETTLE.as_secs() + self.args.idle_seconds);
        tokio::time::sleep(SETTLE).await;
        let before = meter.look().await?;
        tokio::time::sleep(Duration::from_secs(self.args.idle_seconds)).await;
        let after = meter.look().await?;
        after.tell(&before, "idle", figures);
        figures.set("idle_seconds", self.args.idle_seconds);
        figures.set("idle_api_writes", after.writes_since(&before));
        figures.set("idle_total_broker_requests", after.broker_requests_since(&before));
        Ok(())
    }

    /// Sidecars come; a change reaches them; their leader is killed.
    async fn follow(&self, meter: &Meter<'_>, figures: &mut Figures) -> Result<()> {
        let tokens = self.tokens().await?;
        let before = meter.look().await?;
        let begin = clock::now();
        let herd = Herd::start(&self.place().await?, tokens, &self.tasks);
        let end = herd.wait_views(LIMIT).await?;
        figures.set("sidecars_connected_seconds", (end - begin).as_secs_f64());
        let (views, bytes) = herd.views();
        figures.set("sidecars_connected_views", views);
        figures.set("sidecars_connected_view_bytes", bytes);
        meter.look().await?.tell(&before, "sidecars", figures);
        let shared = Wanted {
            namespace: objects::namespace(SHARED_NAMESPACE),
            name: SHARED_CHANNEL.to_owned(),
            spec: json!({}),
        };
        tokio::time::sleep(SETTLE).await;
        let (views, bytes) = herd.views();
        let change =
            Deed::Patch(json!({"spec": {"delivery": {"blockTimeout": format!("{BLOCK_TIMEOUT_MS}ms")}}}));
        let begin = clock::now();
        self.crowd.one(&shared, &objects::channels(), &change).await?;
        let end = herd.wait_setting(BLOCK_TIMEOUT_MS, LIMIT).await?;
        figures.set("change_reached_sidecars_seconds", (end - begin).as_secs_f64());
        figures.set("change_reached_sidecars_views", herd.views().0 - views);
        figures.set("change_reached_sidecars_view_bytes", herd.views().1 - bytes);
        self.kill_leader(meter, &herd, figures).await
    }

    async fn kill_leader(&self, meter: &Meter<'_>, herd: &Herd, figures: &mut Figures) -> Result<()> {
        let leases: Api<Lease> = Api::namespaced(self.client.clone(), &self.args.namespace);
        let name = format!("{}-operator", self.args.release);
        let leader = || async {
            let lease = leases.get(&name).await.context("failed to read the Lease")?;
            lease.spec.and_then(|spec| spec.holder_identity).context("nobody holds the Lease")
        };
        let before = leader().await?;
        let replicas = meter.replicas().await?;
        ensure!(replicas.len() > 1, "there is no other replica that could take over");
        let process =
            replicas.get(&before).with_context(|| format!("{before} does not run on this machine"))?;
        let (streams, shrunken) = (herd.streams(), herd.shrunken());
        let begin = clock::now();
        // With its Pod: its container would be started again at once and lead under the same name.
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &self.args.namespace);
        pods.delete(&before, &DeleteParams::default().grace_period(0)).await?;
        machine::kill(*process)?;
        while leader().await? == before {
            ensure!(begin.elapsed() < LIMIT, "nobody takes over from {before}");
            tokio::time::sleep(LOOK).await;
        }
        figures.set("leader_killed_lease_taken_seconds", begin.elapsed().as_secs_f64());
        let end = herd.wait_streams(&streams, LIMIT).await?;
        figures.set("leader_killed_sidecars_back_seconds", (end - begin).as_secs_f64());
        // The next leader tells those that have a view nothing until all had time to report.
        tokio::time::sleep(SETTLE).await;
        figures.set("leader_killed_views_without_a_publisher", herd.shrunken() - shrunken);
        Ok(())
    }

    async fn delete(&self, meter: &Meter<'_>, figures: &mut Figures) -> Result<()> {
        let before = meter.look().await?;
        let topics = self.all_topics();
        let begin = clock::now();
        self.crowd.work(&topics, &objects::topics(), &Deed::Delete).await?;
        figures.set("delete_written_seconds", begin.elapsed().as_secs_f64());
        let end = self.topics.wait("all Topics to go", LIMIT, |count| count.all == 0).await?;
        figures.set("topics_deleted_seconds", (end - begin).as_secs_f64());
        let channels = objects::all_channels(self.args.channels, self.args.brokers);
        self.crowd.work(&channels, &objects::channels(), &Deed::Delete).await?;
        self.channels.wait("all Channels to go", LIMIT, |count| count.all == 0).await?;
        let after = meter.look().await?;
        after.tell(&before, "delete", figures);
        figures.set("operator_resident_megabytes_most", after.resident_megabytes_most());
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        for number in 0..self.args.brokers {
            namespaces.delete(&objects::namespace(number), &DeleteParams::background()).await?;
        }
        Ok(())
    }

    /// One token for each sidecar, bound to a Pod as those that the kubelet projects.
    async fn tokens(&self) -> Result<Vec<String>> {
        let namespace = objects::namespace(SHARED_NAMESPACE);
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client.clone(), &namespace);
        let metadata = ObjectMeta { name: Some(ACCOUNT.to_owned()), ..ObjectMeta::default() };
        let account = ServiceAccount { metadata, ..ServiceAccount::default() };
        accounts
            .create(&PostParams::default(), &account)
            .await
            .context("failed to make a service account")?;
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &namespace);
        let pod = pods.create(&PostParams::default(), &serde_json::from_value(objects::pod())?).await?;
        let bound = BoundObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Pod".to_owned()),
            name: Some(pod.name_any()),
            uid: pod.uid(),
        };
        let spec = TokenRequestSpec {
            audiences: Some(vec!["pinnace".to_owned()]),
            bound_object_ref: Some(bound),
            expiration_seconds: Some(3600),
        };
        let request = TokenRequest { spec: Some(spec), ..TokenRequest::default() };
        stream::iter(0..self.args.sidecars)
            .map(|_| async {
                let answer = accounts.create_token_request(ACCOUNT, &PostParams::default(), &request).await?;
                answer.status.and_then(|status| status.token).context("the API server made no token")
            })
            .buffer_unordered(TOKENS_AT_A_TIME)
            .try_collect()
            .await
    }

    /// As the webhook tells it to sidecars.
    async fn place(&self) -> Result<Place> {
        let name = format!("{}-control", self.args.release);
        let services: Api<Service> = Api::namespaced(self.client.clone(), &self.args.namespace);
        let service = services.get(&name).await.context("the control plane has no Service")?;
        let address = service.spec.and_then(|spec| spec.cluster_ip).context("the Service has no address")?;
        let webhooks: Api<MutatingWebhookConfiguration> = Api::all(self.client.clone());
        let webhooks = webhooks.get(&format!("{}-operator", self.args.release)).await?;
        let bundle =
            webhooks.webhooks.into_iter().flatten().find_map(|webhook| webhook.client_config.ca_bundle);
        let bundle = bundle.context("the webhooks have no certificate authority yet")?;
        Ok(Place {
            address: format!("{address}:{CONTROL_PORT}"),
            server_name: format!("{name}.{}.svc", self.args.namespace),
            bundle_pem: String::from_utf8(bundle.0).context("the certificate authority is no PEM")?,
        })
    }
}
