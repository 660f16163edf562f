//! What a person is told: events of the parts, as plain lines here or on the screen in `screen.rs`.
//! The last line of `--json` is made here too.

use super::totals::Counts;
use serde::Serialize;
use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::Arc;
use tokio::sync::mpsc;

/// Events that wait for the printer; then the parts wait too.
const EVENTS_MAX: usize = 1_024;

/// Something to tell.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    /// A part wrote a line.
    Line { part: Arc<str>, text: String },
    /// A part is not well.
    Problem { part: Arc<str>, text: String },
    /// A manifest is not well.
    Manifest { text: String },
    /// Good to know.
    Notice { text: String },
}

/// Where parts tell.
#[derive(Clone, Debug)]
pub(crate) struct Events {
    sender: mpsc::Sender<Event>,
}

impl Events {
    pub(crate) fn channel() -> (Self, mpsc::Receiver<Event>) {
        let (sender, receiver) = mpsc::channel(EVENTS_MAX);
        (Self { sender }, receiver)
    }

    /// Waits for room; after the printer has ended, nobody is told.
    pub(crate) async fn send(&self, event: Event) {
        if self.sender.send(event).await.is_err() {
            tracing::trace!("the printer has ended");
        }
    }
}

impl Event {
    /// One line for a person.
    pub(crate) fn line(&self) -> String {
        match self {
            Self::Line { part, text } => format!("{part:<20} | {text}"),
            Self::Problem { part, text } => format!("{part:<20} ! {text}"),
            Self::Manifest { text } => format!("problem: {text}"),
            Self::Notice { text } => text.clone(),
        }
    }

    /// Whether it is a problem.
    pub(crate) const fn is_problem(&self) -> bool {
        matches!(self, Self::Problem { .. } | Self::Manifest { .. })
    }
}

/// One line, to standard error when standard output is for the summary.
pub(crate) fn print(line: &str, to_errors: bool) {
    // Nobody reads any more: the parts go on, and the end of `up` is decided elsewhere.
    if to_errors {
        drop(writeln!(std::io::stderr().lock(), "{line}"));
    } else {
        drop(writeln!(std::io::stdout().lock(), "{line}"));
    }
}

/// A part in the summary.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct PartSummary {
    pub(crate) kind: &'static str,
    pub(crate) resident_bytes: u64,
    pub(crate) restarts: u32,
}

/// The last line of `--json`.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Summary {
    pub(crate) seconds: f64,
    /// By `NAMESPACE/NAME`.
    pub(crate) topics: BTreeMap<String, Counts>,
    /// By `NAMESPACE/NAME`.
    pub(crate) channels: BTreeMap<String, Counts>,
    /// By `KIND NAMESPACE/NAME`; `up` is the process itself.
    pub(crate) parts: BTreeMap<String, PartSummary>,
    /// Problems that were told while it ran.
    pub(crate) problems: u64,
}

impl Summary {
    /// One line, JSON.
    pub(crate) fn json(&self) -> String {
        serde_json::to_string(self).unwrap_or_else(|error| format!("{{\"error\":\"{error}\"}}"))
    }

    /// Some lines for a person.
    pub(crate) fn lines(&self) -> Vec<String> {
        let line = |kind: &str, name: &String, counts: &Counts| {
            let Counts { published, delivered, lost } = counts;
            format!("{kind:<8} {name:<24} {published:>10} published {delivered:>10} delivered {lost:>6} lost")
        };
        let topics = self.topics.iter().map(|(name, counts)| line("Topic", name, counts));
        let channels = self.channels.iter().map(|(name, counts)| line("Channel", name, counts));
        topics.chain(channels).collect()
    }
}

/// Resident memory of a process, in bytes; 0 when it is gone.
pub(crate) fn resident_bytes(pid: u32) -> u64 {
    let path = format!("/proc/{pid}/smaps_rollup");
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("Rss:"));
    let kilobytes =
        line.and_then(|line| line.split_whitespace().nth(1)).and_then(|kb| kb.parse::<u64>().ok());
    kilobytes.unwrap_or(0).saturating_mul(1_024)
}
