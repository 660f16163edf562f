//! Subscribes to one Channel, again whenever the subscription ends. The test knows of a message before it is
//! acknowledged and before there is credit for another.

use crate::desk::{Desk, Orders};
use proto::messaging::messaging_client::MessagingClient;
use proto::messaging::subscribe_request::{Ack, Credit, Kind, Open};
use proto::messaging::subscribe_response::{Delivery, Gap, Kind as Answer};
use proto::messaging::{SubscribeRequest, SubscribeResponse};
use std::time::Duration;
use tests::load::{Line, Source};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::Endpoint;

/// Messages that may be on their way to the app.
const CREDIT: u32 = 50;
/// Before subscribing again.
const PAUSE: Duration = Duration::from_millis(100);
/// Requests that wait for the connection.
const REQUESTS_MAX: usize = 64;

/// Subscribes until the app ends.
pub(crate) async fn run(
    (channel, acknowledge): (String, bool),
    door: String,
    desk: Desk,
    orders: watch::Receiver<Orders>,
) -> anyhow::Result<()> {
    let mut subscriber = Subscriber { channel, acknowledge, subscription: 0, desk, orders };
    loop {
        subscriber.subscription += 1;
        let reason = match subscriber.once(&door).await? {
            Ok(()) => "the app ends".to_owned(),
            Err(reason) => reason,
        };
        let (channel, subscription) = (subscriber.channel.clone(), subscriber.subscription);
        subscriber.desk.tell(&[Line::Ended { channel, subscription, reason }]).await?;
        let shutdown = subscriber.desk.shutdown.clone();
        if shutdown.or(tokio::time::sleep(PAUSE)).await.is_none() {
            return Ok(());
        }
    }
}

struct Subscriber {
    channel: String,
    acknowledge: bool,
    subscription: u64,
    desk: Desk,
    orders: watch::Receiver<Orders>,
}

impl Subscriber {
    /// One subscription: says why it ended, or nothing when the app ends.
    async fn once(&mut self, door: &str) -> anyhow::Result<Result<(), String>> {
        let shutdown = self.desk.shutdown.clone();
        let (requests, queued) = mpsc::channel(REQUESTS_MAX);
        requests.send(self.open()).await?;
        let endpoint = Endpoint::from_shared(format!("http://{door}"))?;
        let opening = async {
            let door = endpoint.connect().await.map_err(|error| error.to_string())?;
            let answers = MessagingClient::new(door).subscribe(ReceiverStream::new(queued)).await;
            answers.map_err(|status| status.to_string())
        };
        let mut answers = match shutdown.or(opening).await {
            None => return Ok(Ok(())),
            Some(Err(reason)) => return Ok(Err(reason)),
            Some(Ok(answers)) => answers.into_inner(),
        };
        loop {
            let Some(answer) = shutdown.or(next(&mut self.orders, &mut answers)).await else {
                return Ok(Ok(()));
            };
            let answer = match answer? {
                Ok(answer) => answer,
                Err(reason) => return Ok(Err(reason)),
            };
            if let Some(Answer::End(end)) = &answer.kind {
                return Ok(Err(end.reason.clone()));
            }
            for request in self.take(answer).await? {
                if requests.send(request).await.is_err() {
                    return Ok(Err("the sidecar takes no more requests".to_owned()));
                }
            }
        }
    }

    fn open(&self) -> SubscribeRequest {
        request(Kind::Open(Open {
            name: self.channel.clone(),
            credit: CREDIT,
            acknowledge: self.acknowledge,
            ..Open::default()
        }))
    }

    /// Tells the test, and gives what the sidecar is to be told then.
    async fn take(&self, answer: SubscribeResponse) -> anyhow::Result<Vec<SubscribeRequest>> {
        let (channel, subscription) = (self.channel.clone(), self.subscription);
        match answer.kind {
            Some(Answer::Opened(_)) => self.desk.tell(&[Line::Opened { channel, subscription }]).await?,
            Some(Answer::Gap(gap)) => self.desk.tell(&[self.gap(gap)?]).await?,
            Some(Answer::Deliveries(batch)) => {
                let deliveries: Vec<u64> = batch.deliveries.iter().map(|delivery| delivery.id).collect();
                let messages = u32::try_from(deliveries.len())?;
                let lines: Result<Vec<Line>, _> =
                    batch.deliveries.into_iter().map(|delivery| self.message(delivery)).collect();
                self.desk.tell(&lines?).await?;
                let ack = self.acknowledge.then(|| request(Kind::Ack(Ack { deliveries })));
                let credit = request(Kind::Credit(Credit { messages }));
                return Ok(ack.into_iter().chain([credit]).collect());
            }
            Some(Answer::End(_)) | None => {}
        }
        Ok(Vec::new())
    }

    fn message(&self, delivery: Delivery) -> anyhow::Result<Line> {
        let position = delivery.position.unwrap_or_default();
        let message = delivery.message.unwrap_or_default();
        let payload = message.parts.first().map(|part| part.to_vec()).unwrap_or_default();
        Ok(Line::Message {
            channel: self.channel.clone(),
            subscription: self.subscription,
            source: Source { publisher: position.publisher, epoch: position.epoch },
            sequence: u64::try_from(position.offset)?,
            number: String::from_utf8(payload)?.parse()?,
            attempt: delivery.attempt,
        })
    }

    fn gap(&self, gap: Gap) -> anyhow::Result<Line> {
        Ok(Line::Gap {
            channel: self.channel.clone(),
            subscription: self.subscription,
            source: Source { publisher: gap.publisher, epoch: gap.epoch },
            first: u64::try_from(gap.first)?,
            last: u64::try_from(gap.last)?,
            messages: gap.messages,
            reason: gap.reason,
        })
    }
}

/// What comes next, once the app is to read; or why nothing does.
async fn next(
    orders: &mut watch::Receiver<Orders>,
    answers: &mut Streaming<SubscribeResponse>,
) -> anyhow::Result<Result<SubscribeResponse, String>> {
    orders.wait_for(|orders| orders.read).await.map(drop)?;
    Ok(match answers.message().await {
        Ok(Some(answer)) => Ok(answer),
        Ok(None) => Err("the stream closed".to_owned()),
        Err(status) => Err(status.to_string()),
    })
}

fn request(kind: Kind) -> SubscribeRequest {
    SubscribeRequest { kind: Some(kind) }
}
