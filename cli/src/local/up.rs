//! `pinnace up`: wires local mode and ends it in order. What each part does is its own file's.

use super::apply::{Running, places};
use super::attach;
use super::child::Nursery;
use super::context::{Context, Layers};
use super::folder::{DataFolder, RunFolder, write_secret};
use super::manifests::{ReadError, Reader};
use super::parts::Parts;
use super::reaper::Reaper;
use super::report::{Event, Events, PartSummary, Summary, print, resident_bytes};
use super::screen::{self, Screen};
use super::totals::{Counts, Totals};
use super::{links, scrape};
use crate::args::UpArgs;
use anyhow::Context as _;
use control_plane::authority::ServerNames;
use control_plane::{ControlPlane, Metrics, Settings, TokenTable};
use runtime::clock::Instant;
use runtime::shutdown::Shutdown;
use runtime::tasks::{OnError, Tasks};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

const FILES_POLL: Duration = Duration::from_millis(500);
const SCRAPE_EVERY: Duration = Duration::from_secs(1);
/// How long consumers may take to get what is under way, once the publishers have stopped.
const DRAIN_MAX: Duration = Duration::from_secs(10);
/// Nothing moved for this long: the consumers have drained.
const DRAIN_STILL: Duration = Duration::from_millis(1_200);
/// How often rates are told where there is no screen.
const RATES_EVERY: Duration = Duration::from_secs(10);
const DRAIN_POLL: Duration = Duration::from_millis(300);
/// How long each layer may take to stop; its parts have shorter deadlines of their own.
const LAYER_DEADLINE: Duration = Duration::from_secs(20);

/// Runs local mode until a signal, or for the time asked for.
///
/// # Errors
/// When the folders cannot be used. What is wrong in a manifest is told and is no error.
pub(crate) async fn up(args: UpArgs, shutdown: Shutdown) -> anyhow::Result<()> {
    let (events, receiver) = Events::channel();
    let own = Tasks::new(Shutdown::new());
    let started = runtime::clock::now();
    let (context, reader) = prepare(&args, &events, &own).await?;
    let problems = Arc::new(AtomicU64::new(0));
    let quiet = args.json;
    let on_screen = screen::wanted(quiet, args.plain);
    let screen = if on_screen { Some(Screen::open(&context)?) } else { None };
    let printer = spawn_printer(receiver, quiet, Arc::clone(&problems), screen, shutdown.clone());
    events.send(Event::Notice { text: format!("data in {}", context.data.path.display()) }).await;
    let mut runner = Runner {
        running: Running::new(context.clone()),
        reader,
        totals: Totals::default(),
        on_screen,
        context,
    };
    let limit = args.run_for;
    runner.run(limit, &shutdown, started).await?;
    let mut summary = runner.end(started).await;
    own.shutdown().begin();
    own.drain(LAYER_DEADLINE).await;
    runner.context.nursery.reaper.stop();
    drop((runner, events));
    // The printer ends when the last part that could tell something is gone.
    drop(printer.await);
    summary.problems = problems.load(Ordering::Relaxed);
    summary.lines().iter().for_each(|line| print(line, quiet));
    if quiet {
        print(&summary.json(), false);
    }
    Ok(())
}

