"""GitLab: its webhooks, sent by a project, a group or the whole system; its record of pushes; what we change there.

GitLab's documentation calls a repository a project, and its owner a group or a namespace.
"""

from collections.abc import Sequence
from datetime import datetime
from urllib.parse import quote

import msgspec

from autograder.git.process import GitHostError
from autograder.hosts.api import Api, Refusal
from autograder.hosts.push import Event, Ignored, Move
from autograder.hosts.record import decoded, ordered, paged
from autograder.hosts.webhook import Endpoint, Headers, SignedHead, SignedRequest, unknown
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
    State.NOT_GRADED: "failed",
    State.PASSED_OVER: "canceled",
    State.FAULT: "failed",
}
DEVELOPER, MAINTAINER = 30, 40  # GitLab's access levels: those who push, and those who change settings


def check_head(headers: Headers, endpoint: Endpoint) -> None:
    """Refuse a request whose headers already show that its sender does not have the secret.

    Raises:
        Refused: the request is not accepted, see `webhook`.
    """
    SignedHead(headers, endpoint).require_token("x-gitlab-token")


def parse(headers: Headers, body: bytes, endpoint: Endpoint) -> Event:
    """Return the event that a request from GitLab describes.

    Raises:
        Refused: the request is not accepted, see `webhook`.
    """
    request = SignedRequest(headers, body, endpoint)
    request.require_token("x-gitlab-token")
    request.require_json()
    event = request.event("x-gitlab-event")
    if event == "Tag Push Hook":
        return Ignored("a tag; only branches are graded")
    if event not in ("Push Hook", "System Hook"):
        return unknown(event)
    if event == "System Hook":
        kind = request.decode(_GitlabKind)
        if "push" not in (kind.object_kind, kind.event_name):
            return unknown(kind.event_name or kind.object_kind)
    payload = request.decode(_GitlabPush)
    if request.header("idempotency-key"):  # since GitLab 17.4; the key stays the same when GitLab tries again
        delivery = request.delivery("idempotency-key")
    else:  # the UUID is the same for all events of one action, so add the commit
        delivery = f"{request.delivery('x-gitlab-event-uuid')}:{request.commit(payload.after)}"
    return request.push(
        payload.project.path_with_namespace,
        payload.ref,
        payload.before,
        payload.after,
        payload.user_username or payload.user_name or "",
        delivery,
    )


def moves(api: Api, owner: str, name: str, branch: str) -> list[Move]:
    """Return the last moves of a branch, the oldest first: at most 100 pushes to the project.

    GitLab's documentation calls them events: `GET /projects/:id/events?action=pushed`.

    Raises:
        GitHostError: GitLab did not respond, or refused.
    """
    path = f"/projects/{quote(f'{owner}/{name}', safe='')}/events?action=pushed&per_page=100"
    rows = decoded(api, api.get(path, _headers(api)), _Event)
    return ordered(
        Move(row.push_data.commit_from or "", row.push_data.commit_to, row.created_at)
        for row in rows
        if row.push_data is not None
        and row.push_data.ref_type == "branch"
        and row.push_data.ref == branch
        and row.push_data.commit_to
    )


def names(api: Api, owner: str) -> list[str]:
    """Return the paths of the projects of a group.

    Raises:
        GitHostError: GitLab did not respond, or refused.
    """
    group = quote(owner, safe="")
    return paged(
        lambda page: api.get(f"/groups/{group}/projects?simple=true&per_page=100&page={page}", _headers(api)),
        "path",
    )


def account(api: Api) -> Account:
    """Return whose token this is.

    Raises:
        GitHostError: GitLab did not respond, or refused.
    """
    return account_in(api, api.call("GET", "/user", _headers(api)), "username")


def exists(api: Api, owner: str, name: str) -> bool:
    """Whether there is a project of this path that the token may see.

    Raises:
        GitHostError: GitLab did not respond, or refused.
    """
    return unless(api, "GET", f"{_path(owner, name)}?simple=true", _headers(api), status=[404]) is not None


def create(api: Api, owner: str, name: str, _branch: str) -> None:
    """Make a private, empty project in a group, or in the token's own namespace.

    The branch that is pushed first becomes its default branch.

    Raises:
        GitHostError: GitLab did not respond, or refused.
    """
    space = unless(api, "GET", f"/namespaces/{quote(owner, safe='')}", _headers(api), status=[404])
    number = space.get("id") if isinstance(space, dict) else None
    if not isinstance(number, int):
        raise GitHostError(f"{api.host}: there is no group {owner} in which the token may make projects")
    body = {"name": name, "path": name, "namespace_id": number, "visibility": "private"}
    try:
        api.call("POST", "/projects", _headers(api), body)
    except Refusal:
        if not exists(api, owner, name):
            raise


