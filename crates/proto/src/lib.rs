//! Generated gRPC code, checked in.
#![warn(missing_docs)]
