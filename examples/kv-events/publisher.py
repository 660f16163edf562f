"""An inference engine that says which blocks of its KV cache come and go, as vLLM does.

It knows nothing of Pinnace: it binds a PUB socket and sends `[topic, sequence, payload]`, the sequence as 8 bytes
big-endian, the payload as msgpack. A ROUTER socket at a second port answers who asks for batches again.
"""
import collections
import os
import signal
import sys
import time

import msgspec
import zmq

ENDPOINT = os.environ.get("KV_EVENTS_ENDPOINT", "tcp://*:5557")
REPLAY_ENDPOINT = os.environ.get("KV_EVENTS_REPLAY_ENDPOINT", "tcp://*:5558")
TOPIC = os.environ.get("KV_EVENTS_TOPIC", "kv-events").encode()
PAUSE_SECONDS = 0.05
BATCHES_KEPT = 10_000
END = (-1).to_bytes(8, "big", signed=True)


class Event(msgspec.Struct, array_like=True, omit_defaults=True, tag=True):
    """What all kinds of events have in common."""


class BlockStored(Event):
    block_hashes: list[int]
    parent_block_hash: int | None
    token_ids: list[int]
    block_size: int
    lora_id: int | None = None


class BlockRemoved(Event):
    block_hashes: list[int]


class Batch(msgspec.Struct, array_like=True, omit_defaults=True):
    ts: float
    events: list[BlockStored | BlockRemoved]
    data_parallel_rank: int | None = None


def batch(number):
    """What happened in the cache since the last batch."""
    events = [BlockStored([number], number - 1 if number else None, list(range(16)), 16)]
    if number >= 100:
        events.append(BlockRemoved([number - 100]))
    return Batch(time.time(), events, 0)


def replay(router, kept):
    """Answers one request: all kept batches from a sequence number on, then the end mark."""
    client, _, start = router.recv_multipart()
    first = int.from_bytes(start, "big")
    for sequence, payload in kept:
        if sequence >= first:
            router.send_multipart([client, b"", sequence.to_bytes(8, "big"), payload])
    router.send_multipart([client, b"", END, b""])


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    context = zmq.Context()
    pub = context.socket(zmq.PUB)
    pub.bind(ENDPOINT)
    router = context.socket(zmq.ROUTER)
    router.bind(REPLAY_ENDPOINT)
    encoder = msgspec.msgpack.Encoder()
    kept = collections.deque(maxlen=BATCHES_KEPT)
    sequence = 0
    while True:
        payload = encoder.encode(batch(sequence))
        pub.send_multipart([TOPIC, sequence.to_bytes(8, "big"), payload])
        kept.append((sequence, payload))
        sequence += 1
        if router.poll(PAUSE_SECONDS * 1000):
            replay(router, kept)


main()
