"""Staff log in with one token, and get a signed cookie for twelve hours.

The cookie holds a random name of the session and when it began, signed with a key made of the token: a new token
ends every session. The server keeps nothing but the sessions that were ended before their time.
"""

import hashlib
import hmac
import secrets
import time
from collections.abc import Callable
from urllib.parse import urlsplit

from itsdangerous import BadSignature, TimestampSigner
from starlette.requests import HTTPConnection
from starlette.responses import Response

from autograder.errors import ConfigError
from autograder.service.http.client_address import source
from autograder.service.http.rate_limit import TokenBucket

SECONDS = 12 * 3600  # of a session
MIN_TOKEN = 16  # characters
ATTEMPTS, PAUSE = 5, 10.0  # of one address at once, then one in so many seconds


class Login:
    """The staff token, and who showed it."""

    def __init__(
        self, token: str, *, secure: bool = False, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        """Begin without any session ended.

        Args:
            token: the staff's.
            secure: whether the cookie is for https only.
            monotonic: seconds, for the limit of attempts.

        Raises:
            ConfigError: the token is too short to be safe.
        """
        if len(token) < MIN_TOKEN:
            raise ConfigError(
                f"the staff token is shorter than {MIN_TOKEN} characters; remove its file and start again to get "
                "a new one"
            )
        self._digest = hashlib.sha256(token.encode()).digest()
        self._signer = TimestampSigner(
            token, salt="autograder staff page", key_derivation="hmac", digest_method=hashlib.sha256
        )
        self._attempts = TokenBucket(rate=1 / PAUSE, burst=ATTEMPTS)
        self._monotonic = monotonic
        self._secure = secure
        self._ended: dict[str, float] = {}  # session -> until when its cookie would hold
        self.cookie = "__Host-autograder" if secure else "autograder"

    def wait(self, request: HTTPConnection) -> float:
        """Count one attempt to show the token: return 0.0, or how many seconds it must wait."""
        return self._attempts.wait(source(request), self._monotonic())

    def is_token(self, shown: str) -> bool:
        """Whether this is the staff token. Takes as long for every wrong one."""
        return hmac.compare_digest(
            hashlib.sha256(shown.encode("utf-8", "backslashreplace")).digest(), self._digest
        )

    def begin(self, response: Response) -> None:
        """Give a new session to whom `response` goes."""
        value = self._signer.sign(secrets.token_urlsafe(16)).decode()
        response.set_cookie(
            self.cookie, value, max_age=SECONDS, httponly=True, samesite="strict", secure=self._secure
        )

    def end(self, request: HTTPConnection, response: Response) -> None:
        """End the session that `request` comes with, here and in the browser."""
        session = self._session(request)
        now = self._monotonic()
        self._ended = {name: until for name, until in self._ended.items() if until > now}
        if session:
            self._ended[session] = now + SECONDS
        response.delete_cookie(self.cookie, httponly=True, samesite="strict", secure=self._secure)

    def is_staff(self, request: HTTPConnection) -> bool:
        """Whether `request` comes with a session that goes on."""
        session = self._session(request)
        return session is not None and session not in self._ended

    def _session(self, request: HTTPConnection) -> str | None:
        value = request.cookies.get(self.cookie)
        if not value or len(value) > 200:
            return None
        try:
            return self._signer.unsign(value, max_age=SECONDS).decode()
        except (BadSignature, ValueError):
            return None


def from_our_page(request: HTTPConnection) -> bool:
    """Whether a form was sent from a page of ours, as far as the browser says; other programs say nothing."""
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return False
    origin = request.headers.get("origin")
    try:
        return origin is None or urlsplit(origin).netloc == request.headers.get("host", "")
    except ValueError:
        return False
