"""Bodies that are too large, too many, or without an end."""

import json
import socket
import threading
import time

from hostile_target import MIB, Figures, Peak, Target, answer, expect

SENDING_SECONDS = 60  # in which a connection must have ended; it takes about 2


def a_declared_giant(target: Target) -> Figures:
    """A JSON body of 10 GB is refused before it is sent, and its connection ends although it goes on."""
    began = time.monotonic()
    with target.connect() as connection:
        connection.sendall(target.head("POST", "/search", f"content-length: {10 << 30}"))
        problem = expect(answer(connection), 413, "body-too-large")
        took, sent = time.monotonic() - began, keep_sending(connection)
    assert str(10 << 30) in problem["detail"]
    assert str(64 * MIB) in problem["detail"]
    return {"seconds_to_413": round(took, 3), "sent_mib_until_closed": round(sent / MIB)}


def an_undeclared_giant(target: Target) -> Figures:
    """Without a length it is refused as soon as it is too long."""
    before, began = target.server.memory()["anonymous"], time.monotonic()
    with target.connect() as connection:
        connection.sendall(target.head("POST", "/search", "transfer-encoding: chunked"))
        sent = keep_sending(connection, b"%x\r\n" % MIB + b" " * MIB + b"\r\n")
        took = time.monotonic() - began
        status, _ = answer(connection)
    most = target.server.memory()["anonymous"] - before
    assert status in (413, 0), status
    assert took < SENDING_SECONDS, f"{sent} bytes were taken in {took:.0f} s"
    return {"status": status, "sent_mib_until_closed": round(sent / MIB), "grown_mib": round(most / MIB)}


def keep_sending(connection: socket.socket, data: bytes = b" " * MIB) -> int:
    """Bytes that could be sent until the server ended the connection, or an answer was there for 5 s."""
    sent, until = 0, time.monotonic() + SENDING_SECONDS
    connection.settimeout(5)
    try:
        while time.monotonic() < until:
            connection.sendall(data)
            sent += len(data)
    except (ConnectionError, TimeoutError):
        pass
    connection.settimeout(60)
    return sent


def a_giant_stream(target: Target) -> Figures:
    """NDJSON of 10 GB streams through in flat memory: lines that are too long fail alone, the others are stored."""
    lines = max(12, round(2_048 * target.scale))
    long = b'{"id": "' + b"x" * (5 * MIB) + b'"}\n'
    watch = Peak(target.server)
    with target.connect() as connection:
        headers = ("transfer-encoding: chunked", "accept: application/json")
        connection.sendall(target.head("POST", "/ingest", *headers, kind="application/x-ndjson"))
        for number in range(lines):
            good = json.dumps({"id": f"g{number}", "text": "good", "vector": target.vector()}).encode() + b"\n"
            connection.sendall(b"%x\r\n" % (len(long) + len(good)) + long + good + b"\r\n")
        connection.sendall(b"0\r\n\r\n")
        status, report = answer(connection)
    grown = watch.end()
    assert status == 207, (status, report)
    assert (report["failed"], report["created"] + report["updated"] + report["unchanged"]) == (lines, lines), report
    assert grown < 150 * MIB, grown
    return {"gib": round(lines * len(long) / (1 << 30), 2), "lines": 2 * lines, "grown_mib": round(grown / MIB)}


def one_bad_line(target: Target) -> Figures:
    """Of 100,000 lines with a bad one in the middle all others are stored, and the bad one is named."""
    lines = max(2_000, round(100_000 * target.scale))
    vector = json.dumps(target.vector())
    good = [f'{{"id": "l{i}", "text": "line", "vector": {vector}}}' for i in range(lines)]
    good[lines // 2] = '{"id": "broken", "text": '
    status, report = target.post("/ingest", "\n".join(good).encode(), "application/x-ndjson")
    assert status == 207, (status, report)
    assert report["failed"] == 1
    assert report["created"] + report["updated"] + report["unchanged"] == lines - 1, report
    assert [failure["line"] for failure in report["failures"]] == [lines // 2 + 1]
    return {"lines": lines}


def sixteen_large_bodies(target: Target) -> Figures:
    """Of sixteen bodies of 60 MB at once as many are read as may be in memory, the others hear a 503."""
    size = max(2 * MIB, round(60 * MIB * target.scale))
    numbers = json.dumps([0.1234] * ((60 * MIB if target.scale == 1 else size) // 8)).encode()
    body = b'{"vector": ' + numbers + b"}"
    statuses, watch = list[int](), Peak(target.server)
    threads = [threading.Thread(target=lambda: statuses.append(target.post("/search", body)[0])) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    grown = watch.end()
    assert set(statuses) <= {422, 503, 408, 0}, statuses  # 408: one that the machine was too busy to send
    assert 422 in statuses
    assert grown < 2_500 * MIB, grown
    return {"bytes_each": len(body), "read": statuses.count(422), "refused": 16 - statuses.count(422),
            "grown_mib": round(grown / MIB)}  # fmt: skip
