//! The certificate authority and the gRPC service that sidecars follow.
#![warn(missing_docs)]
