//! What the operator asked of others and took itself between two looks: requests at the API server without our own,
//! requests at the brokers, memory and processor time.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};
use serde_json::{Map, Value};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::crowd::Crowd;
use crate::figures::Figures;
use crate::machine::{self, Usage};
use crate::samples::samples;

/// What the operator may touch; what others do with anything else is not its doing.
const RESOURCES: &[&str] = &[
    "topics",
    "channels",
    "brokers",
    "subscriptions",
    "events",
    "statefulsets",
    "services",
    "configmaps",
    "secrets",
    "tokenreviews",
];
/// Of the group of our kinds, and where an operator writes beside it.
const GROUPS: &[&str] = &["pinnace.dev", "events.k8s.io", "apps", "", "authentication.k8s.io"];
/// Requests that change something.
const WRITES: &[&str] = &["POST", "PUT", "PATCH", "APPLY", "DELETE", "DELETECOLLECTION"];
const ADMIN_PORT: u16 = 7402;
const LIMIT: Duration = Duration::from_secs(30);
/// Brokers that are asked at a time.
const CONCURRENCY: usize = 8;

type Requests = BTreeMap<(String, String), u64>;

/// One look.
#[derive(Clone, Default)]
pub(crate) struct Look {
    api: Requests,
    ours: Requests,
    brokers: BTreeMap<String, u64>,
    usage: BTreeMap<String, Usage>,
}

/// See the module.
pub(crate) struct Meter<'a> {
    pub(crate) client: Client,
    /// Where the operator is.
    pub(crate) namespace: &'a str,
    pub(crate) crowd: &'a Crowd,
}

impl Meter<'_> {
    /// Looks at everything.
    pub(crate) async fn look(&self) -> Result<Look> {
        let request = http::Request::get("/metrics").body(Vec::new())?;
        let text = self.client.request_text(request).await.context("cannot read the API server's metrics")?;
        let mut usage = BTreeMap::new();
        for (pod, process) in self.replicas().await? {
            usage.insert(pod, machine::usage(process)?);
        }
        ensure!(!usage.is_empty(), "no operator runs on this machine");
        Ok(Look {
            api: read_requests(&text),
            ours: self.crowd.requests(),
            brokers: self.brokers().await?,
            usage,
        })
    }

    /// The process of each replica of the operator, by its Pod.
    pub(crate) async fn replicas(&self) -> Result<BTreeMap<String, i32>> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), self.namespace);
        let selector = ListParams::default().labels("app.kubernetes.io/component=operator");
        let names = pods.list(&selector).await?.iter().map(ResourceExt::name_any).collect();
        machine::processes(&names)
    }

    /// Requests of each API at all brokers together.
    async fn brokers(&self) -> Result<BTreeMap<String, u64>> {
        let pods: Api<Pod> = Api::all(self.client.clone());
        let selector = ListParams::default().labels("app.kubernetes.io/component=broker");
        let addresses: Vec<String> =
            pods.list(&selector).await?.into_iter().filter_map(|pod| pod.status?.pod_ip).collect();
        let texts: Vec<String> =
            stream::iter(addresses).map(scrape).buffer_unordered(CONCURRENCY).try_collect().await?;
        let mut requests = BTreeMap::new();
        for text in &texts {
            for (labels, value) in samples(text, "pinnace_broker_requests_total") {
                let api = labels.get("api").copied().unwrap_or_default();
                *requests.entry(api.to_owned()).or_default() += whole(value);
            }
        }
        Ok(requests)
    }
}

/// The metrics of a pod.
async fn scrape(address: String) -> Result<String> {
    let read = async {
        let mut stream = TcpStream::connect((address.as_str(), ADMIN_PORT)).await?;
        // Version 1.0: the body ends with the connection and comes in one piece.
        stream.write_all(format!("GET /metrics HTTP/1.0\r\nHost: {address}\r\n\r\n").as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok::<_, std::io::Error>(answer)
    };
    let answer = tokio::time::timeout(LIMIT, read).await;
    answer
        .context("a broker does not answer")?
        .with_context(|| format!("cannot read the metrics of {address}"))
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "counters are whole and count up from 0"
)]
fn whole(value: f64) -> u64 {
    value as u64
}

