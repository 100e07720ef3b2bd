"""How uvicorn listens: one process, limits of number, size and time, nothing said about itself.

uvicorn waits for ever for the head of a request; `Listener` does not.
"""

import asyncio
from typing import Any

import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_SECONDS = 10.0  # for a request's line and headers
HEAD_BYTES = 64 * 1024
KEEP_ALIVE_SECONDS = 5
CONNECTIONS = 600  # at once; files of a process are limited, too


class Listener(H11Protocol):
    """HTTP/1.1 that closes a connection on which no whole head of a request arrives in time."""

    head_seconds = HEAD_SECONDS
    _head: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a request."""
        super().connection_made(transport)
        self._await_head()

    def data_received(self, data: bytes) -> None:
        """Go on waiting where the head is still not whole."""
        super().data_received(data)
        if self.conn.their_state is h11.IDLE and self.timeout_keep_alive_task is None:
            self._await_head()
        else:
            self._have_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._have_head()
        super().connection_lost(exc)

    def _await_head(self) -> None:
        if self._head is None:
            self._head = self.loop.call_later(self.head_seconds, self.transport.abort)

    def _have_head(self) -> None:
        if self._head is not None:
            self._head.cancel()
            self._head = None


def config(app: ASGIApp, **settings: Any) -> uvicorn.Config:
    """Return uvicorn's configuration for the service.

    Args:
        app: what answers.
        settings: more of `uvicorn.Config`: host and port, or fd.
    """
    return uvicorn.Config(
        app,
        **{
            "http": Listener,
            "ws": "none",
            "loop": "asyncio",
            "interface": "asgi3",
            "log_config": None,  # the service's own
            "access_log": False,  # a path may name a student; webhooks and jobs are logged by what they do
            "proxy_headers": False,
            "server_header": False,
            "limit_concurrency": CONNECTIONS,
            "backlog": 1024,
            "timeout_keep_alive": KEEP_ALIVE_SECONDS,
            "h11_max_incomplete_event_size": HEAD_BYTES,
            **settings,
        },
    )
