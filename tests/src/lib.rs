//! The promises: programs as processes, real clients, a real cluster.
