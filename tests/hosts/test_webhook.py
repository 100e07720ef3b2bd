"""Webhooks: what becomes an event, what is ignored, and that everything else is refused with the right status.

The payloads in tests/support/payloads are written by hand in the form that each host documents. All names are invented.
"""

import dataclasses
import hashlib
import hmac
import itertools
import json
from dataclasses import dataclass
from typing import get_args

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from autograder.errors import ConfigError
from autograder.hosts import KINDS, PARSERS, KindName, webhook
from autograder.hosts.push import Ignored, Ping, Push
from autograder.hosts.webhook import Endpoint, Refused
from autograder.service.http.rate_limit import TokenBucket
from tests.support import ROOT

SECRET = b"0123456789abcdef-github"
OLD_SECRET = b"fedcba9876543210-before"
ZEROS = "0" * 40
PAYLOADS = ROOT / "tests" / "support" / "payloads"
DOCUMENT = (ROOT / "docs" / "webhooks.md").read_text()


def sha256(secret, body):
    return hmac.new(secret, body, hashlib.sha256).hexdigest()


@dataclass(frozen=True)
class Host:
    """A git host that sends webhooks: how it signs, and the names of its headers."""

    name: str
    event_header: str
    push_event: str
    delivery_header: str
    auth_header: str
    prefix: str = ""
    address: str = "git.uni.example"

    @property
    def endpoint(self):
        return Endpoint(self.address, (SECRET,), bots=("Grader-Bot",))

    @property
    def push(self):
        return (PAYLOADS / f"{self.name}_push.json").read_bytes()

    def sign(self, body, secret=SECRET):
        return secret.decode() if self.name == "gitlab" else self.prefix + sha256(secret, body)

    def headers(self, body, **changes):
        """Return the headers of a push; a change of None removes one. `_` stands for `-`."""
        headers = {
            "Content-Type": "application/json",
            self.event_header: self.push_event,
            self.delivery_header: "7d1f3a52-9c1e-4b6e-8f0a-2f6f3b1f9d11",
            self.auth_header: self.sign(body),
        }
        for key, value in changes.items():
            name = {"auth": self.auth_header, "event": self.event_header, "delivery": self.delivery_header}
            headers[name.get(key, key.replace("_", "-"))] = value
        return {key: value for key, value in headers.items() if value is not None}

    def parse(self, body=None, endpoint=None, headers=None, **changes):
        body = self.push if body is None else body
        parse = PARSERS[self.name]
        headers = self.headers(body, **changes) if headers is None else headers
        return parse(headers, body, endpoint or self.endpoint)

    def edited(self, **changes):
        """Return the push with top-level values changed; `full_name` is that of the repository."""
        payload = json.loads(self.push)
        full_name = changes.pop("full_name", None)
        if full_name is not None:
            table, key = (
                ("project", "path_with_namespace") if self.name == "gitlab" else ("repository", "full_name")
            )
            payload[table][key] = full_name
        return json.dumps(payload | changes).encode()


GITHUB = Host(
    "github", "X-GitHub-Event", "push", "X-GitHub-Delivery", "X-Hub-Signature-256", "sha256=", "github.com"
)
GITEA = Host("gitea", "X-Gitea-Event", "push", "X-Gitea-Delivery", "X-Gitea-Signature")
GITLAB = Host("gitlab", "X-Gitlab-Event", "Push Hook", "Idempotency-Key", "X-Gitlab-Token")
HOSTS = (GITHUB, GITEA, GITLAB)
SIGNING = (GITHUB, GITEA)

each_host = pytest.mark.parametrize("host", HOSTS, ids=lambda host: host.name)


def refused(call, *arguments, **changes):
    with pytest.raises(Refused) as caught:
        call(*arguments, **changes)
    return caught.value.status, caught.value.reason


# the registry ------------------------------------------------------------------------------------------


def test_every_kind_that_the_configuration_accepts_is_registered():
    assert tuple(KINDS) == get_args(KindName)


def test_every_kind_with_a_webhook_is_tested_here():
    assert {host.name for host in HOSTS} == set(PARSERS)


@pytest.mark.parametrize("name", PARSERS)
def test_every_kind_with_a_webhook_has_a_payload_and_is_documented(name):
    assert (PAYLOADS / f"{name}_push.json").is_file()
    assert f"`/webhook/{name}`" in DOCUMENT
    assert f"| {KINDS[name].title} |" in DOCUMENT


