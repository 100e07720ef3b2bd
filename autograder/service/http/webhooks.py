"""The HTTP edge of the webhooks: bytes are read within limits, `autograder.hosts.webhook` says what they are.

    429  this source asks too often
    413  the body is too large: said before it is read where the sender announces its size
    408  the body did not come in time
    503  the ledger fails, or too much is in hand: the host shows it as failed, and may be told to send it again

and whatever `webhook.Refused` says. Everything else is a 2xx, and only after the push is on disk. Answers are JSON:
`{"result": "recorded"}`.
"""

import logging
import math
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Protocol

import anyio
import anyio.to_thread
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from autograder.errors import GraderError
from autograder.hosts import PARSERS, webhook
from autograder.hosts.push import Ignored, Ping, Push
from autograder.service.http.client_address import source
from autograder.service.http.rate_limit import TokenBucket
from autograder.service.metrics import Metrics

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Limits:
    """What is allowed.

    Attributes:
        rate, burst: requests of one source: so many at once, then so many a second. All students of a course push
            through one git host, at the same hour, and none of these pushes may be lost.
        body_seconds: for a whole body.
        held_bytes: of bodies, all requests together.
        threads: that record pushes.
        waiting: requests that wait for one of them.
        retry_seconds: after which a sender may try again, when there is too much to do.
    """

    rate: float = 50.0
    burst: int = 1000
    body_seconds: float = 15.0
    held_bytes: int = 256 * 2**20
    threads: int = 8
    waiting: int = 1000
    retry_seconds: int = 30


class Outcome(Protocol):
    """What became of a push.

    Attributes:
        result: `recorded`, `known` or `ignored`.
        reason: why it was ignored; one line, ours.
    """

    @property
    def result(self) -> str: ...
    @property
    def reason(self) -> str: ...


class _TooMuch(Exception):
    """There is too much to do at the moment."""


class Webhooks:
    """Answers `POST /webhook/KIND` and `POST /webhook/KIND/HOST`."""

    def __init__(
        self,
        endpoint: Callable[[str, str | None], webhook.Endpoint | None],
        receive: Callable[[Push, datetime], Outcome],
        metrics: Metrics,
        limits: Limits | None = None,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin with no request in hand.

        Args:
            endpoint: returns at once what we know of a host of some kind; None where there is none, or where
                none is named and there are several. Raises a GraderError where its secret cannot be read.
            receive: brings a push to the disk and sees that it is graded. Blocks. Raises a GraderError where it
                could not be recorded.
            metrics: where requests are counted.
            limits: what is allowed.
            monotonic: seconds, for the limit of requests.
        """
        self._endpoint = endpoint
        self._receive = receive
        self._metrics = metrics
        self._limits = limits or Limits()
        self._monotonic = monotonic
        self._sources = TokenBucket(rate=self._limits.rate, burst=self._limits.burst)
        # Lines of the log, so that nobody fills the disk.
        self._noted = TokenBucket(rate=0.1, burst=10)
        self._held = 0
        self._waiting = 0
        self._threads: anyio.CapacityLimiter | None = None  # made in the loop that uses it

    async def answer(self, request: Request) -> Response:
        """Answer one request, whose path names the `kind`, and perhaps the `host`."""
        received = datetime.now(timezone.utc)  # the headers are here; a slow body does not make a push late
        kind = request.path_params["kind"]
        answer = await self._answer(request, kind, received)
        if kind in PARSERS:
            self._metrics.webhook(kind, answer.outcome)
        asker = source(request)
        if answer.status >= 400 and not self._noted.wait(asker, self._monotonic()):
            _log.warning(
                "a webhook was not taken",
                extra={
                    "path": request.scope["path"][:200],
                    "source": asker,
                    "status": answer.status,
                    "why": answer.reason,
                },
            )
        return answer.response()

    async def _answer(self, request: Request, kind: str, received: datetime) -> "_Answer":
        seconds = self._sources.wait(source(request), self._monotonic())
        if seconds:
            return _Answer(429, "refused", "too many requests from this address", math.ceil(seconds))
        try:
            endpoint = self._endpoint(kind, request.path_params.get("host"))
            if endpoint is None:
                return _Answer(404, "refused", "no such webhook; see docs/webhooks.md for its address")
            async with self._body(request, endpoint.max_body) as body:
                headers = [
                    (name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers.raw
                ]
                return await self._in_thread(self._handle, kind, headers, body, endpoint, received)
        except webhook.Refused as refused:
            return _Answer(refused.status, "refused", refused.reason)
        except _TooMuch:
            return _Answer(503, "busy", "too much to do; send it again", self._limits.retry_seconds)
        except ClientDisconnect:
            return _Answer(400, "refused", "the sender went away")  # nobody reads it
        except GraderError:
            _log.exception("a push was not recorded")
            return _Answer(
                503, "failed", "the push is not recorded; send it again", self._limits.retry_seconds
            )

    @asynccontextmanager
    async def _body(self, request: Request, limit: int) -> AsyncIterator[bytes]:
        """Read the body, and count what is held in memory until its request is answered."""
        announced = request.headers.get("content-length", "")
        if announced.isdecimal() and (len(announced) > 15 or int(announced) > limit):
            raise webhook.Refused(413, f"the body is larger than {limit} bytes")
        chunks: list[bytes] = []
        size = 0
        try:
            try:
                with anyio.fail_after(self._limits.body_seconds):
                    async for chunk in request.stream():
                        size += len(chunk)
                        self._held += len(chunk)
                        chunks.append(chunk)
                        if size > limit:
                            raise webhook.Refused(413, f"the body is larger than {limit} bytes")
                        if self._held > self._limits.held_bytes:
                            raise _TooMuch
            except TimeoutError:
                raise webhook.Refused(408, "the body did not come in time") from None
            yield b"".join(chunks)
        finally:
            self._held -= size

    async def _in_thread(self, work: Callable[..., "_Answer"], *arguments: object) -> "_Answer":
        """Run what blocks in one of a few threads. What has begun goes on when the sender goes away."""
        if self._waiting >= self._limits.waiting:
            raise _TooMuch
        if self._threads is None:
            self._threads = anyio.CapacityLimiter(self._limits.threads)
        self._waiting += 1
        try:
            return await anyio.to_thread.run_sync(work, *arguments, limiter=self._threads)
        finally:
            self._waiting -= 1

    def _handle(
        self,
        kind: str,
        headers: list[tuple[str, str]],
        body: bytes,
        endpoint: webhook.Endpoint,
        received: datetime,
    ) -> "_Answer":
        event = PARSERS[kind](headers, body, endpoint)
        if isinstance(event, Ignored):
            return _Answer(200, "ignored", event.reason)
        if isinstance(event, Ping):
            return _Answer(200, "pong")
        outcome = self._receive(event, received)
        return _Answer(202 if outcome.result == "recorded" else 200, outcome.result, outcome.reason)


@dataclass(frozen=True)
class _Answer:
    status: int
    result: str
    reason: str = ""
    retry_after: int = 0

    @property
    def outcome(self) -> str:
        """What is counted."""
        return f"{self.result} {self.status}" if self.status >= 400 else self.result

    def response(self) -> Response:
        headers = {"Retry-After": str(self.retry_after)} if self.retry_after else {}
        if self.status >= 400:
            headers["Connection"] = "close"  # the rest of a body is not read
        content = {"result": self.result} | ({"reason": self.reason} if self.reason else {})
        return JSONResponse(content, self.status, headers)
