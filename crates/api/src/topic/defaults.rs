//! What omitted fields of a Topic mean. The schema carries the same values.

use super::Cleanup;
use crate::names::ObjectName;

/// Name of the Broker that is made on first use.
pub const BROKER_NAME: &str = "default";

pub(super) fn partitions() -> i32 {
    1
}

pub(super) fn cleanup() -> Vec<Cleanup> {
    vec![Cleanup::Delete]
}

pub(super) fn broker_name() -> ObjectName {
    BROKER_NAME.parse().expect("a constant that follows the rule")
}
