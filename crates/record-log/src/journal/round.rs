//! One round: what a set of logs was given since their last sync becomes durable. Runs where it is called;
//! starts no thread and knows no clock.

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{Entry, Journal, WriteError, plan};
use crate::{SyncTicket, batch, storage::Storage};

/// Where batches became durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the log's own file.
    File,
    /// In the journal.
    Journal,
}

/// A log that takes part, behind whatever lock its owner has.
pub trait Member<S: Storage>: Send + Sync {
    /// The log's folder.
    fn folder(&self) -> &str;
    /// See [`Log::begin_sync`](crate::Log::begin_sync).
    fn begin_sync(&self) -> Option<SyncTicket<S::File>>;
    /// See [`Log::begin_store`](crate::Log::begin_store).
    fn begin_store(&self) -> Option<SyncTicket<S::File>>;
    /// See [`Log::begin_note`](crate::Log::begin_note).
    fn begin_note(&self) -> Option<SyncTicket<S::File>>;
    /// The outcome of a ticket: on an error the log must stop taking writes.
    fn finish(&self, ticket: &SyncTicket<S::File>, outcome: io::Result<Place>);
    /// See [`Log::noted_offset`](crate::Log::noted_offset); `None` when the log was deleted.
    fn noted_offset(&self) -> Option<i64>;
}

/// Runs one sync; whoever calls may measure it.
pub type Syncing<'a> = dyn FnMut(&mut dyn FnMut() -> io::Result<()>) -> io::Result<()> + 'a;

fn lock<S: Storage>(journal: &Mutex<Journal<S>>) -> MutexGuard<'_, Journal<S>> {
    journal.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a round did.
#[derive(Debug, Default)]
pub struct Done {
    /// Why the journal was not used for logs that should have gone there.
    pub failure: Option<WriteError>,
    /// Logs in the journal, and the bytes of their batches.
    pub together: usize,
    /// See `together`.
    pub together_bytes: u64,
    /// Logs that were synced in their own files, well or not.
    pub alone: usize,
}

/// Makes durable what the logs were given. Small ones go into the journal together, with one sync; the others,
/// and all when the journal has no room or fails, are synced in their own files. Each is told its outcome.
///
/// A sync that failed is not tried again. That of the journal says nothing about the logs' own files, which were
/// never asked: they are, and the journal is not used any more.
pub fn run_round<S: Storage, M: Member<S> + ?Sized>(
    members: &[Arc<M>],
    journal: &Mutex<Journal<S>>,
    syncing: &mut Syncing<'_>,
) -> Done {
    let begun: Vec<(&M, SyncTicket<S::File>)> =
        members.iter().filter_map(|member| Some((&**member, member.begin_sync()?))).collect();
    let pending: Vec<u64> = begun.iter().map(|(_, ticket)| ticket.bytes()).collect();
    let chosen = plan(&pending, lock(journal).room(begun.len()));
    let mut direct = Vec::new();
    let mut together = Vec::new();
    for (chosen, begun) in chosen.into_iter().zip(begun) {
        if chosen { &mut together } else { &mut direct }.push(begun);
    }
    let failure = write_together(&together, journal, syncing);
    match &failure {
        None => together.iter().for_each(|(member, ticket)| member.finish(ticket, Ok(Place::Journal))),
        Some(_) => direct.append(&mut together),
    }
    let together_bytes = together.iter().map(|(_, ticket)| ticket.bytes()).sum();
    let done = Done { failure, together: together.len(), together_bytes, alone: direct.len() };
    for (member, ticket) in direct {
        let outcome = syncing(&mut || ticket.run());
        member.finish(&ticket, outcome.map(|()| Place::File));
        confirm(member, journal);
    }
    done
}

fn write_together<S: Storage, M: Member<S> + ?Sized>(
    together: &[(&M, SyncTicket<S::File>)],
    journal: &Mutex<Journal<S>>,
    syncing: &mut Syncing<'_>,
) -> Option<WriteError> {
    if together.is_empty() {
        return None;
    }
    let entries: io::Result<Vec<Entry>> =
        together.iter().map(|(member, ticket)| entry(*member, ticket)).collect();
    // When they cannot be read back, their own syncs will tell.
    let Ok(entries) = entries else { return Some(WriteError::NoRoom) };
    let mut failure = None;
    let outcome = syncing(&mut || match lock(journal).write(&entries) {
        Err(WriteError::NoRoom) => {
            failure = Some(WriteError::NoRoom);
            Ok(())
        }
        Err(WriteError::Storage(error)) => Err(error),
        Ok(()) => Ok(()),
    });
    failure.or_else(|| outcome.err().map(WriteError::Storage))
}

/// What a ticket is about, read back from the log's file and checked.
fn entry<S: Storage, M: Member<S> + ?Sized>(member: &M, ticket: &SyncTicket<S::File>) -> io::Result<Entry> {
    let bytes = ticket.read()?;
    let (mut rest, mut offset) = (&bytes[..], ticket.from_offset());
    while let Some(header) = batch::header(rest) {
        let Some((whole, behind)) = rest.split_at_checked(header.size) else { break };
        if header.base_offset < offset || !batch::is_intact(whole) {
            break;
        }
        (rest, offset) = (behind, header.next_offset());
    }
    if !rest.is_empty() || offset != ticket.offset() {
        return Err(io::Error::other("the bytes that were read back are not those that were written"));
    }
    let folder = member.folder().to_owned();
    Ok(Entry { folder, base_offset: ticket.from_offset(), next_offset: offset, bytes })
}

/// Has one log's own file synced, and its header page say so, so that the journal need not keep its batches.
/// Says whether the journal keeps none for it any more.
pub fn store<S: Storage, M: Member<S> + ?Sized>(
    member: &M,
    journal: &Mutex<Journal<S>>,
    syncing: &mut Syncing<'_>,
) {
    if let Some(ticket) = member.begin_store() {
        let outcome = syncing(&mut || ticket.run());
        let failed = outcome.is_err();
        member.finish(&ticket, outcome.map(|()| Place::File));
        if failed {
            return;
        }
    }
    if let Some(ticket) = member.begin_note() {
        let outcome = syncing(&mut || ticket.run());
        member.finish(&ticket, outcome.map(|()| Place::File));
    }
    confirm(member, journal);
}

fn confirm<S: Storage, M: Member<S> + ?Sized>(member: &M, journal: &Mutex<Journal<S>>) {
    // A log that was deleted needs nothing.
    let offset = member.noted_offset().unwrap_or(i64::MAX);
    lock(journal).confirm(member.folder(), offset);
}
