"""GitHub: its webhooks, its record of pushes, and the tokens of a GitHub App.

A GitHub App opens the repositories of one installation with short-lived tokens. The App's private key signs a JSON Web
Token that is valid for nine minutes. GitHub exchanges it for an installation token. The installation token is valid for
an hour, and only for the permissions that we ask for: to read and write contents. We keep it in memory until shortly
before it expires.
"""

import json
import ssl
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import jwt
import msgspec

from autograder.errors import ConfigError
from autograder.git.process import GitHostError
from autograder.hosts.api import Api, NoRedirect
from autograder.hosts.push import Event, Move, Ping
from autograder.hosts.record import decoded, ordered, paged
from autograder.hosts.webhook import (
    Endpoint,
    Headers,
    Person,
    Repository,
    SignedHead,
    SignedRequest,
    name_of,
    unknown,
)

VERSION = "2022-11-28"
PERMISSIONS = {"contents": "write"}
SIGNED_FOR = timedelta(minutes=9)  # GitHub accepts up to ten minutes
DRIFT = timedelta(minutes=1)  # this machine's clock may be ahead of GitHub's
RENEW = timedelta(minutes=5)  # this long before a token expires; a fetch or a push takes less time
SECONDS = 20.0
MAX_RESPONSE = 64 << 10


def check_head(headers: Headers, endpoint: Endpoint) -> None:
    """Refuse a request whose headers already show that its sender does not have the secret.

    Raises:
        Refused: the request is not accepted, see `webhook`.
    """
    SignedHead(headers, endpoint).signature("x-hub-signature-256", prefix="sha256=")


def parse(headers: Headers, body: bytes, endpoint: Endpoint) -> Event:
    """Return the event that a request from GitHub describes.

    Raises:
        Refused: the request is not accepted, see `webhook`.
    """
    request = SignedRequest(headers, body, endpoint)
    request.require_hmac("x-hub-signature-256", prefix="sha256=")
    request.require_json()
    event, delivery = request.event("x-github-event"), request.delivery("x-github-delivery")
    if event == "ping":
        return Ping(endpoint.host, delivery)
    if event != "push":
        return unknown(event)
    payload = request.decode(_GithubPush)
    return request.push(
        payload.repository.full_name,
        payload.ref,
        payload.before,
        payload.after,
        name_of(payload.sender) or name_of(payload.pusher),
        delivery,
    )


def moves(api: Api, owner: str, name: str, branch: str) -> list[Move]:
    """Return the last moves of a branch, the oldest first: at most 100 of the last three months.

    GitHub's documentation calls them activities: `GET /repos/{owner}/{repo}/activity`.

    Raises:
        GitHostError: GitHub did not respond, or refused.
    """
    query = urlencode({"ref": f"refs/heads/{branch}", "time_period": "quarter", "per_page": 100})
    rows = decoded(
        api, api.get(f"/repos/{quote(owner)}/{quote(name)}/activity?{query}", _headers(api)), _Activity
    )
    return ordered(
        Move(row.before, row.after, at)
        for row in rows
        if row.ref == f"refs/heads/{branch}" and (at := row.timestamp or row.pushed_at) is not None
    )


def names(api: Api, owner: str) -> list[str]:
    """Return the names of the repositories of an organisation, or of a user.

    Raises:
        GitHostError: GitHub did not respond, or refused.
    """
    return paged(lambda page: api.get(f"/orgs/{quote(owner)}/repos?per_page=100&page={page}", _headers(api)))


def _headers(api: Api) -> dict[str, str]:
    headers = {"Accept": "application/vnd.github+json", "X-GitHub-Api-Version": VERSION}
    return headers | ({"Authorization": f"Bearer {api.token}"} if api.token else {})


class _Activity(msgspec.Struct):
    before: str
    after: str
    ref: str
    timestamp: datetime | None = None  # in the schema of GitHub's description of its API
    pushed_at: datetime | None = None  # in the example of the same description


class _GithubPush(msgspec.Struct):
    ref: str
    before: str
    after: str
    repository: Repository
    sender: Person | None = None
    pusher: Person | None = None


