//! Leaving: for good, or for a while as a static member.

use super::{
    super::assignor::Assignment,
    AWAY_EPOCH, Answer, ConsumerGroup, ErrorCode, Refused,
    heartbeat::{Beat, unknown},
    member::MemberState,
};

impl ConsumerGroup {
    /// A member goes.
    pub(super) fn handle_leave(&mut self, beat: &Beat) -> Result<Answer, Refused> {
        if let Some(instance) = &beat.instance {
            let holder = self.instances.get(instance).ok_or_else(|| unknown(&beat.member))?;
            if *holder != beat.member {
                let text = format!("Static member {} was fenced by member {holder}.", beat.member);
                return Err(Refused::new(ErrorCode::FencedInstanceId, text));
            }
        }
        let member = self.members.get_mut(&beat.member).ok_or_else(|| unknown(&beat.member))?;
        if beat.epoch == AWAY_EPOCH {
            // It keeps what it has; only what it was giving back anyway is free.
            let freed = std::mem::take(&mut member.revoking);
            member.epoch = AWAY_EPOCH;
            member.state = MemberState::Stable;
            member.revoke_deadline_ms = None;
            self.free(&freed);
            self.store_member(&beat.member);
        } else {
            self.remove(&beat.member);
        }
        Ok(Answer { member: beat.member.clone(), epoch: beat.epoch, assignment: None })
    }

    fn free(&mut self, assignment: &Assignment) {
        for part in super::parts(assignment) {
            self.holders.remove(&part);
        }
    }

    /// An administrator sends a member away, by its id or its instance's.
    pub(crate) fn handle_removal(
        &mut self,
        member: &str,
        instance: Option<&str>,
    ) -> Result<String, ErrorCode> {
        let id = match instance {
            Some(instance) => {
                let holder = self.instances.get(instance).ok_or(ErrorCode::UnknownMemberId)?;
                if !member.is_empty() && holder != member {
                    return Err(ErrorCode::FencedInstanceId);
                }
                holder.clone()
            }
            None => member.to_owned(),
        };
        if !self.members.contains_key(&id) {
            return Err(ErrorCode::UnknownMemberId);
        }
        self.remove(&id);
        Ok(id)
    }
}
