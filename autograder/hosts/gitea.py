"""Gitea and Forgejo: their webhooks."""

import msgspec

from autograder.hosts.push import Event
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


class _GiteaPush(msgspec.Struct):
    ref: str
    before: str
    after: str
    repository: Repository
    sender: Person | None = None
    pusher: Person | None = None
