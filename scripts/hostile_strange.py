"""Bodies and heads that no client sends."""

import json
import time
from collections.abc import Iterator
from contextlib import suppress

from hostile_target import MIB, Figures, Target, answer, ended, received


def strange_bodies(target: Target) -> Figures:
    """Each is refused with a 4xx that says why, or answered; none is an error of ours."""
    took = {}
    for name, path, body, allowed in bodies(target):
        began = time.monotonic()
        status, value = target.post(path, body)
        took[name] = round(time.monotonic() - began, 3)
        assert status in allowed, (name, status, str(value)[:300])
        assert took[name] < 30, (name, took[name])
    return {"seconds": took}


def bodies(target: Target) -> Iterator[tuple[str, str, bytes, tuple[int, ...]]]:
    """(name, path, body, statuses that are right)."""
    count = "/documents/count"
    nots = b'{"filter": ' + b'{"$not": ' * 150 + b'{"a": 1}' + b"}" * 151
    ors = b'{"filter": {"$or": [' + b",".join([b'{"a": 1}'] * 100_000) + b"]}}"
    vector = json.dumps(target.vector())
    million = max(20_000, round(1_000_000 * target.scale))
    deep = 100_000
    ids = json.dumps([f"i{n}" for n in range(million)]).encode()
    numbers = json.dumps(list(range(million))).encode()
    nested = b'{"$and": [' * 10_000 + b'{"a": 1}' + b"]}" * 10_000
    with_vector = b'{"vector": ' + vector.encode()
    yield "brackets, 100,000 deep", "/search", b'{"filter": ' + b"[" * deep + b"]" * deep + b"}", (400, 422)
    yield "braces, 100,000 deep", "/search", b'{"a":' * deep + b"1" + b"}" * deep, (400, 422)
    yield "a filter, 10,000 deep", count, b'{"filter": ' + nested + b"}", (400, 422)
    yield "$not, 150 deep", count, nots, (200, 400, 422)
    yield "$in of a million", count, b'{"filter": {"a": {"$in": ' + numbers + b"}}}", (200, 422)
    yield "$or of 100,000", count, ors, (200, 422)
    yield "a million ids", "/documents/delete", b'{"ids": ' + ids + b"}", (422,)
    yield "a limit of a billion", "/search", with_vector + b', "limit": 1000000000}', (422,)
    yield "a limit of 400 digits", "/search", with_vector + b', "limit": ' + b"9" * 400 + b"}", (400, 422)
    yield "a number of 100,000 digits", "/search", with_vector + b', "limit": ' + b"9" * 100_000 + b"}", (400, 422)
    yield "1e400", "/search", with_vector + b', "score_threshold": 1e400}', (400, 422)
    yield "NaN", "/search", with_vector + b', "score_threshold": NaN}', (400,)
    yield "Infinity", "/search", b'{"vector": [Infinity]}', (400,)
    yield "the same key twice", "/search", with_vector + b', "limit": 1, "limit": 2}', (200, 400, 422)
    yield "no UTF-8", "/search", b'{"query": "\xff\xfe"}', (400,)
    yield "half a surrogate", "/documents/scroll", rb'{"after": "\ud800"}', (400, 422)
    yield "a NUL", "/documents/scroll", rb'{"after": "\u0000"}', (200, 400, 422)
    yield "an offset beyond all", "/search", with_vector + b', "offset": 9223372036854775808}', (422,)
    yield "a scroll of a billion", "/documents/scroll", b'{"limit": 1000000000}', (422,)
    yield "a vector of a million", "/search", b'{"vector": ' + numbers + b"}", (422,)
    yield "nothing", "/search", b"", (400,)


def strange_requests(target: Target) -> Figures:
    """Heads that no client sends are refused, and the connection ends."""
    plain = target.head("GET", "/livez")
    many = target.head("GET", "/livez", *(f"x-{n}: y" for n in range(10_000)))
    statuses = {}
    for name, data in (
        ("10,000 headers", many),
        ("a header of 1 MB", target.head("GET", "/livez", "x-long: " + "y" * MIB)),
        ("an address of 1 MB", target.head("GET", "/livez?" + "y" * MIB)),
        ("no HTTP", b"\x16\x03\x01\x02\x00" + bytes(64) + b"\r\n\r\n"),
        ("a negative length", target.head("POST", "/search", "content-length: -1")),
        ("two lengths", target.head("POST", "/search", "content-length: 1", "content-length: 2")),
    ):
        with target.connect() as connection:
            with suppress(OSError):  # it may close before all is sent
                connection.sendall(data)
            statuses[name] = answer(connection)[0]
            ended(connection, 10)
    assert statuses == {"10,000 headers": 431, "a header of 1 MB": 431, "an address of 1 MB": 431, "no HTTP": 400,
                        "a negative length": 400, "two lengths": 400}, statuses  # fmt: skip
    with target.connect() as connection:
        connection.sendall(plain * 50)
        read = b""
        while read.count(b'"alive"') < 50:
            more = received(connection)
            assert more, f"{read.count(b'alive')} of 50 were answered"
            read += more
    return {"statuses": statuses, "pipelined": 50}
