"""Staff log in with one token and receive a signed cookie that lasts twelve hours.

The cookie holds a random id of the login and the time at which the login began. It is signed with a key derived from
the token, so a new token ends every login. The server stores only the logins that were ended early.
"""

import hashlib
import hmac
import secrets
import time
from collections.abc import Callable, Collection
from urllib.parse import urlsplit

from itsdangerous import BadSignature, TimestampSigner
from starlette.requests import HTTPConnection
from starlette.responses import Response

from autograder.errors import ConfigError
from autograder.service.http.client_address import client_address
from autograder.service.http.rate_limit import TokenBucket

SECONDS = 12 * 3600  # how long a login lasts
MIN_TOKEN = 16  # characters
ATTEMPTS, PAUSE = 5, 10.0  # attempts of a client address: ATTEMPTS at once, then one every PAUSE seconds


class Login:
    """The staff token, and who has logged in with it."""

    def __init__(
        self,
        token: str,
        *,
        secure: bool = False,
        proxies: Collection[str] = (),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Create the object; no login has been ended yet.

        Args:
            token: the staff token.
            secure: whether the cookie is restricted to https.
            proxies: see `client_address`.
            monotonic: returns the seconds of a clock that does not go back, for the limit on attempts.

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
        self._proxies = tuple(proxies)
        self._ended: dict[str, float] = {}  # id of a login -> until when its cookie would be valid
        self.cookie = "__Host-autograder" if secure else "autograder"

    def wait(self, request: HTTPConnection) -> float:
        """Count an attempt to show the token. Return 0.0 if it is allowed, otherwise the seconds until one is."""
        return self._attempts.wait(client_address(request, self._proxies), self._monotonic())

    def is_token(self, shown: str) -> bool:
        """Whether `shown` is the staff token. The check takes the same time for every wrong token."""
        return hmac.compare_digest(
            hashlib.sha256(shown.encode("utf-8", "backslashreplace")).digest(), self._digest
        )

    def begin(self, response: Response) -> None:
        """Log in whoever receives `response`."""
        value = self._signer.sign(secrets.token_urlsafe(16)).decode()
        response.set_cookie(
            self.cookie, value, max_age=SECONDS, httponly=True, samesite="strict", secure=self._secure
        )

    def end(self, request: HTTPConnection, response: Response) -> None:
        """End the login of `request`, here and in the browser that receives `response`."""
        login = self._login_of(request)
        now = self._monotonic()
        self._ended = {name: until for name, until in self._ended.items() if until > now}
        if login:
            self._ended[login] = now + SECONDS
        response.delete_cookie(self.cookie, httponly=True, samesite="strict", secure=self._secure)

    def is_staff(self, request: HTTPConnection) -> bool:
        """Whether `request` belongs to a login that has not ended."""
        login = self._login_of(request)
        return login is not None and login not in self._ended

    def _login_of(self, request: HTTPConnection) -> str | None:
        """Return the id of the login in the cookie of `request`, None if there is no valid login."""
        value = request.cookies.get(self.cookie)
        if not value or len(value) > 200:
            return None
        try:
            return self._signer.unsign(value, max_age=SECONDS).decode()
        except (BadSignature, ValueError):
            return None


def from_our_page(request: HTTPConnection, url: str) -> bool:
    """Whether the browser reports that the form was sent from one of our pages. Other programs report nothing.

    Args:
        request: that sends the form.
        url: the configured address of our pages. The Host header is compared too, because the service may be reached
            under another name; a proxy may have removed the port from that header.
    """
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return False
    origin = request.headers.get("origin")
    try:
        ours = (request.headers.get("host", ""), urlsplit(url).netloc)
        return origin is None or urlsplit(origin).netloc in ours
    except ValueError:
        return False
