//! Watches: every change after a version, until the version is forgotten or the time of the watch is over.

use super::{Answer, FakeApi, Line, store};
use bytes::Bytes;
use http::Response;
use http_body_util::{StreamBody, combinators::UnsyncBoxBody};
use hyper::body::Frame;
use serde_json::{Value, json};
use std::{collections::BTreeMap, convert::Infallible, time::Duration};

/// Longest watch, in seconds, where the client names none.
const SECONDS: u64 = 290;
/// How often somebody behind a line that is cut looks whether it still is.
const CUT_PERIOD: Duration = Duration::from_millis(100);

impl FakeApi {
    pub(super) fn watch(&self, line: &Line, path: &str, query: &BTreeMap<String, String>) -> Answer {
        let number = |key: &str| query.get(key).and_then(|text| text.parse::<u64>().ok());
        let selection = store::Selection::new(path, query);
        let until = runtime::clock::now() + Duration::from_secs(number("timeoutSeconds").unwrap_or(SECONDS));
        let from = number("resourceVersion").unwrap_or(0);
        let (api, line, changed) = (self.clone(), line.clone(), self.changes());
        let state = (from, changed, false);
        let events = futures::stream::unfold(state, move |(from, mut changed, over)| {
            let (api, line, selection) = (api.clone(), line.clone(), selection.clone());
            async move {
                loop {
                    if over {
                        return None;
                    }
                    if from < api.with(|store| store.forgotten) {
                        let (_, status) = store::failure(410, "Expired");
                        return Some((
                            text(&json!({"type": "ERROR", "object": status})),
                            (from, changed, true),
                        ));
                    }
                    let news = api.with(|store| store.since(from, &selection));
                    if !news.is_empty() {
                        while line.is_cut() {
                            tokio::time::sleep(CUT_PERIOD).await;
                        }
                        line.travel().await.ok()?;
                        let last = news.last().map_or(from, |(version, _)| *version);
                        let lines: Vec<u8> = news.iter().flat_map(|(_, event)| text(event)).collect();
                        return Some((lines, (last, changed, false)));
                    }
                    tokio::select! {
                        biased;
                        () = changed.changed() => {}
                        () = tokio::time::sleep_until(until) => return None,
                    }
                }
            }
        });
        use futures::StreamExt as _;
        let frames = events.map(|lines| Ok::<_, Infallible>(Frame::data(Bytes::from(lines))));
        Response::builder().status(200).body(UnsyncBoxBody::new(StreamBody::new(frames))).unwrap()
    }
}

fn text(event: &Value) -> Vec<u8> {
    let mut line = serde_json::to_vec(event).unwrap();
    line.push(b'\n');
    line
}
