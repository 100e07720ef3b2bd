"""GitLab: its webhooks, sent by a project, a group or the whole system."""

import msgspec

from autograder.hosts.push import Event, Ignored
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
