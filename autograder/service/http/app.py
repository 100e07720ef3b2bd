"""The HTTP edge: webhooks for git hosts, health and metrics for machines, pages for staff.

POST /webhook/{github,gitea,gitlab}[/HOST]   a push, see `webhooks`
GET  /healthz                                the process lives
GET  /readyz                                 it can take and grade pushes; else 503
GET  /metrics                                for Prometheus: from this machine, or with the staff token
GET  /login, /static/...                     for everybody
everything else                              for staff, see `pages`
"""

import time
from collections.abc import Callable, Mapping
from datetime import datetime
from importlib import resources
from typing import Protocol

import anyio.to_thread
from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from autograder.hosts import PARSERS, webhook
from autograder.hosts.push import Push
from autograder.service import metrics
from autograder.service.http import pages
from autograder.service.http.client_address import is_local
from autograder.service.http.login import Login
from autograder.service.http.webhooks import Limits, Outcome, Webhooks

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; frame-ancestors 'none'; "
        "base-uri 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
STATIC = {"style.css": "text/css", "icon.svg": "image/svg+xml"}


class Host(Protocol):
    """A git host, as it is configured."""

    @property
    def kind(self) -> str: ...


class Address(Protocol):
    """Where the service is, as it is configured."""

    @property
    def url(self) -> str:
        """Under which people reach it."""


class Config(Protocol):
    """What the edge needs of the configuration."""

    @property
    def hosts(self) -> Mapping[str, Host]: ...
    @property
    def service(self) -> Address: ...


class Course(pages.Course, Protocol):
    """What the edge needs of the course."""

    @property
    def config(self) -> Config: ...

    def endpoint(self, host: str) -> webhook.Endpoint:
        """Return what we know of a host that sends webhooks.

        Raises:
            GraderError: its secret cannot be read.
        """

    def staff_token(self) -> str:
        """Return what staff log in with.

        Raises:
            ConfigError: it is too short, or cannot be read.
        """


class Service(pages.Site, Protocol):
    """What the edge needs of the service. Its methods may block, and are called in threads."""

    @property
    def course(self) -> Course: ...
    @property
    def metrics(self) -> metrics.Metrics: ...

    def receive(self, push: Push, received: datetime) -> Outcome:
        """Bring a push to the disk, and see that it is graded.

        Raises:
            GraderError: it could not be recorded.
        """

    def workers(self) -> int:
        """Return how many workers are alive."""


def create(
    service: Service, limits: Limits | None = None, *, monotonic: Callable[[], float] = time.monotonic
) -> ASGIApp:
    """Return the application.

    Args:
        service: what it stands in front of.
        limits: of webhooks.
        monotonic: seconds, for limits of how often one may ask.

    Raises:
        ConfigError: the staff token is too short, or cannot be read.
    """
    config = service.course.config
    login = Login(
        service.course.staff_token(), secure=config.service.url.startswith("https:"), monotonic=monotonic
    )
    machines = _Machines(service, login)
    staff = pages.Pages(service, login)
    hooks = Webhooks(machines.endpoint, service.receive, service.metrics, limits, monotonic=monotonic)
    app = Starlette(
        routes=[
            Route("/webhook/{kind}", hooks.answer, methods=["POST"]),
            Route("/webhook/{kind}/{host}", hooks.answer, methods=["POST"]),
            Route("/healthz", machines.health),
            Route("/readyz", machines.ready),
            Route("/metrics", machines.metrics),
            Route("/login", staff.log_in, methods=["GET", "POST"]),
            *(Route(f"/static/{name}", _static(name)) for name in STATIC),
        ]
    )
    app.router.redirect_slashes = False  # it would send people to the host that they claim to ask
    app.router.default = staff
    return _Headers(app)


class _Machines:
    """What programs ask for."""

    def __init__(self, service: Service, login: Login) -> None:
        self._service = service
        self._login = login

    def endpoint(self, kind: str, host: str | None) -> webhook.Endpoint | None:
        """Return what we know of a host of this kind: the named one, or the only one."""
        hosts = self._service.course.config.hosts
        names = [name for name, its in hosts.items() if its.kind == kind and kind in PARSERS]
        if host is not None:
            names = [name for name in names if name == host]
        return self._service.course.endpoint(names[0]) if len(names) == 1 else None

    async def health(self, _request: Request) -> Response:
        """Say that the process lives."""
        return PlainTextResponse("ok\n")

    async def ready(self, request: Request) -> Response:
        """Say whether pushes are taken and graded; why not, only to whom that concerns."""
        problems = await anyio.to_thread.run_sync(self._service.ready)
        content: dict[str, object] = {"ready": not problems}
        if problems and self._refused(request) is None:
            content["problems"] = problems
        return JSONResponse(content, 503 if problems else 200)

    async def metrics(self, request: Request) -> Response:
        """Answer Prometheus."""
        refused = self._refused(request)
        if refused:
            return refused
        text = await anyio.to_thread.run_sync(self._measure)
        return Response(text, media_type=metrics.CONTENT_TYPE)

    def _measure(self) -> bytes:
        return self._service.metrics.text(
            metrics.gauges(
                jobs={state.value: count for state, count in self._service.ledger.count_jobs().items()},
                queues=self._service.depths(),
                workers=self._service.workers(),
                problems=len(self._service.ready()),
            )
        )

    def _refused(self, request: Request) -> Response | None:
        """Return what those get who are neither on this machine nor have the staff token."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if not token:
            if is_local(request, self._service.course.config.service.url):
                return None
            return PlainTextResponse("show the staff token\n", 401, {"WWW-Authenticate": "Bearer"})
        seconds = self._login.wait(request)
        if seconds:
            return PlainTextResponse("too many attempts\n", 429, {"Retry-After": str(int(seconds) + 1)})
        if scheme.lower() == "bearer" and self._login.is_token(token.strip()):
            return None
        return PlainTextResponse("that is not the staff token\n", 401, {"WWW-Authenticate": "Bearer"})


class _Headers:
    """Adds to every answer what browsers must know to keep to it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, send_with_headers)


def _static(name: str) -> pages.Answer:
    content = resources.files("autograder.service.http").joinpath("static").joinpath(name).read_bytes()

    async def answer(_request: Request) -> Response:
        return Response(content, media_type=STATIC[name], headers={"Cache-Control": "public, max-age=300"})

    return answer
