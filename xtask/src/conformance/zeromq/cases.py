"""Scenes of the conformance suite `zeromq`: pyzmq apps, and raw bytes, in front of two sidecars.

Called as `cases.py SCENE`; the environment and the wish for a restart are those of cases.c.
"""
import os
import socket
import struct
import sys
import time

import zmq
from zmq.utils.monitor import recv_monitor_message

CONTEXT = zmq.Context()
DEADLINE_MS = 60_000
MESSAGE_BYTES_MAX = 1024 * 1024
LARGE_BYTES = 20_000_000
# What a sidecar may grow by while hostile bytes come in.
GROWTH_KIB_MAX = 32 * 1024


def door(side, name):
    return f"ipc://{os.environ[side + '_DIR']}/{name}"


def new_socket(kind, **options):
    made = CONTEXT.socket(kind)
    made.linger = 0
    made.rcvtimeo = made.sndtimeo = DEADLINE_MS
    if kind in (zmq.PUB, zmq.XPUB):
        made.setsockopt(zmq.XPUB_NODROP, 1)
    for name, value in options.items():
        made.setsockopt(getattr(zmq, name), value)
    return made


def connected(kind, address, **options):
    made = new_socket(kind, **options)
    made.connect(address)
    return made


def pair(**options):
    """A publisher at the left sidecar, a subscriber to everything at the right one."""
    sub = connected(zmq.SUB, door("RIGHT", "prices.sub"), SUBSCRIBE=b"", **options)
    pub = connected(zmq.PUB, door("LEFT", "prices.pub"), **options)
    return pub, sub


