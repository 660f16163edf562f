//! Administers either engine over Kafka's protocol; no produce or consume.
#![warn(missing_docs)]
