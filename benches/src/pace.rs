//! Tells when messages are due, to some microseconds: tokio's own clock goes in steps of a millisecond.

use std::time::Duration;

use anyhow::Result;
use runtime::clock;
use tokio::sync::watch;

/// Nanoseconds since 1970, the clock of all apps of a case.
pub(crate) fn now_ns() -> u64 {
    u64::try_from(clock::since_epoch().as_nanos()).unwrap_or(u64::MAX)
}

/// When the message of this number is due, of a pace in messages a second.
pub(crate) fn due_ns(begin_ns: u64, number: u64, pace: u64) -> u64 {
    begin_ns + number.saturating_mul(1_000_000_000) / pace
}

/// A thread that sleeps until each message is due; gives how many are.
pub(crate) fn start(begin_ns: u64, pace: u64, count: u64) -> Result<watch::Receiver<u64>> {
    let (sender, receiver) = watch::channel(0);
    runtime::tasks::spawn_thread("pace", move || {
        let mut number = 0;
        while number < count {
            let now = now_ns();
            let due = due_ns(begin_ns, number, pace);
            if due > now {
                rest(Duration::from_nanos(due - now));
                continue;
            }
            while number < count && due_ns(begin_ns, number, pace) <= now {
                number += 1;
            }
            if sender.send(number).is_err() {
                return;
            }
        }
    })?;
    Ok(receiver)
}

#[expect(clippy::disallowed_methods, reason = "a thread of its own, which no task waits for")]
fn rest(pause: Duration) {
    std::thread::sleep(pause);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: each message has its time, and the last one comes at the end of the last interval.
    #[tokio::test]
    async fn all_become_due() {
        assert_eq!(due_ns(5, 3, 1_000), 3_000_005);
        let mut due = start(now_ns(), 100_000, 50).unwrap();
        due.wait_for(|due| *due == 50).await.unwrap();
    }
}
