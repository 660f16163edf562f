//! The app of the cluster's scenarios: publishes numbers to Channels, subscribes to Channels, and tells the test each
//! thing that its sidecar says. Judges nothing.

mod args;
mod desk;
mod publish;
mod subscribe;

use anyhow::Context as _;
use args::Args;
use clap::Parser as _;
use desk::Desk;
use runtime::shutdown::{self, Shutdown};
use runtime::tasks::{OnError, Tasks};
use std::time::Duration;

/// How long a publish that has begun may take when the app is told to end.
const END_MAX: Duration = Duration::from_secs(10);

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let shutdown = Shutdown::new();
    let tasks = Tasks::new(shutdown.clone());
    let (desk, orders) = Desk::open(&args, &tasks).await?;
    for channel in args.publish {
        let work = publish::run((channel, args.calls), args.door.clone(), desk.clone(), orders.clone());
        tasks.spawn("publisher", OnError::Shutdown, work);
    }
    let works = args.work.into_iter().map(|channel| (channel, true));
    for (channel, acknowledge) in args.subscribe.into_iter().map(|channel| (channel, false)).chain(works) {
        let work = subscribe::run((channel, acknowledge), args.door.clone(), desk.clone(), orders.clone());
        tasks.spawn("subscriber", OnError::Shutdown, work);
    }
    let signal = shutdown.or(shutdown::signalled()).await.context("a task has failed")?;
    signal.context("cannot listen for signals")?;
    shutdown.begin();
    tasks.drain(END_MAX).await;
    Ok(())
}
