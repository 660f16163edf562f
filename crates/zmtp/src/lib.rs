//! ZeroMQ's wire protocol (ZMTP 3.0 and 3.1) as a state machine. Pure.
#![warn(missing_docs)]
