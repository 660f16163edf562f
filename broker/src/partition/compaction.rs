//! Compacting a partition: of each key the last record stays. Decides nothing about when; each call is one small piece
//! of work, so that who drives it can rest in between.

use std::collections::HashMap;

use record_log::{
    AppendError, Log,
    compact::{
        AbortedTransaction, CompactError, Done, LastOfProducer, Limits, Pass, Policy, Step, Worth, Writers,
    },
};
use runtime::clock;

use super::{Partition, State, producers::Producers};
use crate::disk::DiskStorage;

/// What is remembered of compactions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Compactions {
    /// How many ended. A reader that spans one looks again: aborted transactions are forgotten with their records.
    pub(super) count: u64,
    /// The last one failed, and the next would.
    failed: bool,
}

/// What a piece of work came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// There is more to do.
    More,
    /// All is done.
    Done(Done),
    /// What was compacted is not there any more, or takes no writes. Nothing is wrong.
    Stopped,
    /// There is no room to write to now.
    NoSpace,
    /// It failed, which was told. It is not tried again before the topic's config is changed, damage is deleted, or
    /// the broker starts anew.
    Failed,
}

impl Partition {
    /// How much there is to compact, and whether it is time; `None` when the partition is not compacted.
    pub(crate) fn compaction_worth(&self) -> Option<(Worth, bool)> {
        let now_ms = clock::unix_ms();
        let mut state = self.lock_as_it_is();
        let policy = state.config.compaction.filter(|_| !state.compactions.failed)?;
        self.roll_if_due(&mut state, now_ms);
        let stable_offset = stable_offset(&mut state)?;
        match state.log.as_ref()?.compaction_worth(stable_offset, &policy, now_ms) {
            Ok(worth) => Some((worth, worth.is_due(&policy))),
            Err(error) => {
                let (topic, partition) = (&self.topic, self.index);
                tracing::warn!(%topic, partition, %error, "cannot tell how much there is to compact");
                None
            }
        }
    }

    /// A quiet partition is compacted as well: what is old is sealed though nobody appends.
    fn roll_if_due(&self, state: &mut State, now_ms: i64) {
        let State { log: Some(log), producers, due, .. } = state else { return };
        if log.read_only_reason().is_some() || !log.wants_roll(0, now_ms) {
            return;
        }
        if let Err(refusal) = self.roll(log, (producers, due), now_ms) {
            let reason = refusal.message.unwrap_or_default();
            tracing::warn!(topic = %self.topic, partition = self.index, reason, "cannot start a new segment");
        }
    }

    /// Begins to compact what there is; `None` when there is nothing.
    pub(crate) fn begin_compaction(&self, key_memory_bytes: usize) -> Option<Pass<DiskStorage>> {
        let mut state = self.lock_as_it_is();
        let policy: Policy = state.config.compaction?;
        let stable_offset = stable_offset(&mut state)?;
        let writers = writers(&state.producers, stable_offset);
        let limits = Limits { stable_offset, key_memory_bytes };
        state.log.as_ref()?.begin_compaction(limits, &policy, writers, clock::unix_ms())
    }

    /// Does the next piece of a compaction. Blocks on the disk.
    pub(crate) fn compact(&self, pass: &mut Pass<DiskStorage>) -> Turn {
        if self.lock_as_it_is().log.is_none() {
            return Turn::Stopped;
        }
        match pass.step() {
            Ok(Step::Working) => Turn::More,
            Ok(Step::Finished(made)) => {
                let mut state = self.lock_as_it_is();
                let Some(log) = &mut state.log else { return Turn::Stopped };
                let before = log.size();
                let put = log.put_compacted(made);
                self.shrunk(log, before);
                match put {
                    Ok(true) => Turn::More,
                    Ok(false) => Turn::Stopped,
                    Err(AppendError::Full { .. }) => Turn::NoSpace,
                    Err(error) => {
                        state.compactions.failed = true;
                        self.refused(error);
                        self.ground.metrics.compaction.uncleanable_partitions.inc();
                        Turn::Failed
                    }
                }
            }
            Ok(Step::Done(done)) => {
                self.compacted(done);
                Turn::Done(done)
            }
            Err(error) if error.is_full() => Turn::NoSpace,
            Err(error) => self.cannot_compact(&error),
        }
    }

    fn compacted(&self, done: Done) {
        let mut state = self.lock_as_it_is();
        state.compactions.count += 1;
        state.producers.transactions.forget_before(done.clean_offset);
        if done.keyless_records > 0 {
            let records = done.keyless_records;
            tracing::warn!(topic = %self.topic, partition = self.index, records, "compaction let go of records without a key");
        }
    }

    fn cannot_compact(&self, error: &CompactError) -> Turn {
        let mut state = self.lock_as_it_is();
        let Some(log) = &mut state.log else { return Turn::Stopped };
        let text = crate::error_text(error);
        if matches!(error, CompactError::Damaged { .. }) {
            self.damaged(log, &format!("{}: {text}", self.folder));
        }
        state.compactions.failed = true;
        self.ground.metrics.compaction.uncleanable_partitions.inc();
        tracing::error!(
            topic = %self.topic, partition = self.index, error = text,
            "cannot compact the partition, and will not try again: mend the disk or delete the records up to behind \
             the offset that is named, then set any config of the topic or restart"
        );
        Turn::Failed
    }

    /// From now on a compaction that failed may be tried again.
    pub(super) fn may_compact(&self, state: &mut State) {
        if std::mem::take(&mut state.compactions.failed) {
            self.ground.metrics.compaction.uncleanable_partitions.dec();
        }
    }
}

/// Below this offset all is durable and decided.
fn stable_offset(state: &mut State) -> Option<i64> {
    let log: &Log<DiskStorage> = state.log.as_ref()?;
    let (start, high_watermark) = (log.start_offset(), log.synced_offset());
    Some(state.producers.transactions.last_stable(start, high_watermark))
}

fn writers(known: &Producers, stable_offset: i64) -> Writers {
    let aborted =
        known.transactions.aborted_between(0, stable_offset).into_iter().map(|it| AbortedTransaction {
            producer_id: it.producer_id,
            first_offset: it.first_offset,
            last_offset: it.last_offset,
        });
    let producers: HashMap<i64, LastOfProducer> = known
        .known()
        .map(|it| {
            (it.producer_id, it.last_offset.map_or(LastOfProducer::Marker(it.epoch), LastOfProducer::Record))
        })
        .collect();
    Writers { aborted: aborted.collect(), producers }
}
