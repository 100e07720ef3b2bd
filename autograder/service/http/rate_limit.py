"""How often each client may send requests."""

from autograder.errors import ConfigError


class TokenBucket:
    """How often each client may act: `burst` times at once, then `rate` times a second.

    It remembers at most `clients` clients, and forgets the client that it has not seen for the longest time. A client
    that is forgotten may act sooner, never later. It has no lock: use it from one event loop, or hold a lock.
    """

    def __init__(self, *, rate: float, burst: int, clients: int = 10_000) -> None:
        if not (rate > 0 and burst >= 1 and clients >= 1):
            raise ConfigError(
                "a rate limit needs a rate above 0, and a burst and a number of clients of at least 1"
            )
        self._rate = rate
        self._burst = burst
        self._clients = clients
        # client -> (tokens, when they were counted); oldest first
        self._buckets: dict[str, tuple[float, float]] = {}

    def wait(self, client: str, now: float) -> float:
        """Take a token of `client`. Return 0.0, or the seconds until the next token.

        Args:
            client: identifies the client, for example its address.
            now: the seconds of a clock. If the clock goes back, no time counts as passed.
        """
        tokens, before = self._buckets.pop(client, (float(self._burst), now))
        now = max(now, before)
        tokens = min(self._burst, tokens + (now - before) * self._rate)
        allowed = tokens >= 1
        self._buckets[client] = (tokens - 1 if allowed else tokens, now)
        if len(self._buckets) > self._clients:
            del self._buckets[next(iter(self._buckets))]
        return 0.0 if allowed else (1 - tokens) / self._rate
