"""Turn one webhook request of any host into an event.

This module does no I/O, and reads neither the clock nor the configuration. The module of each host (`github`, `gitea`,
`gitlab`) calls the steps of `SignedRequest` in order.

Anybody can send a request. A request is refused (`Refused`, with an HTTP status) for these reasons, in this order:

    431  there are too many headers, or they are too long
    413  the body is too large
    401  the signature (GitHub, Gitea: HMAC-SHA256 of the body; GitLab: the token itself) is missing or wrong
    415  the body is not JSON in UTF-8
    400  the JSON is malformed, too deep or too wide, or a header is missing or repeated
    422  a value has the wrong type, or is not a valid name or commit

So nothing is parsed before we know that the sender has the secret. `SignedHead` looks at the headers alone, so that no
body is read of a sender who shows no signature. A signed request that needs no grading is
`Ignored`, with the reason. Its response has status 2xx, so that the host does not send it again. The host's name and
the secrets come from the configuration (`Endpoint`). No URL of a payload is ever returned, and names must match
patterns.
"""

import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

import msgspec

from autograder.errors import ConfigError
from autograder.git.names import is_commit, is_host, is_ref, is_repository_path
from autograder.hosts.push import Event, Ignored, Push
from autograder.report import one_line

MAX_BODY = 25 * 1024 * 1024  # GitHub's own limit: we must accept every push that GitHub sends
MAX_HEADERS = 100
MAX_HEADER_BYTES = 32 * 1024  # of all headers together
MAX_VALUE = 1024  # characters in the value of a header that we read
MAX_DEPTH = 32  # of nested arrays and objects; the hosts' payloads have a depth of about five
MAX_ITEMS = (
    1_000_000  # strings, arrays, objects and commas; a push of 2,048 commits with many files has fewer
)
MAX_SENDER = 100
MIN_SECRET_BYTES = 16
NEW_SECRET = "make a new one: python3 -c 'import secrets; print(secrets.token_hex(32))'"  # noqa: S105 (how to make one)

_DELIVERY = re.compile(r"[A-Za-z0-9_.:/+=-]{1,128}")
_HEX_DIGEST = re.compile(r"[0-9a-f]{64}")
# A string with its escapes, or a bracket or comma. The string may lack its end, so that no byte is scanned twice.
_TOKEN = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"?|[\[\]{},]', re.DOTALL)

Payload = TypeVar("Payload", bound=msgspec.Struct)
Headers = Mapping[str, str] | Iterable[tuple[str, str]]


class Refused(Exception):
    """A request that is not accepted. No student and no grader is at fault. The HTTP edge responds with `status`.

    Attributes:
        status: of the HTTP response, 4xx.
        reason: one line, which repeats nothing from the request.
    """

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(f"{status}: {reason}")
        self.status = status
        self.reason = reason


@dataclass(frozen=True)
class Endpoint:
    """The configuration for the sender of a webhook.

    Attributes:
        host: name of the git host, `github.com` or `git.uni.example:3000`; becomes `Push.host`.
        secrets: each of them may sign requests; there are several while a secret is being changed. There is no default.
        bots: login names of the grader itself, whose pushes are ignored.
        max_body: size of the largest accepted body, in bytes.

    Raises:
        ConfigError: there is no secret, a secret is shorter than 16 bytes, or the name of the host is not valid.
    """

    host: str
    secrets: tuple[bytes, ...] = field(repr=False)
    bots: tuple[str, ...] = ()
    max_body: int = MAX_BODY

    def __post_init__(self) -> None:
        if not self.secrets:
            raise ConfigError(f"the webhook of {self.host} has no secret; {NEW_SECRET}")
        for secret in self.secrets:
            if not isinstance(secret, bytes) or len(secret) < MIN_SECRET_BYTES:
                raise ConfigError(
                    f"a webhook secret of {self.host} is shorter than {MIN_SECRET_BYTES} bytes; {NEW_SECRET}"
                )
        if not is_host(self.host):
            raise ConfigError(
                f"{self.host!a} is not the name of a host, such as github.com or git.uni.example:3000"
            )


# one request ------------------------------------------------------------------------------------------------


class SignedHead:
    """The headers of a request. They are enough to refuse most requests of strangers before a body is read."""

    def __init__(self, headers: Headers, endpoint: Endpoint) -> None:
        self._headers = _collected(headers)
        self._endpoint = endpoint

    def header(self, name: str) -> str | None:
        """Return the value of a header, or None if the header is missing."""
        values = self._headers.get(name, [])
        if len(values) > 1:
            raise Refused(400, f"the header {name} is repeated")
        if values and len(values[0]) > MAX_VALUE:
            raise Refused(431, f"the header {name} is longer than {MAX_VALUE} characters")
        return values[0] if values else None

    def signature(self, name: str, *, prefix: str) -> str:
        """Return the signature in a header; refuse a request without one."""
        value = self.header(name) or ""
        signature = value.removeprefix(prefix)
        if not value.startswith(prefix) or not _HEX_DIGEST.fullmatch(signature):
            raise Refused(401, f"the header {name} is missing or not a signature; set the webhook's secret")
        return signature

    def require_token(self, name: str) -> None:
        """Refuse a request whose token differs from every secret."""
        token = self.header(name)
        if not token:
            raise Refused(401, f"the header {name} is missing; set the webhook's secret token")
        # Digests are compared because they have the same length for every token.
        shown = hashlib.sha256(token.encode("utf-8", "backslashreplace")).digest()
        right = [
            hmac.compare_digest(hashlib.sha256(secret).digest(), shown) for secret in self._endpoint.secrets
        ]
        if not any(right):
            raise Refused(401, "the token is wrong; set the webhook's secret token to the configured one")


