"""Calls of a git host's REST API, with JSON in both directions. Redirects and proxies are not followed.

A host may ask for fewer requests. `Api` then raises `Limited`, or waits if it has a `Pace`: the calls of all threads
that share the pace wait with it.
"""

import json
import ssl
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.message import Message
from email.utils import parsedate_to_datetime
from http.client import HTTPException
from pathlib import Path
from typing import Any

from autograder.git.process import GitHostError, one_line

SECONDS = 20.0
MAX_RESPONSE = 8 << 20  # 100 pushes to a repository on GitHub take 150 kB
MAX_REASON = 16 << 10  # of the response that says why a request was refused
LIMITED_SECONDS = 60.0  # if a host says that there were too many requests, and not for how long
MAX_WAIT = 3700.0  # GitHub counts by the hour
TRIES = 6


class Limited(GitHostError):
    """The host wants fewer requests.

    Attributes:
        seconds: how long it wants none.
    """

    def __init__(self, message: str, seconds: float) -> None:
        super().__init__(message)
        self.seconds = seconds


class Refusal(GitHostError):
    """The host responded with an error.

    Attributes:
        status: of the HTTP response.
        reason: what the host says, one line; it may be empty.
    """

    def __init__(self, message: str, status: int, reason: str) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason


class Pace:
    """How fast several threads together may call one host.

    Args:
        between: seconds between two calls that change something.
        say: is told when the calls have to wait for long.
        sleep, clock: of the time module.
    """

    def __init__(
        self,
        between: float = 0.0,
        say: Callable[[str], None] = lambda _: None,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._between, self._say, self._sleep, self._clock = between, say, sleep, clock
        self._lock = threading.Lock()
        self._next_write = 0.0
        self._free = 0.0

    def take(self, *, writes: bool) -> None:
        """Wait until the next call may begin."""
        with self._lock:
            now = self._clock()
            start = max(now, self._free, self._next_write if writes else 0.0)
            if writes:
                self._next_write = start + self._between
        if start > now:
            self._sleep(start - now)

    def limited(self, error: Limited) -> None:
        """Keep all calls from beginning for as long as the host wants."""
        with self._lock:
            until = self._clock() + error.seconds
            is_new, self._free = until > self._free + 1, max(self._free, until)
        if is_new:
            self._say(f"{error}; waiting {error.seconds:.0f} s")


@dataclass(frozen=True)
class Api:
    """The REST API of one git host.

    Attributes:
        host: name for messages.
        base: `https://api.github.com`; for a folder of bare repositories, its path.
        token: for the repositories of the host; empty if no token is configured.
        ca_file: certificates to trust in place of the system's.
        pace: with it, a call that the host limits is repeated when the host allows it, and so is a call that failed on
            the way. Without it, every call is made once.
        seconds: how long one call may take.
    """

    host: str
    base: str
    token: str = field(default="", repr=False)
    ca_file: Path | None = None
    pace: Pace | None = None
    seconds: float = SECONDS

    def get(self, path: str, headers: Mapping[str, str]) -> list[Any]:
        """Return the list that `base` + `path` holds.

        Raises:
            GitHostError: the host did not respond, refused, or sent something else.
        """
        data = self.call("GET", path, headers)
        if not isinstance(data, list):
            raise GitHostError(f"{self.host}: {_short(path)}: the response is not a list")
        return data

    def call(self, method: str, path: str, headers: Mapping[str, str], body: Any = None) -> Any:
        """Make a call; return the response's JSON, or None if the response has no content.

        Args:
            method: GET, POST, PUT, PATCH or DELETE.
            path: below `base`, with its query.
            headers: with the host's kind of authorization.
            body: plain data.

        Raises:
            Refusal: the host responded with an error.
            Limited: the host wants fewer requests, and there is no pace, or it wants none for more than an hour.
            GitHostError: the host did not respond, or sent something that is not JSON.
        """
        if self.pace is None:
            return self._once(method, path, headers, body)
        for number in range(TRIES):
            self.pace.take(writes=method != "GET")
            try:
                return self._once(method, path, headers, body)
            except Limited as error:
                if error.seconds > MAX_WAIT or number == TRIES - 1:
                    raise
                self.pace.limited(error)
            except Refusal as error:
                if error.status < 500 or number == TRIES - 1:
                    raise
                self.pace.limited(Limited(str(error), 0.5 * 2**number))
        raise AssertionError("unreachable")

    def _once(self, method: str, path: str, headers: Mapping[str, str], body: Any) -> Any:
        standard = {"Accept": "application/json", "User-Agent": "autograder"}
        content = None
        if body is not None:
            content = json.dumps(body).encode()
            standard["Content-Type"] = "application/json"
        request = urllib.request.Request(  # noqa: S310 (https or loopback: the configuration was checked)
            self.base + path, data=content, headers={**standard, **headers}, method=method
        )
        handlers: list[urllib.request.BaseHandler] = [NoRedirect(), urllib.request.ProxyHandler({})]
        if self.base.startswith("https:"):
            context = ssl.create_default_context(cafile=self.ca_file)
            handlers.append(urllib.request.HTTPSHandler(context=context))
        where = f"{self.host}: {method} {_short(path)}" if method != "GET" else f"{self.host}: {_short(path)}"
        try:
            with urllib.request.build_opener(*handlers).open(request, timeout=self.seconds) as response:
                content = response.read(MAX_RESPONSE + 1)
            if len(content) > MAX_RESPONSE:
                raise ValueError("the response is too long")
            return json.loads(content) if content.strip() else None
        except urllib.error.HTTPError as error:
            with error:
                reason = _reason(error)
            wait = _wait(error.code, error.headers)
            if wait is not None:
                raise Limited(f"{where}: the host wants fewer requests", wait) from None
            said = f" ({reason})" if reason else ""
            raise Refusal(f"{where}: status {error.code}{said}", error.code, reason) from None
        except (OSError, HTTPException, ValueError, RecursionError) as error:
            raise GitHostError(f"{where}: {error}") from None


class NoRedirect(urllib.request.HTTPRedirectHandler):
    """Refuses redirects, so that a token goes to the configured address only."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _short(path: str) -> str:
    return path.partition("?")[0]


def _reason(error: urllib.error.HTTPError) -> str:
    """Return what a response says about an error: `message` of GitHub, Gitea and GitLab, with its details."""
    try:
        data = json.loads(error.read(MAX_REASON))
    except (OSError, HTTPException, ValueError, RecursionError):
        return ""
    if not isinstance(data, dict):
        return ""
    parts = [data.get("message") or data.get("error") or "", data.get("errors") or ""]
    return one_line(": ".join(part if isinstance(part, str) else json.dumps(part) for part in parts if part))


def _wait(status: int, headers: Message) -> float | None:
    """Return for how many seconds the host wants no requests; None if the error has another reason.

    GitHub sends 403 or 429, with `retry-after`, or with `x-ratelimit-remaining: 0` and the time of the next hour in
    `x-ratelimit-reset`. GitLab and proxies send 429 with `retry-after`.
    """
    if status not in (403, 429):
        return None
    after = headers.get("retry-after", "").strip()
    if after.isdecimal():
        return float(after)
    if headers.get("x-ratelimit-remaining", headers.get("ratelimit-remaining")) == "0":
        reset = headers.get("x-ratelimit-reset", headers.get("ratelimit-reset", ""))
        if reset.isdecimal():
            return max(1.0, int(reset) - _host_time(headers) + 1)
    return LIMITED_SECONDS if status == 429 else None


def _host_time(headers: Message) -> float:
    """Return the time by the host's clock, in seconds since 1970; ours may differ."""
    try:
        return parsedate_to_datetime(headers.get("date", "")).timestamp()
    except ValueError:
        return time.time()
