"""Scenes for interop.rs: each is a ZeroMQ app in front of the sidecar's ZMTP door."""
import os
import random
import signal
import sys
import threading
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



BODIES = [[b"one"], [b""], [b"a", b""], [b"", b"b"], [b"a", b"", b"", b"c"], [b"x" * 255, b"y" * 256, b"z" * 100_000]]
# The reply, which has a word more, is as large as the Channel lets it be.
BODIES += [[bytes(1024 * 1024 - len(b"re"))], [b""] * 20]


def serving(work, *arguments):
    """Runs one who answers beside the scene; what it raises fails the scene."""
    problems = []

    def run():
        try:
            work(*arguments)
        except BaseException as problem:
            problems.append(problem)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()

    def end():
        thread.join(DEADLINE_MS / 1000)
        assert not thread.is_alive(), "not everything was asked"
        if problems:
            raise problems[0]

    return end


def answer(rep, count):
    """A REP that answers with what it was asked, and a word more."""
    for _ in range(count):
        rep.send_multipart(rep.recv_multipart() + [b"re"])
    rep.close()


def req_and_rep(folder, tcp):
    """Lock-step: parts with empty frames among them, empty and large ones, and many round trips."""
    bodies = BODIES + [[b"n", b"%d" % number] for number in range(1000)]
    # As with any ZeroMQ socket, who answers may come later than who asks.
    req = socket(zmq.REQ, ipc(folder, "asking.req"))
    req.send_multipart([b"early"])
    end = serving(answer, socket(zmq.REP, ipc(folder, "asking.rep")), len(bodies) + 1)
    assert req.recv_multipart() == [b"early", b"re"]
    for body in bodies:
        req.send_multipart(body)
        got = req.recv_multipart()
        assert got == body + [b"re"], (got[:2], body[:2])
    end()


def dealer_with_many_outstanding(folder, tcp):
    """100 requests at once over three REP sockets; each reply comes behind the envelope of its own request."""
    reps = [socket(zmq.REP, ipc(folder, "asking.rep")) for _ in range(3)]
    counts = [0, 0, 0]
    dealer = socket(zmq.DEALER, ipc(folder, "asking.dealer"))
    for round_number in range(5):
        for number in range(100):
            dealer.send_multipart([b"%d" % number, b"", b"%d" % round_number, b"", b"%d" % number])
        replies = set()
        while len(replies) < 100:
            for index, rep in enumerate(reps):
                if rep.poll(1):
                    rep.send_multipart(rep.recv_multipart() + [b"re"])
                    counts[index] += 1
            while dealer.poll(0):
                number, empty, *body = dealer.recv_multipart()
                assert empty == b"" and body == [b"%d" % round_number, b"", number, b"re"], body
                assert number not in replies
                replies.add(number)
    assert sum(counts) == 500 and min(counts) > 0, counts


def dealer_without_envelope(folder, tcp):
    end = serving(answer, socket(zmq.REP, ipc(folder, "asking.rep")), 2)
    dealer = socket(zmq.DEALER, ipc(folder, "asking.dealer"))
    for body in ([b"bare"], [b"two", b"parts"]):
        dealer.send_multipart(body)
        assert dealer.recv_multipart() == body + [b"re"]
    end()


def answer_in_any_order(router, count):
    """A ROUTER that holds requests for a while, and answers them mixed."""
    held, done, order = [], 0, random.Random(1)
    while done < count:
        if router.poll(5):
            held.append(router.recv_multipart())
        if len(held) >= 10 or not router.poll(0):
            order.shuffle(held)
            for frames in held:
                router.send_multipart(frames + [b"re"])
            done += len(held)
            held.clear()
    router.close()


def router_for_many_clients(folder, tcp):
    """One ROUTER answers 30 REQ and 10 DEALER sockets."""
    rounds, reqs, dealers = 20, 30, 10
    end = serving(answer_in_any_order, socket(zmq.ROUTER, ipc(folder, "asking.router")), rounds * (reqs + 10 * dealers))
    reqs = [socket(zmq.REQ, ipc(folder, "asking.req")) for _ in range(reqs)]
    dealers = [socket(zmq.DEALER, ipc(folder, "asking.dealer"), IDENTITY=b"d%d" % number) for number in range(dealers)]
    for number in range(rounds):
        for index, req in enumerate(reqs):
            req.send_multipart([b"%d" % index, b"", b"%d" % number])
        for index, dealer in enumerate(dealers):
            for request in range(10):
                dealer.send_multipart([b"", b"%d" % index, b"%d" % request])
        for index, req in enumerate(reqs):
            assert req.recv_multipart() == [b"%d" % index, b"", b"%d" % number, b"re"]
        for index, dealer in enumerate(dealers):
            got = sorted(int(dealer.recv_multipart()[2]) for _ in range(10))
            assert got == list(range(10)), got
    end()


