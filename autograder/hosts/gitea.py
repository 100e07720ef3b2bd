"""Gitea and Forgejo: their webhooks, and their record of pushes."""

import re
from datetime import datetime
from urllib.parse import quote

import msgspec

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
