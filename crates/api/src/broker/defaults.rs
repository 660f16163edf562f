//! What omitted fields of a Broker mean. The schema carries the same values.

use super::Storage;
use crate::{quantity::Quantity, topic::DeletionPolicy};

pub(super) fn storage_size() -> Quantity {
    "10Gi".parse().expect("a constant that is a size")
}

impl Default for Storage {
    fn default() -> Self {
        Self { size: storage_size(), class_name: None, deletion_policy: DeletionPolicy::Retain }
    }
}
