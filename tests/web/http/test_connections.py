"""Nobody can hold up the demo by connections that send nothing, or too slowly, before any password is asked for."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from roco_search.web.http import connections
from tests.web.conftest import Site


@pytest.fixture
def held() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def connect(site: Site, held: ExitStack) -> socket.socket:
    return held.enter_context(socket.create_connection(("127.0.0.1", site.port), timeout=20))


def is_closed(connection: socket.socket, seconds: float = 20) -> bool:
    connection.settimeout(seconds)
    try:
        return connection.recv(1) == b""
    except TimeoutError:
        return False
    except OSError:
        return True


def test_a_new_client_is_answered_while_half_sent_requests_are_held(site: Site, held: ExitStack) -> None:
    half = []
    for _ in range(2 * connections.MOST):
        half.append(connect(site, held))
        half[-1].sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ")
    started = time.monotonic()
    assert site.ask("/").status == 200
    assert time.monotonic() - started < 2
    assert is_closed(half[0]), "the one that waited longest made room"


def test_a_head_has_to_come_in_time(site: Site, held: ExitStack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.5)
    silent, slow = connect(site, held), connect(site, held)
    slow.sendall(b"GET / HTTP/1.1\r\n")
    assert is_closed(silent) and is_closed(slow)


def test_a_body_has_to_come_in_time(site: Site, held: ExitStack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "BODY_SECONDS", 0.5)
    slow, steady = connect(site, held), connect(site, held)
    for connection in (slow, steady):
        connection.sendall(b"POST /gradio_api/queue/join HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 200000\r\n\r\n")
    for _ in range(10):
        steady.sendall(b" " * 10_000)
        time.sleep(0.1)
    assert is_closed(slow)
    assert not is_closed(steady, 0.1), "it is faster than the slowest that is allowed"


def test_one_address_cannot_take_all_places() -> None:
    class Connection:
        def __init__(self, address: str) -> None:
            self.address, self.transport, self.open = address, self, True

        def abort(self) -> None:
            self.open = False

    room = connections.Connections(most=4, most_of_one=2)
    first, second, third = (Connection("a") for _ in range(3))
    others = [Connection(address) for address in "bcd"]
    assert all(room.admit(one) for one in (first, second, third))  # type: ignore[arg-type]
    assert (first.open, second.open, third.open) == (False, True, True)
    room.works(third)  # type: ignore[arg-type]
    assert all(room.admit(one) for one in others)  # type: ignore[arg-type]
    assert (second.open, third.open) == (False, True), "one that is being answered is not closed"
    for one in others:
        room.works(one)  # type: ignore[arg-type]
    assert not room.admit(Connection("e"))  # type: ignore[arg-type]
    room.forget(third)  # type: ignore[arg-type]
    assert room.admit(Connection("e"))  # type: ignore[arg-type]
