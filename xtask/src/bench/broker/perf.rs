//! Kafka's own `ProducerPerformance`, an open-loop client that can speak to many partitions at a pace.
//!
//! librdkafka's program spins between two messages at such a pace and takes a core of its own.

use std::path::PathBuf;

use anyhow::{Context as _, Result};

use crate::cache::Cache;
use crate::maven::{self, Artifact, KAFKA_TOOLS_VERSION};
use crate::tools;

const ROUND_ROBIN: &str = "partitioner.class=org.apache.kafka.clients.producer.RoundRobinPartitioner";
/// Seconds that one run may take.
const LIMIT_SECONDS: &str = "300";

/// The tools' jars.
pub(super) struct Tools(PathBuf);

/// What a run came to; the client rounds latencies to whole milliseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Paced {
    pub(super) reached_per_second: f64,
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
    pub(super) max_ms: f64,
}

impl Tools {
    /// Fetches the jars once.
    pub(super) fn install(cache: &Cache) -> Result<Self> {
        let artifacts = [Artifact("org.apache.kafka", "kafka-tools", KAFKA_TOOLS_VERSION), maven::LOGGING[0]];
        Ok(Self(maven::cached(cache, "kafka-tools", &artifacts)?))
    }

    /// Sends 100-byte messages round robin at a pace for some seconds, after a tenth more to warm up.
    pub(super) fn paced(
        &self,
        address: &str,
        topic: &str,
        (pace, seconds): (u32, u32),
        linger_ms: u32,
    ) -> Result<Paced> {
        let measured = pace * seconds;
        let warm_up = measured / 10;
        let mut command = tools::command("timeout", [LIMIT_SECONDS, "java", "-Xmx512M", "-cp"]);
        command.arg(format!("{}/{}/*", self.0.display(), maven::JARS));
        command.args([
            "org.apache.kafka.tools.ProducerPerformance",
            "--topic",
            topic,
            "--record-size",
            "100",
        ]);
        command.args(["--num-records", &(measured + warm_up).to_string()]);
        command.args(["--warmup-records", &warm_up.to_string(), "--throughput", &pace.to_string()]);
        command.args(["--producer-props", &format!("bootstrap.servers={address}"), "acks=all", ROUND_ROBIN]);
        command.arg(format!("linger.ms={linger_ms}"));
        let printed = tools::output(&mut command)?;
        parse(&printed).with_context(|| format!("no summary in: {}", tools::tail(&printed, 3)))
    }
}

/// Reads the last line that sums up: `… records sent, 9993.1 records/sec (0.95 MB/sec), 1.2 ms avg latency,
/// 33.00 ms max latency, 1 ms 50th, 2 ms 95th, 9 ms 99th, 20 ms 99.9th.`
fn parse(printed: &str) -> Option<Paced> {
    let line = printed.lines().rev().find(|line| line.contains("99.9th"))?;
    let before = |unit: &str| {
        let text = line.split(unit).next()?.trim_end();
        text.rsplit([' ', '(']).next()?.parse::<f64>().ok()
    };
    Some(Paced {
        reached_per_second: before("records/sec")?,
        p50_ms: before("ms 50th")?,
        p99_ms: before("ms 99th")?,
        max_ms: before("ms max latency")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: the last summary is read, not an earlier one.
    #[test]
    fn summaries_are_read() {
        let printed = "5 records sent, 1.0 records/sec (0.00 MB/sec), 9.0 ms avg latency, 9.0 ms max latency.\n\
            300000 records sent, 9993.1 records/sec (0.95 MB/sec), 1.22 ms avg latency, 133.00 ms max latency, \
            1 ms 50th, 2 ms 95th, 9 ms 99th, 20 ms 99.9th.\n";
        let paced = Paced { reached_per_second: 9993.1, p50_ms: 1.0, p99_ms: 9.0, max_ms: 133.0 };
        assert_eq!(parse(printed), Some(paced));
        assert_eq!(parse("nothing"), None);
    }
}