# what is accepted --------------------------------------------------------------------------------------


def test_a_push_of_github():
    assert GITHUB.parse() == Push(
        host="github.com",
        owner="dls-course-2026",
        name="a1-mira-lindqvist",
        ref="refs/heads/main",
        branch="main",
        commit="9b8a7c6d5e4f30213243546576879800a1b2c3d4",
        before="5e1f0c2a7b3d4e5f60718293a4b5c6d7e8f90123",
        sender="mira-lindqvist",
        delivery_id="7d1f3a52-9c1e-4b6e-8f0a-2f6f3b1f9d11",
        payload_digest=hashlib.sha256(GITHUB.push).hexdigest(),
    )


def test_a_push_of_gitea_that_makes_the_branch():
    push = GITEA.parse()
    assert (push.owner, push.name, push.sender) == ("dls", "a0-tomas-reyes", "tomas-reyes")
    assert (push.before, push.commit[:8]) == (ZEROS, "3c4d5e6f")


def test_a_push_of_gitlab_has_a_nested_owner():
    push = GITLAB.parse()
    assert (push.owner, push.name, push.sender) == ("dls/fall-2026", "a2-yuki-adeyemi", "yuki-adeyemi")


def test_an_older_gitlab_without_idempotency_key():
    changes = {"delivery": None, "X-Gitlab-Event-UUID": "13792a34-cac6-4fda-95a8-c58e00a3954e"}
    push = GITLAB.parse(**changes)
    assert push.delivery_id == f"13792a34-cac6-4fda-95a8-c58e00a3954e:{push.commit}"


def test_a_system_hook_of_gitlab():
    assert isinstance(GITLAB.parse(event="System Hook"), Push)
    body = b'{"event_name": "project_create", "name": "a0", "path_with_namespace": "dls/a0"}'
    assert isinstance(GITLAB.parse(body, event="System Hook"), Ignored)


def test_ping():
    body = (PAYLOADS / "github_ping.json").read_bytes()
    assert GITHUB.parse(body, event="ping") == Ping("github.com", "7d1f3a52-9c1e-4b6e-8f0a-2f6f3b1f9d11")


@each_host
def test_commits_of_a_sha256_repository(host):
    push = host.parse(host.edited(after="a" * 64, before="0" * 64))
    assert push.commit == "a" * 64


@each_host
def test_header_names_in_any_case_and_as_pairs(host):
    headers = host.headers(host.push)
    assert host.parse(headers={name.upper(): value for name, value in headers.items()}) == host.parse()
    assert host.parse(headers=[(name.lower(), value) for name, value in headers.items()]) == host.parse()


@each_host
@pytest.mark.parametrize(
    "kind", ["application/json; charset=utf-8", 'application/json;charset="UTF-8"', "APPLICATION/JSON"]
)
def test_content_types(host, kind):
    assert isinstance(host.parse(Content_Type=kind), Push)


@each_host
def test_several_secrets_while_one_is_changed(host):
    both = dataclasses.replace(host.endpoint, secrets=(SECRET, OLD_SECRET))
    for secret in both.secrets:
        assert isinstance(host.parse(auth=host.sign(host.push, secret), endpoint=both), Push)
    assert refused(host.parse, auth=host.sign(host.push, b"a third one, unknown"), endpoint=both)[0] == 401


@each_host
def test_no_url_of_the_payload_comes_out(host):
    values = dataclasses.astuple(host.parse())
    assert not any("://" in value or "@" in value for value in values)


@each_host
def test_a_missing_sender_does_not_lose_the_push(host):
    gone = {"sender": None, "pusher": None, "user_username": None, "user_name": None}
    assert host.parse(host.edited(**gone)).sender == ""


@each_host
def test_a_sender_is_one_printable_line(host):
    name = "x\n\x00\u202e<b>" + "y" * 500
    people = {"sender": {"login": name}, "pusher": {"login": name}, "user_username": name}
    sender = host.parse(host.edited(**people)).sender
    assert sender.startswith("x \\u0000\\u202e<b>yy")
    assert len(sender) == webhook.MAX_SENDER


