"""GitHub: its webhooks, its record of pushes, what we change there, and the tokens of a GitHub App.

A GitHub App opens the repositories of one installation with short-lived tokens. The App's private key signs a JSON Web
Token that is valid for nine minutes. GitHub exchanges it for an installation token. The installation token is valid for
an hour, and only for the permissions that we ask for. We keep it in memory until shortly before it
expires.
"""

import json
import ssl
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
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
from autograder.hosts.api import Api, NoRedirect, Refusal
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
from autograder.hosts.writes import (
    CONTEXT,
    Account,
    Branches,
    Granted,
    State,
    Status,
    account_in,
    rows,
    text,
    unless,
    without_case,
)

VERSION = "2022-11-28"
CONTENTS = {"contents": "write"}
STATUSES = {"statuses": "write"}
# The starter has a workflow, and GitHub takes such a file only with this permission.
ADMINISTRATION = {
    "administration": "write",
    "contents": "write",
    "repository_hooks": "write",
    "workflows": "write",
}
STATES = {
    State.PENDING: "pending",
    State.GRADED: "success",
    State.NOT_GRADED: "failure",
    State.PASSED_OVER: "success",  # GitHub has no other that is not a failure
    State.FAULT: "error",
}
RULES = "autograder: {}"  # the name of our ruleset for a branch
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


def account(api: Api) -> Account:
    """Return whose token this is.

    Raises:
        GitHostError: GitHub did not respond, or refused.
    """
    return account_in(api, api.call("GET", "/user", _headers(api)), "login")


def exists(api: Api, owner: str, name: str) -> bool:
    """Whether there is a repository of this name that the token may see.

    Raises:
        GitHostError: GitHub did not respond, or refused.
    """
    return unless(api, "GET", _path(owner, name), _headers(api), status=[404]) is not None


def create(api: Api, owner: str, name: str, _branch: str) -> None:
    """Make a private, empty repository of an organisation, or of the token's own account.

    The branch that is pushed first becomes its default branch.

    Raises:
        GitHostError: GitHub did not respond, or refused.
    """
    body = {"name": name, "private": True, "auto_init": False}
    try:
        if unless(api, "POST", f"/orgs/{quote(owner)}/repos", _headers(api), body, status=[404]) is None:
            if account(api).login.lower() != owner.lower():
                raise GitHostError(
                    f"{api.host}: there is no organization {owner} in which the token may make repositories"
                )
            api.call("POST", "/user/repos", _headers(api), body)
    except Refusal as error:  # another run of the command may have been faster
        if error.status != 422 or not exists(api, owner, name):
            raise


def grant(api: Api, owner: str, name: str, logins: Sequence[str]) -> Granted:
    """Give these accounts the right to push. GitHub invites who is not a member of the organization.

    Raises:
        GitHostError: GitHub did not respond, or refused; for instance, there is no such account.
    """
    place = f"{_path(owner, name)}/collaborators"
    direct = rows(api.get(f"{place}?affiliation=direct&per_page=100", _headers(api)))
    may = {
        text(row, "login").lower(): text(row, "login")
        for row in direct
        if isinstance(row.get("permissions"), dict) and row["permissions"].get("push") is True
    }
    waiting = {
        text(row, "invitee", "login").lower()
        for row in rows(api.get(f"{_path(owner, name)}/invitations?per_page=100", _headers(api)))
        if text(row, "permissions") in ("write", "maintain", "admin")
    }
    added, invited = [], [login for login in logins if login.lower() in waiting]
    for login in logins:
        if login.lower() in may or login.lower() in waiting:
            continue
        reply = api.call("PUT", f"{place}/{quote(login)}", _headers(api), {"permission": "push"})
        added.append(login)
        if reply is not None:  # an invitation; nothing, if the account may push now
            invited.append(login)
    wanted = without_case(logins)
    return Granted(
        tuple(login for login in logins if login not in invited),
        tuple(added),
        tuple(invited),
        tuple(login for name, login in may.items() if name not in wanted),
    )


