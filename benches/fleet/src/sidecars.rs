//! Sidecars that are made up: each proves a service account with a token of its own, follows its view as a real one
//! does, and comes back when the control plane goes. What they know is looked at from outside.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use hyper_util::rt::TokioIo;
use prost::Message as _;
use proto::control::control_client::ControlClient;
use proto::control::{CertifyRequest, ChannelUse, Report, View};
use runtime::backoff::Backoff;
use runtime::clock::{self, Instant};
use runtime::tasks::{TaskGuard, Tasks};
use runtime::tls::{self, Credentials, Expect, Material};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tonic::transport::{Channel, Endpoint};

use crate::objects::{SHARED_CHANNEL, SHARED_NAMESPACE, namespace};

/// As a sidecar does.
const PAUSE_FIRST: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(10);
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// Sidecars that ask for their first certificate at a time.
const STARTS_MAX: usize = 32;
/// So many of them publish; all subscribe.
const PUBLISHERS: usize = 10;
/// Between two looks at all of them.
const LOOK: Duration = Duration::from_millis(2);
/// How often somebody who waits is told how far it is.
const TELL_PERIOD: Duration = Duration::from_secs(5);

/// Where the control plane is, and what its certificate must name.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) address: String,
    pub(crate) server_name: String,
    pub(crate) bundle_pem: String,
}

/// What one of them knows.
#[derive(Default)]
struct Mirror {
    /// Streams that the control plane took.
    streams: AtomicU64,
    /// Version of the last view; 0 = none yet.
    version: AtomicU64,
    publishers: AtomicUsize,
    block_timeout_ms: AtomicU32,
}

/// What they all count.
#[derive(Default)]
struct Counters {
    views: AtomicU64,
    bytes: AtomicU64,
    /// Views that name fewer publishers than the one before.
    shrunken: AtomicU64,
}

/// See the module. They end when it is dropped.
pub(crate) struct Herd {
    mirrors: Vec<Arc<Mirror>>,
    counters: Arc<Counters>,
    _tasks: Vec<TaskGuard>,
}

/// One of them.
struct Sidecar {
    number: usize,
    place: Place,
    token: String,
    mirror: Arc<Mirror>,
    counters: Arc<Counters>,
    starts: Arc<Semaphore>,
}

impl Herd {
    /// Starts one for each token.
    pub(crate) fn start(place: &Place, tokens: Vec<String>, tasks: &Tasks) -> Self {
        let counters = Arc::new(Counters::default());
        let starts = Arc::new(Semaphore::new(STARTS_MAX));
        let mut mirrors = Vec::new();
        let mut guards = Vec::new();
        for (number, token) in tokens.into_iter().enumerate() {
            let mirror = Arc::new(Mirror::default());
            mirrors.push(Arc::clone(&mirror));
            let (counters, starts) = (Arc::clone(&counters), Arc::clone(&starts));
            let sidecar = Sidecar { number, place: place.clone(), token, mirror, counters, starts };
            guards.push(tasks.spawn_guarded("sidecar", sidecar.run()));
        }
        Self { mirrors, counters, _tasks: guards }
    }

    /// How many streams of each the control plane took.
    pub(crate) fn streams(&self) -> Vec<u64> {
        self.mirrors.iter().map(|mirror| mirror.streams.load(Ordering::Acquire)).collect()
    }

    /// Waits until the control plane took another stream of each than these.
    pub(crate) async fn wait_streams(&self, before: &[u64], limit: Duration) -> Result<Instant> {
        self.wait("each sidecar to come back", limit, |number, mirror| {
            mirror.streams.load(Ordering::Acquire) > before.get(number).copied().unwrap_or(0)
        })
        .await
    }

    /// Waits until each has a view and knows all publishers.
    pub(crate) async fn wait_views(&self, limit: Duration) -> Result<Instant> {
        self.wait("a view for each sidecar", limit, |number, mirror| {
            mirror.version.load(Ordering::Acquire) > 0
                && mirror.publishers.load(Ordering::Acquire)
                    == others_that_publish(number, self.mirrors.len())
        })
        .await
    }

    /// Waits until each has a view with this setting.
    pub(crate) async fn wait_setting(&self, block_timeout_ms: u32, limit: Duration) -> Result<Instant> {
        self.wait("a change to reach each sidecar", limit, |_, mirror| {
            mirror.block_timeout_ms.load(Ordering::Acquire) == block_timeout_ms
        })
        .await
    }