def rep_is_killed(folder, tcp):
    """A REP that is killed in the middle of a request: its socket's end fails that one, and another REP gets the next
    try of a REQ that gives up waiting."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(300)
        context = zmq.Context()
        rep = context.socket(zmq.REP)
        rep.connect(ipc(folder, "asking.rep"))
        rep.recv_multipart()
        os.write(write, b"x")
        time.sleep(1000)
    req = socket(zmq.REQ, ipc(folder, "asking.req"), REQ_RELAXED=1, REQ_CORRELATE=1, RCVTIMEO=1000)
    req.send_multipart([b"try"])
    assert os.read(read, 1) == b"x"
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    end = serving(answer, socket(zmq.REP, ipc(folder, "asking.rep")), 1)
    for _ in range(30):
        try:
            assert req.recv_multipart() == [b"again", b"re"]
            break
        except zmq.Again:
            req.send_multipart([b"again"])
    else:
        raise AssertionError("no reply after 30 tries")
    end()


def relaxed_and_correlated(folder, tcp):
    """The reply to a request that was given up does not come as the reply to the next one."""
    router = socket(zmq.ROUTER, ipc(folder, "asking.router"))
    req = socket(zmq.REQ, ipc(folder, "asking.req"), REQ_RELAXED=1, REQ_CORRELATE=1)
    for number in range(50):
        req.send_multipart([b"first %d" % number])
        first = router.recv_multipart()
        req.send_multipart([b"second %d" % number])
        second = router.recv_multipart()
        assert (first[3], second[3]) == (b"first %d" % number, b"second %d" % number)
        for frames in (first, second):
            router.send_multipart(frames)
        assert req.recv_multipart() == [b"second %d" % number]


def asking_heartbeats(folder, tcp):
    options = {"HEARTBEAT_IVL": 100, "HEARTBEAT_TIMEOUT": 500, "HEARTBEAT_TTL": 500}
    made = [socket(kind, ipc(folder, f"asking.{name}"), **options) for kind, name in
            ((zmq.REQ, "req"), (zmq.DEALER, "dealer"), (zmq.REP, "rep"))]
    req, _, rep = made
    end = serving(answer, rep, 2)
    req.send(b"a")
    assert req.recv_multipart() == [b"a", b"re"]
    lost = [one.get_monitor_socket(zmq.EVENT_DISCONNECTED) for one in made[:2]]
    time.sleep(2.5)
    assert not any(monitor.poll(0) for monitor in lost), "a heartbeat was not answered"
    req.send(b"b")
    assert req.recv_multipart() == [b"b", b"re"]
    end()


def bound_sockets(folder, tcp):
    """Sockets that bind; the sidecar connects to them, again when they come back."""
    for _ in range(2):
        # Its end waits until the addresses are free.
        context, made = zmq.Context(), {}
        for kind, name in ((zmq.REP, "rep"), (zmq.REQ, "req"), (zmq.DEALER, "dealer")):
            made[name] = context.socket(kind)
            made[name].linger = 0
            made[name].rcvtimeo = DEADLINE_MS
            made[name].bind(f"ipc://{os.path.dirname(folder)}/bound.{name}")
        end = serving(answer, made["rep"], 20)
        for number in range(10):
            made["req"].send(b"%d" % number)
            assert made["req"].recv_multipart() == [b"%d" % number, b"re"]
            made["dealer"].send_multipart([b"", b"%d" % number])
            assert made["dealer"].recv_multipart() == [b"", b"%d" % number, b"re"]
        end()
        made["req"].close()
        made["dealer"].close()
        context.term()


def asking_refusals(folder, tcp):
    """ROUTER to ROUTER and DEALER to DEALER would be possible, and nobody would ask or answer."""
    wrong = [(zmq.ROUTER, "asking.req"), (zmq.DEALER, "asking.req"), (zmq.ROUTER, "asking.dealer")]
    wrong += [(zmq.DEALER, "asking.router"), (zmq.ROUTER, "asking.rep"), (zmq.REP, "asking.router"), (zmq.REQ, "asking.rep")]
    for kind, name in wrong:
        made = CONTEXT.socket(kind)
        made.linger = 0
        ended = zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL | zmq.EVENT_DISCONNECTED
        monitor = made.get_monitor_socket(ended)
        made.connect(ipc(folder, name))
        assert monitor.poll(DEADLINE_MS), f"{name}: nothing happened"
        made.close()


globals()[sys.argv[1]](sys.argv[2], sys.argv[3])
CONTEXT.destroy(linger=0)