# what is ignored ---------------------------------------------------------------------------------------


@each_host
@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"after": ZEROS}, "deleted"),
        ({"ref": "refs/tags/v1"}, "tag"),
        ({"ref": "refs/pull/1/head"}, "only branches are graded"),
    ],
    ids=lambda value: "" if isinstance(value, str) else "-".join(value),
)
def test_ignored(host, changes, reason):
    event = host.parse(host.edited(**changes))
    assert isinstance(event, Ignored)
    assert reason in event.reason
    assert event.reason.isprintable()


@each_host
def test_our_own_bot_is_ignored(host):
    bot = {"login": "grader-bot"}
    body = host.edited(sender=bot, pusher=bot, user_username="grader-bot")
    assert host.parse(body) == Ignored("pushed by the grader's own account")


@pytest.mark.parametrize(
    ("host", "event"),
    [
        (GITHUB, "issues"),
        (GITEA, "create"),
        (GITLAB, "Issue Hook"),
        (GITLAB, "Tag Push Hook"),
        (GITHUB, "\x1b[1m"),
    ],
    ids=lambda value: getattr(value, "name", value),
)
def test_other_events_are_ignored(host, event):
    ignored = host.parse(event=event)
    assert isinstance(ignored, Ignored)
    assert ignored.reason.isprintable()


# what is refused ---------------------------------------------------------------------------------------


@each_host
@pytest.mark.parametrize(
    "value",
    [None, "", "sha256=", "x" * 64, "sha256=" + "0" * 64, "0" * 64, "ü" * 64],
    ids=["none", "empty", "prefix", "no hex", "wrong", "no prefix", "no ascii"],
)
def test_a_wrong_or_missing_signature(host, value):
    assert refused(host.parse, auth=value)[0] == 401


@pytest.mark.parametrize("host", SIGNING, ids=lambda host: host.name)
def test_a_changed_body(host):
    headers = host.headers(host.push)
    assert refused(host.parse, host.push.replace(b"mira", b"myra") + b" ", headers=headers)[0] == 401


@pytest.mark.parametrize("host", SIGNING, ids=lambda host: host.name)
def test_a_signature_of_the_old_kind_is_refused(host):
    old = hmac.new(SECRET, host.push, hashlib.sha1).hexdigest()
    assert refused(host.parse, auth=None, X_Hub_Signature=f"sha1={old}")[0] == 401
    assert refused(host.parse, auth=f"sha1={old}")[0] == 401


def test_the_hosts_do_not_take_each_other_s_signatures():
    signature = GITHUB.sign(GITHUB.push)
    assert refused(GITHUB.parse, auth=signature.removeprefix("sha256="))[0] == 401
    assert refused(GITEA.parse, GITHUB.push, auth=signature)[0] == 401


@each_host
def test_a_signature_that_is_there_twice(host):
    headers = [*host.headers(host.push).items(), (host.auth_header.lower(), host.sign(host.push))]
    assert refused(host.parse, headers=headers)[0] == 400


@each_host
def test_nothing_is_parsed_before_the_signature(host):
    for body in (b"[" * 100_000, b"\xff", b""):
        assert refused(host.parse, body, auth=host.sign(b"other", b"not our secret!!"))[0] == 401


@each_host
def test_a_body_that_is_too_large_is_not_even_hashed(host):
    small = dataclasses.replace(host.endpoint, max_body=len(host.push) - 1)
    assert refused(host.parse, endpoint=small, auth="wrong")[0] == 413
    assert isinstance(host.parse(endpoint=dataclasses.replace(small, max_body=len(host.push))), Push)


@each_host
def test_headers_that_are_too_many_or_too_long(host):
    assert refused(host.parse, **{f"X-{number}": "x" for number in range(100)})[0] == 431
    assert refused(host.parse, X_Long="x" * webhook.MAX_HEADER_BYTES)[0] == 431
    for name in ("event", "delivery", "auth", "Content_Type"):
        assert refused(host.parse, **{name: "x" * (webhook.MAX_VALUE + 1)})[0] == 431


