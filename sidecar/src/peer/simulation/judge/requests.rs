//! Requests: answered only when somebody has executed them, and executed twice only where that was allowed.

use super::super::apps::is_idempotent;
use super::super::records::{Event, Outcome, Records, Sent};
use super::Proven;
use std::collections::BTreeMap;

/// Tries of a request that may be executed more than once.
const TRIES_MAX: u64 = 16;

/// Judges one Channel.
pub(super) fn judge(records: &Records, scene: usize, proven: &mut Proven) -> Result<(), String> {
    let mut executed: BTreeMap<Sent, u64> = BTreeMap::new();
    let mut answered = std::collections::BTreeSet::new();
    for taking in records.takings.iter().filter(|taking| taking.scene == scene) {
        for event in &taking.events {
            if let Event::Message { sent, .. } = event {
                *executed.entry(*sent).or_default() += 1;
            }
        }
        answered.extend(taking.acked.iter().copied());
    }
    for (sent, times) in &executed {
        let most = if is_idempotent(sent.id) { TRIES_MAX } else { 1 };
        if sent.scene != scene || *times > most {
            return Err(format!(
                "scene {scene}: request {sent:?} was executed {times} times, of at most {most}"
            ));
        }
    }
    for ((_, process), numbering) in records.numberings.range((scene, 0)..=(scene, u64::MAX)) {
        for batch in &numbering.batches {
            let sent = Sent { scene, process: *process, id: batch.first_id };
            if matches!(batch.outcome, Outcome::Taken(_)) {
                if !answered.contains(&sent) {
                    return Err(format!("scene {scene}: {sent:?} has a reply, and nobody has answered it"));
                }
                proven.delivered += 1;
            } else {
                proven.told += 1;
            }
        }
    }
    Ok(())
}
