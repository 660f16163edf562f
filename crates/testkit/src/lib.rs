//! Fakes, builders and judges for tests; only ever a dev-dependency, and one of xtask.
#![warn(missing_docs)]

pub mod cargo;
pub mod certificates;
pub mod chance;
pub mod copier;
pub mod copies;
pub mod history;
pub mod reference;
