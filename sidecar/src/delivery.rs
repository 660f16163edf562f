//! Channels inside this sidecar: who publishes, who subscribes, and the bounded queues between them.

use crate::messaging::SubscribeOptions;
use crate::messaging::{
    ChannelEvent, ChannelName, ChannelSubscription, Message, Position, Problem, ProblemKind,
};
use bytes::Bytes;

/// All Channels of this sidecar.
pub(crate) struct Core {}

impl Core {
    pub(crate) async fn publish(
        &self,
        name: &ChannelName,
        _: Vec<Message>,
    ) -> Result<Vec<Position>, Problem> {
        Err(Problem::new(ProblemKind::NotSupported, format!("{name}: channels are not built yet")))
    }

    pub(crate) async fn subscribe(
        &self,
        name: &ChannelName,
        _: SubscribeOptions,
    ) -> Result<ChannelSubscription, Problem> {
        Err(Problem::new(ProblemKind::NotSupported, format!("{name}: channels are not built yet")))
    }
}

/// One app's subscription.
pub(crate) struct Subscriber {}

impl Subscriber {
    pub(crate) async fn next(&self) -> Option<Vec<ChannelEvent>> {
        None
    }
    pub(crate) fn grant(&self, _: u32) {}
    pub(crate) fn set_prefixes(&self, _: Vec<Bytes>) {}
    pub(crate) fn close(&self) {}
}
