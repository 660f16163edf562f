//! `Subscribe`, with credit that comes back as messages are looked at.

use std::collections::VecDeque;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use proto::messaging::subscribe_request::{Credit, Kind, Open};
use proto::messaging::{SubscribeRequest, SubscribeResponse, subscribe_response};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use crate::args::Options;
use crate::connect;
use crate::head::Head;

const CREDIT: u32 = 50_000;
const QUEUE: usize = 16;
/// Without any message.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Inlet {
    requests: mpsc::Sender<SubscribeRequest>,
    answers: Streaming<SubscribeResponse>,
    bytes: usize,
    heads: VecDeque<Head>,
    taken: u32,
}

impl Inlet {
    pub(crate) async fn open(options: &Options) -> Result<Self> {
        let (mut client, name) = connect::open(options, &options.into).await?;
        let (requests, receiver) = mpsc::channel(QUEUE);
        let open = Kind::Open(Open { name, credit: CREDIT, ..Open::default() });
        requests.send(SubscribeRequest { kind: Some(open) }).await?;
        let answers = client.subscribe(ReceiverStream::new(receiver)).await?.into_inner();
        Ok(Self { requests, answers, bytes: options.bytes, heads: VecDeque::new(), taken: 0 })
    }

    /// The next message; `None` when the time is over.
    pub(crate) async fn next(&mut self, patience: Duration) -> Result<Option<Head>> {
        loop {
            if let Some(head) = self.heads.pop_front() {
                return Ok(Some(head));
            }
            let Ok(answer) = tokio::time::timeout(patience, self.answers.message()).await else {
                return Ok(None);
            };
            let answer = answer?.context("the subscription has ended")?;
            match answer.kind {
                Some(subscribe_response::Kind::Deliveries(batch)) => self.take(batch).await?,
                Some(subscribe_response::Kind::End(end)) => bail!("the subscription ended: {}", end.reason),
                // What is missed shows in the numbers.
                Some(subscribe_response::Kind::Gap(_) | subscribe_response::Kind::Opened(_)) | None => {}
            }
        }
    }

    async fn take(&mut self, batch: subscribe_response::Deliveries) -> Result<()> {
        self.taken += u32::try_from(batch.deliveries.len())?;
        for delivery in batch.deliveries {
            let message = delivery.message.unwrap_or_default();
            let payload = message.parts.first().context("a message without a payload")?;
            ensure!(payload.len() == self.bytes, "a message of another size: {}", payload.len());
            self.heads.push_back(Head::of(payload).context("a message that nobody sent")?);
        }
        if self.taken >= CREDIT / 4 {
            let credit = Kind::Credit(Credit { messages: std::mem::take(&mut self.taken) });
            self.requests.send(SubscribeRequest { kind: Some(credit) }).await?;
        }
        Ok(())
    }
}
