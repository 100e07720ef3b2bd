"""How often each client may send requests."""

from autograder.errors import ConfigError


class TokenBucket:
    """How often each client may act: `burst` times at once, then `rate` times a second.

    Remembers at most `clients` of them and forgets the one seen longest ago, which can only be lenient.
    Not locked: use it from one event loop, or hold a lock.
    """

    def __init__(self, *, rate: float, burst: int, clients: int = 10_000) -> None:
        if not (rate > 0 and burst >= 1 and clients >= 1):
            raise ConfigError(
                "a rate limit needs a rate above 0, and a burst and a number of clients of at least 1"
            )
        self._rate = rate
        self._burst = burst
        self._clients = clients
        self._buckets: dict[str, tuple[float, float]] = {}  # client -> tokens, when; oldest first

    def wait(self, client: str, now: float) -> float:
        """Take a token of `client`. Return 0.0, or the seconds until the next token.

        Args:
            client: such as its address.
            now: seconds of a clock; if it goes back, no time has passed.
        """
        tokens, before = self._buckets.pop(client, (float(self._burst), now))
        now = max(now, before)
        tokens = min(self._burst, tokens + (now - before) * self._rate)
        allowed = tokens >= 1
        self._buckets[client] = (tokens - 1 if allowed else tokens, now)
        if len(self._buckets) > self._clients:
            del self._buckets[next(iter(self._buckets))]
        return 0.0 if allowed else (1 - tokens) / self._rate
