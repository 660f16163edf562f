//! `pinnace subscribe`: one subscription per door, all printed as they come.

use super::doors::{self, Incoming, Received, Wanted};
use super::target::Target;
use super::{Failure, RETRY_FIRST, RETRY_MAX, say, warn};
use crate::args::{SubscribeArgs, Via};
use runtime::backoff::Backoff;
use runtime::shutdown::Shutdown;
use runtime::tasks::{OnError, Tasks};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;

/// Messages that wait to be printed; then the doors wait.
const QUEUE_MAX: usize = 1_024;
/// How long subscriptions may take to end.
const DRAIN: Duration = Duration::from_secs(3);

/// Prints until the end is asked for.
///
/// # Errors
/// When the sidecar refuses a subscription.
pub(crate) async fn subscribe(args: SubscribeArgs, shutdown: Shutdown) -> anyhow::Result<()> {
    let target = Target::parse(&args.name)?;
    let wanted = Wanted {
        target,
        group: args.group.clone(),
        from_start: args.from_start,
        prefixes: args.prefix.clone(),
    };
    let args = Arc::new(args);
    let (queue, mut incoming) = mpsc::channel(QUEUE_MAX);
    let refused: Arc<Mutex<Option<Failure>>> = Arc::default();
    let tasks = Tasks::new(shutdown.clone());
    for via in args.via.clone() {
        let (args, wanted, queue) = (Arc::clone(&args), wanted.clone(), queue.clone());
        let (refused, shutdown) = (Arc::clone(&refused), shutdown.clone());
        drop(tasks.spawn("subscription", OnError::Log, async move {
            let subscribing = keep(via, &wanted, &args, &queue);
            if let Some(Err(failure)) = shutdown.or(subscribing).await {
                *refused.lock().unwrap_or_else(PoisonError::into_inner) = Some(failure);
                shutdown.begin();
            }
            Ok::<_, std::convert::Infallible>(())
        }));
    }
    drop(queue);
    let mut printer = Printer { args: &args, shutdown: &shutdown, total: 0, missed: 0 };
    let mut ticks = tokio::time::interval(args.every.unwrap_or(Duration::from_secs(3_600)));
    ticks.tick().await;
    while !printer.is_done() {
        tokio::select! {
            next = incoming.recv() => match next {
                Some(next) => printer.take(next),
                None => break,
            },
            _ = ticks.tick() => printer.totals(),
            () = shutdown.begun() => break,
        }
    }
    shutdown.begin();
    // What was already taken from a door is printed too.
    incoming.close();
    while let (false, Some(next)) = (printer.is_done(), incoming.recv().await) {
        printer.take(next);
    }
    tasks.drain(DRAIN).await;
    printer.end();
    let failure = refused.lock().unwrap_or_else(PoisonError::into_inner).take();
    failure.map_or(Ok(()), |failure| Err(failure.into()))
}

/// One subscription, opened again when it breaks; ends when it is refused.
async fn keep(
    via: Via,
    wanted: &Wanted,
    args: &SubscribeArgs,
    queue: &mpsc::Sender<Incoming>,
) -> Result<(), Failure> {
    let mut pauses = Backoff::new(RETRY_FIRST, RETRY_MAX);
    loop {
        match doors::subscribe(via, wanted, &args.doors, queue).await {
            Err(Failure::Unavailable(text)) => {
                if pauses.tries() == 0 {
                    warn(&format!("{} over {via:?}: {text}; trying again", wanted.target));
                }
                tokio::time::sleep(pauses.next_pause()).await;
                if pauses.tries() > 20 {
                    pauses.reset();
                }
            }
            other => return other,
        }
    }
}

struct Printer<'a> {
    args: &'a SubscribeArgs,
    shutdown: &'a Shutdown,
    total: u64,
    missed: u64,
}

impl Printer<'_> {
    fn is_done(&self) -> bool {
        self.args.count.is_some_and(|count| self.total >= count)
    }

    fn take(&mut self, incoming: Incoming) {
        match incoming {
            Incoming::Message { via, message } => {
                self.total += 1;
                if self.args.json {
                    self.json(via, &message);
                } else if self.args.every.is_none() {
                    say(&line(&self.args.name, via, &message), self.shutdown);
                }
            }
            Incoming::Gap { via, messages, reason } => {
                self.missed += messages;
                warn(&format!("{} over {via:?}: {messages} messages missed ({reason})", self.args.name));
            }
            Incoming::Open { via } if self.args.json => tracing::debug!(?via, "open"),
            Incoming::Open { via } => {
                say(&format!("subscribed to {} over {via:?}", self.args.name), self.shutdown)
            }
        }
    }

    fn json(&self, via: Via, message: &Received) {
        let mut value = serde_json::to_value(message).unwrap_or_default();
        if let Some(object) = value.as_object_mut() {
            object.insert("via".to_owned(), format!("{via:?}").to_lowercase().into());
        }
        say(&value.to_string(), self.shutdown);
    }

    fn totals(&self) {
        if self.args.every.is_some() && !self.args.json {
            say(
                &format!("{}: {} messages, {} missed", self.args.name, self.total, self.missed),
                self.shutdown,
            );
        }
    }

    fn end(&self) {
        if !self.args.json {
            say(
                &format!("{} received from {}, {} missed", self.total, self.args.name, self.missed),
                self.shutdown,
            );
        }
    }
}

fn line(name: &str, via: Via, message: &Received) -> String {
    let subject = if message.subject.is_empty() { String::new() } else { format!(" [{}]", message.subject) };
    let key = message.key.as_ref().map(|key| format!(" {key}:")).unwrap_or_default();
    let place =
        if message.position.is_empty() { String::new() } else { format!("  at {}", message.position) };
    format!("{name} -> {}{subject}{key} {}{place}", format!("{via:?}").to_lowercase(), message.payload)
}
