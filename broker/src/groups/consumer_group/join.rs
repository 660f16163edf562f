//! Who sends a heartbeat: somebody new, a member, or a static member that comes back under a new id.

use std::collections::BTreeSet;

use super::{
    super::assignor::Assignment,
    AWAY_EPOCH, ConsumerGroup, ErrorCode, Output, Refused,
    heartbeat::{Beat, unknown},
    member::{Member, MemberState},
};

impl ConsumerGroup {
    /// Makes the sender a member if it joins, or checks that it is one.
    pub(super) fn admit(&mut self, beat: &Beat, now_ms: u64) -> Result<(), Refused> {
        let joins = beat.epoch == 0;
        let holder = beat.instance.as_ref().and_then(|instance| self.instances.get(instance)).cloned();
        match holder {
            Some(holder) if holder == beat.member => {}
            Some(holder) if joins => return self.come_back(&holder, beat),
            Some(holder) => {
                let text = format!("Static member {} was fenced by member {holder}.", beat.member);
                return Err(Refused::new(ErrorCode::FencedInstanceId, text));
            }
            None if beat.instance.is_some() && !joins => return Err(unknown(&beat.member)),
            None => {}
        }
        if let Some(member) = self.members.get_mut(&beat.member) {
            if !joins {
                return self.check_epoch(beat);
            }
            if let (None, Some(instance)) = (&member.instance, &beat.instance) {
                member.instance = Some(instance.clone());
                self.instances.insert(instance.clone(), beat.member.clone());
            }
            return Ok(());
        }
        if !joins {
            return Err(unknown(&beat.member));
        }
        if self.members.len() >= self.limits.size_max {
            let text = format!(
                "The consumer group has reached its maximum capacity of {} members.",
                self.limits.size_max
            );
            return Err(Refused::new(ErrorCode::GroupMaxSizeReached, text));
        }
        self.add(beat, now_ms);
        Ok(())
    }

    fn add(&mut self, beat: &Beat, now_ms: u64) {
        if let Some(instance) = &beat.instance {
            self.instances.insert(instance.clone(), beat.member.clone());
        }
        let member = Member {
            instance: beat.instance.clone(),
            rack: None,
            client_id: String::new(),
            client_host: String::new(),
            rebalance_timeout_ms: 0,
            names: BTreeSet::new(),
            regex: None,
            matched: BTreeSet::new(),
            assignor: None,
            epoch: 0,
            previous_epoch: -1,
            state: MemberState::Stable,
            assigned: Assignment::new(),
            revoking: Assignment::new(),
            target: Assignment::new(),
            session_deadline_ms: now_ms.saturating_add(self.limits.session_timeout_ms),
            revoke_deadline_ms: None,
            matched_ms: 0,
            matched_version: 0,
        };
        self.members.insert(beat.member.clone(), member);
    }

    /// A static member that went away is back: it has what it had, and nobody else notices.
    fn come_back(&mut self, holder: &str, beat: &Beat) -> Result<(), Refused> {
        let away = self.members.get(holder).is_some_and(|member| member.epoch == AWAY_EPOCH);
        if !away {
            let instance = beat.instance.as_deref().unwrap_or_default();
            let text = format!(
                "Static member {} with instance id {instance} cannot join the group because the instance id is \
                 owned by member {holder}.",
                beat.member
            );
            return Err(Refused::new(ErrorCode::UnreleasedInstanceId, text));
        }
        let Some(member) = self.members.remove(holder) else { return Err(unknown(holder)) };
        for part in member.held() {
            self.holders.insert(part, beat.member.clone());
        }
        if let Some(instance) = &member.instance {
            self.instances.insert(instance.clone(), beat.member.clone());
        }
        self.members.insert(beat.member.clone(), member);
        self.outputs.push_back(Output::RemoveMember(holder.to_owned()));
        self.store_member(&beat.member);
        Ok(())
    }
}
