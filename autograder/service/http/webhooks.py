"""Webhooks over HTTP: the body is read within limits, then the module for the kind of git host turns it into an event.

The status of a response is one of these:

    404  no configured host has this address
    408  the body did not arrive in time
    413  the body is too large; this is decided before the body is read if the sender announces its size
    429  this client sends too many requests
    503  the ledger fails, or the service is busy: the host shows the delivery as failed and can send it again

or the status of `webhook.Refused`. Every other status is a 2xx, and it is sent only after the push is on the disk.
No body is read of a sender who shows no signature.
Responses are JSON: `{"result": "recorded"}`.
"""

import logging
import math
import time
from collections import Counter
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
from autograder.hosts import HEAD_CHECKS, PARSERS, webhook
from autograder.hosts.push import Ignored, Ping
from autograder.service.http.client_address import client_address
from autograder.service.http.rate_limit import TokenBucket
from autograder.service.service import Service

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Limits:
    """The limits of webhooks.

    Attributes:
        rate, burst: a client address may send `burst` requests at once, then `rate` a second. All students of a course
            push through one git host, often in the same hour, and no push may be lost.
        body_seconds: how long a whole body may take to arrive.
        held_bytes: how many bytes of bodies may be in memory, over all requests.
        held_bytes_of_one: the same, over the requests of one client address. So one address cannot keep others out.
        threads: the number of threads that record pushes.
        waiting: how many requests may wait for these threads or run in them.
        retry_seconds: how long a sender should wait before it tries again if the service is busy.
    """

    rate: float = 50.0
    burst: int = 1000
    body_seconds: float = 15.0
    held_bytes: int = 256 * 2**20
    held_bytes_of_one: int = 64 * 2**20
    threads: int = 8
    waiting: int = 1000
    retry_seconds: int = 30


class _Busy(Exception):
    """The service cannot take this request at the moment."""


class Webhooks:
    """Responds to `POST /webhook/KIND` and `POST /webhook/KIND/HOST`."""

    def __init__(
        self,
        service: Service,
        limits: Limits | None = None,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Create the object; no request is in progress yet.

        Args:
            service: receives the pushes, and counts the requests.
            limits: for the requests.
            monotonic: returns the seconds of a clock that does not go back, for the rate limit.
        """
        self._service = service
        self._limits = limits or Limits()
        self._monotonic = monotonic
        self._clients = TokenBucket(rate=self._limits.rate, burst=self._limits.burst)
        self._logged = TokenBucket(rate=0.1, burst=10)  # so that nobody can fill the disk with log lines
        self._lost = TokenBucket(rate=1.0, burst=60)  # so that nobody can keep the ledger busy
        self._held: Counter[str] = Counter()  # client address -> bytes of its bodies in memory
        self._waiting = 0
        self._threads: anyio.CapacityLimiter | None = None  # made in the event loop that uses it

    async def respond(self, request: Request) -> Response:
        """Respond to one request. The path of the request names the `kind` and may name the `host`."""
        # The time is taken before the body is read, so a slow body does not make a push late.
        received = datetime.now(timezone.utc)
        kind = request.path_params["kind"]
        client = client_address(request, self._service.course.config.service.proxies)
        result = await self._result(request, client, kind, received)
        if kind in PARSERS:
            self._service.metrics.webhook(kind, result.label)
        if result.lost and not self._lost.wait(client, self._monotonic()):
            await anyio.to_thread.run_sync(self._service.lost, kind, result.subject, result.reason)
        if result.status >= 400 and not self._logged.wait(client, self._monotonic()):
            facts = {"path": request.scope["path"][:200], "client": client}
            _log.warning(
                "webhook not accepted", extra=facts | {"status": result.status, "reason": result.reason}
            )
        return result.response()

    async def _result(self, request: Request, client: str, kind: str, received: datetime) -> "_Result":
        retry = self._limits.retry_seconds
        seconds = self._clients.wait(client, self._monotonic())
        if seconds:
            return _Result(429, "refused", "too many requests from this address", math.ceil(seconds))
        try:
            endpoint = _endpoint(self._service.course, kind, request.path_params.get("host"))
            if endpoint is None:
                return _Result(404, "refused", "no such webhook; docs/webhooks.md lists the addresses")
            _refuse_large(request, endpoint.max_body)
            headers = [
                (name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers.raw
            ]
            HEAD_CHECKS[kind](headers, endpoint)
            async with self._body(request, client, endpoint.max_body) as body:
                return await self._in_thread(self._handle, kind, headers, body, endpoint, received)
        except webhook.Refused as refused:
            return _Result(
                refused.status, "refused", refused.reason, subject=request.path_params.get("host") or kind
            )
        except _Busy:
            return _Result(503, "busy", "the service is busy; send it again", retry)
        except ClientDisconnect:
            return _Result(400, "refused", "the sender disconnected")  # never sent: only logged and counted
        except GraderError:
            _log.exception("a push could not be recorded")
            return _Result(503, "failed", "the push could not be recorded; send it again", retry)

    @asynccontextmanager
    async def _body(self, request: Request, client: str, limit: int) -> AsyncIterator[bytes]:
        """Read the body. Its bytes count as held in memory until the response is ready."""
        chunks: list[bytes] = []
        size = 0
        try:
            try:
                with anyio.fail_after(self._limits.body_seconds):
                    async for chunk in request.stream():
                        size += len(chunk)
                        self._held[client] += len(chunk)
                        chunks.append(chunk)
                        if size > limit:
                            raise webhook.Refused(413, f"the body is larger than {limit} bytes")
                        if (
                            self._held[client] > self._limits.held_bytes_of_one
                            or self._held.total() > self._limits.held_bytes
                        ):
                            raise _Busy
            except TimeoutError:
                raise webhook.Refused(408, "the body did not arrive in time") from None
            yield b"".join(chunks)
        finally:
            self._held[client] -= size
            if self._held[client] == 0:
                del self._held[client]

    async def _in_thread(self, work: Callable[..., "_Result"], *arguments: object) -> "_Result":
        """Run blocking work in one of a few threads. Work that has started finishes, even if the sender disconnects."""
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


def _refuse_large(request: Request, limit: int) -> None:
    """Refuse a body that announces more than `limit` bytes."""
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and (len(announced) > 15 or int(announced) > limit):
        raise webhook.Refused(413, f"the body is larger than {limit} bytes")


def _endpoint(course: Course, kind: str, host: str | None) -> webhook.Endpoint | None:
    """Return the endpoint of the host `host`, which must be of the kind `kind`. Without a name: of the only such host.

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
    subject: str = ""  # whose delivery it was

    @property
    def lost(self) -> bool:
        """Whether a delivery did not become a push and staff should know: a wrong signature, a malformed push."""
        return bool(self.subject) and self.status in (400, 401, 413, 415, 422)

    @property
    def label(self) -> str:
        """The name under which metrics count this result."""
        return f"{self.result} {self.status}" if self.status >= 400 else self.result

    def response(self) -> Response:
        headers = {"Retry-After": str(self.retry_after)} if self.retry_after else {}
        if self.status >= 400:
            headers["Connection"] = "close"  # the rest of the body is not read
        content = {"result": self.result} | ({"reason": self.reason} if self.reason else {})
        return JSONResponse(content, self.status, headers)
