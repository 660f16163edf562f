//! The protocol between two sidecars as a state machine. Pure.
#![warn(missing_docs)]
