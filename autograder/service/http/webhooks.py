"""Webhooks over HTTP: the body is read within limits, the module of the host's kind turns it into an event.

    404  no configured host has this address
    408  the body did not arrive in time
    413  the body is too large; decided before it is read if the sender announces its size
    429  this client sends too many requests
    503  the ledger fails, or the service is busy: the host shows the delivery as failed and can send it again

or the status of `webhook.Refused`. Every other status is a 2xx and is sent only once the push is on disk. Responses are
JSON: `{"result": "recorded"}`.
"""

import logging
import math
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timezone

import anyio
import anyio.to_thread
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from autograder.course.course import Course
from autograder.errors import GraderError
from autograder.hosts import PARSERS, webhook
from autograder.hosts.push import Ignored, Ping
from autograder.service.http.client_address import client_address
from autograder.service.http.rate_limit import TokenBucket
from autograder.service.service import Service

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Limits:
    """What webhooks may use.

    Attributes:
        rate, burst: requests from one client address: so many at once, then so many a second. All students of a course
            push through one git host, often in the same hour, and none of these pushes may be lost.
        body_seconds: until a whole body has arrived.
        held_bytes: of bodies in memory, over all requests.
        threads: that record pushes.
        waiting: requests that wait for one of these threads or are in one.
        retry_seconds: after which a sender should try again if the service is busy.
    """

    rate: float = 50.0
    burst: int = 1000
    body_seconds: float = 15.0
    held_bytes: int = 256 * 2**20
    threads: int = 8
    waiting: int = 1000
    retry_seconds: int = 30


class _Busy(Exception):
    """The service has too much to do at the moment."""


class Webhooks:
    """Responds to `POST /webhook/KIND` and `POST /webhook/KIND/HOST`."""

    def __init__(
        self,
        service: Service,
        limits: Limits | None = None,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start with no request in progress.

        Args:
            service: receives the pushes, and counts the requests.
            limits: what they may use.
            monotonic: seconds, for the rate limit.
        """
        self._service = service
        self._limits = limits or Limits()
        self._monotonic = monotonic
        self._clients = TokenBucket(rate=self._limits.rate, burst=self._limits.burst)
        self._logged = TokenBucket(rate=0.1, burst=10)  # so that nobody can fill the disk with log lines
        self._held = 0
        self._waiting = 0
        self._threads: anyio.CapacityLimiter | None = None  # made in the event loop that uses it

    async def respond(self, request: Request) -> Response:
        """Respond to one request; its path names the `kind` and may name the `host`."""
        received = datetime.now(timezone.utc)  # the headers are here; a slow body does not make a push late
        kind = request.path_params["kind"]
        result = await self._result(request, kind, received)
        if kind in PARSERS:
            self._service.metrics.webhook(kind, result.label)
        client = client_address(request)
        if result.status >= 400 and not self._logged.wait(client, self._monotonic()):
            facts = {"path": request.scope["path"][:200], "client": client}
            _log.warning(
                "webhook not accepted", extra=facts | {"status": result.status, "reason": result.reason}
            )
        return result.response()

    async def _result(self, request: Request, kind: str, received: datetime) -> "_Result":
        retry = self._limits.retry_seconds
        seconds = self._clients.wait(client_address(request), self._monotonic())
        if seconds:
            return _Result(429, "refused", "too many requests from this address", math.ceil(seconds))
        try:
            endpoint = _endpoint(self._service.course, kind, request.path_params.get("host"))
            if endpoint is None:
                return _Result(404, "refused", "no such webhook; docs/webhooks.md lists the addresses")
            async with self._body(request, endpoint.max_body) as body:
                headers = [
                    (name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers.raw
                ]
                return await self._in_thread(self._handle, kind, headers, body, endpoint, received)
        except webhook.Refused as refused:
            return _Result(refused.status, "refused", refused.reason)
        except _Busy:
            return _Result(503, "busy", "the service is busy; send it again", retry)
        except ClientDisconnect:
            return _Result(400, "refused", "the sender disconnected")  # only logged and counted
        except GraderError:
            _log.exception("a push could not be recorded")
            return _Result(503, "failed", "the push could not be recorded; send it again", retry)

    @asynccontextmanager
    async def _body(self, request: Request, limit: int) -> AsyncIterator[bytes]:
        """Read the body; count the bytes held in memory until the response is ready."""
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
                            raise _Busy
            except TimeoutError:
                raise webhook.Refused(408, "the body did not arrive in time") from None
            yield b"".join(chunks)
        finally:
            self._held -= size

    async def _in_thread(self, work: Callable[..., "_Result"], *arguments: object) -> "_Result":
        """Run blocking work in one of a few threads. Once started it finishes, even if the sender disconnects."""
        if self._waiting >= self._limits.waiting:
            raise _Busy
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
    ) -> "_Result":
        event = PARSERS[kind](headers, body, endpoint)
        if isinstance(event, Ignored):
            return _Result(200, "ignored", event.reason)
        if isinstance(event, Ping):
            return _Result(200, "pong")
        receipt = self._service.receive(event, received)
        return _Result(202 if receipt.result == "recorded" else 200, receipt.result, receipt.reason)


def _endpoint(course: Course, kind: str, host: str | None) -> webhook.Endpoint | None:
    """Return the endpoint for the named host of a kind, or for the only host of that kind if `host` is None.

    Returns None if there is no such host, or if several hosts could be meant.

    Raises:
        GraderError: the host's secret cannot be read.
    """
    names = [name for name, its in course.config.hosts.items() if its.kind == kind and kind in PARSERS]
    if host is not None:
        names = [name for name in names if name == host]
    return course.endpoint(names[0]) if len(names) == 1 else None


@dataclass(frozen=True)
class _Result:
    status: int
    result: str
    reason: str = ""
    retry_after: int = 0

    @property
    def label(self) -> str:
        """The result as metrics count it."""
        return f"{self.result} {self.status}" if self.status >= 400 else self.result

    def response(self) -> Response:
        headers = {"Retry-After": str(self.retry_after)} if self.retry_after else {}
        if self.status >= 400:
            headers["Connection"] = "close"  # the rest of the body is not read
        content = {"result": self.result} | ({"reason": self.reason} if self.reason else {})
        return JSONResponse(content, self.status, headers)