def join(pub, sub, subject=b"x"):
    """Publishes until the subscriber has it; then takes what else was sent for that."""
    for number in range(DEADLINE_MS // 10):
        pub.send_multipart([subject, b"sync", b"%d" % number])
        if sub.poll(10):
            break
    else:
        raise AssertionError("nothing arrives at the subscriber")
    while sub.recv_multipart()[2] != b"%d" % number:
        pass


def next_message(sub):
    while True:
        frames = sub.recv_multipart()
        if len(frames) != 3 or frames[1] != b"sync":
            return frames


def expect(sub, frames):
    got = next_message(sub)
    assert got == frames, f"{frames[:2]} was expected, {got[:2]} came"


def multipart():
    pub, sub = pair()
    join(pub, sub)
    sent = [[b"one"], [b""], [b"a", b""], [b"", b"b"], [b"a", b"b", b"", b"c"], [b""] * 20]
    sent += [[b"x" * 255, b"y" * 256, b"z" * 100_000]]
    sent += [[b"n", b"%d" % number] for number in range(20_000)]
    for start in range(0, len(sent), 500):
        for frames in sent[start : start + 500]:
            pub.send_multipart(frames)
        for frames in sent[start : start + 500]:
            expect(sub, frames)


def multipart_over_tcp():
    sub = connected(zmq.SUB, os.environ["RIGHT_TCP"], SUBSCRIBE=b"")
    pub = connected(zmq.PUB, os.environ["LEFT_TCP"])
    join(pub, sub)
    for number in range(500):
        pub.send_multipart([b"n", b"", b"%d" % number])
    for number in range(500):
        expect(sub, [b"n", b"", b"%d" % number])


def prefixes():
    sub = connected(zmq.SUB, door("RIGHT", "prices.sub"), SUBSCRIBE=b"end")
    pub = connected(zmq.PUB, door("LEFT", "prices.pub"))
    join(pub, sub, b"end")
    for _ in range(2):
        sub.subscribe(b"eu.")
    join(pub, sub, b"eu.")
    sub.unsubscribe(b"eu.")
    pub.send_multipart([b"us.x", b"no"])
    pub.send_multipart([b"eu.x", b"yes"])
    expect(sub, [b"eu.x", b"yes"])
    sub.unsubscribe(b"eu.")
    pub.send_multipart([b"eu.x", b"no"])
    pub.send_multipart([b"end", b""])
    expect(sub, [b"end", b""])


def many_prefixes():
    """Thousands of filters; libzmq itself drops those past its high-water mark, so there is none."""
    sub = connected(zmq.SUB, door("RIGHT", "prices.sub"), SNDHWM=0)
    pub = connected(zmq.PUB, door("LEFT", "prices.pub"))
    count = 5000
    for number in range(count):
        sub.subscribe(b"%05d" % number)
    join(pub, sub, b"%05d" % (count - 1))
    for number in range(0, count, 50):
        pub.send_multipart([b"not", b""])
        pub.send_multipart([b"%05d.x" % number, b"1"])
        expect(sub, [b"%05d.x" % number, b"1"])


def sizes():
    pub, sub = pair()
    join(pub, sub)
    lengths = [0, 1, 254, 255, 256, 257, 8191, 8192, 8193, 65_535, 65_536, 500_000, MESSAGE_BYTES_MAX - 1]
    for length in lengths:
        frames = [b"s", os.urandom(length)]
        pub.send_multipart(frames, copy=False)
        expect(sub, frames)


def large():
    sub = connected(zmq.SUB, door("RIGHT", "large.sub"), SUBSCRIBE=b"")
    pub = connected(zmq.PUB, door("LEFT", "large.pub"))
    join(pub, sub)
    for _ in range(3):
        frames = [b"s", os.urandom(LARGE_BYTES)]
        pub.send_multipart(frames, copy=False)
        expect(sub, frames)


def heartbeats():
    pub, sub = pair(HEARTBEAT_IVL=100, HEARTBEAT_TIMEOUT=1000, HEARTBEAT_TTL=2000)
    join(pub, sub)
    lost = [made.get_monitor_socket(zmq.EVENT_DISCONNECTED) for made in (sub, pub)]
    time.sleep(4)
    assert not any(monitor.poll(0) for monitor in lost), "an idle connection with heartbeats was lost"
    pub.send_multipart([b"a", b"alive"])
    expect(sub, [b"a", b"alive"])


def extended():
    xsub = connected(zmq.XSUB, door("RIGHT", "prices.sub"))
    xsub.send(b"\x01eu.")
    xpub = connected(zmq.XPUB, door("LEFT", "prices.pub"))
    assert xpub.recv() == b"\x01", "the door did not subscribe to everything"
    join(xpub, xsub, b"eu.")
    xpub.send_multipart([b"us.x", b"no"])
    xpub.send_multipart([b"eu.x", b"yes"])
    expect(xsub, [b"eu.x", b"yes"])


def many_sockets():
    pub = connected(zmq.PUB, door("LEFT", "prices.pub"))
    subs = [connected(zmq.SUB, door("RIGHT", "prices.sub"), SUBSCRIBE=b"") for _ in range(300)]
    for sub in subs:
        join(pub, sub)
    for number in range(50):
        pub.send_multipart([b"m", b"%d" % number])
    for sub in subs:
        for number in range(50):
            expect(sub, [b"m", b"%d" % number])


def paused():
    sub = connected(zmq.SUB, door("RIGHT", "prices.sub"), SUBSCRIBE=b"", RCVHWM=10)
    pub = connected(zmq.PUB, door("LEFT", "prices.pub"), SNDHWM=100)
    join(pub, sub)
    pub.sndtimeo = 3000
    sent = 0
    try:
        while sent < 2_000_000:
            pub.send_multipart([b"%d" % sent, b"x" * 1000])
            sent += 1
    except zmq.Again:
        pass
    else:
        raise AssertionError("nothing held the publisher back")
    for number in range(sent):
        got = next_message(sub)
        assert got[0] == b"%d" % number, f"of {sent} messages, number {number} is missing"
    pub.send_multipart([b"x", b"on"])
    expect(sub, [b"x", b"on"])


def restarts():
    pub, sub = pair()
    join(pub, sub)
    for side in ("right", "left"):
        print("restart", side, flush=True)
        assert sys.stdin.readline(), "the sidecar was not started again"
        join(pub, sub)
        pub.send_multipart([b"r", side.encode()])
        expect(sub, [b"r", side.encode()])


def binds():
    for _ in range(2):
        made = [new_socket(zmq.SUB, SUBSCRIBE=b""), new_socket(zmq.PUB)]
        for one, name in zip(made, ("BOUND_SUB", "BOUND_PUB")):
            bind(one, os.environ[name])
        sub, pub = made
        join(pub, sub)
        for number in range(500):
            pub.send_multipart([b"b", b"%d" % number])
        for number in range(500):
            expect(sub, [b"b", b"%d" % number])
        sub.close()
        pub.close()


def bind(made, address):
    for _ in range(100):
        try:
            return made.bind(address)
        except zmq.ZMQError as error:
            # The address of a socket that was just closed may not be free at once.
            if error.errno != zmq.EADDRINUSE:
                raise
            time.sleep(0.05)
    raise AssertionError(f"{address} is not free")


def requests():
    """REQ and REP at different sidecars, in lock-step: sizes, parts, and empty frames among them."""
    req, rep = connected(zmq.REQ, door("LEFT", "asking.req")), connected(zmq.REP, door("RIGHT", "asking.rep"))
    bodies = [[b"one"], [b""], [b"a", b"", b"", b"b"], [b""] * 20]
    bodies += [[os.urandom(length)] for length in (254, 255, 256, 8192, 65_536, 500_000, MESSAGE_BYTES_MAX)]
    bodies += [[b"n", b"%d" % number] for number in range(1000)]
    for body in bodies:
        req.send_multipart(body)
        assert rep.recv_multipart() == body, body[:2]
        rep.send_multipart(body[::-1])
        assert req.recv_multipart() == body[::-1], body[:2]


def many_requests():
    """20 DEALER sockets with 100 requests each, answered by a ROUTER and three REP sockets at the other sidecar."""
    dealers = [connected(zmq.DEALER, door("LEFT", "asking.dealer")) for _ in range(20)]
    servers = [connected(zmq.ROUTER, door("RIGHT", "asking.router"))]
    servers += [connected(zmq.REP, door("RIGHT", "asking.rep")) for _ in range(3)]
    poller = zmq.Poller()
    for one in dealers + servers:
        poller.register(one, zmq.POLLIN)
    missing = {(index, number) for index in range(len(dealers)) for number in range(100)}
    for index, number in sorted(missing, key=lambda pair: pair[1]):
        dealers[index].send_multipart([b"%d" % number, b"", b"%d" % index, b"", b"%d" % number])
    while missing:
        ready = dict(poller.poll(DEADLINE_MS))
        assert ready, f"{len(missing)} replies are missing"
        for server in servers:
            if server in ready:
                server.send_multipart(server.recv_multipart())
        for index, dealer in enumerate(dealers):
            if dealer in ready:
                number, *rest = dealer.recv_multipart()
                assert rest == [b"", b"%d" % index, b"", number], rest
                missing.remove((index, int(number)))


def requests_over_restarts():
    """A relaxed REQ asks again when no reply comes, whichever of the sidecars is killed."""
    rep = connected(zmq.REP, door("RIGHT", "asking.rep"))
    req = connected(zmq.REQ, door("LEFT", "asking.req"), REQ_RELAXED=1, REQ_CORRELATE=1)
    poller = zmq.Poller()
    for one in (req, rep):
        poller.register(one, zmq.POLLIN)

    def round_trip(word):
        for _ in range(DEADLINE_MS // 1000):
            req.send(word)
            until = time.monotonic() + 1
            while time.monotonic() < until:
                ready = dict(poller.poll(100))
                if rep in ready:
                    rep.send(rep.recv())
                if req in ready:
                    assert req.recv() == word
                    return
        raise AssertionError("no reply comes any more")

    round_trip(b"before")
    for side in ("right", "left"):
        print("restart", side, flush=True)
        assert sys.stdin.readline(), "the sidecar was not started again"
        round_trip(side.encode())


def refusals():
    wrong = [(zmq.PUSH, "prices.sub"), (zmq.SUB, "prices.pub"), (zmq.PUB, "closed.pub"), (zmq.SUB, "closed.sub")]
    wrong += [(zmq.PUB, "asking.req"), (zmq.REQ, "asking.rep")]
    failed = zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL | zmq.EVENT_DISCONNECTED
    for kind, name in wrong:
        made = new_socket(kind)
        monitor = made.get_monitor_socket(failed | zmq.EVENT_HANDSHAKE_SUCCEEDED)
        made.connect(door("LEFT", name))
        assert monitor.poll(DEADLINE_MS), f"{name}: nothing happened"
        event = recv_monitor_message(monitor)["event"]
        assert event & failed, f"{name} took the wrong socket"
        made.close()


def other_mechanisms():
    """CURVE and PLAIN are refused by name; NULL still works after."""
    public, secret = zmq.curve_keypair()
    failed = zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL | zmq.EVENT_DISCONNECTED
    for options in (
        {"CURVE_SERVERKEY": public, "CURVE_PUBLICKEY": public, "CURVE_SECRETKEY": secret},
        {"PLAIN_USERNAME": b"a", "PLAIN_PASSWORD": b"b"},
    ):
        made = new_socket(zmq.PUB, **options)
        monitor = made.get_monitor_socket(failed | zmq.EVENT_HANDSHAKE_SUCCEEDED)
        made.connect(door("LEFT", "prices.pub"))
        assert monitor.poll(DEADLINE_MS), "nothing happened"
        assert recv_monitor_message(monitor)["event"] & failed, "another mechanism was taken"
        made.close()
    pub, sub = pair()
    join(pub, sub)


# Raw bytes from here on.


def greeting(minor=1, mechanism=b"NULL", major=3):
    return b"\xff" + bytes(8) + b"\x7f" + bytes([major, minor]) + mechanism.ljust(20, b"\0") + bytes(32)


def ready(kind):
    body = b"\x05READY\x0bSocket-Type" + struct.pack(">I", len(kind)) + kind + b"\x08Identity\0\0\0\0"
    return bytes([4, len(body)]) + body


def short_frame(body, more=False):
    return bytes([1 if more else 0, len(body)]) + body


class Raw:
    """A connection that writes bytes and reads frames."""

    def __init__(self, side, name):
        self.stream = socket.socket(socket.AF_UNIX)
        self.stream.settimeout(DEADLINE_MS / 1000)
        self.stream.connect(f"{os.environ[side + '_DIR']}/{name}")
        self.file = self.stream.makefile("rb")

    def send(self, *pieces):
        self.stream.sendall(b"".join(pieces))

    def frame(self):
        flags, length = self.file.read(2)
        if flags & 2:
            length = int.from_bytes(bytes([length]) + self.file.read(7), "big")
        return flags, self.file.read(length)

    def handshake(self, kind, minor):
        self.send(greeting(minor))
        theirs = self.file.read(64)
        assert theirs[:1] == b"\xff" and theirs[10] == 3 and theirs[12:16] == b"NULL", theirs
        self.send(ready(kind))
        flags, body = self.frame()
        assert flags == 4 and body.startswith(b"\x05READY"), (flags, body)

    def ends(self):
        """Reads to the end, which must come."""
        self.stream.shutdown(socket.SHUT_WR)
        rest = self.file.read()
        assert len(rest) < 4096, f"{len(rest)} bytes came back"


def zmtp_3_0():
    """What libzmq 4.0 and 4.1 speak: subscriptions are messages, both ways."""
    sub = Raw("RIGHT", "prices.sub")
    sub.handshake(b"SUB", 0)
    sub.send(short_frame(b"\x01eu."))
    pub = Raw("LEFT", "prices.pub")
    pub.handshake(b"PUB", 0)
    assert pub.frame() == (0, b"\x01"), "a 3.0 publisher must get the subscription as a message"
    sub.stream.settimeout(0.05)
    for number in range(DEADLINE_MS // 50):
        pub.send(short_frame(b"eu.x", more=True), short_frame(b"%d" % number))
        try:
            assert sub.frame() == (1, b"eu.x")
            break
        except TimeoutError:
            sub.file = sub.stream.makefile("rb")
    else:
        raise AssertionError("nothing arrives at the 3.0 subscriber")
    sub.stream.settimeout(DEADLINE_MS / 1000)
    while sub.frame() != (0, b"%d" % number):
        pass
    pub.send(short_frame(b"us.x", more=True), short_frame(b"no"))
    pub.send(short_frame(b"eu.y", more=True), short_frame(b"yes"))
    assert sub.frame() == (1, b"eu.y") and sub.frame() == (0, b"yes")


def newer_versions():
    """A peer of a later version is spoken to as 3.1; one of ZMTP 2 is told so by the end of the connection."""
    later = Raw("LEFT", "prices.pub")
    later.send(greeting(minor=9, major=4))
    assert later.file.read(64)[10] == 3
    later.send(ready(b"PUB"))
    assert later.frame()[1].startswith(b"\x05READY")
    assert later.frame() == (4, b"\x09SUBSCRIBE"), "the subscription of 3.1 is a command"
    for major in (0, 1):
        older = Raw("LEFT", "prices.pub")
        older.send(greeting(major=major, minor=0)[:12])
        older.ends()


def process(side):
    """The number of a sidecar's process."""
    sockets = os.environ[side + "_DIR"].encode()
    for number in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{number}/cmdline", "rb") as file:
                words = file.read().split(b"\0")
        except OSError:
            continue
        if sockets in words:
            return number
    raise AssertionError("the sidecar is not there")


def resident_kib(number):
    with open(f"/proc/{number}/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS:"))


def hostile():
    """Each ends its own connection, costs no memory, and leaves the door open for a normal client."""
    start = greeting() + ready(b"PUB")
    attacks = {
        "garbage": os.urandom(100_000),
        "http": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        "nothing": b"",
        "short greeting": greeting()[:11],
        "greeting alone": greeting(),
        "bad READY": greeting() + b"\x04\x0a\x05READY\xff\xff\xff\xff",
        "READY without a type": greeting() + b"\x04\x06\x05READY",
        "unknown socket type": greeting() + ready(b"TELEPHONE"),
        "message before READY": greeting() + short_frame(b"x"),
        "2^63 command": greeting() + b"\x06" + struct.pack(">Q", 1 << 63),
        "2^63 command later": start + b"\x06" + struct.pack(">Q", 1 << 63),
        "64 GiB frame": start + b"\x02" + struct.pack(">Q", 64 << 30) + b"x" * 1000,
        "2^64-1 frame": start + b"\x02" + b"\xff" * 8,
        "reserved flags": start + b"\x08\x00",
        "command with more": start + b"\x05\x01\x00",
        "endless frames": start + short_frame(b"", more=True) * 5000,
        "half a frame": start + b"\x00\x10half",
    }
    number = process("LEFT")
    before = resident_kib(number)
    for name, attack in attacks.items():
        raw = Raw("LEFT", "prices.pub")
        try:
            raw.send(attack)
            raw.ends()
        except (BrokenPipeError, ConnectionResetError):
            pass  # Cut off in the middle, which is an end too.
        except TimeoutError:
            raise AssertionError(f"{name}: the connection does not end") from None
    grown = resident_kib(number) - before
    assert grown < GROWTH_KIB_MAX, f"the sidecar grew by {grown} KiB"
    assert process("LEFT") == number, "the sidecar died"
    pub, sub = pair()
    join(pub, sub)


def held_open():
    """Connections that never finish their greeting take nothing from those that do."""
    idle = [Raw("LEFT", "prices.pub") for _ in range(200)]
    for number, raw in enumerate(idle):
        raw.send(greeting()[: number % 64])
    pub, sub = pair()
    join(pub, sub)


globals()[sys.argv[1]]()
CONTEXT.destroy(linger=0)
