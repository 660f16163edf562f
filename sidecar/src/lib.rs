//! The messaging sidecar: doors for the app, peers, the way to the broker.
//!
//! It never talks to the Kubernetes API. What it knows comes from the control plane as a view.

pub mod app;
pub(crate) mod delivery;
pub mod durable;
pub mod messaging;
pub mod metrics;
pub mod view;
