//! The follower against servers that are made up: over real sockets what they answer, over a script how often they are asked.

use super::{Health, HealthError, Said, Source, Telling, follow::follow, http};
use control::ObjectName;
use futures::{FutureExt as _, StreamExt as _, future::BoxFuture, stream};
use runtime::clock;
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    time::{sleep, timeout},
};

const LINE: &str =
    r#"{"storage":{"capacityBytes":10000,"usedBytes":5000},"diskNearlyFull":false,"readOnlyPartitions":0}"#;
const HEAD: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: application/x-ndjson\r\ntransfer-encoding: chunked\r\n\r\n";
/// Generous: the machine may be busy.
const DEADLINE: Duration = Duration::from_secs(60);

fn well() -> Health {
    Health { capacity_bytes: 10_000, used_bytes: 5_000, disk_nearly_full: false, read_only_partitions: 0 }
}

fn full() -> Health {
    Health { disk_nearly_full: true, ..well() }
}

fn chunk(text: &str) -> String {
    format!("{:x}\r\n{text}\r\n", text.len())
}

/// What the follower hears from a server that writes these pieces and then closes.
async fn heard(pieces: Vec<String>) -> Vec<Result<Health, HealthError>> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let serving = async {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(socket.read_u8().await.unwrap());
        }
        let head = String::from_utf8(head).unwrap().to_lowercase();
        assert!(
            head.starts_with("get /v1/health http/1.1\r\n") && head.contains("host: 127.0.0.1:"),
            "{head}"
        );
        for piece in pieces {
            // Who has heard enough has closed.
            if socket.write_all(piece.as_bytes()).await.is_err() {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    let listening = async {
        match http::follow(address).await {
            Ok(telling) => telling.collect().await,
            Err(error) => vec![Err(error)],
        }
    };
    timeout(DEADLINE, futures::future::join(serving, listening)).await.unwrap().1
}

/// Goal: what an engine says comes through however it is torn, also when the connection ends in the middle of a line.
#[tokio::test]
async fn torn_lines_are_heard() {
    let (first, second) = LINE.split_at(20);
    let later = LINE.replace("false", "true");
    let pieces = vec![
        HEAD.to_owned(),
        chunk(first),
        chunk(&format!("{second}\n{}", later.get(..1).unwrap())),
        chunk(later.get(1..).unwrap()),
        chunk("\n"),
        chunk(r#"{"storage":{"capa"#),
    ];
    let heard = heard(pieces).await;
    assert!(
        matches!(&heard[..], [Ok(first), Ok(second), Err(HealthError::Unreachable { .. })]
            if (*first, *second) == (well(), full())),
        "{heard:?}"
    );
}

/// Goal: of an engine that does not know the path, has no place, breaks off, speaks something else or says what none says, the
/// follower knows which it was, and hears nothing more.
#[tokio::test]
async fn other_answers_are_told_apart() {
    let answer =
        |status: &str| vec![format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nlocation: /live\r\n\r\n")];
    let told = |lines: &str| vec![HEAD.to_owned(), chunk(lines), chunk(&format!("{LINE}\n"))];
    let headers = "x: y\r\n".repeat(100);
    for (pieces, kind, lasts) in [
        (answer("404 Not Found"), "refused", true),
        (answer("503 Service Unavailable"), "refused", false),
        (answer("302 Found"), "refused", false),
        (Vec::new(), "unreachable", false),
        (vec!["SSH-2.0-OpenSSH_9.9\r\n".to_owned()], "unreachable", false),
        (vec![format!("HTTP/1.1 200 OK\r\n{headers}\r\n")], "unreachable", false),
        (vec![HEAD.to_owned(), "zz\r\n".to_owned()], "unreachable", false),
        (told(&"x".repeat(5_000)), "undecodable", true),
        (told(&"[".repeat(4_000)), "undecodable", true),
        (told("{\"storage\":null}\n"), "undecodable", true),
        (told(&LINE.replace("5000", "50000").replace('}', "}\n")), "undecodable", true),
    ] {
        let heard = heard(pieces.clone()).await;
        let [Err(error)] = &heard[..] else { panic!("{pieces:?}: {heard:?}") };
        assert_eq!((error.kind(), error.is_lasting()), (kind, lasts), "{pieces:?}: {error}");
    }
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string();
    let error = http::follow(nobody.clone()).await.err().unwrap();
    assert!(error.kind() == "unreachable" && error.to_string().contains(&nobody), "{error}");
}

/// Goal: one that takes the connection and never answers is given up.
#[tokio::test(start_paused = true)]
async fn who_does_not_answer_is_given_up() {
    let mute = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let outcome =
        timeout(Duration::from_secs(30), http::follow(mute.local_addr().unwrap().to_string())).await;
    let error = outcome.unwrap().err().unwrap();
    assert!(error.to_string().ends_with("it does not answer"), "{error}");
}

/// What an engine does the next time that it is asked.
type Answer = Box<dyn FnMut() -> Result<Telling, HealthError> + Send>;

/// An engine that does as it is told, and counts.
#[derive(Clone)]
struct Scripted {
    answer: Arc<Mutex<Answer>>,
    asked: Arc<Mutex<usize>>,
}

impl Source for Scripted {
    fn follow<'a>(&'a self, _: &'a ObjectName) -> BoxFuture<'a, Result<Telling, HealthError>> {
        Box::pin(async move {
            *self.asked.lock().unwrap() += 1;
            (self.answer.lock().unwrap())()
        })
    }
}

/// One engine that is followed while this lives.
struct Followed {
    engine: Scripted,
    engines: super::Engines,
    news: stream::BoxStream<'static, ObjectName>,
    _following: runtime::tasks::TaskGuard,
}

fn broker() -> ObjectName {
    ObjectName::new("shop", "default")
}

impl Followed {
    fn new(answer: impl FnMut() -> Result<Telling, HealthError> + Send + 'static) -> Self {
        let engine = Scripted { answer: Arc::new(Mutex::new(Box::new(answer))), asked: Arc::default() };
        let engines = super::Engines::new(Arc::new(engine.clone()));
        let tasks = runtime::tasks::Tasks::new(runtime::shutdown::Shutdown::new());
        let following = tasks.spawn_guarded("test", follow(broker(), engines.clone()));
        Self { engine, news: engines.told.news(), engines, _following: following }
    }

    fn becomes(&self, answer: impl FnMut() -> Result<Telling, HealthError> + Send + 'static) {
        *self.engine.answer.lock().unwrap() = Box::new(answer);
    }

    fn asked(&self) -> usize {
        std::mem::take(&mut *self.engine.asked.lock().unwrap())
    }

    /// How often the Broker had to be looked at since the last call, at each of so many seconds.
    async fn news_within(&mut self, seconds: u64) -> usize {
        let mut count = 0;
        for _ in 0..seconds {
            sleep(Duration::from_secs(1)).await;
            count += usize::from(self.news.next().now_or_never().is_some());
        }
        count
    }

    fn said(&self) -> Said {
        self.engines.told.of(&broker())
    }
}

fn gone() -> Result<Telling, HealthError> {
    Err(HealthError::Unreachable { address: "a:1".into(), reason: "gone".into() })
}

/// Says this and then nothing.
fn says(health: Health) -> Result<Telling, HealthError> {
    Ok(stream::iter([Ok(health)]).chain(stream::pending()).boxed())
}

/// Goal: an engine that goes away is what it was for a minute, then silent, which is told once; it is asked less and less, and
/// when it is back it is what it says.
#[tokio::test(start_paused = true)]
async fn an_engine_goes_and_comes_back() {
    let mut followed = Followed::new(|| says(well()));
    assert_eq!((followed.news_within(600).await, followed.asked()), (1, 1), "one stream for all time");
    assert_eq!(followed.said(), Said::So(well()));
    // The stream breaks, and nobody is there any more.
    let mut followed = Followed::new(|| Ok(stream::iter([Ok(well())]).boxed()));
    assert_eq!(followed.news_within(1).await, 1);
    followed.becomes(gone);
    assert_eq!(followed.news_within(50).await, 0);
    assert_eq!(followed.said(), Said::So(well()));
    followed.asked();
    assert_eq!(followed.news_within(3600).await, 1);
    assert!(matches!(followed.said(), Said::Silent { kind: "unreachable", .. }));
    let asked = followed.asked();
    assert!((60..130).contains(&asked), "it was asked {asked} times in an hour");
    followed.becomes(|| says(well()));
    assert_eq!(followed.news_within(61).await, 1);
    assert_eq!(followed.said(), Said::So(well()));
}

/// Goal: an engine that does not know the path, or says what cannot be read, is said to be silent at once and is not asked
/// again and again; nor is one that says how it is and ends, or one that answers and says nothing.
#[tokio::test(start_paused = true)]
async fn nobody_is_asked_again_and_again() {
    let refused = || Err(HealthError::Refused { address: "a:1".into(), status: 404 });
    let mut followed = Followed::new(refused);
    assert_eq!(followed.news_within(1).await, 1);
    assert!(matches!(followed.said(), Said::Silent { kind: "refused", .. }));
    assert_eq!(followed.news_within(3600).await, 0);
    let asked = followed.asked();
    assert!((10..30).contains(&asked), "asked {asked} times in an hour");

    let mut followed = Followed::new(|| Ok(stream::iter([Ok(well())]).boxed()));
    assert_eq!(followed.news_within(3600).await, 1);
    let asked = followed.asked();
    assert!((60..130).contains(&asked), "asked {asked} times in an hour");

    let mut followed = Followed::new(|| Ok(stream::pending().boxed()));
    assert_eq!(followed.news_within(3600).await, 1);
    assert!(matches!(followed.said(), Said::Silent { kind: "unreachable", .. }));
    let asked = followed.asked();
    assert!((30..70).contains(&asked), "asked {asked} times in an hour");
}

/// Goal: an engine that says something else without end has its Broker looked at once a second at most, and for what is used
/// alone each ten seconds.
#[tokio::test(start_paused = true)]
async fn a_talkative_engine_is_not_believed_at_once() {
    let flags =
        stream::iter(0_u64..).map(|number| Ok(Health { disk_nearly_full: number % 2 == 0, ..well() }));
    let mut flags = Some(flags.boxed());
    let mut followed = Followed::new(move || flags.take().map_or_else(gone, Ok));
    let news = followed.news_within(100).await;
    assert!((90..=101).contains(&news), "{news} in 100 s");

    let used = stream::iter(0_u64..).map(|number| Ok(Health { used_bytes: number % 10_000, ..well() }));
    let mut used = Some(used.boxed());
    let started = clock::now();
    let mut followed = Followed::new(move || used.take().map_or_else(gone, Ok));
    let news = followed.news_within(100).await;
    assert!((9..=11).contains(&news), "{news} in {:?}", started.elapsed());
}
