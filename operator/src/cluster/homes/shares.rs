//! What each Topic of one namespace counts on one Broker, in the order of their age. See `api::quota`.

use api::Topic;
use api::quota::{Share, Used, counted, held};
use std::collections::BTreeMap;

/// When a Topic was made, in seconds since 1970, and its name: who of two comes first.
pub(super) type Age = (i64, String);

/// See the module. Topics that count nothing are not in it.
#[derive(Debug, Default)]
pub(super) struct Shares {
    all: Used,
    of: BTreeMap<Age, Standing>,
}

#[derive(Clone, Copy, Debug)]
struct Standing {
    counted: Share,
    held: Option<Share>,
}

impl Shares {
    pub(super) fn note(&mut self, age: Age, topic: &Topic) {
        self.forget(&age);
        let Some(counted) = counted(topic) else { return };
        self.all.add(counted);
        self.of.insert(age, Standing { counted, held: held(topic) });
    }

    pub(super) fn forget(&mut self, age: &Age) {
        if let Some(gone) = self.of.remove(age) {
            self.all.remove(gone.counted);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.of.is_empty()
    }

    /// What all of them take.
    pub(super) fn all(&self) -> Used {
        self.all
    }

    /// What all but this one take. Costs no look at the others.
    pub(super) fn others(&self, own: &Age) -> Used {
        let mut used = self.all;
        if let Some(standing) = self.of.get(own) {
            used.remove(standing.counted);
        }
        used
    }

    /// What those take that come before this one: the older ones all that they ask for, the younger ones what they have.
    pub(super) fn ahead(&self, own: &Age) -> Used {
        let mut used = Used::default();
        for (age, standing) in self.of.iter().filter(|(age, _)| *age != own) {
            let share = if age < own { Some(standing.counted) } else { standing.held };
            share.into_iter().for_each(|share| used.add(share));
        }
        used
    }
}