class SignedRequest(SignedHead):
    """The steps that read a request. Call them in the order of the list in the module's docstring."""

    def __init__(self, headers: Headers, body: bytes, endpoint: Endpoint) -> None:
        super().__init__(headers, endpoint)
        self._body = body
        if len(body) > endpoint.max_body:
            raise Refused(413, f"the body is larger than {endpoint.max_body} bytes")

    def event(self, name: str) -> str:
        """Return the event that a header names."""
        value = self.header(name)
        if not value:
            raise Refused(400, f"the header {name} is missing")
        return value

    def delivery(self, name: str) -> str:
        """Return the id of the delivery that a header names."""
        value = self.header(name)
        if not value:
            raise Refused(400, f"the header {name} is missing")
        if not _DELIVERY.fullmatch(value):
            raise Refused(400, f"the header {name} is not an id")
        return value

    def require_hmac(self, name: str, *, prefix: str) -> None:
        """Refuse a body that none of the secrets has signed."""
        signature = self.signature(name, prefix=prefix)
        right = [
            hmac.compare_digest(hmac.new(secret, self._body, hashlib.sha256).hexdigest(), signature)
            for secret in self._endpoint.secrets
        ]
        if not any(right):
            raise Refused(401, "the signature is wrong; set the webhook's secret to the configured one")

    def require_json(self) -> None:
        """Refuse a body that is not JSON in UTF-8, or is nested too deeply, or has too many parts."""
        kind, _, parameters = (self.header("content-type") or "").lower().partition(";")
        charset = re.fullmatch(r"\s*(?:charset=\"?utf-?8\"?\s*)?;?\s*", parameters)
        if kind.strip() != "application/json" or not charset:
            raise Refused(415, "set the webhook's content type to application/json")
        if (self.header("content-encoding") or "identity").strip().lower() != "identity":
            raise Refused(415, "the body is compressed; send it uncompressed")
        try:
            self._body.decode("utf-8")
        except UnicodeDecodeError:
            raise Refused(400, "the body is not UTF-8") from None
        _limit_nesting(self._body)

    def decode(self, kind: type[Payload]) -> Payload:
        """Return the body as `kind`; keys that `kind` does not name are skipped."""
        try:
            return msgspec.json.decode(self._body, type=kind)
        except msgspec.ValidationError as error:
            raise Refused(422, one_line(f"the payload: {error}")) from None
        except (msgspec.DecodeError, UnicodeDecodeError, ValueError, RecursionError):
            raise Refused(400, "the body is not JSON") from None

    def commit(self, text: str) -> str:
        """Return `text` if it is the full id of a commit; refuse the request otherwise."""
        if not is_commit(text):
            raise Refused(422, "a commit is not 40 or 64 lower-case hex digits")
        return text

    def push(self, full_name: str, ref: str, before: str, after: str, sender: str, delivery: str) -> Event:
        """Return the push with these values, or the reason why it is ignored.

        Raises:
            Refused: a value is not valid.
        """
        if not is_repository_path(full_name):
            raise Refused(422, "the repository's name is not owner/name of letters, digits, '.', '_' and '-'")
        self.commit(after)
        self.commit(before)
        if not is_ref(ref):
            raise Refused(422, "the ref is not a full name such as refs/heads/main")
        if not ref.startswith("refs/heads/"):
            return Ignored("not a branch but a tag or another ref; only branches are graded")
        branch = ref.removeprefix("refs/heads/")
        sender = one_line(sender)[:MAX_SENDER]
        if set(after) == {"0"}:
            return Ignored("the branch was deleted")
        if sender.lower() in {bot.lower() for bot in self._endpoint.bots}:
            return Ignored("pushed by the grader's own account")
        owner, _, name = full_name.rpartition("/")
        digest = hashlib.sha256(self._body).hexdigest()
        return Push(self._endpoint.host, owner, name, ref, branch, after, before, sender, delivery, digest)


def _collected(headers: Headers) -> dict[str, list[str]]:
    """Return the headers by lower-case name; a repeated header has several values."""
    found: dict[str, list[str]] = {}
    size = 0
    for number, (name, value) in enumerate(headers.items() if isinstance(headers, Mapping) else headers, 1):
        size += len(name) + len(value)
        if number > MAX_HEADERS or size > MAX_HEADER_BYTES:
            raise Refused(
                431, f"more than {MAX_HEADERS} headers, or more than {MAX_HEADER_BYTES} bytes of them"
            )
        found.setdefault(name.lower(), []).append(value)
    return found


def _limit_nesting(body: bytes) -> None:
    """Refuse JSON that is too deep or too wide, before it is parsed. The time is linear in the size of the body."""
    depth = 0
    for items, token in enumerate(_TOKEN.finditer(body), 1):
        first = token[0][:1]
        if first in b"[{":
            depth += 1
        elif first in b"]}":
            depth -= 1
        if depth > MAX_DEPTH:
            raise Refused(400, f"the JSON is nested deeper than {MAX_DEPTH}")
        if items > MAX_ITEMS:
            raise Refused(400, f"the JSON has more than {MAX_ITEMS} parts")


# parts that the payloads of several hosts share -------------------------------------------------------------


class Person(msgspec.Struct):
    login: str | None = None
    username: str | None = None
    name: str | None = None


class Repository(msgspec.Struct):
    full_name: str


def name_of(person: "Person | None") -> str:
    """Return the name of a person in a payload; empty if nobody is named."""
    return (person and (person.login or person.username or person.name)) or ""


def unknown(event: str) -> Ignored:
    """Return the reason why an event other than a push is ignored."""
    return Ignored(f"the event {one_line(event)[:60]!a}; only pushes are graded")
