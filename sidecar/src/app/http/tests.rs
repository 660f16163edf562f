//! The HTTP door with real curl, and with hand-written bytes where curl is too polite.

use std::process::Stdio;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use crate::app::testing::{self, MESSAGE_BYTES_MAX, Stage, message, soon};
use crate::messaging::{Message, ProblemKind, SubscribeOptions};

fn curl(arguments: &[&str]) -> Command {
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--no-buffer", "--max-time", "60"]).args(arguments);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

/// Status, content type and body of one request.
async fn ask(arguments: &[&str]) -> (u16, String, Vec<u8>) {
    let output =
        soon(curl(&["--write-out", "\n%{http_code} %{content_type}"]).args(arguments).output()).await;
    let output = output.expect("these tests need the program curl");
    let text = output.stdout;
    let cut = text.iter().rposition(|byte| *byte == b'\n').unwrap_or_else(|| {
        panic!("curl said {}", String::from_utf8_lossy(&output.stderr));
    });
    let (body, tail) = text.split_at(cut);
    let tail = String::from_utf8(tail.to_vec()).unwrap();
    let (status, content_type) = tail.trim().split_once(' ').unwrap_or_else(|| (tail.trim(), ""));
    (status.parse().unwrap(), content_type.to_owned(), body.to_vec())
}

/// A subscription by curl: its process and its lines.
async fn follow(arguments: &[&str]) -> (Child, tokio::io::Lines<BufReader<tokio::process::ChildStdout>>) {
    let mut child = curl(arguments).spawn().expect("these tests need the program curl");
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    (child, lines)
}

/// Publishes until a subscriber has it: curl does not say when it stands.
async fn publish_until<T>(stage: &Stage, line: impl Future<Output = T>) -> T {
    let publishing = async {
        let name = testing::channel("shop", "prices");
        loop {
            stage.doors.channels.publish(&name, vec![message("eu.de", "first")]).await.unwrap();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        line = soon(line) => line,
        () = publishing => unreachable!(),
    }
}

/// Goal: a POST is one message with the headers that are kept, and is answered with its position.
#[tokio::test]
async fn a_post_is_one_message() {
    let stage = Stage::open().await;
    let name = testing::channel("shop", "prices");
    let options = SubscribeOptions { prefixes: vec![], credit: 10, ..SubscribeOptions::default() };
    let mut subscription = stage.doors.channels.subscribe(&name, options).await.unwrap();
    let url = format!("{}/v1/channels/prices", stage.url());
    let (status, content_type, body) = ask(&[
        "--data-binary",
        "hello",
        "--header",
        "pinnace-key: k",
        "--header",
        "pinnace-subject: eu.de",
        "--header",
        "ce-id: 7",
        "--header",
        "content-type: text/plain",
        "--header",
        "cookie: secret",
        &url,
    ])
    .await;
    assert_eq!((status, content_type.as_str()), (202, "application/json"));
    let position: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!((&position["offset"], &position["publisher"]), (&json!(1), &json!("shop/web-0")));
    let events = soon(subscription.next()).await.unwrap();
    let crate::messaging::ChannelEvent::Message { message, .. } = &events[0] else {
        panic!("{events:?}");
    };
    assert_eq!(
        (&message.subject[..], message.key.as_deref(), &message.parts[0][..]),
        (&b"eu.de"[..], Some(&b"k"[..]), &b"hello"[..])
    );
    let headers: Vec<(&str, &[u8])> =
        message.headers.iter().map(|(name, value)| (name.as_str(), &value[..])).collect();
    assert_eq!(headers, [("ce-id", &b"7"[..]), ("content-type", &b"text/plain"[..])]);
    // No body is an empty payload, over the Unix socket too.
    let socket = stage.folder.path().join("api.sock");
    let (status, ..) = ask(&[
        "--unix-socket",
        socket.to_str().unwrap(),
        "--request",
        "POST",
        "http://localhost/v1/channels/ticks.infra",
    ])
    .await;
    assert_eq!(status, 202);
}

/// Goal: a request gets the reply as its body, with the headers that travel; one that nobody answers ends at its deadline.
#[tokio::test]
async fn requests_are_answered() {
    let stage = Stage::open().await;
    let mut serving = stage.doors.channels.serve(&testing::channel("shop", "asking"), 5).await.unwrap();
    let url = format!("{}/v1/channels/asking/request", stage.url());
    let answering = async {
        let requests = serving.next().await.unwrap();
        let asked = requests[0].message.clone();
        let headers = vec![("content-type".to_owned(), Bytes::from_static(b"text/plain"))];
        let parts = vec![Bytes::from([&b"re: "[..], &asked.parts[0]].concat())];
        serving.reply(requests[0].id, Ok(Message { headers, parts, ..asked }));
    };
    let asking = ["--data-binary", "hello", "--header", "pinnace-key: k", &url];
    let ((), (status, content_type, body)) = tokio::join!(answering, ask(&asking));
    assert_eq!((status, content_type.as_str(), &body[..]), (200, "text/plain", &b"re: hello"[..]));
    let late = format!("{url}?timeoutMs=200");
    let (status, _, body) = ask(&["--data-binary", "hello", &late]).await;
    assert_eq!(status, 504, "{}", String::from_utf8_lossy(&body));
}

/// Goal: every refusal is a problem+json with the right status, naming object and field.
#[tokio::test]
async fn refusals_are_problems() {
    let stage = Stage::open().await;
    let post = ["--data-binary", "x"];
    let get: [&str; 0] = [];
    let asking = format!("channels/prices/messages?{}", "start=now");
    for (arguments, path, status, text) in [
        (&post[..], "channels/closed", 403, "spec.access.publish"),
        (&post[..], "channels/nowhere", 404, "shop/nowhere"),
        (&post[..], "channels/asking", 400, "use Request"),
        (&post[..], "channels/Bad_Name", 400, "channels/NAME"),
        (&post[..], "channels/prices/request", 400, "use Publish"),
        (&post[..], "channels/asking/request?idempotent=perhaps", 400, "idempotent"),
        (&post[..], "channels/asking/request?wait=1", 400, "timeoutMs"),
        (&post[..], "channels/asking/request?timeoutMs=200", 503, "no responders"),
        (&post[..], "topics/orders", 404, "shop/orders"),
        (&post[..], "queues/a", 404, "/v1/topics/NAME"),
        (&get[..], "channels/closed/messages", 403, "spec.access.subscribe"),
        (&get[..], "channels/prices", 405, "POST"),
        (&get[..], asking.as_str(), 400, "start"),
        (&get[..], "channels/prices/messages?credit=0", 400, "credit"),
        (&get[..], "channels/prices/messages?group=g", 400, "group"),
        (&get[..], "channels/prices/messages?offset=1", 400, "offset"),
    ] {
        let url = format!("{}/v1/{path}", stage.url());
        let (found, content_type, body) = ask(&[arguments, &[url.as_str()][..]].concat()).await;
        let problem: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!((found, content_type.as_str()), (status, "application/problem+json"), "{path}: {problem}");
        assert_eq!(problem["status"], json!(status));
        assert!(problem["detail"].as_str().unwrap().contains(text), "{path}: {problem}");
    }
}

/// Goal: curl reads newline-delimited JSON, only what its prefixes ask for, and the
/// subscription ends when curl goes.
#[tokio::test]
async fn curl_reads_lines() {
    let stage = Stage::open().await;
    let url = format!("{}/v1/channels/prices/messages?prefix=eu.&prefix=uk&credit=5", stage.url());
    let (mut child, mut lines) = follow(&["--include", &url]).await;
    let first = publish_until(&stage, async {
        loop {
            let line = lines.next_line().await.unwrap().expect("curl ended");
            if line.starts_with('{') {
                return line;
            }
        }
    })
    .await;
    let first: Value = serde_json::from_str(&first).unwrap();
    assert_eq!(
        (&first["type"], &first["subject"], &first["parts"]),
        (&json!("message"), &json!("eu.de"), &json!(["first"]))
    );
    let name = testing::channel("shop", "prices");
    // More than the credit: it comes back as curl reads.
    let batch = (0..50).flat_map(|index| [message("us", "no"), message("uk", &index.to_string())]).collect();
    stage.doors.channels.publish(&name, batch).await.unwrap();
    let mut seen = Vec::new();
    while seen.len() < 50 {
        let line = soon(lines.next_line()).await.unwrap().expect("curl ended");
        let line: Value = serde_json::from_str(&line).unwrap();
        if line["subject"] == json!("uk") {
            seen.push(line["parts"][0].as_str().unwrap().to_owned());
        }
    }
    assert_eq!(seen, (0..50).map(|index| index.to_string()).collect::<Vec<_>>());
    child.kill().await.unwrap();
    // Without the subscriber nothing can be full: far more than a buffer goes through.
    soon(async {
        loop {
            let batch = vec![message("uk", "x"); testing::BUFFER_MESSAGES];
            match stage.doors.channels.publish(&name, batch).await {
                Ok(_) => return,
                Err(problem) => assert_eq!(problem.kind, ProblemKind::DeadlineExceeded),
            }
        }
    })
    .await;
}

/// Goal: curl reads server-sent events, and the end of a subscription is an event and then the
/// end of the answer.
#[tokio::test]
async fn curl_reads_events_to_the_end() {
    let stage = Stage::open().await;
    let url = format!("{}/v1/channels/prices/messages", stage.url());
    let (mut child, mut lines) = follow(&["--include", "--header", "accept: text/event-stream", &url]).await;
    let first = publish_until(&stage, async {
        let mut head = Vec::new();
        loop {
            let line = lines.next_line().await.unwrap().expect("curl ended");
            if line.starts_with("event:") {
                return (head, line, lines.next_line().await.unwrap().unwrap());
            }
            head.push(line.to_ascii_lowercase());
        }
    })
    .await;
    assert!(first.0.iter().any(|line| line == "content-type: text/event-stream"), "{:?}", first.0);
    assert_eq!(first.1, "event: message");
    let data: Value = serde_json::from_str(first.2.strip_prefix("data: ").unwrap()).unwrap();
    assert_eq!(data["parts"], json!(["first"]));
    stage.change(|view| view.channels.clear());
    let mut last = String::new();
    while let Some(line) = soon(lines.next_line()).await.unwrap() {
        if line.starts_with("data:") {
            last = line;
        }
    }
    assert!(last.contains("\"type\":\"end\"") && last.contains("shop/prices"), "{last}");
    assert!(soon(child.wait()).await.unwrap().success());
}

/// Sends raw bytes, and returns all that comes back until the door closes or falls silent.
async fn raw(stage: &Stage, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(stage.opened.listen.unwrap()).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    let reading = stream.read_to_end(&mut answer);
    // Silence is an answer too: a door may keep a good connection open.
    drop(tokio::time::timeout(Duration::from_millis(500), reading).await);
    String::from_utf8_lossy(&answer).into_owned()
}

/// Goal: a body above the limit is refused by its announced length before a byte of it is read,
/// by its real length when none is announced, and costs no memory.
#[tokio::test]
async fn large_bodies_are_refused_early() {
    let stage = Stage::open().await;
    let growth = testing::Growth::begin().await;
    for length in ["1048577", "99999999999", "18446744073709551615"] {
        let head =
            format!("POST /v1/channels/prices HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n\r\n");
        let answer = raw(&stage, head.as_bytes()).await;
        // hyper itself has other words for the largest number there is.
        assert!(answer.starts_with("HTTP/1.1 4"), "{length}: {answer}");
    }
    let answer =
        raw(&stage, b"POST /v1/channels/prices HTTP/1.1\r\nhost: a\r\ncontent-length: 1048577\r\n\r\n").await;
    assert!(answer.contains("spec.maxMessageSize (1048576 bytes)"), "{answer}");
    // Chunked: no length to look at.
    let body = stage.folder.path().join("body");
    let length = u64::try_from(50 * MESSAGE_BYTES_MAX).unwrap();
    std::fs::File::create(&body).unwrap().set_len(length).unwrap();
    let upload = format!("@{}", body.display());
    let url = format!("{}/v1/channels/prices", stage.url());
    let output = soon(
        curl(&[
            "--write-out",
            "%{http_code}",
            "--output",
            "/dev/null",
            "--header",
            "transfer-encoding: chunked",
            "--header",
            "expect:",
            "--data-binary",
            &upload,
            &url,
        ])
        .output(),
    )
    .await
    .unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "413");
    growth.assert_below(32);
    // One that is exactly as large as allowed goes through.
    std::fs::write(&body, vec![b'x'; MESSAGE_BYTES_MAX]).unwrap();
    let (status, ..) = ask(&["--header", "content-type:", "--data-binary", &upload, &url]).await;
    assert_eq!(status, 202);
}

/// Goal: bytes that are no HTTP, or too much of it, end the connection and nothing else.
#[tokio::test]
async fn hostile_bytes_end_their_own_connection() {
    let stage = Stage::open().await;
    let long = format!("GET /v1/{} HTTP/1.1\r\nhost: a\r\n\r\n", "a".repeat(200_000));
    let many: String = (0..5000).map(|index| format!("x-{index}: {index}\r\n")).collect();
    let many = format!("GET /v1/channels/prices/messages HTTP/1.1\r\nhost: a\r\n{many}\r\n");
    for bytes in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\0\0\0\0\0\0",
        b"POST /v1/channels/prices HTTP/1.1\r\nhost: a\r\ncontent-length: -1\r\n\r\n",
        b"POST /v1/channels/prices HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nffffffffffffffffff\r\n",
        long.as_bytes(),
        many.as_bytes(),
    ] {
        let answer = raw(&stage, bytes).await;
        assert!(!answer.contains("202 Accepted") && !answer.contains(" 200 "), "{answer}");
    }
    let url = format!("{}/v1/channels/prices", stage.url());
    assert_eq!(ask(&["--data-binary", "x", &url]).await.0, 202);
}

