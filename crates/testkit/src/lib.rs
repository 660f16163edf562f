//! Fakes and builders for tests; only ever a dev-dependency.
#![warn(missing_docs)]

pub mod certificates;
pub mod reference;
