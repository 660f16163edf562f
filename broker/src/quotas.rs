//! Client quotas: what was set for whom, kept durably, and how long somebody has to wait who goes over his.
//!
//! While there is no quota at all, a request pays for one look at a flag. Nothing here waits: whoever asks is told
//! for how long, and [`mute`] holds the connection to it.

mod bucket;
pub(crate) mod entity;
pub(crate) mod hold;
mod limits;
pub(crate) mod mutation;
pub(crate) mod mute;
mod rate;
mod sensors;

use std::{
    net::IpAddr,
    sync::{
        Arc, Mutex as Lock, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bucket::Bucket;
use entity::{Entity, Kind};
use kafka_wire::ErrorCode;
pub(crate) use limits::Values;
use limits::{All, Limits, Who};
use mutation::Mutation;
use rate::Rate;
pub(crate) use rate::Windows;
use runtime::clock::{self, Instant};
use sensors::Sensors;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use crate::{
    broker::Context,
    metrics::Metrics,
    partition::Refusal,
    settings::QuotaSettings,
    store::{Change, Store, StoreError, json_change},
    topics::unstored,
};

const PREFIX: &str = "quota/";
/// Entities with quotas: each is kept in memory.
const ENTITIES_MAX: usize = 10_000;
/// Clients that are counted at a time, of each kind of count. One that finds no room is not held to its quota, and that
/// is counted.
const SENSORS_MAX: usize = 20_000;

/// One change to an entity: the kind, and the value, or `None` to remove it.
pub(crate) type Alteration = (Kind, Option<f64>);

/// The quotas of an entity as they are kept: values as text, which comes back exactly.
#[derive(Serialize, Deserialize)]
struct Stored {
    entity: Entity,
    values: Vec<(String, String)>,
}

#[derive(Default)]
struct Known {
    quotas: All,
    limits: Limits,
}

/// All quotas, and what was counted for them.
pub(crate) struct Quotas {
    known: RwLock<Known>,
    /// There is at least one.
    in_use: AtomicBool,
    rates: Sensors<(Kind, Who), Rate>,
    buckets: Sensors<Who, Bucket>,
    /// Connections of the whole broker.
    accepted: Lock<Rate>,
    settings: QuotaSettings,
    opened: Instant,
    store: Arc<Store>,
    metrics: Metrics,
    /// One change at a time: the order on disk is that in memory.
    changing: Mutex<()>,
}

impl Quotas {
    /// Reads what earlier runs were told.
    pub(crate) fn open(
        store: &Arc<Store>,
        settings: QuotaSettings,
        metrics: Metrics,
    ) -> Result<Self, StoreError> {
        let mut quotas = All::new();
        for (key, stored) in store.load::<Stored>(PREFIX)? {
            let read = |(key, value): &(String, String)| Some((Kind::from_key(key)?, value.parse().ok()?));
            let values: Option<Values> = stored.values.iter().map(read).collect();
            let damaged = || StoreError::Damaged(format!("{PREFIX}{key} has a quota that cannot be read"));
            quotas.insert(stored.entity, values.ok_or_else(damaged)?);
        }
        let this = Self {
            known: RwLock::default(),
            in_use: AtomicBool::new(false),
            rates: Sensors::new(SENSORS_MAX, settings.windows),
            buckets: Sensors::new(SENSORS_MAX, settings.mutation_windows),
            accepted: Lock::default(),
            settings,
            opened: clock::now(),
            store: Arc::clone(store),
            metrics,
            changing: Mutex::default(),
        };
        this.use_from_now_on(quotas);
        Ok(this)
    }

    fn use_from_now_on(&self, quotas: All) {
        self.in_use.store(!quotas.is_empty(), Ordering::Relaxed);
        let limits = Limits::of(&quotas);
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = Known { quotas, limits };
    }

    fn read<T>(&self, look: impl FnOnce(&Known) -> T) -> T {
        look(&self.known.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether anybody has a quota. All else is only worth asking then.
    pub(crate) fn in_use(&self) -> bool {
        self.in_use.load(Ordering::Relaxed)
    }

    /// The entities that `matches` picks, with their quotas.
    pub(crate) fn list(&self, matches: impl Fn(&Entity) -> bool) -> Vec<(Entity, Values)> {
        self.read(|known| {
            let picked = known.quotas.iter().filter(|(entity, _)| matches(entity));
            picked.map(|(entity, values)| (entity.clone(), values.clone())).collect()
        })
    }

    /// Changes quotas, each entity's all or none; says for each how that went. Durable before it holds.
    pub(crate) async fn alter(
        &self,
        alterations: Vec<Result<(Entity, Vec<Alteration>), Refusal>>,
        only_check: bool,
    ) -> Vec<Result<(), Refusal>> {
        let _one = self.changing.lock().await;
        let mut quotas = self.read(|known| known.quotas.clone());
        let mut changed = std::collections::BTreeSet::new();
        let mut outcomes = Vec::with_capacity(alterations.len());
        for alteration in alterations {
            outcomes.push(alteration.and_then(|(entity, changes)| {
                change(&mut quotas, &entity, &changes)?;
                changed.insert(entity);
                Ok(())
            }));
        }
        if only_check || changed.is_empty() {
            return outcomes;
        }
        if let Err(refusal) = self.keep(changed.iter().map(|entity| (entity, quotas.get(entity)))).await {
            for outcome in outcomes.iter_mut().filter(|outcome| outcome.is_ok()) {
                *outcome = Err(refusal.clone());
            }
            return outcomes;
        }
        self.use_from_now_on(quotas);
        outcomes
    }

    async fn keep<'a>(
        &self,
        changed: impl Iterator<Item = (&'a Entity, Option<&'a Values>)>,
    ) -> Result<(), Refusal> {
        let changes: Result<Vec<Change>, StoreError> =
            changed.map(|(entity, values)| stored(entity, values)).collect();
        let written = self.store.write(changes.map_err(unstored)?).map_err(unstored)?;
        written.await.map_err(unstored)
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn limit(&self, context: &Context, kind: Kind) -> Option<(f64, Who)> {
        let principal = context.caller.principal.text();
        let user = principal.strip_prefix("User:").unwrap_or(principal);
        self.read(|known| known.limits.of_client(kind, user, &context.client_id))
    }

    /// Counts bytes that a client produces; the milliseconds that it has to wait.
    pub(crate) fn produced(&self, context: &Context, bytes: usize) -> i32 {
        let Some((limit, who)) = self.limit(context, Kind::Produce) else { return 0 };
        let count = |rate: &mut Rate, windows, now_ms| {
            rate.record(float(bytes), now_ms, windows);
            rate.wait_ms(0.0, limit, now_ms, windows)
        };
        self.counted((Kind::Produce, who), count)
    }

    /// The bytes that one fetch should bring at most: as much as all windows together may have.
    pub(crate) fn fetch_bytes_max(&self, context: &Context) -> usize {
        let Some((limit, _)) = self.limit(context, Kind::Fetch) else { return usize::MAX };
        let bytes = (limit * self.settings.windows.full_seconds()).max(1.0);
        let whole = Duration::try_from_secs_f64(bytes).map_or(u64::MAX, |seconds| seconds.as_secs());
        usize::try_from(whole).unwrap_or(usize::MAX)
    }

    /// Counts bytes that a client fetches; the milliseconds that it has to wait, and whether it gets nothing before
    /// that, and nothing is counted. What is alone over the quota is given all the same: it would never come.
    pub(crate) fn fetched(&self, context: &Context, bytes: usize) -> (i32, bool) {
        let Some((limit, who)) = self.limit(context, Kind::Fetch) else { return (0, false) };
        let mut withheld = false;
        let count = |rate: &mut Rate, windows, now_ms| {
            let wait_ms = rate.wait_ms(float(bytes), limit, now_ms, windows);
            withheld = wait_ms > 0.0 && !rate.is_empty(now_ms, windows);
            if !withheld && bytes > 0 {
                rate.record(float(bytes), now_ms, windows);
            }
            wait_ms
        };
        let wait_ms = self.counted((Kind::Fetch, who), count);
        (wait_ms, withheld && wait_ms > 0)
    }

    /// Counts time for which a client kept a thread; the milliseconds that it has to wait, one window at most.
    pub(crate) fn worked(&self, context: &Context, spent: Duration) -> i32 {
        let Some((limit, who)) = self.limit(context, Kind::Request) else { return 0 };
        let count = |rate: &mut Rate, windows: Windows, now_ms| {
            rate.record(spent.as_secs_f64() * 100.0, now_ms, windows);
            rate.wait_ms(0.0, limit, now_ms, windows).min(f64::from(windows.seconds) * 1_000.0)
        };
        self.counted((Kind::Request, who), count)
    }

    /// What a client may change of topics. `strict`: its requests are told to come again later.
    pub(crate) fn mutation(&self, context: &Context, strict: bool) -> Mutation {
        let limit = if self.in_use() { self.limit(context, Kind::Mutation) } else { None };
        Mutation::new(limit, strict)
    }

    /// Counts a connection from an address; how long it is to be kept out.
    pub(crate) fn connected(&self, address: IpAddr) -> Option<Duration> {
        let address = address.to_canonical().to_string();
        let (limit, who) = self.read(|known| known.limits.of_address(&address))?;
        let count = |rate: &mut Rate, windows: Windows, now_ms| {
            let wait_ms = rate.wait_ms(1.0, limit, now_ms, windows);
            if wait_ms <= 0.0 {
                // One that is kept out is not counted.
                rate.record(1.0, now_ms, windows);
            }
            wait_ms.min(f64::from(windows.seconds) * 1_000.0)
        };
        Some(self.counted((Kind::Connection, who), count)).filter(|wait_ms| *wait_ms > 0).map(milliseconds)
    }

    /// Counts a connection to the broker; how long the next one has to wait.
    pub(crate) fn accepted(&self) -> Option<Duration> {
        let limit = f64::from(self.settings.connections_per_second_max?);
        let (windows, now_ms) = (self.settings.windows, self.now_ms());
        let mut rate = self.accepted.lock().unwrap_or_else(PoisonError::into_inner);
        rate.record(1.0, now_ms, windows);
        let wait_ms = rate.wait_ms(0.0, limit, now_ms, windows).min(f64::from(windows.seconds) * 1_000.0);
        let wait_ms = whole(wait_ms);
        self.note("broker_connection", wait_ms);
        (wait_ms > 0).then(|| milliseconds(wait_ms))
    }

    fn counted(&self, key: (Kind, Who), count: impl FnOnce(&mut Rate, Windows, u64) -> f64) -> i32 {
        let (kind, now_ms) = (key.0, self.now_ms());
        let counted = self.rates.with(key, now_ms, |rate, windows| count(rate, windows, now_ms));
        self.settle(kind, counted)
    }

    fn settle(&self, kind: Kind, wait_ms: Option<f64>) -> i32 {
        let Some(wait_ms) = wait_ms else {
            self.metrics.quotas.unmetered.inc();
            return 0;
        };
        let wait_ms = whole(wait_ms);
        self.note(kind.label(), wait_ms);
        wait_ms
    }

    fn note(&self, label: &str, wait_ms: i32) {
        if wait_ms > 0 {
            self.metrics.quotas.throttled.with_label_values(&[label]).inc();
            self.metrics
                .quotas
                .throttled_seconds
                .with_label_values(&[label])
                .inc_by(f64::from(wait_ms) / 1_000.0);
        }
    }
}

/// Gives an entity other quotas.
fn change(quotas: &mut All, entity: &Entity, changes: &[Alteration]) -> Result<(), Refusal> {
    if !quotas.contains_key(entity) && quotas.len() >= ENTITIES_MAX {
        let text = format!("{ENTITIES_MAX} entities have quotas already");
        return Err(Refusal::new(ErrorCode::PolicyViolation, text));
    }
    let values = quotas.entry(entity.clone()).or_default();
    for (kind, value) in changes {
        match value {
            Some(value) => drop(values.insert(*kind, *value)),
            None => drop(values.remove(kind)),
        }
    }
    if values.is_empty() {
        quotas.remove(entity);
    }
    Ok(())
}

fn stored(entity: &Entity, values: Option<&Values>) -> Result<Change, StoreError> {
    let key = PREFIX.to_owned() + &key(entity)?;
    let Some(values) = values else { return Ok((key, None)) };
    let values = values.iter().map(|(kind, value)| (kind.key().to_owned(), value.to_string())).collect();
    json_change(key, &Stored { entity: entity.clone(), values })
}

/// One for each entity, whatever its names are made of.
fn key(entity: &Entity) -> Result<String, StoreError> {
    serde_json::to_string(entity).map_err(|source| StoreError::Encode { key: PREFIX.to_owned(), source })
}

fn milliseconds(wait_ms: i32) -> Duration {
    Duration::from_millis(u64::from(wait_ms.unsigned_abs()))
}

/// A time that was computed, as answers have it.
fn whole(wait_ms: f64) -> i32 {
    let wait = Duration::try_from_secs_f64(wait_ms.max(0.0) / 1_000.0).unwrap_or(Duration::MAX);
    i32::try_from(wait.as_millis()).unwrap_or(i32::MAX)
}

/// Bytes as what rates are made of; above 2^53 nobody counts single ones.
#[expect(clippy::cast_precision_loss, reason = "sizes of requests are far below what a float holds exactly")]
fn float(bytes: usize) -> f64 {
    bytes as f64
}

#[cfg(test)]
mod tests;