def grant(api: Api, owner: str, name: str, logins: Sequence[str]) -> Granted:
    """Make these accounts members of the project who may push (Developer).

    Raises:
        GitHostError: GitLab did not respond, or refused; for instance, there is no such account.
    """
    place = f"{_path(owner, name)}/members"
    levels: dict[str, int] = {}
    for row in rows(api.get(f"{place}?per_page=100", _headers(api))):
        level = row.get("access_level")
        levels[text(row, "username").lower()] = level if isinstance(level, int) else 0
    added = [login for login in logins if levels.get(login.lower(), 0) < DEVELOPER]
    for login in added:
        found = rows(api.get(f"/users?username={quote(login, safe='')}", _headers(api)))
        number = next(
            (row.get("id") for row in found if text(row, "username").lower() == login.lower()), None
        )
        if not isinstance(number, int):
            raise GitHostError(f"{api.host}: there is no account {login}")
        if login.lower() in levels:
            api.call("PUT", f"{place}/{number}", _headers(api), {"access_level": DEVELOPER})
        else:
            body = {"user_id": number, "access_level": DEVELOPER}
            unless(api, "POST", place, _headers(api), body, status=[409])
    wanted = without_case(logins)
    others = [login for login, level in levels.items() if level >= DEVELOPER and login not in wanted]
    return Granted(tuple(logins), tuple(added), others=tuple(others))


def protect(api: Api, owner: str, name: str, branches: Branches) -> list[str]:
    """Protect a graded branch from deletion and from being moved back, and the feedback branch from all students.

    GitLab itself protects the first branch in such a way that students cannot push to it, so that is replaced.

    Raises:
        GitHostError: GitLab did not respond, or refused.
    """
    for branch, level in ((branches.graded, DEVELOPER), (branches.feedback, MAINTAINER)):
        place = f"{_path(owner, name)}/protected_branches"
        one = f"{place}/{quote(branch, safe='')}"
        there = unless(api, "GET", one, _headers(api), status=[404])
        if isinstance(there, dict):
            levels = {row.get("access_level") for row in rows(there.get("push_access_levels"))}
            if levels == {level} and there.get("allow_force_push") is False:
                continue
            unless(api, "DELETE", one, _headers(api), status=[404])
        body = {
            "name": branch,
            "push_access_level": level,
            "merge_access_level": level,
            "allow_force_push": False,
        }
        api.call("POST", place, _headers(api), body)
    return []


def add_webhook(api: Api, owner: str, name: str, url: str, secret: str) -> bool:
    """Make the webhook, unless the project or its group has it; return whether it was made.

    Raises:
        GitHostError: GitLab did not respond, or refused.
    """
    place = f"{_path(owner, name)}/hooks"
    group = f"/groups/{quote(owner, safe='')}/hooks?per_page=100"
    of_group = unless(api, "GET", group, _headers(api), status=[401, 403, 404])
    there = [*rows(of_group), *rows(api.get(f"{place}?per_page=100", _headers(api)))]
    if any(text(row, "url") == url for row in there):
        return False
    api.call("POST", place, _headers(api), {"url": url, "token": secret, "push_events": True})
    return True


def set_status(api: Api, owner: str, name: str, status: Status) -> None:
    """Set the status of a commit. GitLab refuses to set a status that the commit has already; that is no error.

    Raises:
        GitHostError: GitLab did not respond, or refused.
    """
    body = {"state": STATES[status.state], "description": status.line, "name": CONTEXT}
    url = {"target_url": status.url} if status.url else {}
    try:
        place = f"{_path(owner, name)}/statuses/{status.commit}"
        api.call("POST", place, _headers(api), {**body, **url})
    except Refusal as error:
        if error.status != 400 or "transition" not in error.reason:
            raise


def _path(owner: str, name: str) -> str:
    return f"/projects/{quote(f'{owner}/{name}', safe='')}"


def _headers(api: Api) -> dict[str, str]:
    return {"PRIVATE-TOKEN": api.token} if api.token else {}


class _PushData(msgspec.Struct):
    ref_type: str = ""
    ref: str | None = None
    commit_from: str | None = None
    commit_to: str | None = None


class _Event(msgspec.Struct):
    created_at: datetime
    push_data: _PushData | None = None


class _Project(msgspec.Struct):
    path_with_namespace: str


class _GitlabKind(msgspec.Struct):
    object_kind: str = ""
    event_name: str = ""


class _GitlabPush(msgspec.Struct):
    ref: str
    before: str
    after: str
    project: _Project
    user_username: str | None = None
    user_name: str | None = None
