"""Gitea and Forgejo: their webhooks, their record of pushes, and what we change there."""

import re
from collections.abc import Sequence
from datetime import datetime
from urllib.parse import quote

import msgspec

from autograder.git.process import GitHostError
from autograder.hosts.api import Api
from autograder.hosts.push import Event, Move
from autograder.hosts.record import PAGES, decoded, ordered, paged
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

STATES = {
    State.PENDING: "pending",
    State.GRADED: "success",
    State.NOT_GRADED: "failure",
    State.PASSED_OVER: "warning",
    State.FAULT: "error",
}
_MAY_WRITE = ("write", "admin", "owner")


def check_head(headers: Headers, endpoint: Endpoint) -> None:
    """Refuse a request whose headers already show that its sender does not have the secret.

    Raises:
        Refused: the request is not accepted, see `webhook`.
    """
    SignedHead(headers, endpoint).signature("x-gitea-signature", prefix="")


def parse(headers: Headers, body: bytes, endpoint: Endpoint) -> Event:
    """Return the event that a request from Gitea or Forgejo describes.

    Raises:
        Refused: the request is not accepted, see `webhook`.
    """
    request = SignedRequest(headers, body, endpoint)
    request.require_hmac("x-gitea-signature", prefix="")
    request.require_json()
    event, delivery = request.event("x-gitea-event"), request.delivery("x-gitea-delivery")
    if event != "push":
        return unknown(event)
    payload = request.decode(_GiteaPush)
    return request.push(
        payload.repository.full_name,
        payload.ref,
        payload.before,
        payload.after,
        name_of(payload.pusher) or name_of(payload.sender),
        delivery,
    )


def moves(api: Api, owner: str, name: str, branch: str) -> list[Move]:
    """Return the last moves of a branch, the oldest first, out of the last activities of the repository.

    `GET /repos/{owner}/{repo}/activities/feeds` has an activity `commit_repo` for each push. Its `content` is JSON in a
    string, and names the newest commit, and the commits before and after in the address of the comparison.

    Raises:
        GitHostError: the host did not respond, or refused.
    """
    found = []
    for page in range(1, PAGES + 1):
        path = f"/repos/{quote(owner)}/{quote(name)}/activities/feeds?limit=50&page={page}"
        rows = decoded(api, api.get(path, _headers(api)), _Activity)
        found += [row for row in rows if row.op_type == "commit_repo"]
        if len(rows) < 50:
            break
    mine = [row for row in found if row.ref_name in (branch, f"refs/heads/{branch}")]
    return ordered(move for row in mine if (move := _move(row)))


def names(api: Api, owner: str) -> list[str]:
    """Return the names of the repositories of an organisation.

    Raises:
        GitHostError: the host did not respond, or refused.
    """
    return paged(lambda page: api.get(f"/orgs/{quote(owner)}/repos?limit=50&page={page}", _headers(api)))


def account(api: Api) -> Account:
    """Return whose token this is.

    Raises:
        GitHostError: the host did not respond, or refused.
    """
    return account_in(api, api.call("GET", "/user", _headers(api)), "login")


def exists(api: Api, owner: str, name: str) -> bool:
    """Whether there is a repository of this name that the token may see.

    Raises:
        GitHostError: the host did not respond, or refused.
    """
    return unless(api, "GET", _path(owner, name), _headers(api), status=[404]) is not None


def create(api: Api, owner: str, name: str, branch: str) -> None:
    """Make a private, empty repository of an organisation, or of the token's own account.

    Raises:
        GitHostError: the host did not respond, or refused.
    """
    body = {"name": name, "private": True, "auto_init": False, "default_branch": branch}
    made = unless(api, "POST", f"/orgs/{quote(owner)}/repos", _headers(api), body, status=[404, 409])
    if made is None and not exists(api, owner, name):
        if account(api).login.lower() != owner.lower():
            raise GitHostError(
                f"{api.host}: there is no organisation {owner} in which the token may make repositories"
            )
        api.call("POST", "/user/repos", _headers(api), body)


