//! From the start of the process until all logs are opened: each gets back what only the journal has.

use std::{collections::HashSet, io, sync::Arc};

use record_log::{
    AppendError, Log,
    batch::BatchHeader,
    journal::{self, Recovered, Redo},
};

use super::{Committer, Durable};
use crate::disk::{DiskFile, DiskStorage};

/// Files of the journal.
const FILES: usize = 4;
/// A smaller file is not worth it.
const FILE_BYTES_MIN: u64 = 256 * 1024;
/// The part of the file system that the journal may take.
const CAPACITY_PARTS: u64 = 32;

/// The journal cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JournalError {
    #[error("cannot open the journal, the folder journal in the data folder")]
    Open(#[source] io::Error),
    #[error("cannot start the threads that sync")]
    Thread(#[source] io::Error),
}

/// How large the journal may be.
pub(crate) fn settings(wanted_bytes: u64, capacity_bytes: u64) -> journal::Settings {
    let file_bytes = wanted_bytes.min(capacity_bytes / CAPACITY_PARTS) / 4;
    let file_bytes = file_bytes.min(journal::FILE_BYTES_MAX);
    journal::Settings { file_bytes, files_max: if file_bytes < FILE_BYTES_MIN { 0 } else { FILES } }
}

/// What the journal had, and what came of it.
pub(super) struct Recovering {
    recovered: Recovered<DiskFile>,
    known: HashSet<String>,
    lost: HashSet<String>,
    /// A log could not take back what the journal has: it stays there for the next start.
    refused: bool,
}

impl Recovering {
    pub(super) fn new(recovered: Recovered<DiskFile>) -> Option<Self> {
        let known = HashSet::new();
        (!recovered.is_empty()).then(|| Self { recovered, known, lost: HashSet::new(), refused: false })
    }
}

impl Committer {
    /// Puts back into a log that was just opened what only the journal has. Later there is nothing to put back.
    ///
    /// # Errors
    /// The log refused it and must not be used.
    pub(crate) fn redo(
        &self,
        folder: &str,
        log: &mut Log<DiskStorage>,
        visit: &mut dyn FnMut(&BatchHeader, &[u8]),
    ) -> Result<Redo, AppendError> {
        let mut recovering = self.shared.recovering();
        let Some(recovering) = &mut *recovering else {
            let failed = |source| AppendError::Storage { folder: folder.to_owned(), source };
            return log.sync_tail().map(|()| Redo::default()).map_err(failed);
        };
        recovering.known.insert(folder.to_owned());
        let outcome = recovering.recovered.redo(log, visit);
        match &outcome {
            Ok(redo) if redo.lost.is_some() => drop(recovering.lost.insert(folder.to_owned())),
            Ok(redo) if redo.batches > 0 => {
                let batches = redo.batches;
                self.shared.metrics.commit.journal_replayed_batches.inc_by(batches);
                tracing::info!(folder, batches, "put back what only the journal had");
            }
            Ok(_) => {}
            Err(_) => recovering.refused = true,
        }
        outcome
    }

    /// Whether the journal may have something that a log has not: all logs are to be opened then.
    pub(crate) fn is_recovering(&self) -> bool {
        self.shared.recovering().is_some()
    }

    /// Has a log stored that was opened at the start, so that the journal need not keep its batches.
    pub(crate) fn opened(&self, log: &Arc<Durable>) {
        if self.shared.recovering().is_some() {
            self.shared.storing.take(std::slice::from_ref(log), false);
        }
    }

    /// After all logs were opened.
    ///
    /// # Errors
    /// The storage refuses.
    pub(crate) fn settle(&self) -> Result<(), JournalError> {
        let Some(recovering) = self.shared.recovering().take() else { return Ok(()) };
        let settled = self.shared.journal().settle(&recovering.known, &recovering.lost);
        if !settled.map_err(JournalError::Open)? || recovering.refused {
            return Ok(());
        }
        self.shared.store_all();
        let aside = self.shared.journal().put_aside().map_err(JournalError::Open)?;
        let logs = recovering.lost.len();
        tracing::error!(
            logs,
            ?aside,
            "records are lost: files of the journal that cannot be read were put aside"
        );
        Ok(())
    }
}
