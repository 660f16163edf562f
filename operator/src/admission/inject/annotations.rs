//! Reads what a Pod's annotations ask of its sidecar. Pure.
//!
//! Every annotation under our prefix is either understood here, refused with the reason, or
//! named in a warning: none is ignored in silence.

use serde_json::{Map, Value};

use api::labels;
use api::names::ObjectName;

use super::settings::LOG_LEVELS;

mod push;

/// All our annotations start with it.
const PREFIX: &str = "pinnace.dev/";
/// The sockets that the sidecar has a counterpart for.
const ZMQ_ROLES: [&str; 8] = ["pub", "sub", "push", "pull", "req", "rep", "dealer", "router"];
/// More doors or sockets than this in one Pod is a mistake.
const ZMQ_DOORS_MAX: usize = 32;
/// Where the sidecar's own sockets are: nothing of the app's binds there.
const ZMQ_DIR: &str = "/run/pinnace/zmq/";
/// Whether the sidecar of a running Pod is upgraded.
const UPGRADES: [&str; 2] = ["enabled", "disabled"];
/// What a path of a Unix socket may have, in bytes.
const PATH_BYTES_MAX: usize = 107;

/// What a Pod asks of its sidecar.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Wishes {
    /// `NAME` or `NAMESPACE/NAME`.
    pub(super) broker: Option<String>,
    /// The `resources` of a container, in part.
    pub(super) resources: Option<Map<String, Value>>,
    pub(super) log_level: Option<String>,
    /// Each `CHANNEL.ROLE=tcp://127.0.0.1:PORT`.
    pub(super) zmq_listen: Vec<String>,
    /// Each `CHANNEL.ROLE=tcp://127.0.0.1:PORT` or `CHANNEL.ROLE=ipc:///run/pinnace/…`.
    pub(super) zmq_connect: Vec<String>,
    /// Each `channels/NAME=http://127.0.0.1:PORT/PATH` or `topics/NAME=http://127.0.0.1:PORT/PATH#group=GROUP`.
    pub(super) push: Vec<String>,
    /// Annotations under our prefix that nobody reads.
    pub(super) warnings: Vec<String>,
}

/// Reads the annotations, or says all that is wrong with them.
pub(super) fn read(annotations: Option<&Map<String, Value>>) -> Result<Wishes, Vec<String>> {
    let mut wishes = Wishes::default();
    let mut problems = Vec::new();
    for (name, value) in annotations.into_iter().flatten() {
        if !name.starts_with(PREFIX) {
            continue;
        }
        let text = value.as_str().unwrap_or_default().trim();
        if let Err(problem) = read_one(&mut wishes, name, text) {
            problems.push(format!("annotation {name}: {problem}"));
        }
    }
    problems.extend(own_doors(&wishes));
    if problems.is_empty() { Ok(wishes) } else { Err(problems) }
}

/// Sockets to connect to that are doors of the very sidecar: what comes out would go in again.
fn own_doors(wishes: &Wishes) -> Vec<String> {
    let address = |door: &str| door.split_once('=').map(|(_, address)| address.to_owned());
    let doors: Vec<String> = wishes.zmq_listen.iter().filter_map(|door| address(door)).collect();
    let own = wishes
        .zmq_connect
        .iter()
        .filter(|socket| address(socket).is_some_and(|address| doors.contains(&address)));
    own.map(|socket| {
        let (listen, connect) = (labels::ZMQ_LISTEN, labels::ZMQ_CONNECT);
        format!("annotation {connect}: {socket:?} is a door of {listen}; write the address that the app's socket binds")
    })
    .collect()
}

fn read_one(wishes: &mut Wishes, name: &str, text: &str) -> Result<(), String> {
    match name {
        labels::BROKER_ANNOTATION => wishes.broker = Some(broker(text)?),
        labels::SIDECAR_RESOURCES => wishes.resources = Some(resources(text)?),
        labels::LOG_LEVEL => wishes.log_level = Some(log_level(text)?),
        labels::ZMQ_LISTEN => wishes.zmq_listen = zmq_doors(text, tcp)?,
        labels::ZMQ_CONNECT => wishes.zmq_connect = zmq_doors(text, tcp_or_ipc)?,
        labels::PUSH => wishes.push = push::targets(text)?,
        labels::SIDECAR_UPGRADE => sidecar_upgrade(text)?,
        // The operator wrote the last two, or somebody copied the Pod that it wrote them on.
        labels::LOCAL_COMMAND | labels::SIDECAR_IMAGE | labels::SIDECAR_UPGRADE_BEGUN => {}
        _ => wishes.warnings.push(format!(
            "annotation {name} means nothing to Pinnace; check its spelling against the guide on injection"
        )),
    }
    Ok(())
}

fn broker(text: &str) -> Result<String, String> {
    let (namespace, name) =
        text.split_once('/').map_or((None, text), |(namespace, name)| (Some(namespace), name));
    if is_name(name) && namespace.is_none_or(is_name) {
        return Ok(text.to_owned());
    }
    Err(format!("{text:?} names no Broker; write NAME or NAMESPACE/NAME"))
}

