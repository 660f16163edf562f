//! Objects and reports in, one view per sidecar out. Pure.
#![warn(missing_docs)]
