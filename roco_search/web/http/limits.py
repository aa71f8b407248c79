"""How often one client may ask, and how often it may be wrong about the password."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from time import monotonic

MOST_CLIENTS = 1024  # that are remembered; the one that has been silent longest is forgotten first
FREE_GUESSES = 5
FIRST_REFUSAL, LONGEST_REFUSAL = 15.0, 900.0  # seconds


@dataclass(frozen=True, slots=True)
class Rate:
    """The number of requests at once, and the number per second in the long run."""

    burst: float
    a_second: float


class Limit:
    """A token bucket for each client."""

    def __init__(self, rate: Rate) -> None:
        self._rate = rate
        self._clients: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, client: str) -> bool:
        """Whether a request of this client is within the limit; it is counted then."""
        now = monotonic()
        tokens, then = self._clients.pop(client, (self._rate.burst, now))
        tokens = min(self._rate.burst, tokens + (now - then) * self._rate.a_second)
        allowed = tokens >= 1
        self._clients[client] = (tokens - allowed, now)
        if len(self._clients) > MOST_CLIENTS:
            self._clients.popitem(last=False)
        return allowed


class Guesses:
    """Wrong passwords by address.

    After `FREE_GUESSES` of them, everything from an address is refused for `FIRST_REFUSAL` seconds, and after each
    further one for twice as long, up to `LONGEST_REFUSAL`: four an hour, whoever else uses the demo.
    """

    def __init__(self) -> None:
        self._clients: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def refused_for(self, client: str) -> float:
        """Return the seconds for which this client is refused; 0 or less if it is not."""
        _, until = self._clients.get(client, (0, 0.0))
        return until - monotonic()

    def wrong(self, client: str) -> None:
        """Count a wrong password."""
        count, _ = self._clients.pop(client, (0, 0.0))
        count += 1
        refusal = FIRST_REFUSAL * 2.0 ** min(count - FREE_GUESSES, 20) if count >= FREE_GUESSES else 0.0
        self._clients[client] = (count, monotonic() + min(refusal, LONGEST_REFUSAL))
        if len(self._clients) > MOST_CLIENTS:
            self._clients.popitem(last=False)

    def right(self, client: str) -> None:
        """Forget the wrong ones."""
        self._clients.pop(client, None)
