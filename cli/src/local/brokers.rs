//! One Embedded broker as a part: its certificate, its process, its address for the control plane,
//! and its topics. What the topics should be, `topics.rs` says.

use super::child::Spec;
use super::context::{Context, administrator};
use super::folder::{FolderError, make, write_secret};
use super::parts::{self, Kind, PartState, Ready};
use super::report::Event;
use super::topics;
use api::topic::TopicSpec;
use control::{Broker, ObjectName};
use control_plane::authority::{SERVER_LIFETIME_MAX, ServerNames};
use kafka_admin::{Admin, Security, Settings};
use runtime::backoff::Backoff;
use runtime::shutdown::Shutdown;
use runtime::tls::{Credentials, Material};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;

const GRACE: Duration = Duration::from_secs(15);
/// The name in the broker's certificate that sidecars look for.
const SERVER_NAME: &str = "localhost";
const RETRY_FIRST: Duration = Duration::from_millis(200);
const RETRY_MAX: Duration = Duration::from_secs(5);

/// Topics by object, as one broker should have them.
pub(crate) type Wanted = BTreeMap<ObjectName, TopicSpec>;

/// Why a broker could not be prepared.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BrokerError {
    #[error(transparent)]
    Folder(#[from] FolderError),
    #[error("failed to make the broker's certificate")]
    Authority(#[from] control_plane::AuthorityError),
    #[error("failed to use the administrator's certificate")]
    Tls(#[from] runtime::tls::TlsError),
}

/// A broker that runs.
#[derive(Debug)]
pub(crate) struct BrokerPart {
    name: Arc<str>,
    stop: Shutdown,
    process: JoinHandle<()>,
    wanted: watch::Sender<(u64, Wanted)>,
    /// The generation of `wanted` that the broker has.
    settled: watch::Receiver<u64>,
}

impl BrokerPart {
    /// Starts it; its process, its announcements and its topics are kept by tasks.
    pub(crate) fn start(context: &Context, object: &ObjectName) -> Result<Self, BrokerError> {
        let name: Arc<str> = object.to_string().into();
        let files = Files::prepare(context, object)?;
        let credentials = administrator_credentials(context)?;
        let state = context.parts.add(Kind::Broker, &name);
        let tasks = &context.layers.brokers;
        let stop = tasks.shutdown().child();
        let (wanted, wanted_receiver) = watch::channel((0, Wanted::new()));
        let (settled_sender, settled) = watch::channel(0);
        let watched = state.subscribe();
        let process = {
            let (context, name, stop) = (context.clone(), Arc::clone(&name), stop.clone());
            tasks.spawn("broker", runtime::tasks::OnError::Log, async move {
                let spec = |last: Option<&Ready>| files.spec(&context, last);
                context.nursery.keep(name, state, stop, spec).await;
                Ok::<_, std::convert::Infallible>(())
            })
        };
        let announcing = announce(context.clone(), object.clone(), watched.clone());
        drop(tasks.spawn_until_shutdown("broker address", announcing));
        let keeping = keep_topics(
            (context.clone(), Arc::clone(&name)),
            credentials,
            watched,
            wanted_receiver,
            settled_sender,
        );
        drop(tasks.spawn_until_shutdown("topics", keeping));
        Ok(Self { name, stop, process, wanted, settled })
    }

    /// What its topics should be from now on.
    pub(crate) fn want(&self, topics: Wanted) {
        self.wanted.send_if_modified(|(generation, wanted)| {
            let changed = *wanted != topics;
            if changed {
                (*generation, *wanted) = (generation.saturating_add(1), topics);
            }
            changed
        });
    }

    /// Waits until the broker has its topics, at most `deadline`; says whether it has.
    pub(crate) async fn settled(&self, deadline: Duration) -> bool {
        let mut settled = self.settled.clone();
        let wanted = self.wanted.borrow().0;
        let reached = settled.wait_for(|generation| *generation >= wanted);
        tokio::time::timeout(deadline, reached).await.is_ok_and(|reached| reached.is_ok())
    }

    /// Stops its process; the data stays.
    pub(crate) async fn stop(self, context: &Context) {
        self.stop.begin();
        // Its task logs how it ended.
        drop(self.process.await);
        context.parts.remove(Kind::Broker, &self.name);
    }
}

struct Files {
    data: PathBuf,
    tls: PathBuf,
    ready: PathBuf,
    authority: control_plane::Objects,
    names: ServerNames,
}

impl Files {
    fn prepare(context: &Context, object: &ObjectName) -> Result<Self, BrokerError> {
        let folder = context.run.child(&format!("b-{}-{}", object.namespace, object.name))?;
        let data = context.data.broker(&object.namespace, &object.name);
        make(&data)?;
        let names = ServerNames {
            dns: vec![SERVER_NAME.to_owned(), format!("{}-broker.{}.svc", object.name, object.namespace)],
            addresses: vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
            ..ServerNames::default()
        };
        let (tls, ready) = (folder.join("tls"), folder.join("ready.json"));
        make(&tls)?;
        let files = Self { data, tls, ready, authority: context.objects.clone(), names };
        files.write_certificate()?;
        Ok(files)
    }

    /// A new certificate: for the first start, and for each later one, which may be months after.
    fn write_certificate(&self) -> Result<(), BrokerError> {
        let authority = self.authority.authority();
        let issued =
            authority.issue_server(&self.names, SERVER_LIFETIME_MAX, runtime::clock::unix_seconds())?;
        write_secret(&self.tls.join("tls.key"), &issued.key_pem)?;
        write_secret(&self.tls.join("tls.crt"), &issued.chain_pem)?;
        write_secret(&self.tls.join("ca.crt"), &authority.bundle_pem())?;
        Ok(())
    }

    fn spec(&self, context: &Context, last: Option<&Ready>) -> Spec {
        if let (Some(_), Err(error)) = (last, self.write_certificate()) {
            tracing::warn!(%error, "the broker goes on with its old certificate");
        }
        let any = || "127.0.0.1:0".to_owned();
        let address = |get: fn(&Ready) -> &Option<String>| last.and_then(|last| get(last).clone());
        let path = |path: &PathBuf| path.display().to_string();
        let pairs = [
            ("--data", path(&self.data)),
            ("--tls-listen", address(|last| &last.kafka).unwrap_or_else(any)),
            ("--tls-dir", path(&self.tls)),
            ("--admin-listen", address(|last| &last.admin).unwrap_or_else(any)),
            ("--super-user", administrator().to_string()),
            ("--ready-file", path(&self.ready)),
            ("--shutdown-grace", "10".to_owned()),
            ("--log-level", "warn".to_owned()),
        ];
        let arguments = pairs.into_iter().flat_map(|(flag, value)| [flag.to_owned(), value]);
        Spec {
            kind: Kind::Broker,
            program: context.program.clone(),
            arguments: ["broker".to_owned()].into_iter().chain(arguments).collect(),
            env: Vec::new(),
            ready_file: Some(self.ready.clone()),
            grace: GRACE,
        }
    }
}

fn administrator_credentials(context: &Context) -> Result<Credentials, BrokerError> {
    let authority = context.objects.authority();
    let issued = authority.issue_identity(&administrator(), runtime::clock::unix_seconds())?;
    let material = Material::from_pem(&issued.chain_pem, &issued.key_pem, &authority.bundle_pem())?;
    Ok(Credentials::new(material))
}

/// Tells the control plane where the broker is, each time it is up.
async fn announce(context: Context, object: ObjectName, mut state: watch::Receiver<PartState>) {
    loop {
        let address = state.borrow_and_update().ready.as_ref().and_then(|ready| ready.kafka.clone());
        if let Some(address) = address {
            context.objects.upsert_broker(Broker {
                name: object.clone(),
                bootstrap: vec![address],
                server_names: vec![SERVER_NAME.to_owned()],
                problem: String::new(),
            });
        }
        if state.changed().await.is_err() {
            return;
        }
    }
}

/// Brings the broker's topics to what is wanted, again after each change and each restart.
async fn keep_topics(
    (context, part): (Context, Arc<str>),
    credentials: Credentials,
    state: watch::Receiver<PartState>,
    mut wanted: watch::Receiver<(u64, Wanted)>,
    settled: watch::Sender<u64>,
) {
    let mut retry = Backoff::new(RETRY_FIRST, RETRY_MAX);
    loop {
        let Some(ready) = parts::ready(state.clone()).await else { return };
        let (generation, topics) = wanted.borrow_and_update().clone();
        let security =
            Security::Tls { credentials: credentials.clone(), server_names: vec![SERVER_NAME.to_owned()] };
        let bootstrap = ready.kafka.into_iter().collect();
        let admin = Admin::new(Settings::new(bootstrap, security, "pinnace-up"));
        let (text, done) = match topics::reconcile(&admin, &topics).await {
            Ok(problems) => (problems, true),
            Err(error) => (vec![format!("failed to bring its topics up to date: {error}")], false),
        };
        for text in text {
            context.events.send(Event::Problem { part: Arc::clone(&part), text }).await;
        }
        if !done {
            renew_administrator(&context, &credentials);
            tokio::time::sleep(retry.next_pause()).await;
            continue;
        }
        retry.reset();
        settled.send_replace(generation);
        if wanted.changed().await.is_err() {
            return;
        }
    }
}

/// The administrator's certificate lives a day, `up` may live longer.
fn renew_administrator(context: &Context, credentials: &Credentials) {
    match administrator_credentials(context) {
        Ok(fresh) => {
            if let Some(material) = fresh.current() {
                credentials.replace((*material).clone());
            }
        }
        Err(error) => tracing::warn!(%error, "failed to renew the administrator's certificate"),
    }
}
