"""Encodes random header lists with the PyPI package `hpack`, one line of JSON for each block of one connection.

Usage: encode.py SEED BLOCKS. Lines are {"block": hex, "fields": [[name, value], ...]}, text as Latin-1.
"""

import json
import random
import sys

from hpack import Encoder, NeverIndexedHeaderTuple

seed, blocks = int(sys.argv[1]), int(sys.argv[2])
chance = random.Random(seed)
encoder = Encoder()
NAMES = [b":method", b":path", b"authorization", b"cookie", b"content-type", b"x-id", b"grpc-status"]
VALUES = [b"GET", b"POST", b"/", b"Bearer 0", b"Bearer 1", b"application/grpc+proto", b"0", b""]


def some(alphabet: bytes, most: int) -> bytes:
    return bytes(chance.choice(alphabet) for _ in range(chance.randrange(most)))


def name() -> bytes:
    if chance.random() < 0.6:
        return chance.choice(NAMES)
    return b"x-" + some(b"abcdefghijklmnopqrstuvwxyz0123456789-", 20)


def value() -> bytes:
    kind = chance.random()
    if kind < 0.4:
        return chance.choice(VALUES)
    if kind < 0.5:
        return bytes([chance.randrange(0x21, 0x7F)]) * chance.randrange(5_000)
    return some(bytes(range(256)), 40)


for _ in range(blocks):
    # More than one change before a block: RFC 7541 section 4.2 asks for the smallest and for the last.
    for _ in range(chance.choice([0, 0, 0, 1, 2, 3])):
        size = chance.choice([0, 33, 50, 110, 256, 1_000, 4_096, chance.randrange(4_097)])
        # One that is set to what it is already makes this package forget to tell of those before.
        if size != encoder.header_table_size:
            encoder.header_table_size = size
    fields = [(name(), value()) for _ in range(chance.randrange(12))]
    headers = [NeverIndexedHeaderTuple(*each) if chance.random() < 0.1 else each for each in fields]
    block = encoder.encode(headers, huffman=chance.random() < 0.7)
    text = [[part.decode("latin-1") for part in each] for each in fields]
    print(json.dumps({"block": block.hex(), "fields": text}))
