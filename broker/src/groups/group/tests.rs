//! The group without sockets, disks or clocks: what members are told, and when.

use bytes::Bytes;
use kafka_wire::ErrorCode;
use proptest::prelude::*;

use super::{Group, Join, Joined, Limits, Output, State, Sync, Synced};

const LIMITS: Limits = Limits {
    initial_delay_ms: 3_000,
    session_timeout_ms_min: 6_000,
    session_timeout_ms_max: 60_000,
    size_max: 20,
};

fn join(member: &str, fresh_id: &str) -> Join {
    Join {
        member: member.to_owned(),
        instance: None,
        client_id: "client".to_owned(),
        client_host: "127.0.0.1".to_owned(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 30_000,
        protocol_type: "consumer".to_owned(),
        protocols: vec![("range".to_owned(), Bytes::from_static(b"topics"))],
        id_required: true,
        can_skip: false,
        fresh_id: fresh_id.to_owned(),
    }
}

fn static_join(member: &str, instance: &str, fresh_id: &str) -> Join {
    Join { instance: Some(instance.to_owned()), ..join(member, fresh_id) }
}

fn sync(member: &str, generation: i32, assignments: &[(&str, &'static [u8])]) -> Sync {
    Sync {
        member: member.to_owned(),
        instance: None,
        generation,
        protocol_type: None,
        protocol: None,
        assignments: assignments
            .iter()
            .map(|(id, bytes)| ((*id).to_owned(), Bytes::from_static(bytes)))
            .collect(),
    }
}

fn outputs(group: &mut Group) -> Vec<Output> {
    std::iter::from_fn(|| group.poll_output()).collect()
}

fn joined(outputs: &[Output], wanted: u64) -> Joined {
    let found = outputs.iter().find_map(|output| match output {
        Output::Join(ticket, Ok(joined)) if *ticket == wanted => Some(joined.clone()),
        _ => None,
    });
    found.unwrap_or_else(|| panic!("no join {wanted} in {outputs:?}"))
}

fn synced(outputs: &[Output], wanted: u64) -> Synced {
    let found = outputs.iter().find_map(|output| match output {
        Output::Sync(ticket, Ok(synced)) if *ticket == wanted => Some(synced.clone()),
        _ => None,
    });
    found.unwrap_or_else(|| panic!("no sync {wanted} in {outputs:?}"))
}

fn refused(outputs: &[Output], wanted: u64) -> ErrorCode {
    let found = outputs.iter().find_map(|output| match output {
        Output::Join(ticket, Err((code, _))) if *ticket == wanted => Some(*code),
        Output::Sync(ticket, Err(code)) if *ticket == wanted => Some(*code),
        _ => None,
    });
    found.unwrap_or_else(|| panic!("nothing refused {wanted} in {outputs:?}"))
}

/// Members a and b, settled in generation 1; a leads.
fn settled() -> Group {
    let mut group = Group::new(LIMITS);
    for (ticket, id) in [(1, "a"), (2, "b")] {
        group.handle_join(join("", id), ticket, 0);
        assert_eq!(refused(&outputs(&mut group), ticket), ErrorCode::MemberIdRequired);
        group.handle_join(join(id, "unused"), ticket + 10, 0);
    }
    assert_eq!(outputs(&mut group), [], "it waits for more");
    assert_eq!(group.poll_timeout(), Some(3_000));
    group.handle_timeout(3_000);
    group.handle_timeout(6_000);
    let told = outputs(&mut group);
    let (a, b) = (joined(&told, 11), joined(&told, 12));
    assert_eq!((a.generation, a.leader.as_str(), a.members.len()), (1, "a", 2));
    assert_eq!((b.generation, b.leader.as_str(), b.members.len()), (1, "a", 0));
    group.handle_sync(sync("b", 1, &[]), 22, 6_000);
    assert_eq!(outputs(&mut group), [], "b waits for the leader");
    group.handle_sync(sync("a", 1, &[("a", b"0"), ("b", b"1")]), 21, 6_000);
    let told = outputs(&mut group);
    assert_eq!(told.first(), Some(&Output::Store), "stored before anybody is told");
    assert_eq!((synced(&told, 21).assignment, synced(&told, 22).assignment), ("0".into(), "1".into()));
    assert_eq!(group.state(), State::Stable);
    group
}

/// Goal: two members form a group after the delay, the leader assigns, each gets its part.
#[test]
fn two_members_settle() {
    settled();
}

/// Goal: a third member causes a rebalance that the others learn from their heartbeats.
#[test]
fn a_new_member_rebalances() {
    let mut group = settled();
    group.handle_join(join("", "c"), 30, 7_000);
    assert_eq!(refused(&outputs(&mut group), 30), ErrorCode::MemberIdRequired);
    assert_eq!(group.handle_heartbeat(("a", None), 1, 7_000), Ok(()), "not yet");
    group.handle_join(join("c", ""), 31, 7_000);
    assert_eq!(group.handle_heartbeat(("a", None), 1, 7_100), Err(ErrorCode::RebalanceInProgress));
    group.handle_join(join("a", ""), 32, 7_200);
    group.handle_join(join("b", ""), 33, 7_300);
    let told = outputs(&mut group);
    assert_eq!(joined(&told, 32).members.len(), 3);
    assert_eq!(joined(&told, 31).generation, 2);
    assert_eq!(joined(&told, 33).leader, "a");
}

/// Goal: a member that was given an id and never came back holds the others up for its session, not longer.
#[test]
fn nobody_waits_for_an_id_that_expired() {
    let mut group = settled();
    group.handle_join(join("", "c"), 30, 7_000);
    assert_eq!(refused(&outputs(&mut group), 30), ErrorCode::MemberIdRequired);
    group.handle_join(join("a", ""), 31, 7_000);
    group.handle_join(join("b", ""), 32, 7_000);
    assert_eq!(outputs(&mut group), [], "c may still come");
    let expiry_ms = group.poll_timeout().unwrap();
    group.handle_timeout(expiry_ms);
    let told = outputs(&mut group);
    assert_eq!((joined(&told, 31).members.len(), joined(&told, 32).generation), (2, 2));
    assert_eq!(group.state(), State::CompletingRebalance);
}

/// Goal: a member that does not join again in time is out, one without heartbeats too.
#[test]
fn silent_members_are_out() {
    let mut group = settled();
    group.handle_join(join("a", ""), 30, 7_000);
    assert_eq!(group.state(), State::PreparingRebalance, "the leader may ask for a rebalance");
    let mut now_ms = 7_000;
    while now_ms < 37_000 {
        now_ms += 5_000;
        assert!(group.handle_heartbeat(("b", None), 1, now_ms).is_err(), "b lives, but does not join");
        group.handle_timeout(now_ms);
    }
    let told = outputs(&mut group);
    assert_eq!(joined(&told, 30).members.len(), 1, "after the rebalance timeout without b");
    assert_eq!(group.handle_heartbeat(("b", None), 1, 40_000), Err(ErrorCode::UnknownMemberId));

    let mut group = settled();
    assert_eq!(group.handle_heartbeat(("a", None), 1, 15_000), Ok(()));
    assert_eq!(group.poll_timeout(), Some(16_000));
    group.handle_timeout(16_000);
    assert_eq!(group.state(), State::PreparingRebalance, "b is dead");
    assert_eq!(group.handle_heartbeat(("a", None), 1, 16_000), Err(ErrorCode::RebalanceInProgress));
}

/// Goal: a leader that never syncs does not hold the others up for ever.
#[test]
fn a_leader_that_never_syncs_is_out() {
    let mut group = settled();
    group.handle_join(join("a", ""), 30, 7_000);
    group.handle_join(join("b", ""), 31, 7_000);
    assert_eq!(joined(&outputs(&mut group), 30).generation, 2);
    group.handle_sync(sync("b", 2, &[]), 32, 7_000);
    assert_eq!(group.handle_heartbeat(("a", None), 2, 16_000), Ok(()));
    for now_ms in [25_000, 34_000] {
        assert_eq!(group.handle_heartbeat(("a", None), 2, now_ms), Ok(()));
        group.handle_timeout(now_ms);
    }
    group.handle_timeout(37_000);
    assert_eq!(refused(&outputs(&mut group), 32), ErrorCode::RebalanceInProgress, "b is told to join again");
    group.handle_join(join("b", ""), 33, 37_100);
    assert_eq!(joined(&outputs(&mut group), 33).leader, "b");
}

/// Goal: old generations, unknown members and bad timeouts are refused by their own codes.
#[test]
fn refusals_have_their_codes() {
    let mut group = settled();
    assert_eq!(group.handle_heartbeat(("a", None), 0, 7_000), Err(ErrorCode::IllegalGeneration));
    assert_eq!(group.handle_heartbeat(("x", None), 1, 7_000), Err(ErrorCode::UnknownMemberId));
    assert_eq!(group.handle_commit(("a", None), 1, 7_000), Ok(()));
    assert_eq!(group.handle_commit(("a", None), 0, 7_000), Err(ErrorCode::IllegalGeneration));
    assert_eq!(group.handle_commit(("", None), -1, 7_000), Err(ErrorCode::UnknownMemberId));
    group.handle_sync(sync("a", 7, &[]), 40, 7_000);
    assert_eq!(refused(&outputs(&mut group), 40), ErrorCode::IllegalGeneration);
    group.handle_join(Join { session_timeout_ms: 5, ..join("", "c") }, 41, 7_000);
    assert_eq!(refused(&outputs(&mut group), 41), ErrorCode::InvalidSessionTimeout);
    let other = vec![("sticky".to_owned(), Bytes::new())];
    group.handle_join(Join { protocols: other, ..join("", "c") }, 42, 7_000);
    assert_eq!(refused(&outputs(&mut group), 42), ErrorCode::InconsistentGroupProtocol);
    group.handle_join(join("nobody", ""), 43, 7_000);
    assert_eq!(refused(&outputs(&mut group), 43), ErrorCode::UnknownMemberId);
}

/// Goal: when all have left, the group is empty, keeps its generation, and its offsets may be set from outside.
#[test]
fn an_empty_group_keeps_its_generation() {
    let mut group = settled();
    assert_eq!(group.handle_leave("a", None, 7_000), Ok("a".to_owned()));
    assert_eq!(group.handle_leave("b", None, 7_000), Ok("b".to_owned()));
    assert_eq!(group.state(), State::Empty);
    assert_eq!(outputs(&mut group), [Output::Store]);
    assert_eq!(group.generation(), 2);
    assert_eq!(group.handle_commit(("", None), -1, 7_000), Ok(()));
    assert_eq!(group.poll_timeout(), None);
}

/// Goal: a static member that comes back keeps its part without a rebalance; its old self is fenced.
#[test]
fn a_static_member_comes_back() {
    let mut group = Group::new(LIMITS);
    group.handle_join(static_join("", "one", "one-1"), 1, 0);
    group.handle_timeout(3_000);
    assert_eq!(joined(&outputs(&mut group), 1).member, "one-1");
    group.handle_sync(sync("one-1", 1, &[("one-1", b"all")]), 2, 3_000);
    assert_eq!(synced(&outputs(&mut group), 2).assignment, "all");

    group.handle_join(static_join("", "one", "one-2"), 3, 4_000);
    let told = outputs(&mut group);
    let back = joined(&told, 3);
    assert_eq!((back.generation, back.member.as_str(), group.state()), (1, "one-2", State::Stable));
    assert_ne!(back.leader, "one-2", "it must not assign anew");
    group.handle_sync(sync("one-2", 1, &[]), 4, 4_000);
    assert_eq!(synced(&outputs(&mut group), 4).assignment, "all");
    let old = ("one-1", Some("one"));
    assert_eq!(group.handle_heartbeat(old, 1, 4_000), Err(ErrorCode::FencedInstanceId));
    assert_eq!(group.handle_heartbeat(("one-2", Some("one")), 1, 4_000), Ok(()));

    let other = vec![("range".to_owned(), Bytes::from_static(b"others"))];
    let newer = Join { can_skip: true, protocols: other, ..static_join("", "one", "one-3") };
    group.handle_join(newer, 5, 5_000);
    let back = joined(&outputs(&mut group), 5);
    assert_eq!((back.leader.as_str(), back.skip_assignment, back.members.len()), ("one-3", true, 1));
    let unlike = vec![("roundrobin".to_owned(), Bytes::new())];
    group.handle_join(Join { protocols: unlike, ..static_join("", "one", "one-4") }, 6, 6_000);
    assert_eq!(joined(&outputs(&mut group), 6).generation, 2, "another protocol is a rebalance");
}

/// Goal: a restart is no rebalance: the same members go on in the same generation.
#[test]
fn a_restart_is_no_rebalance() {
    let stored = settled().to_stored();
    let text = serde_json::to_vec(&stored).unwrap();
    let mut group = Group::from_stored(LIMITS, serde_json::from_slice(&text).unwrap(), 100);
    assert_eq!((group.state(), group.generation()), (State::Stable, 1));
    assert_eq!(group.handle_heartbeat(("a", None), 1, 200), Ok(()));
    group.handle_sync(sync("b", 1, &[]), 1, 200);
    assert_eq!(synced(&outputs(&mut group), 1).assignment, "1");
    group.handle_timeout(10_100);
    assert_eq!(group.state(), State::Stable, "the session starts anew");
}

proptest! {
    /// Goal: whatever members do and in whatever order, each request is answered at most once, generations only
    /// grow, and once everybody is gone all requests have been answered.
    #[test]
    fn every_request_is_answered(steps in proptest::collection::vec((0..6_u8, 0..4_usize, 0..9_000_u64), 1..80)) {
        let mut group = Group::new(LIMITS);
        let mut now_ms = 0;
        let mut open = std::collections::BTreeSet::new();
        let mut generation = 0;
        let mut ids = vec!["nobody".to_owned()];
        for (ticket, (what, who, wait_ms)) in steps.into_iter().enumerate() {
            now_ms += wait_ms;
            let ticket = u64::try_from(ticket).unwrap();
            let id = ids[ids.len().saturating_sub(1 + who)].clone();
            match what {
                0 => {
                    open.insert(ticket);
                    ids.push(format!("member-{ticket}"));
                    group.handle_join(join("", ids.last().unwrap()), ticket, now_ms);
                }
                1 | 2 => {
                    open.insert(ticket);
                    group.handle_join(join(&id, "x"), ticket, now_ms);
                }
                3 => {
                    open.insert(ticket);
                    group.handle_sync(sync(&id, group.generation(), &[]), ticket, now_ms);
                }
                4 => drop(group.handle_leave(&id, None, now_ms)),
                _ => drop(group.handle_heartbeat((&id, None), group.generation(), now_ms)),
            }
            group.handle_timeout(now_ms);
            for output in outputs(&mut group) {
                if let Output::Join(ticket, _) | Output::Sync(ticket, _) = output {
                    prop_assert!(open.remove(&ticket), "answered twice");
                }
            }
            prop_assert!(group.generation() >= generation);
            generation = group.generation();
        }
        for _ in 0..1_000 {
            let Some(at_ms) = group.poll_timeout() else { break };
            now_ms = now_ms.max(at_ms);
            group.handle_timeout(now_ms);
        }
        for output in outputs(&mut group) {
            if let Output::Join(ticket, _) | Output::Sync(ticket, _) = output {
                prop_assert!(open.remove(&ticket), "answered twice");
            }
        }
        prop_assert!(group.is_empty(), "time alone empties a group");
        prop_assert!(open.is_empty(), "left waiting: {open:?}");
    }
}
