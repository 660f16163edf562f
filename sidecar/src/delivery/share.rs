//! Channels where each message goes to one receiver, and those whose receivers acknowledge: which rules the view gives
//! them, and publishing into shared work.

use super::buffer::Amount;
use super::core::Core;
use super::outlet::{Outlet, Policy, limits_of};
use super::work::{Ends, Failures, Offered, Post, Rules, Seat, Settle, Work};
use crate::messaging::{ChannelName, Message, Problem, ProblemKind};
use crate::view::{Acknowledge, ChannelView, Overflow, Pattern};
use peer_wire::Distance;
use runtime::clock::{self, Instant};
use std::sync::Arc;

/// The rules of a Channel's desk; `None`: its subscribers have plain queues.
pub(super) fn rules_of(channel: &ChannelView) -> Option<Rules> {
    let limits = limits_of(channel);
    let acknowledged = channel.acknowledge == Acknowledge::Required;
    let settle = if acknowledged {
        let attempts = u16::try_from(channel.redeliver.attempts).unwrap_or(u16::MAX);
        Settle::Ack { after: channel.redeliver.after, attempts }
    } else {
        Settle::Receipt
    };
    let dead_letters = acknowledged && channel.dead_letter.is_some();
    match channel.pattern {
        Pattern::Pipeline => Some(Rules { limits, settle, shared: true, dead_letters }),
        Pattern::RequestReply => {
            Some(Rules { limits, settle: Settle::Reply, shared: true, dead_letters: false })
        }
        Pattern::PubSub if acknowledged => Some(Rules { limits, settle, shared: false, dead_letters }),
        Pattern::PubSub | Pattern::Unknown => None,
    }
}

impl Core {
    /// What the receivers of a Channel share; `None` where each has its own.
    pub(super) fn shared_work(&self, outlet: &Outlet, channel: &ChannelView) -> Option<Arc<Work>> {
        let rules = rules_of(channel).filter(|rules| rules.shared)?;
        let work = outlet.work.get_or_init(|| {
            let calls = Arc::clone(&outlet.calls);
            let failures = Box::new(move |failed: Vec<u64>| calls.fail(&failed));
            self.begin_work(outlet, rules, failures)
        });
        Some(Arc::clone(work))
    }

    /// A place for one more receiver, where messages are counted by receiver. Where one gets each message, the nearer
    /// goes first; requests go to whoever has the most room, since a slow answer costs more than the way.
    pub(super) fn seat(&self, outlet: &Outlet, channel: &ChannelView, distance: Distance) -> Option<Seat> {
        let distance = if channel.pattern == Pattern::Pipeline { distance } else { Distance::Far };
        if let Some(work) = self.shared_work(outlet, channel) {
            return Some(work.seat(distance));
        }
        let rules = rules_of(channel)?;
        Some(self.begin_work(outlet, rules, Box::new(|_| {})).seat(distance))
    }

    /// A place for an app of this pod. It is no nearer than others where nobody knows where anybody is.
    pub(super) fn own_seat(&self, outlet: &Outlet, channel: &ChannelView) -> Option<Seat> {
        let own = &self.presence().locality;
        self.seat(outlet, channel, own.distance(own))
    }

    fn begin_work(&self, outlet: &Outlet, rules: Rules, failures: Failures) -> Arc<Work> {
        let ends = Ends { failures, dead_letters: Arc::clone(&outlet.dead_letters) };
        let work = Work::new(rules, Arc::clone(&outlet.metrics), ends);
        work.keep_time(&self.background, self.origin());
        if matches!(rules.settle, Settle::Ack { .. }) {
            self.write_dead_letters(outlet);
        }
        work
    }
}

impl Outlet {
    /// Publishes each message to one receiver. Called in the order of publishing.
    pub(super) async fn share_out(
        &self,
        work: &Work,
        policy: Policy,
        messages: Vec<Message>,
        (begun, origin): (Instant, Instant),
    ) -> Result<u64, Problem> {
        let (accepted, deadline) = (begun - origin, begun + policy.patience);
        let total = messages.len();
        // Nobody else numbers meanwhile: the caller has its turn. What is not published keeps no number.
        let first = self.last_sequence().saturating_add(1);
        let posts: Vec<Arc<Post>> = (first..)
            .zip(messages)
            .map(|(sequence, message)| Arc::new(Post::new(sequence, accepted, message, None)))
            .collect();
        let block = policy.overflow == Overflow::Block;
        let mut published = 0;
        let outcome = loop {
            let mut rest = posts.get(published..).unwrap_or_default();
            if policy.record {
                let sizes: Vec<usize> = rest.iter().map(|post| post.size).collect();
                let room = self.recorder.room(&sizes, 1, policy.limits);
                let Ok(room) = tokio::time::timeout_at(deadline, room).await else {
                    break Err(self.not_recorded(policy, (published, total)));
                };
                rest = rest.get(..room).unwrap_or(rest);
            }
            // The Channel spilled until now: the rest of that comes first.
            let (count, outcome) =
                if work.behind().is_behind() { (0, Offered::Full) } else { work.offer(rest, block) };
            self.number(count);
            if policy.record {
                let copied = rest.iter().take(count).map(|post| &post.message);
                self.recorder.take(first.saturating_add(published as u64), copied);
            }
            published += count;
            self.metrics.published.inc_by(u64::try_from(count).unwrap_or(u64::MAX));
            if published == total {
                break Ok(first);
            }
            if tokio::time::timeout_at(deadline, work.room_changed()).await.is_err() {
                break Err(self.nobody_took(work.load(), (policy, outcome), (published, total)));
            }
        };
        self.metrics.publish_duration.observe((clock::now() - begun).as_secs_f64());
        outcome
    }

    fn nobody_took(
        &self,
        load: Amount,
        (policy, outcome): (Policy, Offered),
        (published, total): (usize, usize),
    ) -> Problem {
        let name = &self.name;
        let so_far = format!("{published} of {total} messages of this batch were published");
        let text = if outcome == Offered::Nobody {
            format!(
                "{name}: no subscriber came within {:?}; {so_far}; start a subscriber, or change \
                 spec.delivery.blockTimeout",
                policy.patience
            )
        } else {
            format!(
                "{name}: no subscriber had room for {:?}: {} messages and {} bytes wait; {so_far}; have the \
                 subscribers read faster, start more of them, or change spec.delivery.blockTimeout, \
                 spec.delivery.buffer or spec.delivery.overflow",
                policy.patience, load.messages, load.bytes
            )
        };
        let kind =
            if outcome == Offered::Nobody { ProblemKind::Unavailable } else { ProblemKind::DeadlineExceeded };
        Problem::new(kind, text)
    }
}

/// As many requests wait as the buffer holds.
pub(super) fn too_many_requests(name: &ChannelName, load: Amount) -> Problem {
    let text = format!(
        "{name}: {} requests of {} bytes wait for a reply or for somebody to take them; start more apps that serve it, \
         or change spec.delivery.buffer",
        load.messages, load.bytes
    );
    Problem::new(ProblemKind::ResourceExhausted, text)
}