fn read_requests(text: &str) -> Requests {
    let mut requests = Requests::new();
    for (labels, value) in samples(text, "apiserver_request_total") {
        let label = |name: &str| labels.get(name).copied().unwrap_or_default();
        if GROUPS.contains(&label("group"))
            && RESOURCES.contains(&label("resource"))
            && label("verb") != "WATCH"
        {
            let resource = match label("subresource") {
                "" => label("resource").to_owned(),
                part => format!("{}/{part}", label("resource")),
            };
            *requests.entry((label("verb").to_owned(), resource)).or_default() += whole(value);
        }
    }
    requests
}

fn since<K: Ord + Clone>(now: &BTreeMap<K, u64>, before: &BTreeMap<K, u64>) -> BTreeMap<K, u64> {
    let grown = now
        .iter()
        .map(|(key, value)| (key.clone(), value - before.get(key).copied().unwrap_or(0).min(*value)));
    grown.filter(|(_, value)| *value > 0).collect()
}

impl Look {
    /// Requests since then at the API server that were not ours, by verb and resource.
    fn api_since(&self, before: &Self) -> Requests {
        let (mut all, ours) = (since(&self.api, &before.api), since(&self.ours, &before.ours));
        for (key, value) in ours {
            if let Some(count) = all.get_mut(&key) {
                *count = count.saturating_sub(value);
            }
        }
        all.retain(|_, value| *value > 0);
        all
    }

    /// Writes since then that were not ours.
    pub(crate) fn writes_since(&self, before: &Self) -> u64 {
        let writes =
            self.api_since(before).into_iter().filter(|((verb, _), _)| WRITES.contains(&verb.as_str()));
        writes.map(|(_, count)| count).sum()
    }

    /// Requests at the brokers since then.
    pub(crate) fn broker_requests_since(&self, before: &Self) -> u64 {
        since(&self.brokers, &before.brokers).values().sum()
    }

    /// The replica that takes most, which is the leader.
    pub(crate) fn resident_megabytes(&self) -> f64 {
        self.usage.values().map(|usage| usage.resident_megabytes).fold(0.0, f64::max)
    }

    /// The most that any replica took so far.
    pub(crate) fn resident_megabytes_most(&self) -> f64 {
        self.usage.values().map(|usage| usage.resident_megabytes_most).fold(0.0, f64::max)
    }

    /// Processor time of all replicas since then.
    pub(crate) fn cpu_seconds_since(&self, before: &Self) -> f64 {
        let took = |pod: &String, now: &Usage| {
            now.cpu_seconds - before.usage.get(pod).map_or(0.0, |before| before.cpu_seconds)
        };
        self.usage.iter().map(|(pod, now)| took(pod, now)).sum()
    }

    /// Tells all of it.
    pub(crate) fn tell(&self, before: &Self, phase: &str, figures: &mut Figures) {
        let api: Map<String, Value> = self
            .api_since(before)
            .into_iter()
            .map(|((verb, resource), count)| (format!("{verb} {resource}"), count.into()))
            .collect();
        let brokers: Map<String, Value> = since(&self.brokers, &before.brokers)
            .into_iter()
            .map(|(api, count)| (api, count.into()))
            .collect();
        figures.set(format!("{phase}_api_requests"), api);
        figures.set(format!("{phase}_broker_requests"), brokers);
        figures.set(format!("{phase}_operator_cpu_seconds"), self.cpu_seconds_since(before));
        figures.set(format!("{phase}_operator_resident_megabytes"), self.resident_megabytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: requests of the operator are told apart from ours, and watches and what is not its business are left out.
    #[test]
    fn requests_are_counted_without_ours() {
        let line = |verb: &str, resource: &str, group: &str, count: u32| {
            format!(
                "apiserver_request_total{{code=\"200\",group=\"{group}\",resource=\"{resource}\",subresource=\"\",verb=\"{verb}\"}} {count}\n"
            )
        };
        let before =
            Look { api: read_requests(&line("POST", "topics", "pinnace.dev", 5)), ..Look::default() };
        let text = [
            line("POST", "topics", "pinnace.dev", 15),
            line("APPLY", "topics", "pinnace.dev", 7),
            line("GET", "topics", "pinnace.dev", 1),
            line("WATCH", "topics", "pinnace.dev", 9),
            line("PUT", "leases", "coordination.k8s.io", 9),
        ]
        .concat();
        let ours = BTreeMap::from([(("POST".to_owned(), "topics".to_owned()), 9)]);
        let now = Look { api: read_requests(&text), ours, ..Look::default() };
        assert_eq!(now.writes_since(&before), 8);
        assert_eq!(now.api_since(&before).len(), 3);
    }
}
