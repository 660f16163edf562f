//! Sidecars of two versions as processes.

use super::program::{Example, LIMIT};
use tests::wait::until;

/// A sidecar that is taken for one of the version before.
const BEFORE: [(&str, &str); 1] = [("PINNACE_PEER_WIRE_VERSION_MAX", "2")];

/// Goal: a sidecar that speaks the version before gets what one of this version publishes, and is heard by those of this
/// version when it publishes; the connection counts under the older version.
#[test]
fn sidecars_of_two_versions_work_together() {
    let example = Example::new();
    let mut up = example.up(&["--plain"]);
    up.wait_for_messages();
    let older = || {
        let metrics = up.metrics("orders/pricing-0");
        metrics.contains("pinnace_peer_version_connections{version=\"2\"} 1").then_some(())
    };
    let newer = "pinnace_peer_version_connections{version=\"3\"}";
    assert!(up.metrics("orders/pricing-0").contains(newer), "{}", up.metrics("orders/pricing-0"));
    let tool = ["subscribe", "channels/prices", "--via", "grpc", "--count", "60"];
    std::thread::scope(|scope| {
        let subscriber = scope.spawn(|| example.run_with(&BEFORE, "orders/shop", &tool));
        let seen = until(LIMIT, older);
        let (done, said) = subscriber.join().expect("it runs a command");
        assert!(done && said.matches("channels/prices -> grpc").count() == 60, "{said}");
        assert!(seen.is_some(), "no connection of version 2:\n{}", up.metrics("orders/pricing-0"));
    });
    let publish = ["publish", "channels/prices", "of-an-older-sidecar", "--every", "50ms", "--count", "100"];
    let (done, said) = example.run_with(&BEFORE, "orders/pricing", &publish);
    assert!(done, "{said}");
    up.wait_for("what the older one published", |said| {
        said.lines().any(|line| line.starts_with("orders/shop") && line.contains("of-an-older-sidecar"))
    });
    up.signal("TERM");
    assert!(up.wait().success(), "{}", up.said());
}
