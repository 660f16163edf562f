//! What Pinnace promises on a real Kubernetes, one file for each group of promises. Run by
//! `cargo xtask e2e [FILTER]`, which brings up the cluster, loads the images, and starts this
//! program inside the cluster's network, one test after the other.

// What scenarios are written with.
#[cfg(test)]
mod apps;
#[cfg(test)]
mod book;
#[cfg(test)]
mod capture;
#[cfg(test)]
mod clerk;
#[cfg(test)]
mod install;
#[cfg(test)]
mod kafka;
#[cfg(test)]
mod kube;
#[cfg(test)]
mod load;
#[cfg(test)]
mod namespace;
#[cfg(test)]
mod pods;
#[cfg(test)]
mod processes;
#[cfg(test)]
mod scrape;

// The promises.
#[cfg(test)]
mod access;
#[cfg(test)]
mod brokers;
#[cfg(test)]
mod certificates;
#[cfg(test)]
mod channels;
#[cfg(test)]
mod clients;
#[cfg(test)]
mod copies;
#[cfg(test)]
mod deaths;
#[cfg(test)]
mod deletion;
#[cfg(test)]
mod disks;
#[cfg(test)]
mod durability;
#[cfg(test)]
mod examples;
#[cfg(test)]
mod injection;
#[cfg(test)]
mod lifecycle;
#[cfg(test)]
mod missed;
#[cfg(test)]
mod monitoring;
#[cfg(test)]
mod namespaced;
#[cfg(test)]
mod outages;
#[cfg(test)]
mod overflow;
#[cfg(test)]
mod partitions;
#[cfg(test)]
mod readme;
#[cfg(test)]
mod replicas;
#[cfg(test)]
mod restarts;
#[cfg(test)]
mod rights;
#[cfg(test)]
mod rolls;
#[cfg(test)]
mod sidecars;
#[cfg(test)]
mod topics;
#[cfg(test)]
mod uninstall;
#[cfg(test)]
mod upgrades;
#[cfg(test)]
mod versions;
#[cfg(test)]
mod workloads;
