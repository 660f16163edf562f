//! Starts the controllers, all alike: reconciles on changes that matter, bounded concurrency, a growing and
//! jittered pause for each object that fails. A reconcile assumes nothing about why it runs.

mod action;
pub mod broker;
pub mod channel;
mod failures;
pub mod subscription;
#[cfg(test)]
mod tests;
pub mod topic;
pub(crate) mod triggers;

use crate::{
    apply::{ApplyError, Namespaced},
    cluster::{Kind, name_of},
    context::Context,
    guard::Invalid,
    kafka::KafkaError,
    leadership::NotLeader,
};
pub use action::Action;

use api::condition::{Part, REASON_INVALID, conditions};
use control::ObjectName;
use failures::Failures;
use futures::{
    Stream, StreamExt as _,
    future::BoxFuture,
    stream::{self, BoxStream},
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{
    Resource,
    core::{PartialObjectMeta, PartialObjectMetaExt as _},
    runtime::{
        controller::{Config, Controller},
        reflector::ObjectRef,
    },
};
use runtime::{
    shutdown::Shutdown,
    tasks::{OnError, Tasks},
};
use serde::de::DeserializeOwned;
use std::{fmt::Debug, sync::Arc, time::Duration};

/// Reconciles of one kind at a time.
const CONCURRENCY: u16 = 16;
/// Changes of one object within this time are one reconcile.
const DEBOUNCE: Duration = Duration::from_millis(50);
/// One that was cut short because this replica may not write is tried again after so long, when it may.
const NOT_LEADER_PAUSE: Duration = Duration::from_secs(1);
/// A reconcile that takes longer failed: a broker or the API server hangs.
const RECONCILE_DEADLINE: Duration = Duration::from_secs(60);

/// Why a reconcile failed; it will run again.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// A write to Kubernetes failed.
    #[error(transparent)]
    Apply(#[from] ApplyError),
    /// A broker failed.
    #[error(transparent)]
    Kafka(#[from] KafkaError),
    /// A certificate could not be made.
    #[error("failed to make a certificate")]
    Certificate(#[from] control_plane::AuthorityError),
    /// A child object cannot be built from the spec.
    #[error("failed to build {0}")]
    Build(&'static str, #[source] serde_json::Error),
    /// Another replica writes.
    #[error(transparent)]
    NotLeader(#[from] NotLeader),
    /// It took too long.
    #[error("the reconcile took more than {} s: does the API server or the broker hang?", RECONCILE_DEADLINE.as_secs())]
    Deadline,
}

/// How a reconcile is counted that was cut short because this replica may not write.
const NOT_LEADER: &str = "not_leader";

impl ReconcileError {
    fn label(&self) -> &'static str {
        match self {
            Self::NotLeader(_)
            | Self::Apply(ApplyError::NotLeader(_))
            | Self::Kafka(KafkaError::NotLeader(_)) => NOT_LEADER,
            Self::Apply(_) => "kubernetes",
            Self::Kafka(_) => "broker",
            Self::Certificate(_) => "certificate",
            Self::Build(..) => "build",
            Self::Deadline => "deadline",
        }
    }
}

/// The story of one kind: what one reconcile does, and when to look again without a change.
pub(crate) type Reconcile<R> = fn(Arc<R>, Arc<Context>) -> BoxFuture<'static, Result<Action, ReconcileError>>;

/// What the runs of one controller share.
pub(crate) struct Shared<R> {
    context: Arc<Context>,
    kind: &'static str,
    reconcile: Reconcile<R>,
    failures: Failures,
    shutdown: Shutdown,
}

impl<R> Shared<R> {
    pub(crate) fn new(
        kind: &'static str,
        reconcile: Reconcile<R>,
        context: &Arc<Context>,
        shutdown: &Shutdown,
    ) -> Self {
        let (context, shutdown) = (Arc::clone(context), shutdown.clone());
        Self { context, kind, reconcile, failures: Failures::default(), shutdown }
    }
}

/// Starts all controllers. Call it once in a term, when the stores are complete.
pub fn start(context: &Arc<Context>, tasks: &Tasks) {
    let cluster = &context.cluster;
    start_one("Broker", &cluster.brokers, triggers::brokers(context), broker::reconcile, (context, tasks));
    start_one("Topic", &cluster.topics, triggers::topics(cluster), topic::reconcile, (context, tasks));
    start_one(
        "Channel",
        &cluster.channels,
        triggers::channels(context),
        channel::reconcile,
        (context, tasks),
    );
    start_one(
        "Subscription",
        &cluster.subscriptions,
        triggers::subscriptions(cluster),
        subscription::reconcile,
        (context, tasks),
    );
    crate::workloads::start(context, tasks);
    crate::health::start(context, tasks);
}

fn start_one<R>(
    kind: &'static str,
    objects: &Kind<R>,
    triggers: BoxStream<'static, ObjectName>,
    reconcile: Reconcile<R>,
    (context, tasks): (&Arc<Context>, &Tasks),
) where
    R: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    let shutdown = tasks.shutdown().clone();
    let shared = Arc::new(Shared::new(kind, reconcile, context, &shutdown));
    let stopped = shutdown.clone();
    let stream = Controller::for_stream(stream::pending(), objects.store())
        .with_config(Config::default().concurrency(CONCURRENCY).debounce(DEBOUNCE))
        .reconcile_on(triggers.map(|name| reference(&name)))
        .graceful_shutdown_on(async move { stopped.begun().await })
        .run(
            |object, shared| async move { run_one(object, shared).await.map(Into::into) },
            |object, error, shared| failed(object.as_ref(), error, &shared).into(),
            shared,
        );
    drop(tasks.spawn(kind, OnError::Shutdown, drain(kind, stream, shutdown)));
}

fn reference<R: Resource<DynamicType = ()>>(name: &ObjectName) -> ObjectRef<R> {
    ObjectRef::new(&name.name).within(&name.namespace)
}

/// The controllers of a kind ended before the shutdown.
#[derive(Debug, thiserror::Error)]
#[error("the controller of {0} ended")]
struct Ended(&'static str);

async fn drain<T, E: std::error::Error>(
    kind: &'static str,
    stream: impl Stream<Item = Result<T, E>>,
    shutdown: Shutdown,
) -> Result<(), Ended> {
    // Errors were logged where they happened; what is left is objects that went away meanwhile.
    stream
        .for_each(|outcome| {
            if let Err(error) = outcome {
                tracing::debug!(kind, %error, "reconcile did not succeed");
            }
            std::future::ready(())
        })
        .await;
    if shutdown.has_begun() { Ok(()) } else { Err(Ended(kind)) }
}

pub(crate) async fn run_one<R>(object: Arc<R>, shared: Arc<Shared<R>>) -> Result<Action, ReconcileError>
where
    R: Resource<DynamicType = ()>,
{
    // While the API server is away nothing is begun, and nothing has to be tried again.
    if shared.shutdown.or(shared.context.leadership.writable()).await.is_none() {
        return Err(NotLeader.into());
    }
    let started = runtime::clock::now();
    let name = name_of(object.as_ref());
    let work = (shared.reconcile)(object, Arc::clone(&shared.context));
    let result =
        tokio::time::timeout(RECONCILE_DEADLINE, work).await.unwrap_or(Err(ReconcileError::Deadline));
    let label = match &result {
        Ok(_) => {
            shared.failures.succeeded(&name);
            "ok"
        }
        Err(error) => error.label(),
    };
    shared.context.metrics.reconciles.reconciled(shared.kind, label, started.elapsed());
    result
}

pub(crate) fn failed<R: Resource<DynamicType = ()>>(
    object: &R,
    error: &ReconcileError,
    shared: &Shared<R>,
) -> Action {
    let name = name_of(object);
    if error.label() == NOT_LEADER {
        tracing::debug!(kind = shared.kind, object = %name, "reconcile cut short: this replica may not write");
        return Action::requeue(NOT_LEADER_PAUSE);
    }
    let pause = shared.failures.failed(&name);
    tracing::warn!(kind = shared.kind, object = %name, error = %chain(error), retry_ms = pause.as_millis(), "reconcile failed");
    Action::requeue(pause)
}

/// Says on an object that cannot be decoded what is wrong with it: the schema let something through.
async fn report_invalid<K: Namespaced>(
    manager: &str,
    invalid: &Invalid,
    context: &Context,
) -> Result<Action, ReconcileError> {
    let object: PartialObjectMeta<K> = invalid.metadata.as_ref().clone().into_response_partial();
    let generation = invalid.metadata.generation;
    let part = Part::bad("Accepted", REASON_INVALID, invalid.error.to_string());
    let before = invalid.status.get("conditions").cloned().unwrap_or_default();
    let before: Vec<Condition> = serde_json::from_value(before).unwrap_or_default();
    let conditions = conditions(&before, &[part], generation, &context.now());
    let status = serde_json::json!({ "observedGeneration": generation, "conditions": conditions });
    context.writer.status(manager, &object, (&invalid.status, &status)).await?;
    context.writer.event(&object, &before, &conditions).await?;
    Ok(Action::await_change())
}

/// An error with its sources in one line.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let inner_text = inner.to_string();
        if !text.ends_with(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        source = inner.source();
    }
    text
}
