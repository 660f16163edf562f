//! The heartbeat: who sends it, what it wants from now on, and what it is told.

use std::collections::BTreeSet;

use super::{
    super::assignor::{Assignment, Assignor},
    AWAY_EPOCH, ConsumerGroup, ErrorCode, LEAVE_EPOCH, Refused, Surroundings, has, parts,
    target::compile,
};

/// Topics that a member may name.
const NAMES_MAX: usize = 10_000;
/// Bytes of an id that a client chose.
const ID_BYTES_MAX: usize = 1_000;

/// A heartbeat. What is `None` is as it was before.
#[derive(Clone, Debug, Default)]
pub(crate) struct Beat {
    pub(crate) member: String,
    /// 0 to join, -1 to leave, -2 to be away.
    pub(crate) epoch: i32,
    pub(crate) instance: Option<String>,
    pub(crate) rack: Option<String>,
    pub(crate) rebalance_timeout_ms: i32,
    pub(crate) names: Option<Vec<String>>,
    pub(crate) regex: Option<String>,
    pub(crate) assignor: Option<String>,
    /// What the member has.
    pub(crate) owned: Option<Assignment>,
    pub(crate) client_id: String,
    pub(crate) client_host: String,
}

/// The answer to a heartbeat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) member: String,
    pub(crate) epoch: i32,
    pub(crate) assignment: Option<Assignment>,
}

impl Beat {
    /// Whether it can be meant, whatever the group. `id_required`: the member makes its id.
    pub(crate) fn check(&self, id_required: bool) -> Result<(), Refused> {
        let wrong = |text: &str| Err(Refused::new(ErrorCode::InvalidRequest, text));
        let is_empty = |text: &Option<String>| text.as_deref().is_some_and(|text| text.trim().is_empty());
        let too_long = |text: &str| text.len() > ID_BYTES_MAX;
        if is_empty(&self.instance) {
            return wrong("InstanceId can't be empty.");
        }
        if is_empty(&self.rack) {
            return wrong("RackId can't be empty.");
        }
        if (id_required || self.epoch > 0 || self.epoch == LEAVE_EPOCH) && self.member.trim().is_empty() {
            return wrong("MemberId can't be empty.");
        }
        if too_long(&self.member)
            || [&self.instance, &self.rack].into_iter().flatten().any(|text| too_long(text))
        {
            return wrong("An id is too long.");
        }
        if self.names.as_ref().is_some_and(|names| names.len() > NAMES_MAX) {
            return wrong("Too many topics are subscribed to: use SubscribedTopicRegex.");
        }
        if self.epoch == 0 {
            if self.rebalance_timeout_ms == -1 {
                return wrong("RebalanceTimeoutMs must be provided in first request.");
            }
            if self.owned.as_ref().is_none_or(|owned| !owned.is_empty()) {
                return wrong("TopicPartitions must be empty when (re-)joining.");
            }
            if self.names.is_none() && self.regex.is_none() {
                return wrong(
                    "Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when (re-)joining.",
                );
            }
        }
        if self.epoch == AWAY_EPOCH && self.instance.is_none() {
            return wrong("InstanceId can't be null.");
        }
        if self.epoch < AWAY_EPOCH {
            return wrong("MemberEpoch is invalid.");
        }
        if let Some(assignor) = &self.assignor
            && Assignor::from_name(assignor).is_none()
        {
            let known = Assignor::ALL.map(Assignor::name).join(", ");
            let text = format!("ServerAssignor {assignor} is not supported. Supported assignors: {known}.");
            return Err(Refused::new(ErrorCode::UnsupportedAssignor, text));
        }
        if let Some(regex) = self.regex.as_deref().filter(|regex| !regex.is_empty()) {
            compile(regex)?;
        }
        Ok(())
    }

    /// It says everything, as after an answer that never came.
    fn is_full(&self) -> bool {
        self.rebalance_timeout_ms != -1
            && (self.names.is_some() || self.regex.is_some())
            && self.owned.is_some()
    }
}

