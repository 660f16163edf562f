//! The Embedded engine: a small Kafka broker for one node, durable by default.