def default_api(host: str) -> str:
    """Return the base of the REST API of github.com, or of an Enterprise Server called `host`."""
    return "https://api.github.com" if host.partition(":")[0] == "github.com" else f"https://{host}/api/v3"


@dataclass(frozen=True)
class App:
    """A GitHub App as it is configured.

    Attributes:
        host: name for messages.
        api: base of the REST API.
        app_id: the App's id, or its client id.
        installation: id of the App's installation in the organisation that owns the repositories.
        key: the private key (PEM).
        ca_file: certificates to trust in place of the system's.
    """

    host: str
    api: str
    app_id: str
    installation: int
    key: str = field(repr=False)
    ca_file: Path | None = None


class AppTokens:
    """Installation tokens, each requested once and kept until it expires. Safe to share between threads."""

    def __init__(self, clock: Callable[[], datetime] = lambda: datetime.now(timezone.utc)) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: dict[App, tuple[str, datetime]] = {}

    def token(self, app: App) -> str:
        """Return a token that is valid for at least five minutes.

        Raises:
            ConfigError: the key is not an RSA private key.
            GitHostError: GitHub did not respond, or refused; another try may help.
        """
        with self._lock:
            kept = self._kept.get(app)
            if kept is None or kept[1] - self._clock() < RENEW:
                kept = self._kept[app] = self._ask(app)
            return kept[0]

    def _ask(self, app: App) -> tuple[str, datetime]:
        request = urllib.request.Request(  # noqa: S310 (https or loopback: the configuration was checked)
            f"{app.api}/app/installations/{app.installation}/access_tokens",
            data=json.dumps({"permissions": PERMISSIONS}).encode(),
            headers={
                "Accept": "application/vnd.github+json",
                "Authorization": f"Bearer {signed(app, self._clock())}",
                "Content-Type": "application/json",
                "User-Agent": "autograder",
                "X-GitHub-Api-Version": VERSION,
            },
        )
        context = ssl.create_default_context(cafile=app.ca_file) if app.api.startswith("https:") else None
        handlers = [NoRedirect(), urllib.request.ProxyHandler({})]
        if context is not None:
            handlers.append(urllib.request.HTTPSHandler(context=context))
        try:
            with urllib.request.build_opener(*handlers).open(request, timeout=SECONDS) as response:
                return _read(response.read(MAX_RESPONSE + 1))
        except urllib.error.HTTPError as error:
            error.close()
            advice = (
                "; check app_id, app_installation and app_key_file" if error.code in (401, 403, 404) else ""
            )
            raise GitHostError(
                f"{app.host}: no token for the GitHub App: status {error.code}{advice}"
            ) from None
        except (OSError, HTTPException, ValueError) as error:
            raise GitHostError(f"{app.host}: no token for the GitHub App: {error}") from None


def signed(app: App, now: datetime) -> str:
    """Return the JSON Web Token by which the App proves its identity (RFC 7519).

    Raises:
        ConfigError: the key is not an RSA private key.
    """
    claims = {"iat": now - DRIFT, "exp": now + SIGNED_FOR, "iss": app.app_id}
    try:
        return jwt.encode(claims, app.key, algorithm="RS256")
    except (jwt.InvalidKeyError, ValueError, TypeError):
        raise ConfigError(
            f"the key of the GitHub App of {app.host} is not an RSA private key in PEM; download it from the App's page"
        ) from None


def _read(response: bytes) -> tuple[str, datetime]:
    """Return the token in GitHub's response, and when it expires.

    Raises:
        ValueError: the response does not have the expected form.
    """
    if len(response) > MAX_RESPONSE:
        raise ValueError("the response is too long")
    data: Any = json.loads(response)
    token, until = (data.get("token"), data.get("expires_at")) if isinstance(data, dict) else (None, None)
    if not isinstance(token, str) or not token or not isinstance(until, str):
        raise ValueError("the response holds no token")
    end = datetime.fromisoformat(until.replace("Z", "+00:00"))
    if end.tzinfo is None:
        raise ValueError("the response's date has no time zone")
    return token, end
