//! Names of entities, which quota holds for whom, and how many are counted.

use super::{
    entity::{Name, check},
    *,
};

fn name(text: &str) -> Name {
    if text == "*" { Name::Default } else { Name::Exactly(text.to_owned()) }
}

fn values(limit: f64) -> Values {
    Values::from([(Kind::Produce, limit)])
}

/// Goal: of Kafka's eight levels the nearest wins, whatever else there is, and what is counted together is too.
#[test]
fn the_nearest_quota_wins() {
    let (user, client) = ("alice".to_owned(), "app".to_owned());
    let both = Who::UserAndClientId(user.clone(), client.clone());
    let levels = [
        (Entity::UserAndClientId(name("alice"), name("app")), both.clone()),
        (Entity::UserAndClientId(name("alice"), name("*")), both.clone()),
        (Entity::User(name("alice")), Who::User(user.clone())),
        (Entity::UserAndClientId(name("*"), name("app")), both.clone()),
        (Entity::UserAndClientId(name("*"), name("*")), both),
        (Entity::User(name("*")), Who::User(user)),
        (Entity::ClientId(name("app")), Who::ClientId(client.clone())),
        (Entity::ClientId(name("*")), Who::ClientId(client)),
    ];
    for nearest in 0..levels.len() {
        let mut all: All = (nearest..)
            .zip(&levels[nearest..])
            .map(|(at, (entity, _))| (entity.clone(), values(at as f64)))
            .collect();
        // Quotas of others and of other kinds change nothing.
        all.insert(Entity::User(name("bob")), values(99.0));
        all.insert(Entity::Ip(name("*")), values(99.0));
        let found = Limits::of(&all).of_client(Kind::Produce, "alice", "app");
        assert_eq!(found, Some((nearest as f64, levels[nearest].1.clone())), "level {nearest}");
        assert_eq!(Limits::of(&all).of_client(Kind::Fetch, "alice", "app"), None);
    }
    assert_eq!(Limits::default().of_client(Kind::Produce, "alice", "app"), None);
}

/// Goal: an address has its own quota or that of all; nobody else's.
#[test]
fn addresses_have_quotas() {
    let rate = |limit| Values::from([(Kind::Connection, limit)]);
    let mut all = All::from([(Entity::Ip(name("10.0.0.1")), rate(5.0))]);
    let of = |all: &All, address| Limits::of(all).of_address(address).map(|(limit, _)| limit);
    assert_eq!((of(&all, "10.0.0.1"), of(&all, "10.0.0.2")), (Some(5.0), None));
    all.insert(Entity::Ip(name("*")), rate(2.0));
    assert_eq!((of(&all, "10.0.0.1"), of(&all, "10.0.0.2")), (Some(5.0), Some(2.0)));
}

/// Goal: what cannot be an entity or a quota is refused; addresses are known however they are written; and each entity
/// has a key of its own.
#[test]
fn entities_and_quotas_are_checked() {
    let parse = |parts: &[(&'static str, Option<&'static str>)]| Entity::parse(parts.iter().copied());
    let wrong: [&[_]; 8] = [
        &[],
        &[("user", Some(""))],
        &[("group", Some("g"))],
        &[("user", Some("a")), ("user", None)],
        &[("user", Some("a")), ("ip", None)],
        &[("client-id", None), ("ip", None)],
        &[("ip", Some("somewhere"))],
        &[("user", Some(Box::leak("x".repeat(1_001).into_boxed_str())))],
    ];
    for parts in wrong {
        assert_eq!(parse(parts).unwrap_err().code, ErrorCode::InvalidRequest, "{parts:?}");
    }
    let ip = parse(&[("ip", Some("0:0:0:0:0:0:0:1"))]).unwrap();
    assert_eq!(ip, parse(&[("ip", Some("::1"))]).unwrap());
    assert!(ip.kind("connection_creation_rate").is_ok() && ip.kind("producer_byte_rate").is_err());
    let user = parse(&[("user", None)]).unwrap();
    assert!(user.kind("connection_creation_rate").is_err() && user.kind("request_percentage").is_ok());
    let bad = [(Kind::Produce, 0.0), (Kind::Fetch, -1.0), (Kind::Produce, 1.5), (Kind::Connection, 3e9)];
    for (kind, value) in bad.into_iter().chain([(Kind::Request, f64::NAN), (Kind::Mutation, f64::INFINITY)]) {
        assert!(check(kind, value).is_err(), "{kind:?} {value}");
    }
    assert!(check(Kind::Request, 0.5).is_ok() && check(Kind::Produce, 1e12).is_ok());
    let client = |text: &str| Entity::ClientId(name(text));
    let all = [
        client("*"),
        client("a"),
        client("*\0"),
        Entity::UserAndClientId(name("a"), name("*")),
        Entity::UserAndClientId(name("*"), name("a")),
        Entity::User(name("a\0client-id\0")),
    ];
    let keys: std::collections::BTreeSet<_> = all.iter().map(|entity| key(entity).unwrap()).collect();
    assert_eq!(keys.len(), all.len(), "{keys:?}");
}

/// Goal: no more are counted than there is room for; who says nothing any more makes room.
#[test]
fn sensors_are_bounded() {
    let windows = Windows { count: 2, seconds: 1 };
    let sensors: Sensors<u32, Rate> = Sensors::new(3, windows);
    let count = |key, now_ms| sensors.with(key, now_ms, |rate, windows| rate.record(1.0, now_ms, windows));
    for key in 0..3 {
        assert!(count(key, 5_000).is_some());
    }
    assert!(count(3, 5_500).is_none());
    assert!(count(2, 6_500).is_some());
    assert!(count(3, 7_000).is_some());
    assert_eq!(sensors.len(), 2);
    assert!(count(4, 70_000).is_some());
    assert_eq!(sensors.len(), 1);
}
