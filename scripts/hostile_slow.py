"""Clients that are slow, silent, many, or go away in the middle."""

import json
import socket
import time

from hostile_target import (
    CONNECTIONS,
    HEAD_SECONDS,
    IDLE_SECONDS,
    MIB,
    UNREAD_SECONDS,
    Figures,
    Target,
    answer,
    ended,
    expect,
    fill,
    sockets,
    wait_until,
    waiting,
)


def half_a_body(target: Target) -> Figures:
    """A body that begins and does not go on is answered with a 408 after the time it may pause."""
    began = time.monotonic()
    with target.connect() as connection:
        connection.sendall(target.head("POST", "/search", "content-length: 100") + b'{"vector"')
        expect(answer(connection), 408, "upload-stalled")
        took = time.monotonic() - began
        ended(connection, 10)
    assert IDLE_SECONDS * 0.9 <= took < IDLE_SECONDS + 5, took
    return {"seconds_to_408": round(took, 2)}


def a_trickling_head(target: Target) -> Figures:
    """A head that comes byte by byte is answered with a 408 after its time, however steadily it comes."""
    began = time.monotonic()
    with target.connect() as connection:
        for byte in target.head("GET", "/stats") * 10:
            try:
                connection.sendall(bytes([byte]))
            except OSError:
                break
            time.sleep(0.05)
        took = time.monotonic() - began
        status, _ = answer(connection)
    assert status in (408, 0), status
    assert took < HEAD_SECONDS + 5, took
    return {"seconds_until_closed": round(took, 2)}


def silence(target: Target) -> Figures:
    """A connection on which nothing is ever sent is closed."""
    with target.connect() as connection:
        return {"seconds_until_closed": ended(connection, HEAD_SECONDS + 5)}


def nobody_reads(target: Target) -> Figures:
    """Who asks for much and reads nothing is given up, and what was made for him is forgotten."""
    fill(target, 400, text=20_000)
    before = target.server.memory()["anonymous"]
    body = json.dumps({"limit": 400, "with_vector": True}).encode()
    request = target.head("POST", "/documents/scroll", f"content-length: {len(body)}") + body
    files, connections = sockets(target), [target.connect() for _ in range(20)]
    try:
        for connection in connections:
            connection.sendall(request * 5)
        time.sleep(1)
        most = target.server.memory()["anonymous"]
        wait_until(lambda: sockets(target) <= files, 4 * UNREAD_SECONDS + 10)
    finally:
        for connection in connections:
            connection.close()
    assert most - before < 600 * MIB, most - before
    return {"answers_mib_each": 8, "clients": 20, "most_mib": round((most - before) / MIB)}


def idle_connections(target: Target) -> Figures:
    """More connections than there may be are refused with a 503, also if they have sent a request before they read it;
    who is connected goes on, and soon all may again."""
    wanted = max(CONNECTIONS + 50, round(5_000 * target.scale))
    with target.connect() as friend:
        friend.sendall(target.head("GET", "/livez"))
        assert answer(friend)[0] == 200
        connections, refused = list[socket.socket](), 0
        try:
            for _ in range(wanted):
                connections.append(target.connect())
            friend.sendall(target.head("GET", "/livez"))
            assert answer(friend)[0] == 200
            for connection in connections[-20:]:
                connection.settimeout(5)
                refused += answer(connection)[0] == 503
            for connection in connections[CONNECTIONS:]:
                connection.close()
            friend.sendall(target.head("GET", "/livez"))
            assert answer(friend)[0] == 200  # by now the server has seen that they are gone
            late = [target.connect() for _ in range(20)]
            connections += late
            body = b" " * 1_000
            for part in (target.head("POST", "/search", f"content-length: {2 * len(body)}"), body, body):
                for connection in late:
                    connection.sendall(part)
                friend.sendall(target.head("GET", "/livez"))
                assert answer(friend)[0] == 200
            refused += sum(answer(connection)[0] == 503 for connection in late)
        finally:
            for connection in connections:
                connection.close()
    assert refused == 40, refused
    return {"connections": wanted, "refused_of_the_last_40": refused}


def slow_uploads_everywhere(target: Target) -> Figures:
    """Slow bodies may fill all places: others hear a 503 with Retry-After, health checks pass, and then it is over."""
    places = 64
    connections = [target.connect() for _ in range(places)]
    try:
        for connection in connections:
            connection.sendall(target.head("POST", "/search", "content-length: 1000") + b"{")
        wait_until(lambda: target.post("/documents/count", b"{}")[0] == 503, IDLE_SECONDS)
        status, problem = target.post("/documents/count", b"{}")
        with target.connect() as probe:
            probe.sendall(target.head("GET", "/livez"))
            assert answer(probe)[0] == 200
        for connection in connections:
            expect(answer(connection), 408, "upload-stalled")
    finally:
        for connection in connections:
            connection.close()
    expect((status, problem), 503, "queue-full")
    assert target.post("/documents/count", b"{}")[0] == 200
    return {"slow_clients": places}


def gone_in_the_middle(target: Target) -> Figures:
    """A client that goes away while it sends or is sent something takes no place and leaves no half document."""
    line = json.dumps({"id": "gone", "text": "x", "vector": target.vector()}).encode() + b"\n"
    for accept in ("application/json", "application/x-ndjson"):
        for _ in range(25):  # more than there are places for ingests
            with target.connect() as connection:
                headers = (f"content-length: {10 * MIB}", f"accept: {accept}")
                connection.sendall(target.head("POST", "/ingest", *headers, kind="application/x-ndjson") + line * 3)
    fill(target, 200, text=20_000)
    body = json.dumps({"limit": 200, "with_vector": True}).encode()
    for _ in range(25):
        with target.connect() as connection:
            connection.sendall(target.head("POST", "/documents/scroll", f"content-length: {len(body)}") + body)
            connection.recv(1_000)
    wait_until(lambda: waiting(target) == 0, 20)
    return {"uploads": 50, "downloads": 25}