@each_host
@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"Content_Type": None}, 415),
        ({"Content_Type": "application/x-www-form-urlencoded"}, 415),
        ({"Content_Type": "application/json; charset=latin-1"}, 415),
        ({"Content_Type": "application/jsonp"}, 415),
        ({"Content_Encoding": "gzip"}, 415),
        ({"event": None}, 400),
        ({"event": ""}, 400),
        ({"delivery": None}, 400),
        ({"delivery": "a b"}, 400),
        ({"delivery": "x" * 129}, 400),
    ],
    ids=lambda value: str(value)[:40],
)
def test_wrong_headers(host, changes, status):
    assert refused(host.parse, **changes)[0] == status


@each_host
@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"\xff\xfe", 400),
        (b"{}", 422),
        (b"[]", 422),
        (b"null", 422),
        (b"{", 400),
        (b'{"ref": "refs/heads/main"', 400),
        (b'{"ref": "\xc3\x28"}', 400),
        (b"{} {}", 422),
        (b"{'ref': 1}", 400),
        (b"NaN", 400),
        (b"\xef\xbb\xbf{}", 400),
        (b"[" * 33 + b"]" * 33, 400),
        (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, 400),
        (b"[" * 1_000_000, 400),
    ],
    ids=lambda value: repr(value[:20]) if isinstance(value, bytes) else "",
)
def test_broken_json(host, body, status):
    code, reason = refused(host.parse, body)
    assert code == status
    assert reason.isprintable()


@each_host
def test_a_push_with_something_after_it(host):
    assert refused(host.parse, host.push + host.push)[0] == 400


def test_json_that_is_too_wide():
    body = b"[" + b"1," * webhook.MAX_ITEMS + b"1]"
    assert refused(GITHUB.parse, body) == (400, "the JSON has more than 1000000 parts")


@each_host
@pytest.mark.parametrize("key", ["ref", "before", "after", "repository", "project"])
@pytest.mark.parametrize("value", [1, None, ["x"], {"x": 1}, True])
def test_wrong_types(host, key, value):
    if (key == "project") != (host.name == "gitlab") and key in ("repository", "project"):
        return  # another host's key, which is skipped
    status, reason = refused(host.parse, host.edited(**{key: value}))
    assert status == 422
    assert reason.isprintable()


@each_host
@pytest.mark.parametrize("key", ["before", "after"])
@pytest.mark.parametrize(
    "value",
    ["", "main", "a" * 39, "a" * 41, "A" * 40, "g" * 40, "a" * 40 + "\n", "-" + "a" * 39, "ａ" * 40],
    ids=["empty", "branch", "short", "long", "upper", "letters", "line break", "dash", "wide"],
)
def test_what_is_no_commit(host, key, value):
    assert refused(host.parse, host.edited(**{key: value}))[0] == 422


@each_host
@pytest.mark.parametrize(
    "value",
    [
        "",
        "a0",
        "/a0",
        "dls/",
        "dls//a0",
        "../a0",
        "dls/..",
        "dls/.",
        "-o/a0",
        "dls/-upload-pack=x",
        "dls/a 0",
        "dls/a0\n",
        "dls/a\u202e0",
        "dls/<b>",
        "dls/a0@{1}",
        "dls/a0;id",
        "dls/" + "a" * 101,
        "https://evil.example/dls/a0",
        "a/" * 30 + "b",
    ],
    ids=lambda text: text[:20],
)
def test_what_is_no_repository(host, value):
    status, reason = refused(host.parse, host.edited(full_name=value))
    assert status == 422
    assert value not in reason or not value


@each_host
@pytest.mark.parametrize(
    "value", ["", "main", "heads/main", "refs/heads/a b", "refs/heads/\x00", "refs/heads/a\n"]
)
def test_what_is_no_ref(host, value):
    assert refused(host.parse, host.edited(ref=value))[0] == 422


def test_deep_text_inside_strings_is_not_depth():
    message = '[[[{{{"' * 1000
    assert isinstance(GITHUB.parse(GITHUB.edited(commits=[{"message": message}])), Push)


# secrets -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {"secrets": ()},
        {"secrets": (b"",)},
        {"secrets": (b"x" * 15,)},
        {"secrets": (SECRET, b"short")},
        {"host": "https://github.com"},
        {"host": "GitHub.com"},
    ],
    ids=["no secret", "empty", "15 bytes", "one short", "address", "upper case"],
)
def test_an_endpoint_that_would_not_be_safe_cannot_be_made(changes):
    with pytest.raises(ConfigError) as caught:
        Endpoint(**({"host": "github.com", "secrets": (SECRET,)} | changes))
    assert "short" not in str(caught.value) or "shorter" in str(caught.value)


