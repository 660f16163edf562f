//! What the operator decides about every sidecar, and the names that injection gives. Pure.

use serde_json::{Map, Value};

/// The sidecar's container.
pub const CONTAINER: &str = "pinnace-sidecar";
/// Is `true` on every Pod that got a sidecar; monitoring finds Pods by it.
pub const LABEL_INJECTED: &str = "pinnace.dev/injected";
/// The user of our images.
pub const USER_ID: u32 = 65532;
/// Levels that the sidecar's log knows.
pub const LOG_LEVELS: [&str; 5] = ["error", "warn", "info", "debug", "trace"];

/// Sockets and nothing else; shared with the app's containers.
pub(super) const VOLUME_RUN: &str = "pinnace-run";
/// The last view and the key; in the sidecar alone.
pub(super) const VOLUME_STATE: &str = "pinnace-state";
/// The token that proves the service account to the control plane.
pub(super) const VOLUME_TOKEN: &str = "pinnace-token";
pub(super) const VOLUMES: [&str; 3] = [VOLUME_RUN, VOLUME_STATE, VOLUME_TOKEN];

pub(super) const RUN_PATH: &str = "/run/pinnace";
pub(super) const STATE_PATH: &str = "/var/lib/pinnace";
pub(super) const TOKEN_PATH: &str = "/var/run/secrets/pinnace.dev";
/// Where Kubernetes would mount a token for its own API.
pub(super) const API_TOKEN_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

pub(super) const APP_PORT: u16 = 7400;
pub(super) const PEER_PORT: u16 = 7401;
pub(super) const ADMIN_PORT: u16 = 7402;
pub(super) const KAFKA_PORT: u16 = 9092;
pub(super) const PORTS: [u16; 4] = [APP_PORT, PEER_PORT, ADMIN_PORT, KAFKA_PORT];

/// What all sidecars of this cluster have in common.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The sidecar's image.
    pub image: String,
    /// `IfNotPresent`, `Always` or `Never`.
    pub image_pull_policy: String,
    /// `HOST:PORT` of the control plane.
    pub control_address: String,
    /// The name that the control plane's certificate carries.
    pub control_server_name: String,
    /// PEM of every root to trust at the first contact.
    pub trust_bundle_pem: String,
    /// Audience of the projected token.
    pub audience: String,
    /// The `resources` of the sidecar where the Pod does not say otherwise.
    pub resources: Map<String, Value>,
    /// Level of the sidecar's log where the Pod does not say otherwise.
    pub log_level: String,
    /// The user that the sidecar runs as; another than that of our images where a namespace says which it may have.
    pub user_id: u32,
}