def protect(api: Api, owner: str, name: str, branches: Branches) -> list[str]:
    """Protect a graded branch from deletion and from being moved back, and the feedback branch from all but the grader.

    Both are rulesets. An organization that does not pay has none for private repositories.

    Raises:
        GitHostError: GitHub did not respond, or refused for another reason than the organization's plan.
    """
    place = f"{_path(owner, name)}/rulesets"
    listed = unless(api, "GET", f"{place}?per_page=100", _headers(api), status=[403, 404])
    if listed is None:
        return ["no branch is protected: the organization's plan has no rulesets for private repositories"]
    there = {text(row, "name") for row in rows(listed)}
    actor: dict[str, object] = {"bypass_mode": "always"}
    missing = []
    if branches.app.isdecimal():
        actor |= {"actor_type": "Integration", "actor_id": int(branches.app)}
    elif branches.grader is not None:
        actor |= {"actor_type": "User", "actor_id": branches.grader.number}
    else:
        missing.append(
            f"{branches.feedback} is not protected, since GitHub does not know who the grader is: it needs a "
            "token_file, or app_id as a number"
        )
    steady = [{"type": "deletion"}, {"type": "non_fast_forward"}]
    wanted: list[tuple[str, list[dict[str, str]], list[dict[str, object]]]] = [(branches.graded, steady, [])]
    if not missing:
        wanted.append((branches.feedback, [{"type": "creation"}, {"type": "update"}, *steady], [actor]))
    for branch, rules, bypass in wanted:
        if RULES.format(branch) in there:
            continue
        body = {
            "name": RULES.format(branch),
            "target": "branch",
            "enforcement": "active",
            "bypass_actors": bypass,
            "conditions": {"ref_name": {"include": [f"refs/heads/{branch}"], "exclude": []}},
            "rules": rules,
        }
        try:
            api.call("POST", place, _headers(api), body)
        except Refusal as error:
            if error.status not in (403, 404, 422):
                raise
            missing.append(f"{branch} is not protected: {error.reason or error}")
    return missing


def add_webhook(api: Api, owner: str, name: str, url: str, secret: str) -> bool:
    """Make the webhook, unless the repository or its organization has it; return whether it was made.

    Raises:
        GitHostError: GitHub did not respond, or refused.
    """
    place = f"{_path(owner, name)}/hooks"
    of_owner = unless(
        api, "GET", f"/orgs/{quote(owner)}/hooks?per_page=100", _headers(api), status=[401, 403, 404]
    )
    there = [*rows(of_owner), *rows(api.get(f"{place}?per_page=100", _headers(api)))]
    if any(text(row, "config", "url") == url for row in there):
        return False
    config = {"url": url, "content_type": "json", "secret": secret, "insecure_ssl": "0"}
    body = {"name": "web", "config": config, "events": ["push"], "active": True}
    api.call("POST", place, _headers(api), body)
    return True


def set_status(api: Api, owner: str, name: str, status: Status) -> None:
    """Set the status of a commit.

    Raises:
        GitHostError: GitHub did not respond, or refused.
    """
    body = {"state": STATES[status.state], "description": status.line, "context": CONTEXT}
    url = {"target_url": status.url} if status.url else {}
    api.call("POST", f"{_path(owner, name)}/statuses/{status.commit}", _headers(api), {**body, **url})


def _path(owner: str, name: str) -> str:
    return f"/repos/{quote(owner)}/{quote(name)}"


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
        self._kept: dict[tuple[App, str], tuple[str, datetime]] = {}

    def token(self, app: App, permissions: Mapping[str, str] = CONTENTS) -> str:
        """Return a token that is valid for at least five minutes.

        Args:
            app: whose token.
            permissions: what it must allow.

        Raises:
            ConfigError: the key is not an RSA private key.
            GitHostError: GitHub did not respond, or refused; another try may help.
        """
        with self._lock:
            key = app, json.dumps(permissions, sort_keys=True)
            kept = self._kept.get(key)
            if kept is None or kept[1] - self._clock() < RENEW:
                kept = self._kept[key] = self._ask(app, permissions)
            return kept[0]

    def _ask(self, app: App, permissions: Mapping[str, str]) -> tuple[str, datetime]:
        request = urllib.request.Request(  # noqa: S310 (https or loopback: the configuration was checked)
            f"{app.api}/app/installations/{app.installation}/access_tokens",
            data=json.dumps({"permissions": dict(permissions)}).encode(),
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
            if error.code == 422:
                wanted = ", ".join(f"{name}: {level}" for name, level in permissions.items())
                advice = f"; give the App these permissions, and accept them in the organization: {wanted}"
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