async fn prepare(args: &UpArgs, events: &Events, own: &Tasks) -> anyhow::Result<(Context, Reader)> {
    let mut reader = Reader::new(&args.file);
    // A folder that is not there is an error now and not an empty mesh.
    reader.poll()?;
    let data = Arc::new(DataFolder::open(&args.data_folder())?);
    let program = std::env::current_exe().context("failed to find this very executable")?;
    let reaper =
        Reaper::start(&program).context("failed to start the process that cleans up after a crash")?;
    let run = Arc::new(RunFolder::make()?);
    reaper.add_folder(run.path());
    let authority = data.authority(runtime::clock::unix_seconds())?;
    let trust_bundle = run.path().join("roots.pem");
    write_secret(&trust_bundle, &authority.bundle_pem())?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("failed to open a port")?;
    let control = listener.local_addr().context("failed to open a port")?;
    let tokens = Arc::new(TokenTable::new());
    let names = ServerNames {
        dns: vec!["localhost".to_owned()],
        addresses: vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
        ..ServerNames::default()
    };
    let patience = Settings {
        settle: Duration::ZERO,
        linger: Duration::from_secs(2),
        server_names: names,
        ..Settings::default()
    };
    let metrics = Metrics::register(&prometheus::Registry::new())?;
    let plane = ControlPlane::new(patience, authority, tokens.clone(), metrics);
    let objects = plane.objects();
    let ending = own.shutdown().clone();
    drop(own.spawn("control plane", OnError::Log, plane.serve(listener, ending)));
    let search_path = links::search_path(&run.child("bin")?, &program, args.search_path.as_deref())?;
    let nursery = Nursery { reaper, events: events.clone() };
    let context = Context {
        program,
        data,
        run,
        nursery,
        parts: Parts::default(),
        events: events.clone(),
        objects,
        tokens,
        control,
        trust_bundle,
        search_path,
        layers: Layers::new(),
    };
    attach::listen(&context, own)?;
    Ok((context, Reader::new(&args.file)))
}

/// Prints until nobody is left who could tell something.
fn spawn_printer(
    mut receiver: mpsc::Receiver<Event>,
    quiet: bool,
    problems: Arc<AtomicU64>,
    screen: Option<Screen>,
    shutdown: Shutdown,
) -> tokio::task::JoinHandle<()> {
    let tasks = Tasks::new(Shutdown::new());
    tasks.spawn("printer", OnError::Log, async move {
        if let Some(screen) = screen {
            return screen.run(receiver, problems, shutdown).await;
        }
        while let Some(event) = receiver.recv().await {
            if event.is_problem() {
                problems.fetch_add(1, Ordering::Relaxed);
            }
            print(&event.line(), quiet);
        }
        Ok::<_, std::io::Error>(())
    })
}

struct Runner {
    context: Context,
    running: Running,
    reader: Reader,
    totals: Totals,
    on_screen: bool,
}

/// A line for each Topic and Channel: how much since the last time.
fn rate_lines(now: &super::parts::ObjectCounts, before: &super::parts::ObjectCounts) -> Vec<String> {
    let line = |kind: &str, name: &String, new: &Counts, old: Option<&Counts>| {
        let old = old.copied().unwrap_or_default();
        let rate = |new: u64, old: u64| new.saturating_sub(old) / RATES_EVERY.as_secs();
        let (published, delivered) = (rate(new.published, old.published), rate(new.delivered, old.delivered));
        format!("{kind} {name}: {published}/s published, {delivered}/s delivered, {} lost", new.lost)
    };
    let topics = now.topics.iter().map(|(name, new)| line("Topic", name, new, before.topics.get(name)));
    let channels =
        now.channels.iter().map(|(name, new)| line("Channel", name, new, before.channels.get(name)));
    topics.chain(channels).collect()
}

impl Runner {
    /// Follows the files and the counters until it is time to end.
    async fn run(
        &mut self,
        limit: Option<Duration>,
        shutdown: &Shutdown,
        started: Instant,
    ) -> Result<(), ReadError> {
        let manifests = self.reader.poll()?.unwrap_or_default();
        if shutdown.or(self.running.apply(manifests)).await.is_none() {
            return Ok(());
        }
        let end = async {
            match limit {
                Some(limit) => tokio::time::sleep_until(started + limit).await,
                None => std::future::pending().await,
            }
        };
        let mut end = std::pin::pin!(end);
        let (mut files, mut counters) =
            (tokio::time::interval(FILES_POLL), tokio::time::interval(SCRAPE_EVERY));
        let mut rates = tokio::time::interval(RATES_EVERY);
        rates.tick().await;
        let mut told = super::parts::ObjectCounts::default();
        loop {
            tokio::select! {
                () = &mut end => return Ok(()),
                () = shutdown.begun() => return Ok(()),
                _ = files.tick() => self.follow(shutdown).await,
                _ = counters.tick() => self.count().await,
                _ = rates.tick(), if !self.on_screen => {
                    let counts = self.counts(false);
                    for text in rate_lines(&counts, &told) {
                        self.context.events.send(Event::Notice { text }).await;
                    }
                    told = counts;
                }
            }
        }
    }

