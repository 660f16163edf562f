//! Local mode: the manifests of a folder, without Kubernetes. A control plane in this process, and
//! brokers, sidecars and apps as child processes. It never writes outside its data folder and `/tmp`.

mod apply;
mod attach;
mod brokers;
mod child;
mod context;
mod folder;
mod links;
mod manifests;
mod parts;
mod reaper;
mod replicas;
mod report;
mod run_as;
pub(crate) mod scrape;
mod screen;
mod sidecars;
mod topics;
mod totals;
mod up;

pub(crate) use reaper::run as run_reaper;
pub(crate) use run_as::run_as;
pub(crate) use up::up;
