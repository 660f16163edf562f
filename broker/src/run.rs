//! Wires the broker together, serves, and takes it down in order.

use std::{
    fs::{File, OpenOptions},
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use prometheus::Registry;
use record_log::storage::Storage as _;
use runtime::{
    health::{AdminError, Pages, Readiness, serve_admin},
    ready_file,
    shutdown::Shutdown,
    tasks::Tasks,
    tls::{Credentials, Material, TlsError},
};
use tokio::{net::TcpListener, sync::Semaphore, time::sleep};

use crate::{
    access::{Access, Policy},
    args::Args,
    broker::{Broker, identify},
    commit::{self, CommitThread, Committer},
    compaction,
    disk::DiskStorage,
    dynamic_config::DynamicConfigs,
    groups::{
        consumer_group,
        coordinator::{Coordinator, Limits},
        group,
    },
    health::Teller,
    listen::{self, Door, Listener, Security},
    metrics::Metrics,
    open_files,
    partition::Ground,
    producer_ids::ProducerIds,
    quotas::Quotas,
    sasl::{
        Verifier, gate,
        oauth::Keys,
        users::{Users, UsersError},
    },
    settings::{SaslSettings, Settings, SettingsError},
    space::{self, Space},
    store::{Store, StoreError},
    topics::Topics,
    transactions::{coordinator::Transactions, recover::recover},
    upkeep,
};

const SPACE_CHECK: Duration = Duration::from_secs(1);
const CREDENTIALS_CHECK: Duration = Duration::from_secs(10);
const LOCK_NAME: &str = "lock";

/// The broker could not start or go on.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Neither listener was asked for.
    #[error("nothing to listen on: give --listen, --tls-listen or both")]
    NoListener,
    /// A listener without TLS for everybody.
    #[error(
        "--listen {0} is not on loopback: use --tls-listen, or --allow-plain if everybody may do everything"
    )]
    PlainListener(SocketAddr),
    /// The data folder cannot be used.
    #[error("cannot use the data folder {folder}: {action} failed; is it there, writable and not full?")]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// What was being done.
        action: &'static str,
        /// Why.
        source: io::Error,
    },
    /// The process may have too few files open.
    #[error("the limit of open files is {0}, too few to work with: raise it, with ulimit -n or LimitNOFILE")]
    OpenFiles(usize),
    /// Another process has the folder.
    #[error("the data folder {0} is in use by another broker")]
    Locked(PathBuf),
    /// The settings file.
    #[error("cannot read the settings file {file}")]
    SettingsFile {
        /// The file.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What is in the settings file.
    #[error("the settings file {file} is wrong: {reason}")]
    Settings {
        /// The file.
        file: PathBuf,
        /// Which line or key, and why.
        reason: String,
    },
    /// What is stored cannot be used.
    #[error("cannot use the data in {folder}: {reason}")]
    Data {
        /// The folder.
        folder: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A port.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// Keys and certificates.
    #[error("cannot use the TLS folder")]
    Tls(#[from] TlsError),
    /// The admin listener.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// Metrics.
    #[error("cannot register the metrics")]
    Metrics(#[from] prometheus::Error),
    /// The committing thread.
    #[error("cannot start the committing thread")]
    Thread(#[source] io::Error),
    /// The ready file.
    #[error("cannot write the ready file {file}")]
    ReadyFile {
        /// The file.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// What the broker works with cannot be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Users(#[from] UsersError),
    #[error("sasl.oauthbearer.jwks.endpoint.url: {0}")]
    Keys(String),
}

/// Runs the broker until `shutdown` begins, and ends it in order.
///
/// # Errors
/// It cannot start: the message says what to change.
pub async fn run(args: Args, shutdown: Shutdown) -> Result<(), RunError> {
    let mut settings = read_settings(&args)?;
    let files_max = open_files::take(&mut settings).map_err(RunError::OpenFiles)?;
    let listeners = bind(&args).await?;
    let _lock = lock(&args.data)?;
    let clean =
        upkeep::ended_clean(&args.data).map_err(folder_failed(&args.data, "forgetting the clean end"))?;
    let registry = Registry::new();
    let metrics = Metrics::new(&registry)?;
    let readiness = Readiness::new();
    readiness.wait_for("logs", "the logs are being opened");
    let teller = Arc::<Teller>::default();
    let admin = match args.admin_listen {
        Some(address) => {
            let pages = Pages { registry, readiness: readiness.clone(), lines: Some(teller.lines()) };
            Some(serve_admin(address, pages, shutdown.child())?)
        }
        None => None,
    };
    metrics.disk.open_files_max.set(i64::try_from(files_max).unwrap_or(i64::MAX));
    let storage = DiskStorage::new(&args.data, files_max);
    let commit = start_committing((&args, storage.clone()), &settings, &metrics)?;
    let tasks = Tasks::new(shutdown.clone());
    let ground = Foundation { storage, committer: commit.committer(), metrics, teller, tasks: tasks.clone() };
    let opened = open(&args, settings, ground).await;
    let (broker, store) = opened
        .map_err(|error| RunError::Data { folder: args.data.clone(), reason: crate::error_text(&error) })?;
    // Only a transaction needs all logs before the first client.
    let transactions = !broker.transactions.is_empty();
    if transactions {
        upkeep::open_logs(&broker.topics).await;
        recover(&broker).await;
    }
    let addresses = serve(&args, &broker, &tasks, listeners)?;
    readiness.done("logs");
    keep_up(&broker, &tasks, (transactions, clean));
    announce(&args, &addresses, admin)?;
    shutdown.begun().await;
    let left = tasks.drain(args.shutdown_grace).await;
    if left > 0 {
        tracing::warn!(left, "requests were cut off");
    }
    broker.topics.note_ends().await;
    tokio::task::spawn_blocking(move || {
        let committer = commit.committer();
        commit.stop();
        for topic in broker.topics.all() {
            for partition in &*topic.partitions() {
                partition.close();
            }
        }
        store.close();
        committer.close();
    })
    .await
    .map_err(|error| RunError::Thread(io::Error::other(error)))?;
    upkeep::end_clean(&args.data).map_err(folder_failed(&args.data, "noting the clean end"))?;
    tracing::info!("ended");
    Ok(())
}

fn start_committing(
    (args, storage): (&Args, DiskStorage),
    settings: &Settings,
    metrics: &Metrics,
) -> Result<CommitThread, RunError> {
    let journal = commit::settings(settings.journal_bytes, space::capacity_bytes(&args.data));
    Committer::start(storage, journal, metrics.clone())
        .map_err(|error| RunError::Data { folder: args.data.clone(), reason: crate::error_text(&error) })
}

/// Starts what is done for the logs beside requests.
fn keep_up(broker: &Arc<Broker>, tasks: &Tasks, (recovered, clean): (bool, bool)) {
    let this = Arc::clone(broker);
    drop(tasks.spawn_until_shutdown("logs", async move {
        if !recovered {
            upkeep::open_logs(&this.topics).await;
            recover(&this).await;
        }
        if !clean {
            upkeep::scrub(&this).await;
        }
    }));
    let this = Arc::clone(broker);
    drop(tasks.spawn_until_shutdown("ends", async move { upkeep::note_ends(&this).await }));
}

fn folder_failed(folder: &Path, action: &'static str) -> impl FnOnce(io::Error) -> RunError {
    let folder = folder.to_owned();
    move |source| RunError::Folder { folder, action, source }
}

fn read_settings(args: &Args) -> Result<Settings, RunError> {
    let plain_only = args.tls_listen.is_none();
    let mut settings = Settings { auto_create_topics: plain_only, ..Settings::default() };
    if let Some(file) = &args.config {
        let text = std::fs::read_to_string(file)
            .map_err(|source| RunError::SettingsFile { file: file.clone(), source })?;
        let wrong =
            |error: SettingsError| RunError::Settings { file: file.clone(), reason: error.to_string() };
        settings = settings.read(&text).map_err(wrong)?;
    }
    settings.auto_create_topics |= args.auto_create_topics;
    settings.default_partitions = args.default_partitions.unwrap_or(settings.default_partitions);
    Ok(settings)
}

/// Opens the ports first: a port that is taken should change nothing on disk.
async fn bind(args: &Args) -> Result<Vec<Listener>, RunError> {
    if args.listen.is_none() && args.tls_listen.is_none() {
        return Err(RunError::NoListener);
    }
    let mut listeners = Vec::new();
    let open = async |address: SocketAddr| {
        TcpListener::bind(address).await.map_err(|source| RunError::Listen { address, source })
    };
    if let (Some(address), Some(folder)) = (args.tls_listen, &args.tls_dir) {
        let credentials = Credentials::new(Material::from_folder(folder)?);
        listeners.push(Listener {
            socket: open(address).await?,
            security: Security::Tls(credentials),
            advertise: args.advertise.clone(),
        });
    }
    if let Some(address) = args.listen {
        if !address.ip().is_loopback() && !args.allow_plain {
            return Err(RunError::PlainListener(address));
        }
        let advertise = args.advertise.clone().filter(|_| args.tls_listen.is_none());
        listeners.push(Listener { socket: open(address).await?, security: Security::Plain, advertise });
    }
    Ok(listeners)
}

/// Makes the folder and keeps others out of it for as long as the file is held.
fn lock(folder: &Path) -> Result<File, RunError> {
    let failed = |action: &'static str| {
        move |source: io::Error| RunError::Folder { folder: folder.to_owned(), action, source }
    };
    std::fs::create_dir_all(folder).map_err(failed("making it"))?;
    let mut options = OpenOptions::new();
    let options = options.read(true).write(true).create(true).truncate(false);
    let file = options.open(folder.join(LOCK_NAME)).map_err(failed("opening the lock file"))?;
    match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(RunError::Locked(folder.to_owned())),
        Err(error) => Err(failed("locking it")(error.into())),
    }
}

/// What a broker is built on.
pub(crate) struct Foundation {
    pub(crate) storage: DiskStorage,
    pub(crate) committer: Committer,
    pub(crate) metrics: Metrics,
    pub(crate) teller: Arc<Teller>,
    pub(crate) tasks: Tasks,
}

/// Opens all that is stored. Starts no task.
pub(crate) async fn open(
    args: &Args,
    settings: Settings,
    Foundation { storage, committer, metrics, teller, tasks }: Foundation,
) -> Result<(Arc<Broker>, Arc<Store>), OpenError> {
    let store = Store::open(storage.clone(), committer.clone())?;
    if store.is_empty() && storage.list("topics").is_ok_and(|topics| !topics.is_empty()) {
        let reason = "there are topics in the folder, and the folder meta that knows them is empty";
        return Err(StoreError::Damaged(reason.to_owned()).into());
    }
    let (cluster_id, leader_epoch) = identify(&store).await?;
    let ground = Ground {
        storage,
        committer: committer.clone(),
        metrics: metrics.clone(),
        leader_epoch,
        producer_expiration_ms: settings.producer_expiration_ms,
    };
    let configs = Arc::new(DynamicConfigs::open(&store, settings.consumer_groups)?);
    let defaults = configs.topic_defaults(&settings.topic_defaults);
    let topics = Topics::open(&store, ground, &defaults, settings.partitions_max)?;
    if committer.is_recovering() {
        upkeep::open_logs(&topics).await;
    }
    committer.settle().map_err(StoreError::from)?;
    let broker = Broker {
        cluster_id,
        leader_epoch,
        topics,
        groups: Coordinator::open(&store, (limits(&settings), &configs), tasks.clone(), metrics.clone())?,
        producer_ids: ProducerIds::open(&store)?,
        transactions: Transactions::open(&store, settings.transactions, tasks.clone(), metrics.clone())?,
        sasl: Arc::new(verifier(&store, &settings.sasl)?),
        access: Access::open(&store, policy(args, &settings), metrics.clone())?,
        quotas: Quotas::open(&store, settings.quotas.clone(), metrics.clone())?,
        space: Space::new(args.data.clone(), settings.free_bytes_min, (metrics.clone(), teller)),
        committer,
        metrics,
        shutdown: tasks.shutdown().clone(),
        settings,
        configs,
    };
    Ok((Arc::new(broker), store))
}

fn limits(settings: &Settings) -> Limits {
    Limits {
        classic: group::Limits {
            initial_delay_ms: settings.initial_rebalance_delay_ms,
            session_timeout_ms_min: settings.session_timeout_ms_min,
            session_timeout_ms_max: settings.session_timeout_ms_max,
            size_max: settings.group_size_max,
        },
        consumer: consumer_group::Limits {
            session_timeout_ms: u64::from(settings.consumer_groups.session.ms.unsigned_abs()),
            heartbeat_interval_ms: settings.consumer_groups.heartbeat.ms,
            size_max: settings.consumer_groups.size_max,
        },
    }
}

fn verifier(store: &Arc<Store>, settings: &SaslSettings) -> Result<Verifier, OpenError> {
    let keys = settings.keys_file.as_deref().map(|file| Keys::open(file, settings.expected.clone()));
    Ok(Verifier {
        users: Users::open(store, settings.users_file.clone(), settings.hashes())?,
        keys: keys.transpose().map_err(OpenError::Keys)?,
    })
}

fn policy(args: &Args, settings: &Settings) -> Policy {
    let by_flag = args.super_users.iter().map(|account| format!("User:{account}"));
    Policy {
        super_users: by_flag.chain(settings.super_users.iter().cloned()).collect(),
        allow_if_no_rule: settings.allow_if_no_rule,
        active: settings.authorizer || args.tls_listen.is_some(),
    }
}

/// Starts all tasks; returns the real addresses of the listeners.
fn serve(
    args: &Args,
    broker: &Arc<Broker>,
    tasks: &Tasks,
    listeners: Vec<Listener>,
) -> Result<Vec<SocketAddr>, RunError> {
    let places =
        listen::Places::new(broker.settings.connections_max, broker.settings.connections_per_address_max);
    let sasl = sasl_rules(broker);
    if sasl.is_some() {
        drop(tasks.spawn_until_shutdown("users", crate::sasl::users::follow(Arc::clone(&broker.sasl))));
    }
    let kept_out = Arc::new(Semaphore::new(listen::KEPT_OUT_MAX));
    let door = Door { broker: Arc::clone(broker), tasks: tasks.clone(), places, sasl, kept_out };
    let mut addresses = Vec::new();
    for listener in listeners {
        let address = listener.socket.local_addr();
        let unknown = SocketAddr::from(([0, 0, 0, 0], 0));
        addresses.push(address.map_err(|source| RunError::Listen { address: unknown, source })?);
        if let (Security::Tls(credentials), Some(folder)) = (&listener.security, &args.tls_dir) {
            drop(tasks.spawn_until_shutdown("credentials", follow(credentials.clone(), folder.clone())));
        }
        drop(tasks.spawn_until_shutdown("listener", listen::run(listener, door.clone())));
    }
    let this = Arc::clone(broker);
    drop(tasks.spawn_until_shutdown("groups", async move { this.groups.run().await }));
    let this = Arc::clone(broker);
    drop(tasks.spawn_until_shutdown("transactions", async move { this.transactions.run(&this).await }));
    let this = Arc::clone(broker);
    drop(tasks.spawn_until_shutdown("space", async move {
        loop {
            sleep(SPACE_CHECK).await;
            this.space.check();
        }
    }));
    drop(tasks.spawn_until_shutdown("retention", retain(Arc::clone(broker))));
    drop(tasks.spawn_until_shutdown("compaction", compaction::run(Arc::clone(broker))));
    let this = Arc::clone(broker);
    drop(tasks.spawn_until_shutdown("offsets", async move {
        loop {
            sleep(this.settings.offsets_check).await;
            let pending = &this.transactions.pending;
            this.groups.expire(this.settings.offsets_retention_ms, pending).await;
        }
    }));
    Ok(addresses)
}

/// What gates ask for; `None` when nobody is asked to authenticate.
fn sasl_rules(broker: &Arc<Broker>) -> Option<Arc<gate::Rules>> {
    let settings = &broker.settings.sasl;
    let rules = || gate::Rules {
        mechanisms: settings.mechanisms.clone(),
        verifier: Arc::clone(&broker.sasl),
        session_ms_max: settings.session_ms_max,
        failure_delay: settings.failure_delay,
    };
    (!settings.mechanisms.is_empty()).then(|| Arc::new(rules()))
}

async fn retain(broker: Arc<Broker>) {
    loop {
        sleep(broker.settings.retention_check).await;
        for topic in broker.topics.all() {
            for partition in &*topic.partitions() {
                let partition = Arc::clone(partition);
                // Removing files blocks.
                if let Err(error) = tokio::task::spawn_blocking(move || partition.expire()).await {
                    tracing::error!(%error, topic = %topic.name, "retention panicked");
                }
            }
        }
    }
}

/// Reads keys and certificates again; what cannot be read leaves the old ones in use.
async fn follow(credentials: Credentials, folder: PathBuf) {
    loop {
        sleep(CREDENTIALS_CHECK).await;
        match Material::from_folder(&folder) {
            Ok(material) => credentials.replace(material),
            Err(error) => {
                tracing::warn!(error = crate::error_text(&error), "cannot read the TLS folder again")
            }
        }
    }
}

fn announce(args: &Args, addresses: &[SocketAddr], admin: Option<SocketAddr>) -> Result<(), RunError> {
    for address in addresses {
        tracing::info!(%address, "listening on {address}");
    }
    if let Some(file) = &args.ready_file {
        let text = |address: Option<&SocketAddr>| address.map(ToString::to_string);
        let contents = serde_json::json!({
            "kafka": text(addresses.first()),
            "admin": text(admin.as_ref()),
        });
        ready_file::write(file, &contents.to_string())
            .map_err(|source| RunError::ReadyFile { file: file.clone(), source })?;
    }
    Ok(())
}
