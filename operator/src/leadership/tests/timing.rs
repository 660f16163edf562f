//! One thing goes wrong at a time.

use super::*;
use std::sync::atomic::{AtomicU64, Ordering};

/// Goal: one of two holds the Lease; when it ends in order, the other leads within a second, also over slow lines.
#[tokio::test(start_paused = true)]
async fn a_lease_that_is_given_back_is_taken_at_once() {
    for delay in [0, 20, 100] {
        let api = FakeApi::default();
        let first = Replica::start(&api, "one");
        first.line.delay(millis(delay));
        until_leads(&[&first]).await;
        let second = Replica::start(&api, "two");
        second.line.delay(millis(delay));
        pass(&[&first, &second], seconds(60)).await;
        assert!(first.leads());
        let from = clock::now();
        first.stop().await;
        assert!(!first.leads());
        until_leads(&[&first, &second]).await;
        assert!(from.elapsed() <= seconds(1), "{:?} over {delay} ms", from.elapsed());
        assert_eq!(holder_in(&api).as_deref(), Some("two"));
    }
}

/// Goal: a leader that is killed is followed within 5 s whenever it dies, and not before its window is over.
#[tokio::test(start_paused = true)]
async fn a_killed_leader_is_followed() {
    for instant in 0..20 {
        let api = FakeApi::default();
        let first = Replica::start(&api, "one");
        until_leads(&[&first]).await;
        let second = Replica::start(&api, "two");
        second.line.delay(millis(10));
        pass(&[&first, &second], seconds(10) + millis(instant * 50)).await;
        first.kill();
        let took = until_leads(&[&second]).await;
        assert!(took <= seconds(5), "{took:?}");
        assert!(took >= WRITE_WINDOW - RENEW_PERIOD, "{took:?}");
    }
}

/// Goal: a leader that is cut off writes no more before the other begins; when it is back it takes part, and does not
/// end.
#[tokio::test(start_paused = true)]
async fn a_leader_that_is_cut_off_stops_first() {
    let api = FakeApi::default();
    let first = Replica::start(&api, "one");
    until_leads(&[&first]).await;
    let term = first.leadership.writable().await;
    let second = Replica::start(&api, "two");
    pass(&[&first, &second], seconds(10)).await;
    first.line.cut(true);
    let took = until_leads(&[&first, &second]).await;
    assert!(took <= seconds(5), "{took:?}");
    pass(&[&first, &second], seconds(100)).await;
    first.leadership.ended(term).await;
    first.line.cut(false);
    pass(&[&first, &second], seconds(40)).await;
    assert!(second.leads());
    second.stop().await;
    assert!(until_leads(&[&second, &first]).await <= seconds(1));
}

/// Goal: while the API server is away nobody writes and nobody ends; when it is back somebody goes on within seconds, and
/// one that is alone does so in the same term after a short outage and in another one after a long one.
#[tokio::test(start_paused = true)]
async fn an_outage_ends_nobody() {
    for (outage, same_term) in [(seconds(10), true), (seconds(60), false), (seconds(600), false)] {
        let api = FakeApi::default();
        let first = Replica::start(&api, "one");
        until_leads(&[&first]).await;
        let term = first.leadership.writable().await;
        first.line.cut(true);
        pass(&[&first], WRITE_WINDOW).await;
        assert!(!first.leads());
        pass(&[&first], outage).await;
        first.line.cut(false);
        let took = until_leads(&[&first]).await;
        assert!(took <= REQUEST_DEADLINE + seconds(1), "{took:?}");
        assert_eq!(first.leadership.writable().await == term, same_term, "{outage:?}");
        let second = Replica::start(&api, "two");
        pass(&[&first, &second], seconds(10)).await;
        first.line.cut(true);
        second.line.cut(true);
        pass(&[&first, &second], WRITE_WINDOW + outage).await;
        assert!(!first.leads() && !second.leads());
        first.line.cut(false);
        second.line.cut(false);
        pass(&[&first, &second], REQUEST_DEADLINE + seconds(1)).await;
        assert!(first.leads() || second.leads());
        assert!(!first.tasks.shutdown().has_begun() && !second.tasks.shutdown().has_begun());
    }
}

