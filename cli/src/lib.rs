//! Local mode, and the tools a person uses. The only program that uses the libraries of other
//! programs: `pinnace broker` and the sidecars of `pinnace up` are those programs.

pub mod args;
mod certificates;
mod local;
pub mod run;
mod tools;
