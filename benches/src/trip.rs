//! One message at a time, there and back.

use std::time::Duration;

use anyhow::{Result, ensure};

use crate::args::Options;
use crate::cost::Cost;
use crate::head::Kind;
use crate::inlet::{Inlet, PATIENCE};
use crate::outlet::Outlet;
use crate::pace::now_ns;
use crate::times::Times;

/// Until what is on its way at the beginning comes back, or is sent again.
const WARM_PATIENCE: Duration = Duration::from_millis(100);
const ANSWER_PATIENCE: Duration = Duration::from_secs(5);
/// Until the other one has the last message.
const GOODBYE: Duration = Duration::from_millis(200);

pub(crate) async fn ping(options: &Options) -> Result<()> {
    let mut outlet = Outlet::open(options).await?;
    let mut inlet = Inlet::open(options).await?;
    let end = now_ns() + u64::try_from(PATIENCE.as_nanos())?;
    let mut number = 0;
    loop {
        ensure!(now_ns() < end, "no answer from the other app");
        number += 1;
        outlet.send(Kind::Warm, number, now_ns()).await?;
        if is_answered(&mut inlet, (Kind::Warm, number), WARM_PATIENCE).await? {
            break;
        }
    }
    let (cost, mut times, warm) = (Cost::now(options), Times::default(), options.count / 10);
    let mut lost = 0;
    for number in 0..warm + options.count {
        let begin = now_ns();
        outlet.send(Kind::Message, number, begin).await?;
        if !is_answered(&mut inlet, (Kind::Message, number), ANSWER_PATIENCE).await? {
            lost += 1;
            break;
        }
        if number >= warm {
            times.keep(now_ns().saturating_sub(begin));
        }
    }
    cost.print_since(options);
    println!("lost {lost}");
    times.print();
    outlet.send(Kind::End, 0, now_ns()).await?;
    is_answered(&mut inlet, (Kind::End, 0), ANSWER_PATIENCE).await.map(drop)
}

async fn is_answered(inlet: &mut Inlet, (kind, number): (Kind, u64), patience: Duration) -> Result<bool> {
    while let Some(head) = inlet.next(patience).await? {
        if head.kind == kind && head.number == number {
            return Ok(true);
        }
    }
    Ok(false)
}

pub(crate) async fn pong(options: &Options) -> Result<()> {
    let mut inlet = Inlet::open(options).await?;
    let mut outlet = Outlet::open(options).await?;
    loop {
        let head = inlet.next(PATIENCE).await?;
        let Some(head) = head else { anyhow::bail!("nothing came for {} s", PATIENCE.as_secs()) };
        outlet.send(head.kind, head.number, head.time_ns).await?;
        if head.kind == Kind::End {
            tokio::time::sleep(GOODBYE).await;
            return Ok(());
        }
    }
}