    async fn follow(&mut self, shutdown: &Shutdown) {
        match self.reader.poll() {
            Ok(None) => {}
            Ok(Some(manifests)) => {
                shutdown.or(self.running.apply(manifests)).await;
            }
            Err(error) => {
                let text = format!("{error}; what runs goes on");
                self.context.events.send(Event::Manifest { text }).await;
                tokio::time::sleep(FILES_POLL * 4).await;
            }
        }
    }

    /// Scrapes every broker and sidecar once.
    async fn count(&mut self) {
        let parts = self.context.parts.list().into_iter();
        let asked = parts.filter_map(|(_, name, state)| Some((name, state.ready?.admin?)));
        let asking = asked.map(|(name, admin)| async move {
            let text = scrape::get(&admin, "/metrics").await.unwrap_or_default();
            (name, scrape::samples(&text))
        });
        for (name, samples) in futures::future::join_all(asking).await {
            self.totals.take(&name, &samples);
        }
        self.context.parts.set_counts(self.counts(false));
    }

    fn counts(&self, drained: bool) -> super::parts::ObjectCounts {
        let manifests = &self.running.manifests;
        let topics = places(manifests);
        super::parts::ObjectCounts {
            topics: topics
                .iter()
                .map(|(name, place)| (name.to_string(), self.totals.topic(name, place, drained)))
                .collect(),
            channels: manifests
                .channels
                .keys()
                .map(|name| (name.to_string(), self.totals.channel(name)))
                .collect(),
        }
    }

    /// Stops publishers, lets consumers drain, counts, then stops everything: apps, sidecars, brokers.
    async fn end(&mut self, started: Instant) -> Summary {
        self.count().await;
        let parts = self.memory();
        let totals = self.totals.clone();
        let publishes = |name: &str| matches!(totals.part(name), (1.., 0));
        self.running.stop_apps(publishes).await;
        self.drain().await;
        let seconds = runtime::clock::now().saturating_duration_since(started).as_secs_f64();
        let counts = self.counts(true);
        let layers = &self.context.layers;
        for layer in [&layers.apps, &layers.sidecars, &layers.brokers] {
            layer.shutdown().begin();
            layer.drain(LAYER_DEADLINE).await;
        }
        Summary {
            seconds: (seconds * 10.0).round() / 10.0,
            topics: counts.topics,
            channels: counts.channels,
            parts,
            problems: 0,
        }
    }

    async fn drain(&mut self) {
        let begun = runtime::clock::now();
        let (mut last, mut still_since) = (self.totals.moved(), begun);
        loop {
            tokio::time::sleep(DRAIN_POLL).await;
            self.count().await;
            let now = runtime::clock::now();
            let moved = self.totals.moved();
            if moved != last {
                (last, still_since) = (moved, now);
            }
            let still = now.saturating_duration_since(still_since) >= DRAIN_STILL;
            if still || now.saturating_duration_since(begun) >= DRAIN_MAX {
                return;
            }
        }
    }

    fn memory(&self) -> BTreeMap<String, PartSummary> {
        let parts = self.context.parts.list().into_iter().map(|(kind, name, state)| {
            let resident_bytes = state.pid.map(resident_bytes).unwrap_or_default();
            let summary = PartSummary { kind: kind.word(), resident_bytes, restarts: state.restarts };
            (format!("{} {name}", kind.word()), summary)
        });
        let own = PartSummary { kind: "up", resident_bytes: resident_bytes(std::process::id()), restarts: 0 };
        parts.chain([("up".to_owned(), own)]).collect()
    }
}
