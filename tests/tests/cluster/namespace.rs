//! Namespaces for scenarios.

use std::process::Output;

use anyhow::{Result, ensure};

use crate::kube::{apply, attempt, kubectl, said};

/// A namespace with `restricted` Pod Security, for one scenario; deleted when the scenario ends, however it
/// ends.
pub(crate) struct Namespace {
    pub(crate) name: String,
}

impl Namespace {
    /// Makes it anew; what an earlier run left in it is deleted.
    pub(crate) fn new(name: &str) -> Result<Self> {
        kubectl(&["delete", "namespace", name, "--ignore-not-found", "--timeout=120s"])?;
        apply(&format!(
            "apiVersion: v1\n\
             kind: Namespace\n\
             metadata:\n\
             \x20 name: {name}\n\
             \x20 labels: {{pod-security.kubernetes.io/enforce: restricted}}\n"
        ))?;
        Ok(Self { name: name.to_owned() })
    }

    /// Applies objects, however that ends; those that name no namespace go into this one.
    pub(crate) fn attempt(&self, objects: &str) -> Result<Output> {
        attempt("kubectl", &["--namespace", &self.name, "apply", "-f", "-"], objects)
    }

    /// Applies objects to this namespace.
    pub(crate) fn apply(&self, objects: &str) -> Result<()> {
        let output = self.attempt(objects)?;
        ensure!(output.status.success(), "kubectl apply failed: {}", said(&output));
        Ok(())
    }

    /// Applies objects to this namespace that must be refused, and gives the refusal.
    pub(crate) fn refused(&self, objects: &str) -> Result<String> {
        let output = self.attempt(objects)?;
        ensure!(!output.status.success(), "this should have been refused:\n{objects}");
        Ok(said(&output))
    }

    /// `kubectl` in this namespace.
    pub(crate) fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        let mut words = vec!["--namespace", self.name.as_str()];
        words.extend_from_slice(arguments);
        kubectl(&words)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // The next run of the scenario looks whether that went well.
        drop(kubectl(&["delete", "namespace", &self.name, "--wait=false"]));
    }
}
