//! Pattern RequestReply: deadlines, many at once, responders that are not there or go away.

use super::mesh::*;
use crate::messaging::{Message, Problem, ProblemKind, Serving};
use crate::view::{ChannelView, Pattern};
use std::time::Duration;

fn asking() -> ChannelView {
    ChannelView { pattern: Pattern::RequestReply, request_timeout: DEADLINE, ..channel() }
}

async fn serve(node: &Node, credit: u32) -> Serving {
    node.channels.serve(&prices(), credit).await.unwrap()
}

fn number(message: &Message) -> u64 {
    std::str::from_utf8(&message.parts[0]).unwrap().parse().unwrap()
}

/// Answers so many requests with their number doubled; returns how many it had.
async fn double(serving: &mut Serving) {
    while let Some(requests) = serving.next().await {
        let count = u32::try_from(requests.len()).unwrap();
        for request in requests {
            assert!(request.timeout <= DEADLINE && !request.timeout.is_zero());
            serving.reply(request.id, Ok(numbered(number(&request.message) * 2)));
        }
        serving.grant(count);
    }
}

async fn ask(node: &Node, what: u64, idempotent: bool) -> Result<Message, Problem> {
    node.channels.request(&prices(), numbered(what), None, idempotent).await
}

async fn refusal(node: &Node, timeout: Option<Duration>) -> Problem {
    node.channels.request(&prices(), numbered(1), timeout, false).await.unwrap_err()
}

/// Goal: many requests at once find responders on other pods and on the same one, and each gets its own reply.
#[tokio::test]
async fn replies_find_their_requests() {
    let [asker, first, second] = three(asking()).await;
    let mut serving = [serve(&first, 8).await, serve(&second, 8).await, serve(&asker, 8).await];
    asker.wait_for_guests(2).await;
    let [one, two, three] = &mut serving;
    let asking = futures::future::join_all((0..500).map(|what| ask(&asker, what, false)));
    let replies = tokio::select! {
        replies = asking => replies,
        () = async { tokio::join!(double(one), double(two), double(three)); } => panic!("they serve on"),
    };
    for (what, reply) in (0..).zip(replies) {
        assert_eq!(number(&reply.unwrap()), what * 2);
    }
}

/// Goal: nobody there is said at once, and a problem of the responder comes back as it is.
#[tokio::test]
async fn refusals_of_requests() {
    let [asker, first, _] = three(asking()).await;
    let problem = refusal(&asker, None).await;
    assert_eq!(problem.kind, ProblemKind::Unavailable);
    assert!(problem.message.contains("no responders"), "{problem}");
    let mut serving = serve(&first, 1).await;
    asker.wait_for_guests(1).await;
    let answering = async {
        let requests = serving.next().await.unwrap();
        serving.reply(requests[0].id, Err(Problem::new(ProblemKind::NotFound, "no such price")));
        // Until it is there, the connection must stand.
        serving.next().await
    };
    let problem = tokio::select! {
        problem = refusal(&asker, None) => problem,
        _ = answering => panic!("nothing follows"),
    };
    assert_eq!(problem, Problem::new(ProblemKind::NotFound, "no such price"));
}

/// Goal: all who ask before anybody serves find the one who comes, although it takes one request at a time and is slow.
#[tokio::test(start_paused = true)]
async fn first_requests_wait_for_who_comes() {
    let [asker, _, _] = three(asking()).await;
    let asking = futures::future::join_all((0..5).map(|what| ask(&asker, what, false)));
    let serving = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let mut serving = serve(&asker, 1).await;
        // Longer than they wait for somebody to come.
        tokio::time::sleep(Duration::from_secs(5)).await;
        double(&mut serving).await;
    };
    let replies = tokio::select! {
        replies = asking => replies,
        () = serving => panic!("it serves on"),
    };
    for (what, reply) in (0..).zip(replies) {
        assert_eq!(number(&reply.unwrap()), what * 2);
    }
}

/// Goal: a request ends at its deadline, and a reply that comes later is dropped and counted.
#[tokio::test]
async fn late_replies_are_counted() {
    let [asker, first, _] = three(asking()).await;
    let mut serving = serve(&first, 2).await;
    asker.wait_for_guests(1).await;
    let (problem, requests) = tokio::join!(refusal(&asker, Some(Duration::from_millis(300))), serving.next());
    assert_eq!(problem.kind, ProblemKind::DeadlineExceeded);
    assert!(problem.message.contains("spec.requestTimeout"), "{problem}");
    serving.reply(requests.unwrap()[0].id, Ok(numbered(2)));
    let counted = async {
        let dropped = asker.core.metrics().dropped.clone();
        let dropped = dropped.with_label_values(&["channel", "shop", "prices", "late_reply"]);
        while dropped.get() != 1 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(DEADLINE, counted).await.expect("the late reply is counted");
}

/// Goal: when a responder dies, what may be executed twice goes to another, and the rest fails with words that say so.
#[tokio::test]
async fn a_responder_that_dies() {
    let [asker, dying, other] = three(asking()).await;
    let proxy = Proxy::start(asker.address).await;
    dying.show(ChannelView { publishers: vec![asker.as_peer_at(proxy.address)], ..asking() });
    let mut dying_at = serve(&dying, 10).await;
    asker.wait_for_guests(1).await;
    let asking = async { tokio::join!(ask(&asker, 1, false), ask(&asker, 2, true)) };
    let dies = async {
        let mut had = 0;
        while had < 2 {
            had += dying_at.next().await.unwrap().len();
        }
        let mut other_at = serve(&other, 10).await;
        asker.wait_for_guests(2).await;
        proxy.kill();
        double(&mut other_at).await;
    };
    let (once, twice) = tokio::select! {
        outcome = asking => outcome,
        () = dies => panic!("it serves on"),
    };
    let problem = once.unwrap_err();
    assert_eq!(problem.kind, ProblemKind::Unavailable);
    assert!(problem.message.contains("may have been executed"), "{problem}");
    assert_eq!(number(&twice.unwrap()), 4);
}

/// Goal: each call is for its own pattern, and the refusal names the one to use.
#[tokio::test]
async fn calls_are_for_their_pattern() {
    let [asker, _, _] = three(asking()).await;
    let published = asker.channels.publish(&prices(), vec![numbered(1)]).await.unwrap_err();
    assert!(published.message.contains("use Request"), "{published}");
    asker.show(channel());
    let asked = refusal(&asker, None).await;
    assert!(asked.message.contains("use Publish"), "{asked}");
    let served = asker.channels.serve(&prices(), 1).await.err().unwrap();
    assert!(served.message.contains("use Subscribe"), "{served}");
}
