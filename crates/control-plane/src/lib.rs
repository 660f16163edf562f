//! The certificate authority, and the gRPC service that sidecars follow.
//!
//! One crate serves the operator and local mode (docs/adr/0002-control-plane-crate.md). It takes
//! objects through [`Objects`] and knows nothing of Kubernetes or of files; what a view holds is
//! decided in the pure crate `control`. Storage of the roots is the caller's.
#![warn(missing_docs)]

pub mod authority;
mod listen;
pub mod metrics;
pub mod objects;
pub mod review;
pub mod serve;
mod service;
mod state;
mod translate;

pub use authority::{Authority, AuthorityError, Issued, IssuedKey, StoredRoot};
pub use control::{Broker, Channel, Identity, ObjectName, Topic};
pub use metrics::Metrics;
pub use objects::Objects;
pub use review::{ReviewError, TokenReviewer, TokenTable};
pub use serve::{ControlPlane, ServeError, Settings};
