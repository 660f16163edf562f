//! Publishes numbers to one Channel, a few a call, one call after the other. What fails is not tried again.

use crate::desk::{Desk, Orders};
use bytes::Bytes;
use proto::messaging::messaging_client::MessagingClient;
use proto::messaging::{Message, Position, PublishRequest};
use runtime::clock;
use std::time::Duration;
use tests::load::{Line, Source};
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use tonic::Request;
use tonic::transport::Endpoint;

/// Messages of one call.
const BATCH: u64 = 5;
/// How long a call may take.
const CALL_MAX: Duration = Duration::from_secs(15);

/// Publishes until the app ends. A call that has begun is waited for.
pub(crate) async fn run(
    (channel, calls): (String, u32),
    door: String,
    desk: Desk,
    mut orders: watch::Receiver<Orders>,
) -> anyhow::Result<()> {
    let door = Endpoint::from_shared(format!("http://{door}"))?.connect_lazy();
    let mut client = MessagingClient::new(door);
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / calls.max(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut number = 1;
    loop {
        let turn = async {
            orders.wait_for(|orders| orders.publish).await.map(drop)?;
            ticks.tick().await;
            anyhow::Ok(())
        };
        let Some(turn) = desk.shutdown.or(turn).await else { return Ok(()) };
        turn?;
        let messages = (number..number + BATCH).map(message).collect();
        let mut request = Request::new(PublishRequest { name: channel.clone(), messages });
        request.set_timeout(CALL_MAX);
        let begun = clock::now();
        let answer = client.publish(request).await;
        let took_ms = u64::try_from((clock::now() - begun).as_millis())?;
        let lines: Vec<Line> = match answer {
            Ok(answer) => answer
                .into_inner()
                .positions
                .into_iter()
                .zip(number..)
                .map(|(position, number)| published(&channel, position, (number, took_ms)))
                .collect(),
            Err(status) => {
                let problem = format!("{:?}: {}", status.code(), status.message());
                vec![Line::Failed { channel: channel.clone(), problem, took_ms }]
            }
        };
        desk.tell(&lines).await?;
        number += BATCH;
    }
}

fn message(number: u64) -> Message {
    Message { parts: vec![Bytes::from(number.to_string())], ..Message::default() }
}

fn published(channel: &str, position: Position, (number, took_ms): (u64, u64)) -> Line {
    Line::Published {
        channel: channel.to_owned(),
        source: Source { publisher: position.publisher, epoch: position.epoch },
        sequence: u64::try_from(position.offset).unwrap_or(0),
        number,
        took_ms,
    }
}