fn sidecar_upgrade(text: &str) -> Result<(), String> {
    if UPGRADES.contains(&text) {
        return Ok(());
    }
    Err(format!("{text:?} means nothing; write disabled to keep the sidecar's image, or leave it out"))
}

fn log_level(text: &str) -> Result<String, String> {
    if LOG_LEVELS.contains(&text) {
        return Ok(text.to_owned());
    }
    Err(format!("{text:?} is no level; write one of {}", LOG_LEVELS.join(", ")))
}

/// Reads the part after the `=`, or says what is wrong with it.
type ReadAddress = fn(&str) -> Result<(), String>;

fn zmq_doors(text: &str, read: ReadAddress) -> Result<Vec<String>, String> {
    let doors: Vec<&str> = text.split([',', ' ', '\n']).filter(|door| !door.is_empty()).collect();
    if doors.is_empty() || doors.len() > ZMQ_DOORS_MAX {
        return Err(format!("names {} sockets; write 1 to {ZMQ_DOORS_MAX}", doors.len()));
    }
    doors.into_iter().map(|door| zmq_door(door, read)).collect()
}

fn zmq_door(door: &str, read: ReadAddress) -> Result<String, String> {
    let wanted = "write CHANNEL.ROLE=tcp://127.0.0.1:PORT, for example prices.sub=tcp://127.0.0.1:5556";
    let Some((name, address)) = door.split_once('=') else {
        return Err(format!("{door:?} has no `=`; {wanted}"));
    };
    let Some((channel, role)) = name.rsplit_once('.') else {
        return Err(format!("{name:?} names no socket type; {wanted}"));
    };
    if !channel.split('.').all(is_name) || channel.split('.').count() > 2 {
        return Err(format!("{channel:?} names no Channel; {wanted}"));
    }
    if !ZMQ_ROLES.contains(&role) {
        let known = ZMQ_ROLES.join(", ");
        return Err(format!("socket type {role:?} is not supported yet; {known} are"));
    }
    read(address)?;
    Ok(door.to_owned())
}

fn tcp(address: &str) -> Result<(), String> {
    let port = address.strip_prefix("tcp://127.0.0.1:").and_then(|port| port.parse::<u16>().ok());
    match port {
        Some(1..) => Ok(()),
        _ => Err(format!("{address:?} is no loopback address with a port; write tcp://127.0.0.1:PORT")),
    }
}

/// The app's Unix sockets must be in the one folder that both containers see.
fn tcp_or_ipc(address: &str) -> Result<(), String> {
    let Some(path) = address.strip_prefix("ipc://") else { return tcp(address) };
    let is_shared = path.starts_with("/run/pinnace/") && !path.starts_with(ZMQ_DIR);
    if !is_shared || path.split('/').any(|part| part == "..") || path.ends_with('/') {
        return Err(format!(
            "{address:?} is no socket that both containers see; have the app bind ipc:///run/pinnace/NAME"
        ));
    }
    if path.len() > PATH_BYTES_MAX {
        return Err(format!("{address:?}: the path of a Unix socket has at most {PATH_BYTES_MAX} bytes"));
    }
    Ok(())
}

fn resources(text: &str) -> Result<Map<String, Value>, String> {
    let wanted =
        r#"write JSON as in a container, for example {"requests":{"cpu":"20m"},"limits":{"memory":"64Mi"}}"#;
    let Ok(Value::Object(parts)) = serde_json::from_str::<Value>(text) else {
        return Err(format!("is not a JSON object; {wanted}"));
    };
    for (part, amounts) in &parts {
        if part != "requests" && part != "limits" {
            return Err(format!("{part:?} is neither requests nor limits; {wanted}"));
        }
        let Some(amounts) = amounts.as_object() else {
            return Err(format!("{part} is not an object; {wanted}"));
        };
        for (resource, amount) in amounts {
            if !["cpu", "memory", "ephemeral-storage"].contains(&resource.as_str()) {
                return Err(format!("{part}.{resource} is none of cpu, memory, ephemeral-storage"));
            }
            if !amount.as_str().is_some_and(is_quantity) {
                return Err(format!(
                    "{part}.{resource}: {amount} is no quantity such as \"64Mi\" or \"20m\""
                ));
            }
        }
    }
    Ok(parts)
}

/// A plain amount with one of Kubernetes' suffixes; exponents are left out.
fn is_quantity(text: &str) -> bool {
    let number = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let suffix = text.strip_prefix(number).unwrap_or_default();
    let suffixes = ["", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
    suffixes.contains(&suffix)
        && number.parse::<f64>().is_ok_and(|amount| amount.is_finite() && amount >= 0.0)
        && number.chars().all(|digit| digit.is_ascii_digit() || digit == '.')
}

/// Names of our kinds and of namespaces follow one rule.
fn is_name(text: &str) -> bool {
    text.parse::<ObjectName>().is_ok()
}
