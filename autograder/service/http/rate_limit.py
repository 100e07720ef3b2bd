"""How often one client may ask."""

from autograder.errors import ConfigError


class TokenBucket:
    """How often each source may ask: `burst` times at once, then `rate` times a second.

    Keeps at most `sources` of them and forgets the one that was seen longest ago, which can only be kinder.
    Not locked: one event loop, or a lock around it.
    """

    def __init__(self, *, rate: float, burst: int, sources: int = 10_000) -> None:
        if not (rate > 0 and burst >= 1 and sources >= 1):
            raise ConfigError(
                "a rate limit needs a rate above 0, and a burst and a number of sources from 1 on"
            )
        self._rate = rate
        self._burst = burst
        self._sources = sources
        self._buckets: dict[str, tuple[float, float]] = {}  # source -> tokens, when; oldest first

    def wait(self, source: str, now: float) -> float:
        """Take a token of `source`: return 0.0, or where there is none the seconds until there is.

        Args:
            source: an address, a repository.
            now: seconds of a clock that does not go back; where it does, no time has passed.
        """
        tokens, before = self._buckets.pop(source, (float(self._burst), now))
        now = max(now, before)
        tokens = min(self._burst, tokens + (now - before) * self._rate)
        allowed = tokens >= 1
        self._buckets[source] = (tokens - 1 if allowed else tokens, now)
        if len(self._buckets) > self._sources:
            del self._buckets[next(iter(self._buckets))]
        return 0.0 if allowed else (1 - tokens) / self._rate