def test_there_is_no_default_secret():
    with pytest.raises(TypeError):
        Endpoint("github.com")


def test_secrets_are_not_shown():
    assert "0123456789abcdef" not in repr(GITHUB.endpoint)


def test_16_bytes_are_enough():
    Endpoint("github.com", (b"x" * 16,))


# anything at all ---------------------------------------------------------------------------------------

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=20,
)
anything = (
    st.binary(max_size=200)
    | json_values.map(lambda value: json.dumps(value).encode())
    | st.text(alphabet='{}[]",:\\u0d8ea1 ', max_size=60).map(str.encode)
)


@given(anything, st.dictionaries(st.text(max_size=30), st.text(max_size=50), max_size=8))
def test_any_bytes_are_refused_or_understood(body, headers):
    for host in HOSTS:
        for chosen in (headers, host.headers(body) | headers):
            try:
                event = host.parse(body, headers=chosen)
            except Refused as error:
                assert 400 <= error.status < 500  # noqa: PT017
                assert error.reason.isprintable()  # noqa: PT017
            else:
                assert isinstance(event, (Push, Ping, Ignored))


fields = st.sampled_from(
    ["ref", "before", "after", "repository", "sender", "pusher", "project", "object_kind", "user_username"]
)


@given(st.dictionaries(fields, json_values, max_size=4))
@example({"ref": "\ud800"})
@example({"sender": {"login": "\ud800"}})
def test_any_value_anywhere_is_refused_or_understood(changes):
    for host in HOSTS:
        try:
            event = host.parse(host.edited(**changes))
        except Refused as error:
            assert error.reason.isprintable()  # noqa: PT017
        else:
            assert not isinstance(event, Push) or event.sender.isprintable()


@given(st.binary(max_size=300))
def test_the_look_at_the_nesting_never_takes_a_byte_twice(body):
    tokens = list(webhook._TOKEN.finditer(body))
    assert all(a.end() <= b.start() for a, b in itertools.pairwise(tokens))


def test_a_string_full_of_escaped_quotes_that_never_ends():
    # Quadratic in a naive scanner: this would take hours there, and milliseconds here.
    body = b'{"a": "' + b'\\"' * 2_000_000
    assert refused(GITHUB.parse, body)[0] == 400


# rate limit --------------------------------------------------------------------------------------------


def test_a_burst_and_then_the_rate():
    bucket = TokenBucket(rate=2.0, burst=3)
    assert [bucket.wait("ann", 0.0) for _ in range(4)] == [0.0, 0.0, 0.0, 0.5]
    assert bucket.wait("ann", 0.25) == 0.25
    assert bucket.wait("ann", 0.5) == 0.0
    assert bucket.wait("bob", 0.5) == 0.0


def test_time_that_goes_back_gives_nothing():
    bucket = TokenBucket(rate=1.0, burst=1)
    assert bucket.wait("ann", 100.0) == 0.0
    assert bucket.wait("ann", 0.0) == 1.0
    assert bucket.wait("ann", 100.5) == 0.5


def test_it_remembers_a_bounded_number_of_clients():
    bucket = TokenBucket(rate=1.0, burst=1, clients=10)
    for number in range(1000):
        bucket.wait(str(number), 0.0)
    assert len(bucket._buckets) == 10
    assert bucket.wait("999", 0.0) > 0


@pytest.mark.parametrize("changes", [{"rate": 0.0}, {"rate": float("nan")}, {"burst": 0}, {"clients": 0}])
def test_a_limit_that_is_none(changes):
    with pytest.raises(ConfigError):
        TokenBucket(**({"rate": 1.0, "burst": 1} | changes))


@given(st.floats(0.1, 10), st.integers(1, 5), st.lists(st.floats(0, 5), max_size=50))
def test_never_more_than_burst_and_rate_allow(rate, burst, pauses):
    bucket, now, taken = TokenBucket(rate=rate, burst=burst), 0.0, 0
    for pause in pauses:
        now += pause
        taken += bucket.wait("ann", now) == 0.0
    assert taken <= burst + now * rate + 1e-6