    async fn wait(
        &self,
        what: &str,
        limit: Duration,
        right: impl Fn(usize, &Mirror) -> bool,
    ) -> Result<Instant> {
        let begin = clock::now();
        let mut told = begin;
        loop {
            let there =
                self.mirrors.iter().enumerate().filter(|(number, mirror)| right(*number, mirror)).count();
            if there == self.mirrors.len() {
                return Ok(clock::now());
            }
            if begin.elapsed() > limit {
                bail!("gave up waiting for {what}: {there} of {}", self.mirrors.len());
            }
            if told.elapsed() > TELL_PERIOD {
                told = clock::now();
                eprintln!("waiting for {what}: {there} of {}", self.mirrors.len());
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Views so far, and their bytes.
    pub(crate) fn views(&self) -> (u64, u64) {
        (self.counters.views.load(Ordering::Acquire), self.counters.bytes.load(Ordering::Acquire))
    }

    /// Views so far that named fewer publishers than the one before.
    pub(crate) fn shrunken(&self) -> u64 {
        self.counters.shrunken.load(Ordering::Acquire)
    }
}

/// A view names those that this sidecar has to dial: not itself.
fn others_that_publish(number: usize, sidecars: usize) -> usize {
    PUBLISHERS.min(sidecars) - usize::from(number < PUBLISHERS)
}

impl Sidecar {
    async fn run(self) {
        let mut backoff = Backoff::new(PAUSE_FIRST, PAUSE_MAX);
        let credentials = loop {
            match self.certify().await {
                Ok(credentials) => break credentials,
                Err(error) => self.complain(&error),
            }
            tokio::time::sleep(backoff.next_pause()).await;
        };
        let mut backoff = Backoff::new(PAUSE_FIRST, PAUSE_MAX);
        loop {
            if let Err(error) = self.follow(&credentials, &mut backoff).await {
                self.complain(&error);
            }
            tokio::time::sleep(backoff.next_pause()).await;
        }
    }

    /// One speaks for all: they fail for the same reasons.
    fn complain(&self, error: &anyhow::Error) {
        if self.number == 0 {
            eprintln!("a sidecar has no control plane: {error:#}");
        }
    }

    async fn certify(&self) -> Result<Credentials> {
        let _turn = self.starts.acquire().await?;
        let key = rcgen::KeyPair::generate()?;
        let csr = rcgen::CertificateParams::default().serialize_request(&key)?;
        let config = tls::anonymous_client_config(&self.place.bundle_pem, self.expect(), &[b"h2"])?;
        let channel = self.connect(config).await?;
        let request = CertifyRequest { token: self.token.clone(), csr: csr.der().to_vec().into() };
        let answer = ControlClient::new(channel).certify(request).await?.into_inner();
        let material = Material::from_pem(
            &answer.certificate_chain_pem,
            &key.serialize_pem(),
            &answer.trust_bundle_pem,
        )?;
        Ok(Credentials::new(material))
    }

    async fn follow(&self, credentials: &Credentials, backoff: &mut Backoff) -> Result<()> {
        let channel = self.connect(credentials.client_config(self.expect(), &[b"h2"])?).await?;
        let (_reports, receiver) = tokio::sync::watch::channel(self.report());
        let reports = tokio_stream::wrappers::WatchStream::new(receiver);
        let mut views = ControlClient::new(channel).follow(reports).await?.into_inner();
        self.mirror.streams.fetch_add(1, Ordering::AcqRel);
        while let Some(view) = views.message().await? {
            backoff.reset();
            self.take(&view);
        }
        Ok(())
    }

    fn take(&self, view: &View) {
        let bytes = u64::try_from(view.encoded_len()).unwrap_or(u64::MAX);
        self.counters.views.fetch_add(1, Ordering::AcqRel);
        self.counters.bytes.fetch_add(bytes, Ordering::AcqRel);
        let Some(shared) = view.channels.iter().find(|channel| channel.name == SHARED_CHANNEL) else {
            return;
        };
        let before = self.mirror.publishers.swap(shared.publishers.len(), Ordering::AcqRel);
        if shared.publishers.len() < before {
            self.counters.shrunken.fetch_add(1, Ordering::AcqRel);
        }
        self.mirror.block_timeout_ms.store(shared.block_timeout_ms, Ordering::Release);
        self.mirror.version.store(view.version, Ordering::Release);
    }

    fn report(&self) -> Report {
        let own = namespace(SHARED_NAMESPACE);
        let shared = ChannelUse {
            namespace: own.clone(),
            name: SHARED_CHANNEL.to_owned(),
            publishes: self.number < PUBLISHERS,
            subscribes: true,
        };
        Report {
            sidecar: format!("{own}/sidecar-{:05}", self.number),
            // Nobody dials it.
            peer_address: format!("192.0.2.1:{}", 10_000 + self.number % 50_000),
            channels: vec![shared],
            view_version: self.mirror.version.load(Ordering::Acquire),
            broker: String::new(),
        }
    }

    fn expect(&self) -> Expect {
        Expect::Names(vec![self.place.server_name.clone()])
    }

    async fn connect(&self, config: Arc<ClientConfig>) -> Result<Channel> {
        let (target, name) = (self.place.address.clone(), self.place.server_name.clone());
        let connector = tower::service_fn(move |_| {
            let (target, name, config) = (target.clone(), name.clone(), Arc::clone(&config));
            async move {
                let name = ServerName::try_from(name).map_err(std::io::Error::other)?;
                let stream = TcpStream::connect(target).await?;
                stream.set_nodelay(true)?;
                let stream = tokio_rustls::TlsConnector::from(config).connect(name, stream).await?;
                Ok::<_, std::io::Error>(TokioIo::new(stream))
            }
        });
        Endpoint::from_static("http://control")
            .connect_timeout(CONNECT_MAX)
            .http2_keep_alive_interval(PAUSE_MAX)
            .keep_alive_timeout(PAUSE_MAX)
            .keep_alive_while_idle(true)
            .connect_with_connector(connector)
            .await
            .context("failed to reach the control plane")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: one that publishes waits for one less, and few sidecars are not waited for in vain.
    #[test]
    fn nobody_waits_for_itself() {
        assert_eq!(others_that_publish(0, 1000), PUBLISHERS - 1);
        assert_eq!(others_that_publish(PUBLISHERS, 1000), PUBLISHERS);
        assert_eq!(others_that_publish(2, 3), 2);
    }
}
