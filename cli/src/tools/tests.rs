//! What the tools understand and how they say it.

use super::target::{Kind, Target};

/// Goal: names are read as the guide writes them, and a wrong one is answered with the right form.
#[test]
fn names_are_read() {
    let target = Target::parse("topics/orders.shop").unwrap();
    assert_eq!((target.kind, target.name.as_str()), (Kind::Topic, "orders.shop"));
    assert_eq!(target.log_name(), "shop.orders");
    assert_eq!(Target::parse("channels/prices").unwrap().to_string(), "channels/prices");
    for bad in ["orders", "topic/orders", "topics/", "topics/a.b.c", "topics/a/b", "channels/a b"] {
        let error = Target::parse(bad).unwrap_err().to_string();
        assert!(error.contains("topics/NAME"), "{error}");
    }
}
