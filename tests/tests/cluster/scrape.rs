//! Reading metrics as Prometheus would: HTTP to a pod's admin port, from inside the network.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

/// The admin port of every program.
pub(crate) const ADMIN_PORT: u16 = 7402;
const LIMIT: Duration = Duration::from_secs(10);

/// The body of a successful answer to an HTTP GET.
pub(crate) fn get(host: &str, port: u16, path: &str) -> Result<String> {
    let mut stream =
        TcpStream::connect((host, port)).with_context(|| format!("cannot connect to {host}:{port}"))?;
    stream.set_read_timeout(Some(LIMIT))?;
    // Version 1.0: the body ends with the connection and comes in one piece.
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {host}\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).with_context(|| format!("{host}:{port} broke off"))?;
    let (head, body) = answer.split_once("\r\n\r\n").context("the answer is no HTTP")?;
    let status = head.split_whitespace().nth(1).unwrap_or_default();
    ensure!(status == "200", "GET {host}:{port}{path}: {head}\n{body}");
    Ok(body.to_owned())
}

/// The sum of all samples of a metric whose labels contain all of these texts.
pub(crate) fn sum(metrics: &str, name: &str, labels: &[&str]) -> f64 {
    metrics
        .lines()
        .filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' '])))
        .filter(|line| labels.iter().all(|label| line.contains(label)))
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .sum()
}