impl ConsumerGroup {
    /// A member lives, comes, or goes. The beat has been [checked](Beat::check).
    pub(crate) fn handle_heartbeat(
        &mut self,
        beat: &Beat,
        around: &Surroundings<'_>,
    ) -> Result<Answer, Refused> {
        if beat.epoch < 0 {
            return self.handle_leave(beat);
        }
        self.admit(beat, around.now_ms)?;
        let id = beat.member.as_str();
        if self.update(id, beat, around)? {
            self.bump();
        }
        self.notice_topics(around);
        self.assign(around.topics);
        let moved = self.reconcile(id, beat.owned.as_ref(), around.now_ms);
        let session_ms = around.now_ms.saturating_add(self.limits.session_timeout_ms);
        let Some(member) = self.members.get_mut(id) else { return Err(unknown(id)) };
        member.session_deadline_ms = session_ms;
        let tells = beat.epoch == 0 || beat.is_full() || moved;
        let answer = Answer {
            member: id.to_owned(),
            epoch: member.epoch,
            assignment: tells.then(|| member.assigned.clone()),
        };
        self.deadline(session_ms);
        Ok(answer)
    }

    /// Whether a member in the group may go on from the epoch that it names.
    pub(super) fn check_epoch(&self, beat: &Beat) -> Result<(), Refused> {
        let member = self.members.get(&beat.member).ok_or_else(|| unknown(&beat.member))?;
        if beat.epoch == member.epoch {
            return Ok(());
        }
        // The answer with the last epoch may have been lost.
        let owns_no_more = |owned: &Assignment| parts(owned).all(|part| has(&member.assigned, &part));
        if beat.epoch < member.epoch
            && beat.epoch == member.previous_epoch
            && beat.owned.as_ref().is_some_and(owns_no_more)
        {
            return Ok(());
        }
        let text = format!(
            "The consumer group member has epoch {}, and the group coordinator knows it with epoch {}. The \
             member must abandon all its partitions and rejoin.",
            beat.epoch, member.epoch
        );
        Err(Refused::new(ErrorCode::FencedMemberEpoch, text))
    }

    /// Takes over what a beat says. Says whether the group has to be assigned anew.
    fn update(&mut self, id: &str, beat: &Beat, around: &Surroundings<'_>) -> Result<bool, Refused> {
        let Some(member) = self.members.get_mut(id) else { return Err(unknown(id)) };
        let is_new = member.epoch == 0;
        let (mut other_topics, mut other, mut is_new_regex) = (false, is_new, false);
        if let Some(names) = &beat.names {
            other_topics |= replace(&mut member.names, names.iter().cloned().collect());
        }
        if let Some(regex) = &beat.regex
            && replace(&mut member.regex, (!regex.is_empty()).then(|| regex.clone()))
        {
            // As in Kafka, a new pattern is matched after its first answer.
            other_topics |= replace(&mut member.matched, BTreeSet::new());
            member.matched_version = 0;
            (other, is_new_regex) = (true, true);
        }
        if beat.rack.is_some() {
            other |= replace(&mut member.rack, beat.rack.clone());
        }
        let other_assignor = beat.assignor.is_some() && replace(&mut member.assignor, beat.assignor.clone());
        if let Ok(timeout_ms) = u64::try_from(beat.rebalance_timeout_ms) {
            other |= replace(&mut member.rebalance_timeout_ms, timeout_ms);
        }
        if member.client_id != beat.client_id || member.client_host != beat.client_host {
            member.client_id.clone_from(&beat.client_id);
            member.client_host.clone_from(&beat.client_host);
            other = true;
        }
        if !is_new_regex {
            other_topics |= self.match_topics(id, around)?;
        }
        if other || other_topics || other_assignor {
            self.store_member(id);
        }
        Ok(other_topics || other_assignor || is_new)
    }
}

/// Whether the new value is another one.
fn replace<T: PartialEq>(slot: &mut T, value: T) -> bool {
    if *slot == value {
        return false;
    }
    *slot = value;
    true
}

pub(super) fn unknown(id: &str) -> Refused {
    Refused::new(ErrorCode::UnknownMemberId, format!("Member {id} is not a member of the group."))
}
