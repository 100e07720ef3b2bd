"""How uvicorn listens: one process, limits on number, size and time, and no server header.

uvicorn waits indefinitely for the head of a request, which is its request line and headers. `timeout_keep_alive` starts
only after a response and ends with the first byte. `h11_max_incomplete_event_size` limits bytes, not time. The
application is called only after the head has arrived. `Listener` adds the missing time limit.
"""

import asyncio
from typing import Any

import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_SECONDS = 10.0  # for the head of a request
HEAD_BYTES = 64 * 1024
KEEP_ALIVE_SECONDS = 5
CONNECTIONS = 600  # at the same time; a process can also have only so many open files


class Listener(H11Protocol):
    """HTTP/1.1 that closes a connection if the whole head of a request does not arrive in time.

    `uvicorn.Config` takes a protocol class as `http`, but uvicorn documents no class to derive from. This class derives
    from `H11Protocol` nevertheless, since no setting has this effect. It relies only on asyncio's callbacks and on
    `conn`, the h11 connection.
    """

    head_seconds = HEAD_SECONDS
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the timer for the first request."""
        super().connection_made(transport)
        self._abort = transport.abort
        self._start_timer()

    def data_received(self, data: bytes) -> None:
        """Stop the timer if the head is complete. Otherwise make sure that a timer runs."""
        super().data_received(data)
        if self.conn.their_state is h11.IDLE:
            self._start_timer()
        else:
            self._stop_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timer."""
        self._stop_timer()
        super().connection_lost(exc)

    def _start_timer(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self.head_seconds, self._abort)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def config(app: ASGIApp, **settings: Any) -> uvicorn.Config:
    """Return uvicorn's configuration for the service.

    Args:
        app: the application.
        settings: further settings of `uvicorn.Config`, such as host and port, or fd.
    """
    return uvicorn.Config(
        app,
        **{
            "http": Listener,
            "ws": "none",
            "loop": "asyncio",
            "interface": "asgi3",
            "log_config": None,  # the service sets up its own log
            "access_log": False,  # a path may name a student; webhooks and jobs log what they do
            "proxy_headers": False,
            "server_header": False,
            "limit_concurrency": CONNECTIONS,
            "backlog": 1024,
            "timeout_keep_alive": KEEP_ALIVE_SECONDS,
            "h11_max_incomplete_event_size": HEAD_BYTES,
            **settings,
        },
    )
