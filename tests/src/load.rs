//! What the app of the cluster's scenarios tells the test and hears from it: JSON objects one way, words the other, each
//! on a line of its own. The app is `tests/load`.

use serde::{Deserialize, Serialize};

/// What numbers messages: a publisher's sidecar by its name, and the epoch of its process.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Source {
    /// `NAMESPACE/POD`.
    pub publisher: String,
    /// Another one each time the sidecar starts.
    pub epoch: u64,
}

/// What happened in the app.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Line {
    /// The first line of a connection.
    Hello {
        /// The pod.
        pod: String,
    },
    /// The sidecar said that this is published.
    Published {
        /// `channels/NAME`.
        channel: String,
        /// Who numbered it.
        source: Source,
        /// The sidecar's number.
        sequence: u64,
        /// The app's own number, which is the payload.
        number: u64,
        /// From the call to its answer.
        took_ms: u64,
    },
    /// The sidecar did not say so.
    Failed {
        /// `channels/NAME`.
        channel: String,
        /// What the sidecar said.
        problem: String,
        /// From the call to its answer.
        took_ms: u64,
    },
    /// A subscription stands.
    Opened {
        /// `channels/NAME`.
        channel: String,
        /// Counts the subscriptions of this app to this Channel.
        subscription: u64,
    },
    /// A message came.
    Message {
        /// `channels/NAME`.
        channel: String,
        /// Which subscription.
        subscription: u64,
        /// Who numbered it.
        source: Source,
        /// The publisher's sidecar's number.
        sequence: u64,
        /// The publisher's app's number.
        number: u64,
        /// 1 for the first try.
        attempt: u32,
    },
    /// The subscriber was told that it missed messages.
    Gap {
        /// `channels/NAME`.
        channel: String,
        /// Which subscription.
        subscription: u64,
        /// Who numbered them.
        source: Source,
        /// The first number.
        first: u64,
        /// The last number.
        last: u64,
        /// How many; 0 where nobody knows.
        messages: u64,
        /// Why, in the words of the metrics.
        reason: String,
    },
    /// A subscription ended; the app subscribes again unless it ends itself.
    Ended {
        /// `channels/NAME`.
        channel: String,
        /// Which subscription.
        subscription: u64,
        /// What the app was told.
        reason: String,
    },
}

/// Publish no more.
pub const HUSH: &str = "hush";
/// Read no more from any subscription, and give no more credit.
pub const STALL: &str = "stall";
/// Read again.
pub const READ: &str = "read";
