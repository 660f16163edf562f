//! Publishing to either engine. Topics are queued first and waited for later, so that an ordered
//! stream keeps many batches on their way; a Channel takes a batch at once.

use super::Doors;
use crate::durable::InFlight;
use crate::messaging::{Message, Name, Position, Problem, ProblemKind};

/// Messages in one request: what is not bounded by bytes alone, since a message may be empty.
pub(super) const BATCH_MESSAGES_MAX: usize = 100_000;

/// A batch that was taken.
pub(super) enum Begun {
    Taken(Vec<Position>),
    InFlight(Box<InFlight>),
}

impl Begun {
    /// Its positions, one for each message.
    pub(super) async fn finish(self) -> Result<Vec<Position>, Problem> {
        match self {
            Self::Taken(positions) => Ok(positions),
            Self::InFlight(batch) => batch.finish().await,
        }
    }
}

pub(super) async fn begin(doors: &Doors, name: &Name, messages: Vec<Message>) -> Result<Begun, Problem> {
    if messages.len() > BATCH_MESSAGES_MAX {
        return Err(Problem::new(
            ProblemKind::InvalidArgument,
            format!("messages: at most {BATCH_MESSAGES_MAX} in one request, not {}", messages.len()),
        ));
    }
    match name {
        Name::Channel(name) => doors.channels.publish(name, messages).await.map(Begun::Taken),
        Name::Topic(name) => {
            doors.topics.begin(name, messages).await.map(|batch| Begun::InFlight(Box::new(batch)))
        }
    }
}

/// How large a message to `name` may be, asked before its bytes are read.
///
/// # Errors
/// What publishing it would say, where that is known without the message.
pub(super) async fn message_bytes_max(doors: &Doors, name: &Name) -> Result<usize, Problem> {
    let known = {
        let view = doors.view.borrow();
        match name {
            Name::Channel(name) => {
                view.channels.get(name).filter(|channel| channel.may_publish).map(|c| c.max_message_bytes)
            }
            Name::Topic(name) => {
                view.topics.get(name).filter(|topic| topic.may_publish).map(|t| t.max_message_bytes)
            }
        }
    };
    if let Some(bytes) = known {
        return Ok(bytes);
    }
    // Nothing to publish: only the refusal is wanted, in the words of whoever refuses.
    begin(doors, name, Vec::new()).await?.finish().await?;
    Err(Problem::new(ProblemKind::Unavailable, "the object has just appeared; try again"))
}
