//! An append-only partition log over an abstract storage. Pure.
#![warn(missing_docs)]
