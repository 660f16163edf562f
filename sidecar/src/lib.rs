//! The messaging sidecar: doors for the app, peers, the way to the broker.
//!
//! It never talks to the Kubernetes API. What it knows comes from the control plane as a view.

pub mod app;
pub mod args;
pub(crate) mod control;
pub(crate) mod delivery;
pub mod durable;
pub(crate) mod identity;
pub mod kafka;
pub mod messaging;
pub mod metrics;
pub(crate) mod peer;
pub(crate) mod route;
pub mod run;
pub(crate) mod state;
pub mod view;
