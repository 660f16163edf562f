//! The admin listener over real sockets.

use super::*;
use crate::clock;
use axum::body::Bytes;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use tokio::sync::watch;

/// Generous: the machine may be busy.
const DEADLINE: Duration = Duration::from_secs(60);
const FOLLOWERS_MAX: usize = 2;

fn any() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

fn pages(lines: Option<Lines>) -> Pages {
    Pages { registry: Registry::new(), readiness: Readiness::new(), lines }
}

fn ask(address: SocketAddr, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
    stream
}

fn get(address: SocketAddr, path: &str) -> String {
    let mut answer = String::new();
    ask(address, path).read_to_string(&mut answer).unwrap();
    answer
}

/// Goal: readiness follows its parts and says which one is missing; metrics are Prometheus text; a path that nobody
/// serves is not there.
#[test]
fn answers_readiness_and_metrics() {
    let pages = pages(None);
    let counter = prometheus::IntCounter::new("pinnace_test_total", "for the test").unwrap();
    pages.registry.register(Box::new(counter.clone())).unwrap();
    counter.inc();
    let readiness = pages.readiness.clone();
    readiness.wait_for("view", "no view from the control plane yet");
    let shutdown = Shutdown::new();
    let address = serve_admin(any(), pages, shutdown.clone()).unwrap();
    let answer = get(address, "/ready");
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("view: no view"), "{answer}");
    readiness.done("view");
    assert!(get(address, "/ready").starts_with("HTTP/1.1 200"));
    assert!(get(address, "/live").starts_with("HTTP/1.1 200"));
    assert!(get(address, "/metrics").contains("pinnace_test_total 1"));
    assert!(get(address, "/v1/test").starts_with("HTTP/1.1 404"));
    shutdown.begin();
}

/// A listener that tells lines, and who sets them.
fn telling(patience: Duration) -> (SocketAddr, watch::Sender<Bytes>, Shutdown) {
    let (tell, now) = watch::channel(Bytes::new());
    let lines = Lines::new("/v1/test", FOLLOWERS_MAX, now);
    let shutdown = Shutdown::new();
    let address = serve_patiently(any(), pages(Some(lines)), shutdown.clone(), patience).unwrap();
    (address, tell, shutdown)
}

/// The lines of a body as they come; chunk sizes and headers are passed over.
struct Follower(BufReader<TcpStream>);

impl Follower {
    fn new(address: SocketAddr) -> Self {
        Self(BufReader::new(ask(address, "/v1/test")))
    }

    /// The next line that holds `word`; `None` at the end.
    fn next(&mut self, word: &str) -> Option<String> {
        loop {
            let mut line = String::new();
            if self.0.read_line(&mut line).ok()? == 0 {
                return None;
            }
            if line.contains(word) {
                return Some(line.trim_end().to_owned());
            }
        }
    }
}

fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = clock::now() + DEADLINE;
    while !is_so() {
        assert!(clock::now() < deadline, "waited in vain for {what}");
        std::thread::yield_now();
    }
}

/// Goal: a follower gets the line that is there at once, then each new one, and the end with the process; one who comes
/// before anything is known waits for it.
#[test]
fn followers_are_told_what_changes() {
    let (address, tell, shutdown) = telling(PATIENCE);
    let mut early = Follower::new(address);
    assert!(early.next("HTTP/1.1 200").is_some());
    assert!(early.next("application/x-ndjson").is_some());
    tell.send_replace(Bytes::from_static(b"told 1\n"));
    assert_eq!(early.next("told").as_deref(), Some("told 1"));
    let mut late = Follower::new(address);
    assert_eq!(late.next("told").as_deref(), Some("told 1"));
    tell.send_replace(Bytes::from_static(b"told 2\n"));
    assert_eq!(early.next("told").as_deref(), Some("told 2"));
    assert_eq!(late.next("told").as_deref(), Some("told 2"));
    shutdown.begin();
    assert_eq!(early.next("told"), None);
    assert_eq!(late.next("told"), None);
}

/// Goal: there are so many followers and no more; the next is told why, and gets the place of one who left.
#[test]
fn followers_are_bounded() {
    let (address, tell, shutdown) = telling(PATIENCE);
    tell.send_replace(Bytes::from_static(b"told 1\n"));
    let mut all: Vec<Follower> = (0..FOLLOWERS_MAX).map(|_| Follower::new(address)).collect();
    assert!(all.iter_mut().all(|one| one.next("told").is_some()));
    let refused = get(address, "/v1/test");
    assert!(refused.starts_with("HTTP/1.1 503") && refused.contains("2 follow /v1/test"), "{refused}");
    assert!(get(address, "/live").starts_with("HTTP/1.1 200"), "others are served");
    all.pop();
    wait_for("a place", || Follower::new(address).next("HTTP/1.1").is_some_and(|line| line.contains("200")));
    shutdown.begin();
}

/// Goal: who asks and takes nothing costs the lines that fit into its socket, and loses its place; others are told on.
#[test]
fn a_slow_reader_is_let_go() {
    let (address, tell, shutdown) = telling(Duration::from_millis(200));
    tell.send_replace(Bytes::from_static(b"told 1\n"));
    let slow = Follower::new(address);
    let mut quick = Follower::new(address);
    assert!(quick.next("told").is_some());
    let full = || get(address, "/v1/test").starts_with("HTTP/1.1 503");
    assert!(full(), "both have a place");
    // Each line is more than the one before has left of any socket's buffer in the end.
    let line = Bytes::from(["told ", &"x".repeat(256 * 1024), "\n"].concat());
    wait_for("the slow one to be let go", || {
        tell.send_replace(line.clone());
        assert!(quick.next("told").is_some(), "the quick one is told");
        Follower::new(address).next("HTTP/1.1").is_some_and(|line| line.contains("200"))
    });
    drop(slow);
    shutdown.begin();
}
