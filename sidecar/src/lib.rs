//! The messaging sidecar: doors for the app, peers, the way to the broker.
