//! Kafka's wire protocol: bounded decoders and encoders, record batches. Pure.
#![warn(missing_docs)]