def grant(api: Api, owner: str, name: str, logins: Sequence[str]) -> Granted:
    """Give these accounts the right to write.

    Raises:
        GitHostError: the host did not respond, or refused; for instance, there is no such account.
    """
    place = f"{_path(owner, name)}/collaborators"
    listed = paged(lambda page: api.get(f"{place}?limit=50&page={page}", _headers(api)), "login")
    may = {
        login
        for login in without_case(listed)
        if text(api.call("GET", f"{place}/{quote(login)}/permission", _headers(api)), "permission")
        in _MAY_WRITE
    }
    added = [login for login in logins if login.lower() not in may]
    for login in added:
        api.call("PUT", f"{place}/{quote(login)}", _headers(api), {"permission": "write"})
    wanted = without_case(logins)
    others = [login for login in listed if login.lower() in may and login.lower() not in wanted]
    return Granted(tuple(logins), tuple(added), others=tuple(others))


def protect(api: Api, owner: str, name: str, branches: Branches) -> list[str]:
    """Protect a graded branch from deletion and from being moved back, and the feedback branch from all but the grader.

    Raises:
        GitHostError: the host did not respond, or refused.
    """
    place = f"{_path(owner, name)}/branch_protections"
    there = {
        text(row, "rule_name") or text(row, "branch_name") for row in rows(api.get(place, _headers(api)))
    }
    if branches.graded not in there:
        api.call("POST", place, _headers(api), {"rule_name": branches.graded, "enable_push": True})
    if branches.feedback in there:
        return []
    if branches.grader is None:
        return [f"{branches.feedback} is not protected, since nobody knows the grader's account"]
    only = {"enable_push_whitelist": True, "push_whitelist_usernames": [branches.grader.login]}
    api.call("POST", place, _headers(api), {"rule_name": branches.feedback, "enable_push": True, **only})
    return []


def add_webhook(api: Api, owner: str, name: str, url: str, secret: str) -> bool:
    """Make the webhook, unless the repository or its organisation has it; return whether it was made.

    Raises:
        GitHostError: the host did not respond, or refused.
    """
    place = f"{_path(owner, name)}/hooks"
    of_owner = unless(
        api, "GET", f"/orgs/{quote(owner)}/hooks?limit=50", _headers(api), status=[401, 403, 404]
    )
    there = [*rows(of_owner), *rows(api.get(f"{place}?limit=50", _headers(api)))]
    if any(text(row, "config", "url") == url for row in there):
        return False
    config = {"url": url, "content_type": "json", "secret": secret}
    body = {"type": "gitea", "config": config, "events": ["push"], "active": True}
    api.call("POST", place, _headers(api), body)
    return True


def set_status(api: Api, owner: str, name: str, status: Status) -> None:
    """Set the status of a commit.

    Raises:
        GitHostError: the host did not respond, or refused.
    """
    body = {"state": STATES[status.state], "description": status.line, "context": CONTEXT}
    url = {"target_url": status.url} if status.url else {}
    api.call("POST", f"{_path(owner, name)}/statuses/{status.commit}", _headers(api), {**body, **url})


def _path(owner: str, name: str) -> str:
    return f"/repos/{quote(owner)}/{quote(name)}"


def _headers(api: Api) -> dict[str, str]:
    return {"Authorization": f"token {api.token}"} if api.token else {}


def _move(row: "_Activity") -> Move | None:
    try:
        content = msgspec.json.decode(row.content, type=_Content)
    except (msgspec.DecodeError, RecursionError):
        return None
    compared = re.search(r"/compare/([0-9a-f]{40,64})\.\.\.([0-9a-f]{40,64})$", content.CompareURL)
    newest = content.HeadCommit or (content.Commits[0] if content.Commits else None)
    after = newest.Sha1 if newest else compared[2] if compared else ""
    return Move(compared[1] if compared else "", after, row.created) if after else None


class _Activity(msgspec.Struct):
    op_type: str
    created: datetime
    ref_name: str = ""
    content: str = ""


class _Commit(msgspec.Struct):
    Sha1: str = ""


class _Content(msgspec.Struct):
    Commits: list[_Commit] | None = None
    HeadCommit: _Commit | None = None
    CompareURL: str = ""


class _GiteaPush(msgspec.Struct):
    ref: str
    before: str
    after: str
    repository: Repository
    sender: Person | None = None
    pusher: Person | None = None
