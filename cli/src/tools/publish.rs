//! `pinnace publish`: one message, lines of standard input, or one message each time.

use super::doors::{Outgoing, Publisher};
use super::target::Target;
use super::{Failure, RETRY_FIRST, RETRY_MAX, say, warn};
use crate::args::PublishArgs;
use runtime::backoff::Backoff;
use runtime::shutdown::Shutdown;
use std::io::BufRead as _;
use std::io::IsTerminal as _;
use tokio::sync::mpsc;

/// Lines that wait to be published.
const LINES_MAX: usize = 256;

/// Where payloads come from.
enum Source {
    Text(String),
    /// A small object with the number and the time.
    Made,
    Lines(mpsc::Receiver<String>),
}

/// Publishes until all is said, or until the end is asked for.
///
/// # Errors
/// When the sidecar refuses, or nobody answers and it is not to go on.
pub(crate) async fn publish(args: PublishArgs, shutdown: Shutdown) -> anyhow::Result<()> {
    let target = Target::parse(&args.name)?;
    let mut source = match (&args.message, args.every) {
        (Some(text), _) => Source::Text(text.clone()),
        (None, Some(_)) => Source::Made,
        (None, None) => {
            if std::io::stdin().is_terminal() {
                warn("reading messages from standard input, a line each; Ctrl-D ends");
            }
            Source::Lines(lines()?)
        }
    };
    let limit = args.count.unwrap_or(match (&source, args.every) {
        (Source::Text(_), None) => 1,
        _ => u64::MAX,
    });
    let mut ticks = args.every.map(tokio::time::interval);
    if let Some(ticks) = &mut ticks {
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    }
    let mut sender = Sender { args: &args, target: &target, publisher: None };
    let mut sent = 0_u64;
    while sent < limit && !shutdown.has_begun() {
        if let Some(ticks) = &mut ticks {
            shutdown.or(ticks.tick()).await;
        }
        let Some(Some(payload)) = shutdown.or(source.next(sent + 1)).await else { break };
        let Some(position) = sender.send(sent + 1, &payload, &shutdown).await? else { break };
        sent += 1;
        say(&line(&args, sent, (&payload, &position)), &shutdown);
    }
    if args.every.is_some() && !args.json {
        say(&format!("{sent} published to {target}"), &shutdown);
    }
    Ok(())
}

fn numbered(text: &str, number: u64) -> String {
    text.replace("{n}", &number.to_string())
}

fn line(args: &PublishArgs, number: u64, (payload, position): (&str, &str)) -> String {
    if args.json {
        return serde_json::json!({"number": number, "payload": payload, "position": position}).to_string();
    }
    let place = if position.is_empty() { String::new() } else { format!("  at {position}") };
    format!("{} <- {payload}{place}", args.name)
}

impl Source {
    async fn next(&mut self, number: u64) -> Option<String> {
        match self {
            Self::Text(text) => Some(numbered(text, number)),
            Self::Made => {
                let at_ms = runtime::clock::unix_ms();
                Some(serde_json::json!({"number": number, "at_ms": at_ms}).to_string())
            }
            Self::Lines(lines) => lines.recv().await,
        }
    }
}

/// Lines of standard input, read by a thread, since such a read cannot be cancelled.
fn lines() -> std::io::Result<mpsc::Receiver<String>> {
    let (sender, receiver) = mpsc::channel(LINES_MAX);
    runtime::tasks::spawn_thread("standard input", move || {
        for line in std::io::stdin().lock().lines() {
            match line {
                Ok(line) => {
                    if sender.blocking_send(line).is_err() {
                        return;
                    }
                }
                Err(error) => return warn(&format!("failed to read standard input: {error}")),
            }
        }
    })?;
    Ok(receiver)
}

struct Sender<'a> {
    args: &'a PublishArgs,
    target: &'a Target,
    publisher: Option<Publisher>,
}

impl Sender<'_> {
    /// Publishes one message; with `--every`, again until it is taken. `None`: the end was asked for.
    async fn send(
        &mut self,
        number: u64,
        payload: &str,
        shutdown: &Shutdown,
    ) -> anyhow::Result<Option<String>> {
        let mut pauses = Backoff::new(RETRY_FIRST, RETRY_MAX);
        loop {
            match self.try_send(number, payload).await {
                Ok(position) => return Ok(Some(position)),
                Err(Failure::Unavailable(text)) if self.args.every.is_some() => {
                    if pauses.tries() == 0 {
                        warn(&format!("{}: {text}; trying again", self.target));
                    }
                    self.publisher = None;
                    if shutdown.or(tokio::time::sleep(pauses.next_pause())).await.is_none() {
                        return Ok(None);
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    async fn try_send(&mut self, number: u64, payload: &str) -> Result<String, Failure> {
        let publisher = match &mut self.publisher {
            Some(publisher) => publisher,
            None => {
                let opened = Publisher::open(self.args.via, self.target, &self.args.doors).await?;
                self.publisher.insert(opened)
            }
        };
        let message = Outgoing {
            subject: numbered(&self.args.subject, number),
            key: self.args.key.as_deref().map(|key| numbered(key, number)),
            payload: payload.to_owned(),
        };
        publisher.publish(message).await
    }
}
