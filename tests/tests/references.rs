//! Keeps `docs/reference` equal to what the code says: metrics and the fields of the
//! kinds (flags are compared by their programs). With `PINNACE_GENERATE=1` it writes.

#[path = "references/fields.rs"]
mod fields;
#[path = "references/metrics.rs"]
mod metrics;

use testkit::reference::check_page;

/// Goal: the pages of the reference say what the code says.
#[test]
fn references_are_generated() {
    check_page("metrics.md", &metrics::page());
    check_page("fields.md", &fields::page());
}

/// Goal: names that dashboards and alerts use do not vanish.
#[test]
fn the_metrics_that_people_rely_on_exist() {
    let page = metrics::page();
    for name in [
        "pinnace_published_messages_total",
        "pinnace_delivered_messages_total",
        "pinnace_dropped_messages_total",
        "pinnace_gap_messages_total",
        "pinnace_subscription_lag_messages",
        "pinnace_publish_duration_seconds",
        "pinnace_delivery_duration_seconds",
        "pinnace_certificate_expiration_timestamp_seconds",
        "pinnace_reconcile_duration_seconds",
        "pinnace_log_sync_duration_seconds",
    ] {
        assert!(page.contains(&format!("`{name}`")), "{name} is gone");
    }
}
