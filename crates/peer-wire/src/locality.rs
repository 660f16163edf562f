//! Where sidecars run, and how far it is from one to another. Only a preference hangs on it, so nobody checks it.

use crate::limits;

/// Where a sidecar runs. What is not known is empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Locality {
    /// The name of the node.
    pub node: String,
    /// The zone of the node.
    pub zone: String,
}

/// How far it is between two sidecars, nearest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Distance {
    /// Both run on one node.
    SameNode,
    /// Both run in one zone.
    SameZone,
    /// Neither, or nobody knows.
    Far,
}

impl Locality {
    /// Whether both names are within the limits of a Hello.
    #[must_use]
    pub const fn fits(&self) -> bool {
        self.node.len() <= limits::NODE_NAME_BYTES_MAX && self.zone.len() <= limits::ZONE_BYTES_MAX
    }

    /// How far it is to `other`.
    #[must_use]
    pub fn distance(&self, other: &Self) -> Distance {
        let same = |own: &str, other: &str| !own.is_empty() && own == other;
        if same(&self.node, &other.node) {
            Distance::SameNode
        } else if same(&self.zone, &other.zone) {
            Distance::SameZone
        } else {
            Distance::Far
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: one node is nearer than one zone, and two who do not know where they are are not near each other.
    #[test]
    fn nearness() {
        let at = |node: &str, zone: &str| Locality { node: node.to_owned(), zone: zone.to_owned() };
        let own = at("n1", "z1");
        assert_eq!(own.distance(&at("n1", "")), Distance::SameNode);
        assert_eq!(own.distance(&at("n2", "z1")), Distance::SameZone);
        assert_eq!(own.distance(&at("n2", "z2")), Distance::Far);
        assert_eq!(at("", "").distance(&at("", "")), Distance::Far);
        assert!(Distance::SameNode < Distance::SameZone && Distance::SameZone < Distance::Far);
        assert!(own.fits() && !at(&"n".repeat(254), "").fits() && !at("", &"z".repeat(64)).fits());
    }
}
