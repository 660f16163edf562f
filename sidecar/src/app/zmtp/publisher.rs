//! An app's PUB or PUSH socket: we take everything it has and publish it, a read at a time.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use runtime::shutdown::Shutdown;
use zmtp::{Event, SessionError};

use super::endpoint::{Endpoint, Role};
use super::link::{Happened, Link, Stream};
use crate::messaging::Message;

const SHUTTING_DOWN: &str = "the Channel's socket is closing";
/// How long a publish may wait for a subscriber's room: such a socket cannot be told of a failed
/// message, so the door waits as any slow ZeroMQ peer would, and the app's own high-water mark
/// decides meanwhile. It ends at once when the socket closes; this is only so that nothing waits
/// without end.
const PATIENCE: Duration = Duration::from_secs(24 * 60 * 60);
/// After the end has begun: a socket that is silent for so long has nothing more for us.
const LAST_SILENCE: Duration = Duration::from_millis(100);
/// After the end has begun: how long one batch may still wait for room.
const LAST_PATIENCE: Duration = Duration::from_secs(4);
/// Messages of one publish; what was read besides waits in the buffer.
const BATCH_MESSAGES_MAX: usize = 4096;

pub(super) async fn serve<S: Stream>(
    mut link: Link<S>,
    endpoint: &Endpoint,
    ended: Shutdown,
) -> io::Result<()> {
    let mut usual = 0;
    loop {
        let batch = match take(&mut link, endpoint.name().role, usual) {
            Ok(batch) => batch,
            Err(error) => {
                endpoint.session_failed(&error);
                link.close().await;
                return Ok(());
            }
        };
        if batch.is_empty() {
            let happened = tokio::select! {
                biased;
                happened = link.step() => happened?,
                () = silence_after(&ended) => return goodbye(link, SHUTTING_DOWN).await,
            };
            if happened == Happened::Closed {
                return Ok(());
            }
            continue;
        }
        usual = batch.len();
        // Nothing is read until this is done: that is the back-pressure.
        let published = tokio::select! {
            biased;
            published = publish(endpoint, batch) => published,
            () = patience_after(&ended) => return goodbye(link, SHUTTING_DOWN).await,
        };
        if let Err(reason) = published {
            return goodbye(link, &reason).await;
        }
    }
}

/// In a pod that stops, the app has stopped before us: what it wrote last is still in the socket
/// and is published before we close.
async fn silence_after(ended: &Shutdown) {
    ended.begun().await;
    tokio::time::sleep(LAST_SILENCE).await;
}

async fn patience_after(ended: &Shutdown) {
    ended.begun().await;
    tokio::time::sleep(LAST_PATIENCE).await;
}

async fn goodbye<S: Stream>(mut link: Link<S>, reason: &str) -> io::Result<()> {
    link.session.refuse(reason);
    link.close().await;
    Ok(())
}

/// All whole messages that were read: `usual`ly about so many, where there is any.
fn take<S: Stream>(link: &mut Link<S>, role: Role, usual: usize) -> Result<Vec<Message>, SessionError> {
    let mut batch = Vec::new();
    while batch.len() < BATCH_MESSAGES_MAX {
        match link.session.poll_event()? {
            Some(Event::Message(frames)) => {
                if batch.is_empty() {
                    batch.reserve_exact(usual);
                }
                if role == Role::Push {
                    batch.push(Message { parts: frames, ..Message::default() });
                } else {
                    batch.extend(message(frames));
                }
            }
            // What a PUB socket has nobody gets who does not ask for it.
            Some(Event::Ready(_)) if role == Role::Pub => link.session.send_subscribe(&Bytes::new()),
            Some(Event::Ready(_)) => {}
            // Only publishers get these, and we are none here.
            Some(Event::Subscribe(_) | Event::Cancel(_)) => {}
            None => break,
        }
    }
    Ok(batch)
}

/// Of a PUB socket: the first frame is the subject, the others are the parts.
fn message(mut frames: Vec<Bytes>) -> Option<Message> {
    if frames.is_empty() {
        return None;
    }
    let subject = frames.remove(0);
    Some(Message { subject, parts: frames, ..Message::default() })
}

/// # Errors
/// Why the connection must end, in words for the app.
async fn publish(endpoint: &Endpoint, batch: Vec<Message>) -> Result<(), String> {
    let count = u64::try_from(batch.len()).unwrap_or(u64::MAX);
    let channels = &endpoint.doors().channels;
    let Err(problem) = channels.publish_patiently(endpoint.channel(), batch, PATIENCE).await else {
        return Ok(());
    };
    endpoint.problem(&problem);
    endpoint.dropped("refused", count);
    Err(problem.message)
}
