//! The HTTP door: POST to publish, newline-delimited JSON to subscribe.

use super::{Incoming, Outgoing, Received, Wanted, nobody};
use crate::args::Via;
use crate::tools::Failure;
use crate::tools::target::{Kind, Target};
use bytes::{Bytes, BytesMut};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming as Body;
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use runtime::shutdown::Shutdown;
use runtime::tasks::{TaskGuard, Tasks};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::sync::mpsc;

/// The longest line of a subscription, in bytes.
const LINE_BYTES_MAX: usize = 128 * 1024 * 1024;
/// The longest error text.
const PROBLEM_BYTES_MAX: usize = 64 * 1024;

struct Connection {
    sender: SendRequest<Full<Bytes>>,
    address: String,
    _driver: TaskGuard,
}

async fn connect(address: &str) -> Result<Connection, Failure> {
    let stream = TcpStream::connect(address).await.map_err(|error| nobody("HTTP", address, error))?;
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (sender, driver) = handshake.map_err(|error| nobody("HTTP", address, error))?;
    let tasks = Tasks::new(Shutdown::new());
    let driver = tasks.spawn_guarded("http connection", async move {
        if let Err(error) = driver.await {
            tracing::debug!(%error, "http connection ended");
        }
    });
    Ok(Connection { sender, address: address.to_owned(), _driver: driver })
}

impl Connection {
    async fn send(&mut self, mut request: Request<Full<Bytes>>) -> Result<Response<Body>, Failure> {
        let host =
            HeaderValue::from_str(&self.address).map_err(|error| Failure::Refused(error.to_string()))?;
        request.headers_mut().insert(http::header::HOST, host);
        let broken = |error: hyper::Error| nobody("HTTP", &self.address, error);
        self.sender.ready().await.map_err(broken)?;
        let broken = |error: hyper::Error| nobody("HTTP", &self.address, error);
        let response = self.sender.send_request(request).await.map_err(broken)?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let limited = http_body_util::Limited::new(response.into_body(), PROBLEM_BYTES_MAX);
        let body = limited.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
        Err(problem(status, &body))
    }
}

/// A problem+json answer as words.
fn problem(status: StatusCode, body: &[u8]) -> Failure {
    let problem: Value = serde_json::from_slice(body).unwrap_or_default();
    let detail = problem.get("detail").or_else(|| problem.get("title")).and_then(Value::as_str);
    let text = format!("{} ({status})", detail.unwrap_or("the sidecar refused"));
    match status.as_u16() {
        408 | 425 | 429 | 500.. => Failure::Unavailable(text),
        _ => Failure::Refused(text),
    }
}

pub(crate) struct Publisher {
    connection: Connection,
    path: String,
}

fn request(method: Method, path: &str, body: Bytes) -> Result<Request<Full<Bytes>>, Failure> {
    let request = Request::builder().method(method).uri(path).body(Full::new(body));
    request.map_err(|error| Failure::Refused(format!("{path} cannot be asked for: {error}")))
}

fn header(name: &str, text: &str) -> Result<HeaderValue, Failure> {
    let wrong =
        |_| Failure::Refused(format!("{name} {text:?} cannot travel in an HTTP header: use --via grpc"));
    HeaderValue::from_bytes(text.as_bytes()).map_err(wrong)
}

impl Publisher {
    pub(super) async fn open(target: &Target, address: &str) -> Result<Self, Failure> {
        Ok(Self { connection: connect(address).await?, path: format!("/v1/{target}") })
    }

    pub(super) async fn publish(&mut self, message: Outgoing) -> Result<String, Failure> {
        let mut request = request(Method::POST, &self.path, Bytes::from(message.payload))?;
        let headers = request.headers_mut();
        if let Some(key) = &message.key {
            headers.insert("pinnace-key", header("--key", key)?);
        }
        if !message.subject.is_empty() {
            headers.insert("pinnace-subject", header("--subject", &message.subject)?);
        }
        let response = self.connection.send(request).await?;
        let body = response.into_body().collect().await;
        let body = body.map_err(|error| nobody("HTTP", &self.connection.address, error))?.to_bytes();
        Ok(serde_json::from_slice::<Value>(&body).map(|value| position(&value)).unwrap_or_default())
    }
}

fn position(value: &Value) -> String {
    let number = |name: &str| value.get(name).and_then(Value::as_i64).unwrap_or_default();
    match value.get("publisher").and_then(Value::as_str) {
        Some(publisher) => format!("{publisher} #{}", number("offset")),
        None => format!("{}:{}", number("partition"), number("offset")),
    }
}

fn escape(text: &str) -> String {
    let piece = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(piece).collect()
}

pub(super) async fn subscribe(
    wanted: &Wanted,
    address: &str,
    queue: &mpsc::Sender<Incoming>,
) -> Result<(), Failure> {
    let mut query: Vec<String> =
        wanted.prefixes.iter().map(|prefix| format!("prefix={}", escape(prefix))).collect();
    if wanted.from_start {
        query.push("start=earliest".to_owned());
    }
    if wanted.target.kind == Kind::Topic {
        if !wanted.from_start {
            query.push("start=latest".to_owned());
        }
        if !wanted.group.is_empty() {
            query.push(format!("group={}", escape(&wanted.group)));
        }
    }
    let path = format!("/v1/{}/messages?{}", wanted.target, query.join("&"));
    let mut connection = connect(address).await?;
    let mut body = connection.send(request(Method::GET, &path, Bytes::new())?).await?.into_body();
    drop(queue.send(Incoming::Open { via: Via::Http }).await);
    let mut pending = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| nobody("HTTP", address, error))?;
        if let Ok(data) = frame.into_data() {
            pending.extend_from_slice(&data);
        }
        while let Some(end) = pending.iter().position(|byte| *byte == b'\n') {
            let line = pending.split_to(end + 1);
            take(&line, queue).await?;
        }
        if pending.len() > LINE_BYTES_MAX {
            return Err(Failure::Refused(format!(
                "a line of the answer is longer than {LINE_BYTES_MAX} bytes"
            )));
        }
    }
    Err(Failure::Unavailable("the subscription's answer ended".to_owned()))
}

async fn take(line: &[u8], queue: &mpsc::Sender<Incoming>) -> Result<(), Failure> {
    let Ok(value) = serde_json::from_slice::<Value>(line) else { return Ok(()) };
    let text = |name: &str| value.get(name).map(readable).unwrap_or_default();
    let incoming = match value.get("type").and_then(Value::as_str) {
        Some("message") => {
            let parts = value.get("parts").and_then(Value::as_array);
            let parts: Vec<String> = parts.into_iter().flatten().map(readable).collect();
            let message = Received {
                subject: text("subject"),
                key: value.get("key").map(readable),
                payload: parts.join(" "),
                position: value.get("position").map(position).unwrap_or_default(),
            };
            Incoming::Message { via: Via::Http, message }
        }
        Some("gap") => {
            let messages = value.get("messages").and_then(Value::as_u64).unwrap_or_default();
            Incoming::Gap { via: Via::Http, messages, reason: text("reason") }
        }
        Some("end") => return Err(Failure::Unavailable(text("reason"))),
        _ => return Ok(()),
    };
    // When nobody takes any more, the process is ending.
    drop(queue.send(incoming).await);
    Ok(())
}

/// A string, or bytes in base64 as they came.
fn readable(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
