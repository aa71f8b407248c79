"""Connections to the demo: not too many of them, and none that waits for ever for the other side.

A server that accepts whatever comes can be stopped by anybody who opens connections and sends nothing, before any
password is asked for: when its descriptors are used up, nobody else gets an answer. Here the connection that has waited
longest for its request makes room for a new one, and a request has to arrive in time, its head within `HEAD_SECONDS`
and its body at `SLOWEST` or faster.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from time import monotonic
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

MOST = 256
"""Connections at once. A page holds two; Linux gives a process 1,024 descriptors."""
MOST_OF_ONE = 192
"""Connections at once from one address."""
ACCEPTED_AT_ONCE = 128  # before any of them can be refused: they need descriptors, too
HEAD_SECONDS = 10.0
BODY_SECONDS = 20.0  # that a body may take, whatever its length
SLOWEST = 10_000.0  # bytes a second of a body that takes longer
UNREAD_SECONDS = 60.0  # for which the other side may leave an answer unread


class Connections:
    """All connections of one server, those whose request is still to come in the order of their waiting."""

    def __init__(self, most: int = MOST, most_of_one: int = MOST_OF_ONE) -> None:
        self._most, self._most_of_one = most, most_of_one
        self._waiting: OrderedDict[GuardedProtocol, None] = OrderedDict()
        self._all: set[GuardedProtocol] = set()
        self._of = Counter[str]()

    def admit(self, connection: GuardedProtocol) -> bool:
        """Take a connection in, and close another one for it if there are too many; False if none can be closed."""
        address = connection.address
        if self._of[address] >= self._most_of_one and not self._close_one(address):
            return False
        if len(self._all) >= self._most and not self._close_one(None):
            return False
        self._all.add(connection)
        self._of[address] += 1
        self._waiting[connection] = None
        return True

    def waits(self, connection: GuardedProtocol) -> None:
        """Note that a request is to come, or goes on."""
        if connection in self._all:
            self._waiting.setdefault(connection, None)

    def works(self, connection: GuardedProtocol) -> None:
        """Note that a whole request has come and is being answered."""
        self._waiting.pop(connection, None)

    def forget(self, connection: GuardedProtocol) -> None:
        """Note that a connection has ended."""
        if connection not in self._all:
            return
        self._all.discard(connection)
        self._waiting.pop(connection, None)
        self._of[connection.address] -= 1
        if not self._of[connection.address]:
            del self._of[connection.address]

    def _close_one(self, address: str | None) -> bool:
        for connection in self._waiting:
            if address in {None, connection.address}:
                self.forget(connection)
                connection.transport.abort()
                return True
        return False


class GuardedProtocol(H11Protocol):
    """uvicorn's protocol under these rules."""

    def __init__(self, *arguments: Any, connections: Connections, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self._guard = connections
        self._begun, self._received = monotonic(), 0
        self._late: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None
        self._in_body = False

    @property
    def address(self) -> str:
        """The other side's address; of a proxy, if there is one."""
        return self.client[0] if self.client else ""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin, or end at once if there is no room."""
        super().connection_made(transport)
        if self._guard.admit(self):
            self._expect()
        else:
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._guard.forget(self)
        for timer in (self._late, self._unread):
            if timer is not None:
                timer.cancel()
        self._late = self._unread = None
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what has come, and see whether the request is whole."""
        self._received += len(data)
        super().data_received(data)
        self._settle()

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        super().on_response_complete()
        if not self.transport.is_closing():
            self._settle()

    def pause_writing(self) -> None:
        """Give the other side time to read."""
        super().pause_writing()
        if self._unread is None:
            self._unread = self.loop.call_later(UNREAD_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """Go on."""
        super().resume_writing()
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def _settle(self) -> None:
        coming = self.conn.their_state
        if coming is h11.IDLE or coming is h11.SEND_BODY:
            self._guard.waits(self)
            if self._late is None or self._in_body is not (coming is h11.SEND_BODY):
                self._in_body = coming is h11.SEND_BODY
                self._expect()
            return
        self._guard.works(self)
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _expect(self) -> None:
        """Begin to count the time of a head or a body."""
        self._begun, self._received = monotonic(), 0
        if self._late is not None:
            self._late.cancel()
        self._late = self.loop.call_later(BODY_SECONDS if self._in_body else HEAD_SECONDS, self._check)

    def _check(self) -> None:
        allowed = BODY_SECONDS + self._received / SLOWEST if self._in_body else HEAD_SECONDS
        left = self._begun + allowed - monotonic()
        if left > 0:
            self._late = self.loop.call_later(left, self._check)
        else:
            self.transport.abort()
