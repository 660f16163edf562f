//! Asks a part's admin port over plain HTTP on loopback, and reads Prometheus' text. Bounded in time
//! and size; a part that does not answer is simply not counted this time.

use std::collections::BTreeMap;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const DEADLINE: Duration = Duration::from_secs(3);
/// The longest answer, in bytes.
const ANSWER_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// A counter or gauge.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sample {
    pub(crate) metric: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) value: f64,
}

/// The body of a `200` answer; else what went wrong, in words.
pub(crate) async fn get(address: &str, path: &str) -> Result<String, String> {
    let asking = async {
        let mut stream = TcpStream::connect(address).await?;
        let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).await?;
        Ok::<_, std::io::Error>(answer)
    };
    let answer = match tokio::time::timeout(DEADLINE, asking).await {
        Ok(answer) => answer.map_err(|error| error.to_string())?,
        Err(_) => return Err("it did not answer in time".to_owned()),
    };
    split(&String::from_utf8_lossy(&answer))
}

fn split(answer: &str) -> Result<String, String> {
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("the answer is no HTTP")?;
    let body = match head.to_ascii_lowercase().contains("transfer-encoding: chunked") {
        true => join_chunks(body),
        false => body.to_owned(),
    };
    if head.split(' ').nth(1) == Some("200") { Ok(body) } else { Err(body) }
}

fn join_chunks(mut body: &str) -> String {
    let mut whole = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let Ok(size) = usize::from_str_radix(size.trim(), 16) else { break };
        let Some((chunk, rest)) = rest.split_at_checked(size) else { break };
        whole.push_str(chunk);
        body = rest.trim_start_matches("\r\n");
        if size == 0 {
            break;
        }
    }
    whole
}

/// Reads the lines of a scrape; what is not a sample is left out.
pub(crate) fn samples(text: &str) -> Vec<Sample> {
    text.lines().filter(|line| !line.starts_with('#')).filter_map(sample).collect()
}

fn sample(line: &str) -> Option<Sample> {
    let (series, value) = line.rsplit_once(' ')?;
    let value = value.parse().ok()?;
    let (metric, labels) = match series.split_once('{') {
        Some((metric, rest)) => (metric, labels(rest.strip_suffix('}')?)?),
        None => (series, BTreeMap::new()),
    };
    Some(Sample { metric: metric.to_owned(), labels, value })
}

fn labels(mut text: &str) -> Option<BTreeMap<String, String>> {
    let mut labels = BTreeMap::new();
    while !text.is_empty() {
        let (name, rest) = text.split_once("=\"")?;
        let end = rest.find('"')?;
        let (value, rest) = rest.split_at_checked(end)?;
        labels.insert(name.trim_start_matches(',').to_owned(), value.to_owned());
        text = rest.strip_prefix('"')?;
    }
    Some(labels)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: what our programs write is read back.
    #[test]
    fn samples_are_read() {
        let text = "# HELP a b\n# TYPE a counter\na{kind=\"topic\",name=\"orders\"} 12\nb 1.5\nbroken\n";
        let found = samples(text);
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].metric.as_str(), found[0].value), ("a", 12.0));
        assert_eq!(found[0].labels["name"], "orders");
        assert_eq!(found[1].metric, "b");
    }

    /// Goal: both ways of ending a body are understood, and a refusal is an error with its text.
    #[test]
    fn answers_are_split() {
        let plain = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
        assert_eq!(split(plain), Ok("ok".to_owned()));
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n";
        assert_eq!(split(chunked), Ok("abc".to_owned()));
        assert_eq!(split("HTTP/1.1 503 No\r\n\r\nview: none"), Err("view: none".to_owned()));
    }
}
