//! Brings a member from what it has to its target: first it gives back, then it gets what is free.

use std::collections::BTreeSet;

use uuid::Uuid;

use super::{
    super::assignor::Assignment,
    ConsumerGroup, add, has,
    member::{Member, MemberState},
    parts,
};

impl ConsumerGroup {
    /// Takes a member one step on. `owned` is what it says that it has, if it says so. Says whether it has other
    /// partitions now.
    pub(super) fn reconcile(&mut self, id: &str, owned: Option<&Assignment>, now_ms: u64) -> bool {
        let Some(member) = self.members.get(id) else { return false };
        let still_has = |given_back: &Assignment| {
            owned.is_none_or(|owned| parts(given_back).any(|part| has(owned, &part)))
        };
        match member.state {
            MemberState::Stable if member.epoch == self.target_epoch => return false,
            MemberState::Revoking if still_has(&member.revoking) => return false,
            _ => {}
        }
        let mut kept = Assignment::new();
        let mut revoking = Assignment::new();
        for part in parts(&member.assigned) {
            add(if has(&member.target, &part) { &mut kept } else { &mut revoking }, part);
        }
        let next = if !revoking.is_empty() && still_has(&revoking) {
            let deadline_ms = now_ms.saturating_add(member.rebalance_timeout_ms);
            Member {
                state: MemberState::Revoking,
                assigned: kept,
                revoking,
                revoke_deadline_ms: Some(deadline_ms),
                ..member.clone()
            }
        } else {
            self.take_what_is_free(id, member, kept)
        };
        self.settle(id, next)
    }

    /// The member in the epoch of the targets, with what it keeps and what nobody else has.
    fn take_what_is_free(&self, id: &str, member: &Member, kept: Assignment) -> Member {
        let mut assigned = kept;
        let mut state = MemberState::Stable;
        for part in parts(&member.target) {
            if self.holders.get(&part).is_none_or(|holder| holder == id) {
                add(&mut assigned, part);
            } else {
                state = MemberState::Waiting;
            }
        }
        let previous_epoch =
            if member.epoch == self.target_epoch { member.previous_epoch } else { member.epoch };
        Member {
            epoch: self.target_epoch,
            previous_epoch,
            state,
            assigned,
            revoking: Assignment::new(),
            revoke_deadline_ms: None,
            ..member.clone()
        }
    }

    /// Puts the new state of a member in the place of the old one.
    fn settle(&mut self, id: &str, next: Member) -> bool {
        let Some(member) = self.members.get(id) else { return false };
        if *member == next {
            return false;
        }
        let moved = member.assigned != next.assigned;
        let before: BTreeSet<(Uuid, i32)> = member.held().collect();
        let after: BTreeSet<(Uuid, i32)> = next.held().collect();
        for part in before.difference(&after) {
            self.holders.remove(part);
        }
        for part in after.difference(&before) {
            self.holders.insert(*part, id.to_owned());
        }
        if let Some(at_ms) = next.revoke_deadline_ms {
            self.deadline(at_ms);
        }
        self.members.insert(id.to_owned(), next);
        self.store_member(id);
        moved
    }
}
