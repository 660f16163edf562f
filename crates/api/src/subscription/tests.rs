//! Subscriptions from YAML: defaults, validation, and that the kind is refused.

use super::*;
use crate::field::join;

fn subscription(spec: &str) -> Subscription {
    let yaml = format!(
        "apiVersion: pinnace.dev/v1alpha1\nkind: Subscription\nmetadata: {{name: hook, namespace: shop}}\nspec: {spec}"
    );
    serde_yaml::from_str(&yaml).unwrap()
}

/// Goal: the documented defaults, and the whole kind named as not supported.
#[test]
fn defaults_and_support() {
    let hook = subscription("{source: {topic: orders}, deliver: {url: 'https://a.example/x'}}");
    assert_eq!(hook.spec.deliver.timeout.milliseconds(), 15_000);
    assert_eq!((hook.spec.retry.schedule.len(), hook.spec.retry.jitter.as_str()), (6, "20%"));
    assert_eq!(validate(&hook), vec![]);
    assert_eq!(not_supported(&hook.spec).len(), 1);
}

/// Goal: each mistake is named with its field.
#[test]
fn mistakes_are_named() {
    for (spec, field) in [
        ("{source: {}, deliver: {url: 'http://a'}}", "spec.source"),
        ("{source: {topic: a, channel: b}, deliver: {url: 'http://a'}}", "spec.source"),
        ("{source: {topic: a}, deliver: {url: 'ftp://a'}}", "spec.deliver.url"),
        ("{source: {topic: a}, deliver: {url: 'http://a'}, retry: {jitter: 101%}}", "spec.retry.jitter"),
    ] {
        let errors = validate(&subscription(spec));
        assert_eq!(errors.len(), 1, "{spec}: {}", join(&errors));
        assert_eq!(errors[0].field, field);
    }
}