/// Goal: an API server that takes its time, and one that loses answers, move the Lease to nobody.
#[tokio::test(start_paused = true)]
async fn a_slow_api_server_moves_nothing() {
    let api = FakeApi::default();
    let first = Replica::start(&api, "one");
    until_leads(&[&first]).await;
    let second = Replica::start(&api, "two");
    for line in [&first.line, &second.line] {
        line.delay(millis(450));
    }
    let until = clock::now() + seconds(60);
    while clock::now() < until {
        pass(&[&first, &second], millis(50)).await;
        assert!(first.leads(), "the window closed at an API server that answers within 900 ms");
    }
    // Every third renewal is done, and its answer is lost.
    let count = AtomicU64::new(0);
    first.line.delay(millis(10));
    first.line.disturb(Some(Arc::new(move |request: &str| {
        let lost = request.starts_with("PUT") && count.fetch_add(1, Ordering::Relaxed).is_multiple_of(3);
        lost.then_some(crate::testing::Fault::AnswerLost)
    })));
    let until = clock::now() + seconds(60);
    while clock::now() < until {
        pass(&[&first, &second], millis(50)).await;
        assert!(first.leads(), "the window closed though every second renewal was answered");
    }
}

/// Goal: the wall clock decides nothing: set forward it closes the window until the next renewal, set back it does
/// nothing, and nobody takes the Lease for it.
#[tokio::test(start_paused = true)]
async fn a_clock_that_jumps_moves_nothing() {
    clock::hold(seconds(1_700_000_000));
    let api = FakeApi::default();
    let first = Replica::start(&api, "one");
    until_leads(&[&first]).await;
    let second = Replica::start(&api, "two");
    pass(&[&first, &second], seconds(10)).await;
    clock::hold(seconds(1_800_000_000));
    assert!(!first.leads(), "a machine that slept may have lost the Lease meanwhile");
    assert!(until_leads(&[&second, &first]).await <= RENEW_PERIOD + millis(10));
    clock::hold(seconds(1_600_000_000));
    assert!(first.leads());
    pass(&[&first, &second], seconds(60)).await;
    assert!(first.leads());
    assert_eq!(holder_in(&api).as_deref(), Some("one"));
}

/// Goal: a Lease that somebody deletes is nobody's until its holder cannot write any more, then somebody leads again.
#[tokio::test(start_paused = true)]
async fn a_deleted_lease_is_not_up_for_grabs() {
    for instant in 0..20 {
        let api = FakeApi::default();
        let first = Replica::start(&api, "one");
        until_leads(&[&first]).await;
        let second = Replica::start(&api, "two");
        pass(&[&first, &second], seconds(10) + millis(instant * 50)).await;
        api.delete("Lease", "pinnace-operator");
        first.line.cut(instant % 2 == 0);
        pass(&[&first, &second], seconds(6)).await;
        assert!(first.leads() || second.leads());
    }
}

/// Goal: of two that wait for a dead holder one gets the Lease, whatever the moment.
#[tokio::test(start_paused = true)]
async fn of_two_that_race_one_wins() {
    for delay in 0..10 {
        let api = FakeApi::default();
        let dead = Replica::start(&api, "dead");
        until_leads(&[&dead]).await;
        let (one, two) = (Replica::start(&api, "one"), Replica::start(&api, "two"));
        one.line.delay(millis(delay * 10));
        two.line.delay(millis(50));
        pass(&[&dead, &one, &two], seconds(5)).await;
        dead.kill();
        pass(&[&one, &two], seconds(6)).await;
        assert!(one.leads() != two.leads());
    }
}

/// Goal: a holder of an earlier version, whose Lease lasts 15 s, is given them.
#[tokio::test(start_paused = true)]
async fn a_longer_word_is_kept() {
    let api = FakeApi::with_yaml(
        "apiVersion: coordination.k8s.io/v1\nkind: Lease\nmetadata: {name: pinnace-operator, namespace: pinnace-system}\nspec: {holderIdentity: old, leaseDurationSeconds: 15}",
    );
    let second = Replica::start(&api, "two");
    let took = until_leads(&[&second]).await;
    assert!(took >= seconds(15) && took <= seconds(16), "{took:?}");
}

/// Goal: a leader whose Lease somebody else wrote ends its term and not the process.
#[tokio::test(start_paused = true)]
async fn a_taken_lease_ends_the_term() {
    let api = FakeApi::default();
    let first = Replica::start(&api, "one");
    until_leads(&[&first]).await;
    let term = first.leadership.writable().await;
    api.edit("Lease", "pinnace-operator", |lease| lease["spec"]["holderIdentity"] = "two".into());
    tokio::time::sleep(seconds(2)).await;
    assert!(!first.leads());
    first.leadership.ended(term).await;
    assert!(!first.tasks.shutdown().has_begun());
    assert!(until_leads(&[&first]).await <= seconds(5));
    assert_ne!(first.leadership.writable().await, term);
}
