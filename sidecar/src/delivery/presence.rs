//! What this sidecar tells its peers of itself when they meet. Only values.

use peer_wire::Locality;

/// See the head of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Presence {
    /// Where it runs.
    pub(crate) locality: Locality,
    /// The newest version of peer-wire that it speaks.
    pub(crate) version_max: u16,
}

impl Default for Presence {
    /// Nowhere in particular, with everything that this version knows.
    fn default() -> Self {
        Self { locality: Locality::default(), version_max: peer_wire::limits::VERSION }
    }
}
