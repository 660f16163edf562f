//! What the group should come to: which topics its members mean, and who is to get what of them.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use regex::{Regex, RegexBuilder};
use uuid::Uuid;

use super::{
    super::assignor::{Assignor, Subscriber},
    ConsumerGroup, ErrorCode, Refused,
};

/// Bytes of a pattern.
const PATTERN_BYTES_MAX: usize = 4_096;
/// Bytes that a pattern may come to in memory.
const COMPILED_BYTES_MAX: usize = 1024 * 1024;
/// A pattern is matched again after so long, for permissions that changed.
const MATCH_AGAIN_MS: u64 = 600_000;

/// The topics that there are, at one moment.
#[derive(Debug, Default)]
pub(crate) struct TopicsView {
    /// Another number when anything is different.
    pub(crate) version: u64,
    /// Id and number of partitions.
    pub(crate) by_name: BTreeMap<Arc<str>, (Uuid, i32)>,
    pub(crate) names: HashMap<Uuid, Arc<str>>,
}

/// What a heartbeat is handled in.
pub(crate) struct Surroundings<'a> {
    pub(crate) topics: &'a TopicsView,
    /// Whether the sender may know of a topic.
    pub(crate) allows: &'a dyn Fn(&str) -> bool,
    pub(crate) now_ms: u64,
}

/// Reads a pattern; it has to match whole names.
pub(super) fn compile(pattern: &str) -> Result<Regex, Refused> {
    let wrong = |reason: &str| {
        let text = format!("SubscribedTopicRegex `{pattern}` is not a valid regular expression: {reason}");
        Refused::new(ErrorCode::InvalidRegularExpression, text)
    };
    if pattern.len() > PATTERN_BYTES_MAX {
        let text = format!("SubscribedTopicRegex is longer than {PATTERN_BYTES_MAX} bytes");
        return Err(Refused::new(ErrorCode::InvalidRegularExpression, text));
    }
    // By itself first: a parenthesis too many must not close ours.
    let built = regex_of(pattern).and_then(|_| regex_of(&format!("^(?:{pattern})$")));
    built.map_err(|error| wrong(&error.to_string()))
}

fn regex_of(pattern: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(pattern).size_limit(COMPILED_BYTES_MAX).dfa_size_limit(COMPILED_BYTES_MAX).build()
}

impl ConsumerGroup {
    /// Looks which topics a member's pattern means now. Says whether that is different from before.
    pub(super) fn match_topics(&mut self, id: &str, around: &Surroundings<'_>) -> Result<bool, Refused> {
        let Some(member) = self.members.get_mut(id) else { return Ok(false) };
        let Some(pattern) = &member.regex else {
            let had = !member.matched.is_empty();
            member.matched.clear();
            return Ok(had);
        };
        let again_ms = member.matched_ms.saturating_add(MATCH_AGAIN_MS);
        if member.matched_version == around.topics.version && again_ms > around.now_ms {
            return Ok(false);
        }
        let regex = compile(pattern)?;
        let names = around.topics.by_name.keys();
        let matching = names.filter(|name| regex.is_match(name) && (around.allows)(name));
        let matched = matching.map(ToString::to_string).collect();
        member.matched_version = around.topics.version;
        member.matched_ms = around.now_ms;
        let changed = member.matched != matched;
        member.matched = matched;
        Ok(changed)
    }

    /// New topics go to all whose pattern matches them, not first to the one that is heard first, who would have to
    /// give back. What a member may not know of is taken from it when it is heard itself.
    fn match_new_topics(&mut self, around: &Surroundings<'_>) {
        let names = around.topics.by_name.keys();
        let new: Vec<&Arc<str>> =
            names.filter(|name| !self.topics.contains_key(&***name) && (around.allows)(name)).collect();
        let mut compiled: HashMap<String, Option<Regex>> = HashMap::new();
        let mut changed = Vec::new();
        for (id, member) in &mut self.members {
            let Some(pattern) = &member.regex else { continue };
            // One that was never matched is so with its next heartbeat.
            if new.is_empty()
                || member.matched_version == around.topics.version
                || member.matched_version == 0
            {
                continue;
            }
            let regex = compiled.entry(pattern.clone()).or_insert_with(|| compile(pattern).ok());
            let Some(regex) = regex else { continue };
            let before = member.matched.len();
            let matching = new.iter().filter(|name| regex.is_match(name));
            member.matched.extend(matching.map(ToString::to_string));
            if member.matched.len() > before {
                changed.push(id.clone());
            }
        }
        for id in changed {
            self.store_member(&id);
        }
    }

    /// The subscribed topics that there are.
    fn subscribed(&self, view: &TopicsView) -> BTreeMap<String, (Uuid, i32)> {
        let mut topics = BTreeMap::new();
        for name in self.members.values().flat_map(super::Member::topics) {
            if let Some(facts) = view.by_name.get(name.as_str())
                && !topics.contains_key(name)
            {
                topics.insert(name.clone(), *facts);
            }
        }
        topics
    }

    /// Notices topics that came, grew or went: the group gets a new epoch if they concern it.
    pub(super) fn notice_topics(&mut self, around: &Surroundings<'_>) {
        let view = around.topics;
        if view.version == self.seen_version {
            return;
        }
        self.seen_version = view.version;
        self.match_new_topics(around);
        // A newer epoch than the targets' is on its way to new ones anyway.
        if self.epoch == self.target_epoch && self.subscribed(view) != self.topics {
            self.bump();
        }
    }

    /// Makes new targets if the group has a newer epoch than they.
    pub(super) fn assign(&mut self, view: &TopicsView) {
        if self.epoch <= self.target_epoch {
            return;
        }
        self.topics = self.subscribed(view);
        self.assignor = self.wanted_assignor();
        let counts: BTreeMap<Uuid, i32> = self.topics.values().copied().collect();
        let ids_of = |name: &String| self.topics.get(name).map(|(id, _)| *id);
        let subscribers: Vec<Subscriber<'_>> = self
            .members
            .iter()
            .map(|(id, member)| Subscriber {
                order: member.instance.as_deref().unwrap_or(id),
                topics: member.topics().filter_map(ids_of).collect(),
                previous: &member.target,
            })
            .collect();
        let targets = self.assignor.assign(&counts, &subscribers);
        drop(subscribers);
        let mut changed = Vec::new();
        for ((id, member), target) in self.members.iter_mut().zip(targets) {
            if member.target != target {
                member.target = target;
                changed.push(id.clone());
            }
        }
        self.target_epoch = self.epoch;
        self.store_group();
        for id in changed {
            self.store_member(&id);
        }
    }

    /// The assignor that most members ask for.
    fn wanted_assignor(&self) -> Assignor {
        let votes = |assignor: Assignor| {
            let name = Some(assignor.name());
            self.members.values().filter(|member| member.assignor.as_deref() == name).count()
        };
        let [first, second] = Assignor::ALL;
        if votes(second) > votes(first) { second } else { first }
    }
}
