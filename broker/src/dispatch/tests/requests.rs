//! Requests are counted by API.

use super::*;

/// Goal: a request is counted under its API and no other, also one that is refused.
#[tokio::test]
async fn each_request_is_counted_under_its_api() {
    let here = here().await;
    let context = context(&here.broker);
    let counted = || {
        let rows = super::super::SUPPORTED.iter().enumerate();
        let rows = rows.map(|(row, entry)| (entry.api_key.name(), here.broker.metrics.requests.count(row)));
        rows.filter(|(_, count)| *count > 0).collect::<BTreeMap<_, _>>()
    };
    assert_eq!(counted(), BTreeMap::new());
    call(&context, metadata(NAME), 12).await;
    call(&context, metadata(NAME), 12).await;
    call(&context, create_topics(), 7).await;
    assert_eq!(counted(), BTreeMap::from([("Metadata", 2), ("CreateTopics", 1)]));
}
