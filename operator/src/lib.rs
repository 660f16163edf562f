//! The Kubernetes operator: controllers, admission, control plane, certificate authority.

pub mod admission;
pub mod apply;
pub mod args;
pub mod cluster;
pub mod context;
pub mod control_plane;
pub mod controllers;
pub mod departure;
pub mod guard;
mod hash;
pub mod health;
pub mod kafka;
pub mod leadership;
pub mod metrics;
pub mod run;
pub mod scope;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod testing;
mod users;
pub mod workloads;
