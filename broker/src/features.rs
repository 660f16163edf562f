//! The features that clients are told of: each is a promise about how this broker behaves.

use kafka_wire::messages::api_versions::{FinalizedFeatureKey, SupportedFeatureKey};

/// A feature, with the level that all of it is at.
struct Feature {
    name: &'static str,
    min: i16,
    max: i16,
    level: i16,
}

/// All that is built. There is one node, so what it supports is what the cluster has decided on.
const FEATURES: &[Feature] = &[
    // Transactions by the rules of KIP-890.
    Feature { name: "transaction.version", min: 0, max: 2, level: 2 },
    // The new consumer-group protocol (KIP-848).
    Feature { name: "group.version", min: 0, max: 1, level: 1 },
];

/// The levels never change while the process runs.
pub(crate) const EPOCH: i64 = 0;

/// What could be decided on. Versions of ApiVersions before 4 must not show features that start at 0.
pub(crate) fn supported(zero_allowed: bool) -> Vec<SupportedFeatureKey> {
    let shown = FEATURES.iter().filter(|feature| zero_allowed || feature.min > 0);
    shown
        .map(|feature| SupportedFeatureKey {
            name: feature.name.to_owned(),
            min_version: feature.min,
            max_version: feature.max,
        })
        .collect()
}

/// What is decided on.
pub(crate) fn finalized() -> Vec<FinalizedFeatureKey> {
    let all = FEATURES.iter().map(|feature| FinalizedFeatureKey {
        name: feature.name.to_owned(),
        max_version_level: feature.level,
        min_version_level: feature.level,
    });
    all.collect()
}
