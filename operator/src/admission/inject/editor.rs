//! Edits a Pod as raw JSON and writes down each edit as a JSON patch operation.
//!
//! Nothing passes through a typed Pod, so fields that this program does not know survive.
//! Every operation is applied to the working copy with the same rules that the API server
//! uses; a patch that leaves this file is a patch that applies. Knows nothing about sidecars.

use json_patch::jsonptr::PointerBuf;
use json_patch::{AddOperation, Patch, PatchOperation, ReplaceOperation};
use serde_json::{Value, json};

/// Why a Pod could not be edited.
#[derive(Debug, thiserror::Error)]
#[error("failed to edit the Pod at {path}: {source}")]
pub(super) struct EditError {
    path: String,
    source: json_patch::PatchError,
}

/// A Pod and the operations that made it what it is now.
pub(super) struct Editor {
    pod: Value,
    operations: Vec<PatchOperation>,
}

impl Editor {
    pub(super) fn new(pod: Value) -> Self {
        Self { pod, operations: Vec::new() }
    }

    /// The Pod with all edits so far.
    pub(super) fn pod(&self) -> &Value {
        &self.pod
    }

    pub(super) fn into_patch(self) -> Patch {
        Patch(self.operations)
    }

    /// Sets a member of an object, and makes the objects on the way to it.
    pub(super) fn set(&mut self, path: &[&str], value: Value) -> Result<(), EditError> {
        self.ensure_parents(path)?;
        let pointer = PointerBuf::from_tokens(path.iter().copied());
        let operation = match self.pod.pointer(pointer.as_str()) {
            Some(present) if *present == value => return Ok(()),
            Some(_) => PatchOperation::Replace(ReplaceOperation { path: pointer, value }),
            None => PatchOperation::Add(AddOperation { path: pointer, value }),
        };
        self.apply(operation)
    }

    /// Puts an item before all others of an array, and makes the array where it is missing.
    pub(super) fn prepend(&mut self, path: &[&str], item: Value) -> Result<(), EditError> {
        self.insert(path, "0", item)
    }

    /// Puts an item behind all others of an array, and makes the array where it is missing.
    pub(super) fn append(&mut self, path: &[&str], item: Value) -> Result<(), EditError> {
        self.insert(path, "-", item)
    }

    fn insert(&mut self, path: &[&str], place: &str, item: Value) -> Result<(), EditError> {
        self.ensure_parents(path)?;
        let array = PointerBuf::from_tokens(path.iter().copied());
        if self.pod.pointer(array.as_str()).is_none_or(Value::is_null) {
            return self.apply(PatchOperation::Add(AddOperation { path: array, value: json!([item]) }));
        }
        let place = PointerBuf::from_tokens(path.iter().copied().chain([place]));
        self.apply(PatchOperation::Add(AddOperation { path: place, value: item }))
    }

    fn ensure_parents(&mut self, path: &[&str]) -> Result<(), EditError> {
        for depth in 1..path.len() {
            let parent = PointerBuf::from_tokens(path.iter().copied().take(depth));
            if self.pod.pointer(parent.as_str()).is_none_or(Value::is_null) {
                self.apply(PatchOperation::Add(AddOperation { path: parent, value: json!({}) }))?;
            }
        }
        Ok(())
    }

    fn apply(&mut self, operation: PatchOperation) -> Result<(), EditError> {
        let one = std::slice::from_ref(&operation);
        json_patch::patch(&mut self.pod, one)
            .map_err(|source| EditError { path: operation.path().to_string(), source })?;
        self.operations.push(operation);
        Ok(())
    }
}
