"""The web application: webhooks for git hosts, health and metrics for machines, pages for staff.

POST /webhook/KIND[/HOST]   a push; the kinds are those of `hosts.PARSERS`, see `webhooks`
GET  /healthz               the process is alive
GET  /readyz                the service can accept and grade pushes; 503 if not
GET  /metrics               for Prometheus: from this machine, or with the staff token
GET  /login, /static/...    for everybody
everything else             for staff, see `pages`
"""

import time
from collections.abc import Callable
from importlib import resources
from typing import TypeVar

import anyio.to_thread
from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from autograder.errors import GraderError
from autograder.service.http.client_address import is_local
from autograder.service.http.login import Login
from autograder.service.http.pages import Handler, Pages
from autograder.service.http.webhooks import Limits, Webhooks
from autograder.service.metrics import CONTENT_TYPE, gauges
from autograder.service.service import Service

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
T = TypeVar("T")
STATIC = {"style.css": "text/css", "icon.svg": "image/svg+xml"}


def create(
    service: Service, limits: Limits | None = None, *, monotonic: Callable[[], float] = time.monotonic
) -> ASGIApp:
    """Return the application of a service.

    Args:
        service: its methods may block and are called in threads.
        limits: for webhooks.
        monotonic: returns the seconds of a clock that does not go back, for rate limits.

    Raises:
        ConfigError: the staff token is too short, or cannot be read.
    """
    https = service.course.config.service.url.startswith("https:")
    login = Login(
        service.course.staff_token(),
        secure=https,
        proxies=service.course.config.service.proxies,
        monotonic=monotonic,
    )
    machines = _Machines(service, login)
    pages = Pages(service, login)
    webhooks = Webhooks(service, limits, monotonic=monotonic)
    app = Starlette(
        routes=[
            *(
                Route(f"/webhook/{{kind}}{host}{slash}", webhooks.respond, methods=["POST"])
                for host in ("", "/{host}")
                for slash in ("", "/")  # people copy addresses with a slash at the end
            ),
            Route("/healthz", machines.health),
            Route("/readyz", machines.ready),
            Route("/metrics", machines.metrics),
            Route("/login", pages.log_in, methods=["GET", "POST"]),
            *(Route(f"/static/{name}", _static(name)) for name in STATIC),
        ]
    )
    app.router.redirect_slashes = False  # a redirect would contain the host name that the client sent
    app.router.default = pages
    return _Headers(_OneLength(app))


class _Machines:
    """The paths that programs request: health and metrics."""

    def __init__(self, service: Service, login: Login) -> None:
        self._service = service
        self._login = login

    async def health(self, _request: Request) -> Response:
        """Report that the process is alive."""
        return PlainTextResponse("ok\n")

    async def ready(self, request: Request) -> Response:
        """Report whether pushes are accepted and graded.

        Only those who may see metrics are told the problems.
        """
        problems = await anyio.to_thread.run_sync(self._service.problems)
        content: dict[str, object] = {"ready": not problems}
        if problems and self._refusal(request) is None:
            content["problems"] = problems
        return JSONResponse(content, 503 if problems else 200)

    async def metrics(self, request: Request) -> Response:
        """Return the metrics in Prometheus' text format."""
        refusal = self._refusal(request)
        if refusal:
            return refusal
        text = await anyio.to_thread.run_sync(self._measure)
        return Response(text, media_type=CONTENT_TYPE)

    def _measure(self) -> bytes:
        """Return the metrics. Gauges that cannot be read are left out, and `autograder_problems` is above 0."""
        service = self._service

        def count_jobs() -> dict[str, int]:
            return {state.value: count for state, count in service.ledger.count_jobs().items()}

        return service.metrics.text(
            gauges(
                jobs=_read(count_jobs),
                queues=_read(service.depths),
                workers=_read(service.workers),
                problems=len(service.problems()),
            )
        )

    def _refusal(self, request: Request) -> Response | None:
        """Return the response for a client that may not see metrics, None for a client that may.

        A client may see metrics if it is on this machine, or if it shows the staff token.
        """
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


class _OneLength:
    """Refuses a request that states the length of its body in two ways, and ends the connection.

    Whoever sends such a request hopes that a proxy and the service disagree about where the body ends.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and {"content-length", "transfer-encoding"} <= set(Headers(scope=scope)):
            app: ASGIApp = PlainTextResponse("two lengths of one body\n", 400, {"Connection": "close"})
        else:
            app = self._app
        await app(scope, receive, send)


class _Headers:
    """Adds to every response the rules that browsers must follow."""

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


def _read(read: Callable[[], T]) -> T | None:
    try:
        return read()
    except GraderError:
        return None


def _static(name: str) -> Handler:
    content = resources.files("autograder.service.http").joinpath("static").joinpath(name).read_bytes()

    async def respond(_request: Request) -> Response:
        return Response(content, media_type=STATIC[name], headers={"Cache-Control": "public, max-age=300"})

    return respond
