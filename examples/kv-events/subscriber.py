"""A router that follows the KV cache of the inference engines, as those written for vLLM do.

It knows nothing of Pinnace: it connects a SUB socket, and looks at the sequence numbers for what it missed.
"""
import os
import signal
import sys

import msgspec
import zmq

ENDPOINT = os.environ.get("KV_EVENTS_ENDPOINT", "tcp://localhost:5557")
TOPIC = os.environ.get("KV_EVENTS_TOPIC", "kv-events")
REPORT_EVERY = 20


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


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    sub = zmq.Context().socket(zmq.SUB)
    sub.connect(ENDPOINT)
    sub.setsockopt_string(zmq.SUBSCRIBE, TOPIC)
    decoder = msgspec.msgpack.Decoder(type=Batch)
    blocks = set()
    last = None
    received = 0
    while True:
        _, sequence, payload = sub.recv_multipart()
        number = int.from_bytes(sequence, "big")
        if last is not None and number != last + 1:
            # A publisher that has started again counts from 0; else these batches are lost.
            print(f"missed: {last + 1} to {number - 1}" if number > last else "the publisher has started again", flush=True)
        last = number
        for event in decoder.decode(payload).events:
            match event:
                case BlockStored(block_hashes=hashes):
                    blocks.update(hashes)
                case BlockRemoved(block_hashes=hashes):
                    blocks.difference_update(hashes)
        received += 1
        if received % REPORT_EVERY == 0:
            print(f"{received} batches, last {number}, {len(blocks)} blocks cached", flush=True)


main()
