//! Which groups there are.

use std::collections::HashSet;

use super::{Coordinator, Kind};

/// A group in a list.
pub(crate) struct Listed {
    pub(crate) id: String,
    pub(crate) state: &'static str,
    pub(crate) protocol_type: String,
    /// As ListGroups calls the two kinds.
    pub(crate) group_type: &'static str,
}

impl Coordinator {
    /// The groups with members or a past, and those that only committed offsets.
    pub(crate) fn list(&self) -> Vec<Listed> {
        let mut listed: Vec<Listed> = {
            let inner = self.lock();
            let all = inner.groups.iter().map(|(id, entry)| match &entry.kind {
                Kind::Classic(group) => Listed {
                    id: id.to_string(),
                    state: group.state().name(),
                    protocol_type: group.protocol_type().to_owned(),
                    group_type: "classic",
                },
                Kind::Consumer(group) => Listed {
                    id: id.to_string(),
                    state: group.state_name(),
                    protocol_type: "consumer".to_owned(),
                    group_type: "consumer",
                },
            });
            all.collect()
        };
        let known: HashSet<String> = listed.iter().map(|group| group.id.clone()).collect();
        let simple = self.offsets.groups().into_iter().filter(|id| !known.contains(id));
        listed.extend(simple.map(|id| Listed {
            id,
            state: "Empty",
            protocol_type: String::new(),
            group_type: "classic",
        }));
        listed
    }

    /// Whether there is a group of this name, of whatever kind.
    pub(crate) fn is_known(&self, id: &str) -> bool {
        self.lock().groups.contains_key(id) || self.offsets.has(id)
    }

    /// Whether there is a group of the new protocol with this name.
    pub(crate) fn is_consumer_group(&self, id: &str) -> bool {
        self.lock().groups.get(id).is_some_and(|entry| matches!(entry.kind, Kind::Consumer(_)))
    }
}
