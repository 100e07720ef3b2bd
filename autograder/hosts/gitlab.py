"""GitLab: its webhooks, sent by a project, a group or the whole system, and its record of pushes."""

from datetime import datetime
from urllib.parse import quote

import msgspec

from autograder.hosts.api import Api
from autograder.hosts.push import Event, Ignored, Move
from autograder.hosts.record import decoded, ordered, paged
from autograder.hosts.webhook import Endpoint, Headers, SignedHead, SignedRequest, unknown


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
