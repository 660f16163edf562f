"""Scenes for interop.rs: each is a ZeroMQ app in front of the sidecar's ZMTP door."""
import sys
import time

import zmq
from zmq.utils.monitor import recv_monitor_message

CONTEXT = zmq.Context()
DEADLINE_MS = 30_000


def socket(kind, address, **options):
    made = CONTEXT.socket(kind)
    made.setsockopt(zmq.LINGER, 0)
    made.setsockopt(zmq.RCVTIMEO, DEADLINE_MS)
    made.setsockopt(zmq.SNDHWM, 0)
    for name, value in options.items():
        made.setsockopt(getattr(zmq, name), value)
    made.connect(address)
    return made


def ipc(folder, name):
    return f"ipc://{folder}/{name}"


def join(pub, sub, subject=b"sync"):
    """Publishes until the subscriber has it; then drains what else was sent for that."""
    for number in range(3000):
        pub.send_multipart([subject, b"%d" % number])
        if sub.poll(10):
            break
    else:
        raise AssertionError("nothing arrived")
    while sub.recv_multipart()[1] != b"%d" % number:
        pass


def pub_to_sub(folder, tcp):
    sub = socket(zmq.SUB, ipc(folder, "prices.sub"), SUBSCRIBE=b"")
    pub = socket(zmq.PUB, ipc(folder, "prices.pub"))
    join(pub, sub)
    sent = [[b"one"], [b""], [b"a", b""], [b"", b"b"], [b"a", b"b", b"", b"c"], [b"x" * 255, b"y" * 256, b"z" * 100_000]]
    sent += [[b"n", b"%d" % number] for number in range(5000)]
    for frames in sent:
        pub.send_multipart(frames)
    for frames in sent:
        got = sub.recv_multipart()
        assert got == frames, (got[:1], frames[:1])


def push_to_pull(folder, tcp):
    """Two PULL sockets share what one PUSH sends; a closed one costs nothing that the other does not get."""
    pulls = [socket(zmq.PULL, ipc(folder, "jobs.pull")) for _ in range(2)]
    push = socket(zmq.PUSH, ipc(folder, "jobs.push"))
    sent = [[b"one"], [b""], [b"a", b""], [b"", b"b"], [b"a", b"b", b"", b"c"], [b"x" * 255, b"y" * 256, b"z" * 100_000]]
    sent += [[b"n", b"%d" % number] for number in range(3000)]
    for frames in sent:
        push.send_multipart(frames)
    got, shares, poller = [], [0, 0], zmq.Poller()
    for pull in pulls:
        poller.register(pull, zmq.POLLIN)
    while len(got) < len(sent):
        ready = dict(poller.poll(DEADLINE_MS))
        assert ready, (len(got), shares)
        for index, pull in enumerate(pulls):
            if pull in ready:
                got.append(pull.recv_multipart())
                shares[index] += 1
    assert sorted(got) == sorted(sent)
    assert min(shares) > 0, shares


def prefixes(folder, tcp):
    sub = socket(zmq.SUB, ipc(folder, "prices.sub"), SUBSCRIBE=b"sync")
    pub = socket(zmq.PUB, ipc(folder, "prices.pub"))
    join(pub, sub)
    for _ in range(2):
        sub.setsockopt(zmq.SUBSCRIBE, b"eu.")
    join(pub, sub, b"eu.")
    sub.setsockopt(zmq.UNSUBSCRIBE, b"eu.")
    # Still one left. The marker behind it proves that nothing else came between.
    pub.send_multipart([b"us.x", b"no"])
    pub.send_multipart([b"eu.x", b"yes"])
    assert sub.recv_multipart() == [b"eu.x", b"yes"]
    sub.setsockopt(zmq.UNSUBSCRIBE, b"eu.")
    pub.send_multipart([b"eu.x", b"no"])
    pub.send_multipart([b"sync", b"end"])
    assert sub.recv_multipart() == [b"sync", b"end"]


def slow_subscriber(folder, tcp):
    sub = socket(zmq.SUB, ipc(folder, "prices.sub"), SUBSCRIBE=b"", RCVHWM=10)
    pub = socket(zmq.PUB, ipc(folder, "prices.pub"))
    join(pub, sub)
    count = 50_000
    for number in range(count):
        pub.send_multipart([b"n", b"%d" % number, b"x" * 100])
    time.sleep(2)  # longer than blockTimeout: nobody reads
    for number in range(count):
        assert sub.recv_multipart()[1] == b"%d" % number


def heartbeats(folder, tcp):
    options = {"HEARTBEAT_IVL": 100, "HEARTBEAT_TIMEOUT": 500, "HEARTBEAT_TTL": 500}
    sub = socket(zmq.SUB, ipc(folder, "prices.sub"), SUBSCRIBE=b"", **options)
    pub = socket(zmq.PUB, ipc(folder, "prices.pub"), **options)
    join(pub, sub)
    lost = [made.get_monitor_socket(zmq.EVENT_DISCONNECTED) for made in (sub, pub)]
    time.sleep(2.5)
    assert not any(monitor.poll(0) for monitor in lost), "a heartbeat was not answered"
    pub.send_multipart([b"a", b"b"])
    assert sub.recv_multipart() == [b"a", b"b"]


def extended_sockets_and_tcp(folder, tcp):
    xsub = socket(zmq.XSUB, tcp)
    xsub.send(b"\x01")
    xpub = socket(zmq.XPUB, ipc(folder, "prices.pub"))
    assert xpub.recv() == b"\x01", "the door subscribes to everything"
    join(xpub, xsub)
    xpub.send_multipart([b"a", b"b"])
    assert xsub.recv_multipart() == [b"a", b"b"]


def refusals(folder, tcp):
    for kind, name in [(zmq.SUB, "closed.sub"), (zmq.PUB, "closed.pub"), (zmq.PUSH, "prices.sub")]:
        made = CONTEXT.socket(kind)
        made.setsockopt(zmq.LINGER, 0)
        failed = zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL | zmq.EVENT_DISCONNECTED
        monitor = made.get_monitor_socket(failed | zmq.EVENT_HANDSHAKE_SUCCEEDED)
        made.connect(ipc(folder, name))
        assert monitor.poll(DEADLINE_MS), f"{name}: nothing happened"
        event = recv_monitor_message(monitor)["event"]
        assert event & failed, f"{name}: {event}"
        made.close()


globals()[sys.argv[1]](sys.argv[2], sys.argv[3])
CONTEXT.destroy(linger=0)