/// Goal: a reader that stops reading holds a bounded amount: the publisher is told, memory stays flat.
#[tokio::test]
async fn a_stuck_reader_costs_a_bounded_amount() {
    let stage = Stage::open().await;
    let mut stream = TcpStream::connect(stage.opened.listen.unwrap()).await.unwrap();
    let request = b"GET /v1/channels/prices/messages?credit=1000000 HTTP/1.1\r\nhost: a\r\n\r\n";
    stream.write_all(request).await.unwrap();
    // The head says that the subscription stands; then nothing more is read.
    let mut head = [0; 64];
    soon(stream.read(&mut head)).await.unwrap();
    let name = testing::channel("shop", "prices");
    let part = "x".repeat(10_000);
    let growth = testing::Growth::begin().await;
    let mut published = 0;
    let problem = loop {
        match soon(stage.doors.channels.publish(&name, vec![message("a", &part); 100])).await {
            Ok(_) => published += 100 * part.len(),
            Err(problem) => break problem,
        }
        assert!(published < 200_000_000, "a stuck reader took 200 MB");
    };
    assert_eq!(problem.kind, ProblemKind::DeadlineExceeded, "{problem}");
    growth.assert_below(64);
}

/// Goal: a client that comes back with the id of its last event gets what came after it, in both layouts.
#[tokio::test]
async fn the_last_event_id_resumes() {
    let stage = Stage::open().await;
    let name = testing::channel("shop", "prices");
    let replay = crate::view::Replay { messages: 10, bytes: usize::MAX, time: Duration::MAX };
    stage.change(|view| view.channels.get_mut(&name).unwrap().replay = Some(replay));
    for part in ["0", "1", "2"] {
        stage.doors.channels.publish(&name, vec![message("a", part)]).await.unwrap();
    }
    let url = format!("{}/v1/channels/prices/messages?start=earliest", stage.url());
    let (mut child, mut lines) = follow(&["--header", "accept: text/event-stream", &url]).await;
    let first = soon(lines.next_line()).await.unwrap().expect("curl ended");
    let id = first.strip_prefix("id: ").unwrap().to_owned();
    assert!(id.starts_with("shop/web-0/") && id.ends_with("/1"), "{id}");
    child.kill().await.unwrap();
    let url = format!("{}/v1/channels/prices/messages", stage.url());
    let header = format!("last-event-id: {id}");
    for accept in ["accept: text/event-stream", "accept: application/x-ndjson"] {
        let (_child, mut lines) = follow(&["--header", accept, "--header", &header, &url]).await;
        let mut parts = Vec::new();
        while parts.len() < 2 {
            let line = soon(lines.next_line()).await.unwrap().expect("curl ended");
            if let Some(data) = line.strip_prefix("data: ").or_else(|| line.strip_prefix("{").map(|_| &*line))
            {
                let data: Value = serde_json::from_str(data).unwrap();
                parts.push(data["parts"][0].as_str().unwrap().to_owned());
            }
        }
        assert_eq!(parts, ["1", "2"]);
    }
    let (status, _, body) = ask(&["--header", "last-event-id: 7", &url]).await;
    assert_eq!(status, 400, "{}", String::from_utf8_lossy(&body));
}
