//! The Kubernetes operator: controllers, admission, control plane, certificate authority.
