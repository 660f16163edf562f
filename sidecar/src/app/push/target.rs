//! The text of `--push`: `topics/NAME=http://127.0.0.1:PORT/PATH#OPTIONS`. Pure.
//!
//! The options stand where a URL has its fragment, which is never sent.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use http::Uri;

use crate::messaging::Name;

/// Messages at the app at once.
const CONCURRENCY_MAX: u32 = 1000;
const TIMEOUT_MAX: Duration = Duration::from_secs(3600);
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(15);
const FORM: &str = "write channels/NAME=http://127.0.0.1:PORT/PATH, or topics/NAME=http://127.0.0.1:PORT/PATH#group=GROUP, with \
     .NAMESPACE after NAME for another namespace, and concurrency=NUMBER and timeoutMs=NUMBER after # and &";

/// A text that is no target.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?}: {reason}; {FORM}")]
pub struct PushError {
    text: String,
    reason: String,
}

/// What goes to the app, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushTarget {
    /// `topics/NAME[.NAMESPACE]` or `channels/NAME[.NAMESPACE]`.
    name: String,
    pub(super) url: Uri,
    pub(super) options: Options,
}

/// How it goes there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Options {
    /// Messages at the app at once; 1 keeps their order.
    pub(super) concurrency: u32,
    /// Topics: whose place in the log it is.
    pub(super) group: String,
    /// How long the app may take for one message.
    pub(super) timeout: Duration,
}

impl PushTarget {
    /// What is meant, for an app of that namespace.
    pub(super) fn name(&self, own_namespace: &str) -> Option<Name> {
        // It was read once before, with another namespace.
        Name::parse(&self.name, own_namespace).ok()
    }
}

impl fmt::Display for PushTarget {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}={}", self.name, self.url)
    }
}

impl FromStr for PushTarget {
    type Err = PushError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        read(text).map_err(|reason| PushError { text: text.to_owned(), reason })
    }
}

fn read(text: &str) -> Result<PushTarget, String> {
    let (name, address) = text.split_once('=').ok_or("there is no =")?;
    let kind = Name::parse(name, "x").map_err(|problem| problem.message)?;
    let (address, fragment) = address.split_once('#').unwrap_or((address, ""));
    let url: Uri = address.parse().map_err(|error| format!("the URL cannot be read: {error}"))?;
    if url.scheme_str() != Some("http") {
        return Err("the URL is not http://".to_owned());
    }
    if !matches!(url.host(), Some("127.0.0.1" | "localhost" | "[::1]")) {
        return Err("the URL is not on loopback: messages go to the app of this pod alone".to_owned());
    }
    if url.port_u16().is_none_or(|port| port == 0) {
        return Err("the URL names no port".to_owned());
    }
    let options = options(fragment)?;
    match kind {
        Name::Topic(_) if options.group.is_empty() => {
            Err("a Topic needs #group=GROUP: it says whose place in the log it is".to_owned())
        }
        Name::Channel(_) if !options.group.is_empty() => Err("a Channel has no groups".to_owned()),
        _ => Ok(PushTarget { name: name.to_owned(), url, options }),
    }
}

fn options(fragment: &str) -> Result<Options, String> {
    let mut options = Options { concurrency: 1, group: String::new(), timeout: TIMEOUT_DEFAULT };
    for option in fragment.split('&').filter(|option| !option.is_empty()) {
        let (name, value) = option.split_once('=').ok_or_else(|| format!("{option:?} has no ="))?;
        let number = || value.parse::<u32>().map_err(|_| format!("{name}: {value:?} is no whole number"));
        match name {
            "concurrency" => options.concurrency = number()?,
            "timeoutMs" => options.timeout = Duration::from_millis(number()?.into()),
            "group" => value.clone_into(&mut options.group),
            _ => {
                return Err(format!(
                    "the option {name:?} is unknown: there is concurrency, group, timeoutMs"
                ));
            }
        }
    }
    if !(1..=CONCURRENCY_MAX).contains(&options.concurrency) {
        return Err(format!("concurrency is 1 to {CONCURRENCY_MAX}"));
    }
    if options.timeout.is_zero() || options.timeout > TIMEOUT_MAX {
        return Err(format!("timeoutMs is 1 to {}", TIMEOUT_MAX.as_millis()));
    }
    Ok(options)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: what a text says arrives, and what it does not say has a default.
    #[test]
    fn targets_are_read() {
        let text = "topics/orders.shop=http://127.0.0.1:8080/a?b=c#concurrency=8&group=billing&timeoutMs=500";
        let target: PushTarget = text.parse().unwrap();
        assert_eq!(target.url, "http://127.0.0.1:8080/a?b=c");
        assert!(matches!(target.name("x"), Some(Name::Topic(name)) if &*name.namespace == "shop"));
        let timeout = Duration::from_millis(500);
        assert_eq!(target.options, Options { concurrency: 8, group: "billing".into(), timeout });
        let plain: PushTarget = "channels/prices=http://localhost:80".parse().unwrap();
        assert!(matches!(plain.name("shop"), Some(Name::Channel(name)) if &*name.namespace == "shop"));
        assert_eq!((plain.options.concurrency, plain.options.timeout), (1, TIMEOUT_DEFAULT));
    }

    /// Goal: what cannot work is refused with its reason.
    #[test]
    fn bad_targets_are_refused() {
        for (text, reason) in [
            ("topics/orders", "no ="),
            ("orders=http://127.0.0.1:8080", "is not a name"),
            ("channels/prices=https://127.0.0.1:8080", "not http"),
            ("channels/prices=http://10.0.0.1:8080", "loopback"),
            ("channels/prices=http://127.0.0.1/a", "no port"),
            ("channels/prices=http://127.0.0.1:0/a", "no port"),
            ("topics/orders=http://127.0.0.1:8080", "#group=GROUP"),
            ("channels/prices=http://127.0.0.1:8080#group=a", "no groups"),
            ("channels/prices=http://127.0.0.1:8080#concurrency=0", "1 to 1000"),
            ("channels/prices=http://127.0.0.1:8080#concurrency=many", "whole number"),
            ("channels/prices=http://127.0.0.1:8080#timeoutMs=0", "timeoutMs"),
            ("channels/prices=http://127.0.0.1:8080#speed=9", "unknown"),
        ] {
            let error = text.parse::<PushTarget>().unwrap_err().to_string();
            assert!(error.contains(reason) && error.contains("write channels/NAME"), "{text}: {error}");
        }
    }
}
