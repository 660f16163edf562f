//! Reads `pinnace.dev/push`: what the sidecar POSTs to the app. Pure. The sidecar's `--push` has the same rules, and
//! would not start with what they refuse.

use super::is_name;

/// More than this in one Pod is a mistake.
const TARGETS_MAX: usize = 32;
const CONCURRENCY_MAX: u64 = 1000;
const TIMEOUT_MS_MAX: u64 = 3_600_000;
const FORM: &str =
    "write channels/NAME=http://127.0.0.1:PORT/PATH or topics/NAME=http://127.0.0.1:PORT/PATH#group=GROUP";
/// What a URL may have besides letters and digits.
const URL_SIGNS: &str = "-._~:/?@!$&'()*+;=%";

pub(super) fn targets(text: &str) -> Result<Vec<String>, String> {
    let targets: Vec<&str> = text.split([',', ' ', '\n']).filter(|target| !target.is_empty()).collect();
    if targets.is_empty() || targets.len() > TARGETS_MAX {
        return Err(format!("names {} targets; write 1 to {TARGETS_MAX}", targets.len()));
    }
    targets
        .into_iter()
        .map(|target| {
            check(target).map_err(|reason| format!("{target:?}: {reason}; {FORM}"))?;
            Ok(target.to_owned())
        })
        .collect()
}

fn check(target: &str) -> Result<(), String> {
    let (name, address) = target.split_once('=').ok_or("there is no `=`")?;
    let (kind, object) = name.split_once('/').ok_or("the name has no topics/ or channels/ before it")?;
    if !object.split('.').all(is_name) || object.split('.').count() > 2 {
        return Err(format!("{object:?} names nothing"));
    }
    let (url, options) = address.split_once('#').unwrap_or((address, ""));
    check_url(url)?;
    let has_group = check_options(options)?;
    match (kind, has_group) {
        ("topics", false) => {
            Err("a Topic needs #group=GROUP: it says whose place in the log it is".to_owned())
        }
        ("channels", true) => Err("a Channel has no groups".to_owned()),
        ("topics" | "channels", _) => Ok(()),
        _ => Err(format!("{kind:?} is neither topics nor channels")),
    }
}

fn check_url(url: &str) -> Result<(), String> {
    let rest = url.strip_prefix("http://").ok_or("the URL is not http://")?;
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    let (host, port) = authority.rsplit_once(':').ok_or("the URL names no port")?;
    if !matches!(host, "127.0.0.1" | "localhost" | "[::1]") {
        return Err("the URL is not on loopback: messages go to the app of this pod alone".to_owned());
    }
    if port.parse::<u16>().map_or(true, |port| port == 0) {
        return Err("the URL names no port".to_owned());
    }
    let is_sign = |letter: char| letter.is_ascii_alphanumeric() || URL_SIGNS.contains(letter);
    let path = rest.strip_prefix(authority).unwrap_or_default();
    if path.chars().all(is_sign) {
        Ok(())
    } else {
        Err("the URL has signs that no URL has; write them as %XX".to_owned())
    }
}

/// Whether a group is among them.
fn check_options(options: &str) -> Result<bool, String> {
    let mut has_group = false;
    for option in options.split('&').filter(|option| !option.is_empty()) {
        let (name, value) = option.split_once('=').ok_or_else(|| format!("{option:?} has no ="))?;
        let within = |most: u64| match value.parse::<u64>() {
            Ok(number) if (1..=most).contains(&number) => Ok(()),
            _ => Err(format!("{name} is a number from 1 to {most}")),
        };
        match name {
            "concurrency" => within(CONCURRENCY_MAX)?,
            "timeoutMs" => within(TIMEOUT_MS_MAX)?,
            "group" => has_group = !value.is_empty(),
            _ => {
                return Err(format!(
                    "the option {name:?} is unknown: there is concurrency, group, timeoutMs"
                ));
            }
        }
    }
    Ok(has_group)
}
