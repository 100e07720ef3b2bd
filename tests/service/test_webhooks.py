"""Webhooks over HTTP: limits, responses, that a 2xx means on disk, and that docs/webhooks.md names every kind."""

import dataclasses
import threading
import time
from datetime import datetime, timezone
from typing import get_args

import pytest
from starlette.testclient import TestClient

from autograder.hosts import KINDS, PARSERS, KindName
from autograder.hosts.webhook import MAX_BODY
from autograder.ledger import Ledger, LedgerError
from autograder.service.http import app as edge
from autograder.service.http.webhooks import Limits
from tests.hosts.test_webhook import GITEA, GITHUB, GITLAB, HOSTS, each_host
from tests.support import ROOT
from tests.support.webservice import (
    ASSIGNMENTS,
    Conversation,
    assignment,
    exchange,
    host,
    new_service,
    serving,
)
from tests.support.webservice import HOSTS as CONFIGURED

PATHS = {host.name: f"/webhook/{host.name}" for host in HOSTS}
DOCS = ROOT / "docs"


@pytest.fixture
def service(sqlite_database, clock, tmp_path):
    database, empty = sqlite_database
    empty()
    return new_service(tmp_path, Ledger(database, clock), clock)


@pytest.fixture
def client(service):
    with TestClient(edge.create(service), raise_server_exceptions=False) as client:
        yield client


def post(client, host=GITHUB, body=None, path=None, **changes):
    body = host.push if body is None else body
    return client.post(path or PATHS[host.name], content=body, headers=host.headers(body, **changes))


def recorded(service):
    return [
        push
        for repository in service.ledger.repositories()
        for push in service.ledger.history(repository).pushes
    ]


def counted(service, **labels):
    text = service.metrics.text([]).decode()
    (line,) = [
        line
        for line in text.splitlines()
        if line.startswith("autograder_webhooks_total{")
        and all(f'{k}="{v}"' in line for k, v in labels.items())
    ]
    return float(line.split()[-1])


# what is accepted ----------------------------------------------------------------------------------------


@each_host
def test_a_push_is_in_the_ledger_before_the_response(client, service, host):
    before = datetime.now(timezone.utc)
    response = post(client, host)
    assert (response.status_code, response.json()) == (202, {"result": "recorded"})
    (push,) = recorded(service)
    assert push.commit == host.parse().commit
    assert before <= push.received <= datetime.now(timezone.utc)
    assert counted(service, kind=host.name, result="recorded") == 1


def test_a_push_that_is_sent_again_is_known(client, service):
    post(client)
    response = post(client)
    assert (response.status_code, response.json()) == (200, {"result": "known"})
    assert len(recorded(service)) == 1


def test_a_push_replayed_under_another_delivery_changes_nothing(client, service):
    post(client)
    assert post(client, delivery="another-delivery").json() == {"result": "known"}
    assert len(recorded(service)) == 1


def test_a_ping_gets_a_pong(client, service):
    body = b'{"zen": "Keep it simple.", "hook_id": 1}'
    assert post(client, body=body, event="ping").json() == {"result": "pong"}
    assert recorded(service) == []


def test_the_response_says_why_a_push_is_ignored(client, service):
    response = post(client, body=GITHUB.edited(ref="refs/tags/v1"))
    assert response.status_code == 200
    assert response.json()["result"] == "ignored"
    assert "tag" in response.json()["reason"]
    assert post(client, body=GITHUB.edited(full_name="dls/other")).json() == {
        "result": "ignored",
        "reason": "no assignment is configured for this repository and branch",
    }
    assert recorded(service) == []


def test_the_receive_time_is_that_of_the_headers(service):
    """A sender whose last byte comes late has still pushed in time."""
    headers = GITHUB.headers(GITHUB.push) | {"Content-Length": len(GITHUB.push), "Connection": "close"}
    with serving(edge.create(service)) as port, Conversation(port) as sender:
        sender.begin(PATHS["github"], headers)
        meanwhile = datetime.now(timezone.utc)
        sender.send(GITHUB.push)
        assert sender.rest().startswith(b"HTTP/1.1 202 ")
    (push,) = recorded(service)
    assert push.received < meanwhile


# which host ----------------------------------------------------------------------------------------------


def test_the_only_host_of_a_kind_need_not_be_named(client, service):
    assert post(client, GITEA).status_code == 202
    assert recorded(service)[0].repository.host == "git.uni.example"


def test_the_only_host_of_a_kind_may_be_named(client, service):
    assert post(client, GITEA, path="/webhook/gitea/git.uni.example").status_code == 202
    assert recorded(service)[0].repository.host == "git.uni.example"


def test_one_of_several_hosts_is_named(service, clock, tmp_path):
    name = "git.other.example:3000"
    hosts = CONFIGURED | {name: host("gitea")}
    assignments = ASSIGNMENTS | {"b0": assignment(name, "dls/a0-*")}
    two = new_service(tmp_path, service.ledger, clock, hosts=hosts, assignments=assignments)
    client = TestClient(edge.create(two))
    assert post(client, GITEA).status_code == 404
    assert post(client, GITEA, path=f"/webhook/gitea/{name}").status_code == 202
    assert recorded(service)[0].repository.host == name


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_that_sends_webhooks_has_an_address(service, clock, tmp_path, kind):
    one = new_service(tmp_path, service.ledger, clock, hosts={"h.example": host(kind)}, assignments={})
    client = TestClient(edge.create(one))
    for path in (f"/webhook/{kind}", f"/webhook/{kind}/h.example"):
        assert client.post(path, content=b"").status_code == (401 if kind in PARSERS else 404)


@pytest.mark.parametrize(
    "path",
    [
        "/webhook/github/git.uni.example",  # a host of another kind
        "/webhook/github/github.example",
        "/webhook/folder",
        "/webhook/folder/folder",
        "/webhook/bitbucket",
        "/webhook/github/..%2Fgithub.com",
        "/webhook/github/%00",
    ],
)
def test_there_is_no_other_webhook(client, service, path):
    assert post(client, path=path).status_code in (401, 404)
    assert recorded(service) == []


@pytest.mark.parametrize("path", ["/webhook", "/webhook/", "/webhook/github/a/b", "//webhook/github"])
def test_other_paths_are_not_those_of_webhooks(client, service, path):
    assert post(client, path=f"http://testserver{path}").status_code in (401, 404)
    assert recorded(service) == []


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH"])
def test_only_posts_are_accepted(client, method):
    response = client.request(method, "/webhook/github")
    assert response.status_code == 405
    assert response.headers["allow"] == "POST"


# what is refused -----------------------------------------------------------------------------------------


@each_host
def test_unsigned_and_wrongly_signed_pushes_are_refused(client, service, host):
    for changes in ({"auth": None}, {"auth": host.sign(host.push, b"another secret: not this host's")}):
        response = post(client, host, **changes)
        assert response.status_code == 401
        assert response.json()["result"] == "refused"
    assert recorded(service) == []
    assert counted(service, kind=host.name, result="refused 401") == 2


def test_a_signature_is_valid_for_one_body(client, service):
    changed = GITHUB.edited(full_name="dls/a0-another")
    assert post(client, body=changed, auth=GITHUB.sign(GITHUB.push)).status_code == 401
    assert recorded(service) == []


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"[]", 422),
        (b"\xff", 400),
        (b"[" * 40 + b"]" * 40, 400),
        (b'{"ref": 1}', 422),
    ],
    ids=["empty", "cut-off", "array", "not-utf8", "deep", "wrong-type"],
)
def test_malformed_pushes_are_refused(client, service, body, status):
    assert post(client, body=body).status_code == status
    assert recorded(service) == []


def test_header_limits(client):
    many = GITHUB.headers(GITHUB.push) | {f"X-{number}": "v" for number in range(120)}
    assert client.post(PATHS["github"], content=GITHUB.push, headers=many).status_code == 431
    twice = [*GITHUB.headers(GITHUB.push).items(), ("X-GitHub-Event", "push")]
    assert client.post(PATHS["github"], content=GITHUB.push, headers=twice).status_code == 400


def test_a_reason_never_repeats_what_was_sent(client):
    response = post(client, body=GITHUB.edited(full_name="<script>alert(1)</script>/x"))
    assert response.status_code == 422
    assert "script" not in response.text
    assert response.headers["content-type"] == "application/json"
    assert response.headers["x-content-type-options"] == "nosniff"


def test_a_body_that_announces_too_much_is_refused_unread(service):
    head = "POST /webhook/github HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n"
    for announced in (MAX_BODY + 1, 10**18):
        with serving(edge.create(service)) as port:
            response = exchange(port, head.format(announced).encode())
        assert response.startswith(b"HTTP/1.1 413 ")
        assert b"connection: close" in response.lower()


def test_a_body_that_grows_too_large_is_refused_while_it_is_read(service):
    """In chunks, so that nothing announces its size. It never ends: a response means that its end was not awaited."""
    endpoint = service.course.endpoint
    service.course.endpoint = lambda host: dataclasses.replace(endpoint(host), max_body=1000)
    with serving(edge.create(service)) as port, Conversation(port) as sender:
        sender.begin(PATHS["github"], {"Transfer-Encoding": "chunked"})
        sender.send(b"400\r\n" + b"x" * 1024 + b"\r\n")
        assert sender.rest().startswith(b"HTTP/1.1 413 ")


def test_a_body_that_does_not_come_is_not_awaited(service):
    with serving(edge.create(service, Limits(body_seconds=0.2))) as port, Conversation(port) as sender:
        sender.begin(PATHS["github"], {"Content-Length": 100})
        sender.send(b"{")
        assert sender.rest().startswith(b"HTTP/1.1 408 ")


def test_what_is_refused_is_logged_and_does_not_fill_the_log(service, caplog):
    client = TestClient(edge.create(service, monotonic=lambda: 0.0))
    for _ in range(20):
        post(client, auth=None)
    lines = [record for record in caplog.records if record.message == "webhook not accepted"]
    assert len(lines) == 10
    assert (lines[0].status, lines[0].path, lines[0].client) == (401, "/webhook/github", "testclient")
    assert "secret" in lines[0].reason


def test_a_sender_that_disconnects_leaves_nothing_behind(service):
    with serving(edge.create(service, Limits(held_bytes=1000))) as port:
        for _ in range(3):
            with Conversation(port) as gone:
                gone.begin(PATHS["github"], {"Content-Length": 900})
                gone.send(b"x" * 800)
        deadline = time.monotonic() + 60
        while 'result="refused 400"} 3.0' not in service.metrics.text([]).decode():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        with Conversation(port) as sender:
            sender.begin(PATHS["github"], {"Content-Length": 900, "Connection": "close"})
            sender.send(b"x" * 900)
            assert sender.rest().startswith(b"HTTP/1.1 401 ")
    assert recorded(service) == []


def test_the_body_of_a_sender_without_a_signature_is_not_read(service):
    """The body never comes: a response means that it was not awaited."""
    with serving(edge.create(service)) as port, Conversation(port) as stranger:
        stranger.send(b"POST /webhook/github HTTP/1.1\r\nHost: x\r\nContent-Length: 20000000\r\n\r\n")
        response = stranger.rest()
    assert response.startswith(b"HTTP/1.1 401 ")
    assert b"connection: close" in response.lower()


@each_host
def test_a_request_is_refused_by_its_headers_alone_if_they_are_enough(client, host):
    """The bodies are no JSON, and a wrong token or a missing signature is still what is refused."""
    assert post(client, host, body=b"{", auth=None).status_code == 401
    assert post(client, host, body=b"{", auth="sha256=zz").status_code == 401


# too much ------------------------------------------------------------------------------------------------


def test_a_client_with_too_many_requests_must_wait(service):
    with TestClient(edge.create(service, Limits(rate=0.01, burst=3), monotonic=lambda: 0.0)) as client:
        assert [post(client, auth=None).status_code for _ in range(4)] == [401, 401, 401, 429]
        response = post(client)
        assert response.status_code == 429
        assert response.headers["retry-after"] == "100"
    assert recorded(service) == []


def test_one_address_cannot_hold_the_memory_for_all_bodies(service, clock, tmp_path):
    """Bodies with a forged signature take what one address may hold. The git host at another address is served."""
    size = len(GITHUB.push)
    proxied = new_service(tmp_path, service.ledger, clock, proxies=("127.0.0.1",))
    limits = Limits(held_bytes=3 * size, held_bytes_of_one=size)
    stranger = {"Content-Length": size, "X-Forwarded-For": "192.0.2.1", "Connection": "close"}
    with (
        serving(edge.create(proxied, limits)) as port,
        Conversation(port) as first,
        Conversation(port) as second,
    ):
        for connection in (first, second):
            connection.begin(PATHS["github"], stranger)
            connection.send(b"x" * (size - 1))
        assert second.rest().startswith(b"HTTP/1.1 503 ")
        with Conversation(port) as host:
            signed = GITHUB.headers(GITHUB.push) | {"Content-Length": size, "Connection": "close"}
            host.begin(PATHS["github"], signed | {"X-Forwarded-For": "192.0.2.2"})
            host.send(GITHUB.push)
            assert host.rest().startswith(b"HTTP/1.1 202 ")


def test_client_addresses_are_counted_separately(service):
    app = edge.create(service, Limits(rate=0.01, burst=1), monotonic=lambda: 0.0)
    addresses = ["192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8:0:1::1"]
    for address in addresses:
        assert post(TestClient(app, client=(address, 1))).status_code in (200, 202)
    neighbour = TestClient(app, client=("2001:db8::ffff", 1))  # in the network of 2001:db8::1
    assert post(neighbour).status_code == 429


def test_bodies_take_only_so_much_memory_together(service):
    length = {"Content-Length": 700, "Connection": "close"}
    with serving(edge.create(service, Limits(held_bytes=1000))) as port, Conversation(port) as slow:
        slow.begin(PATHS["github"], length)
        slow.send(b"x" * 600)
        with Conversation(port) as other:
            # The 600 bytes above may arrive after these: the limit holds for both together.
            other.begin(PATHS["github"], length)
            other.send(b"y" * 600)
            slow.send(b"x" * 100)
            other.send(b"y" * 100)
            responses = [slow.rest(), other.rest()]
        with Conversation(port) as third:
            third.begin(PATHS["github"], length)
            third.send(b"z" * 700)
            responses.append(third.rest())
    statuses = [response.split()[1] for response in responses]
    assert b"503" in statuses[:2]
    assert statuses[2] == b"401"  # what they held was released
    assert any(b"retry-after: 30" in response.lower() for response in responses)


def failing(error):
    def record_push(*_arguments, **_values):
        raise error

    return record_push


def test_a_push_that_cannot_be_recorded_gets_a_503(client, service, caplog, monkeypatch):
    error = LedgerError("the ledger sqlite:////srv/secret/place is full")
    monkeypatch.setattr(service.ledger, "record_push", failing(error))
    response = post(client)
    assert response.status_code == 503
    assert response.headers["retry-after"] == "30"
    assert response.json() == {"result": "failed", "reason": "the push could not be recorded; send it again"}
    assert "/srv/secret/place" in caplog.text
    monkeypatch.undo()
    assert post(client).json() == {"result": "recorded"}


def test_our_bug_is_not_a_2xx(client, service, monkeypatch):
    monkeypatch.setattr(service.ledger, "record_push", failing(RuntimeError("a bug")))
    assert post(client).status_code == 500
    assert recorded(service) == []


def test_a_secret_that_is_missing_is_our_fault(service, clock, tmp_path):
    hosts = {"git.broken.example": host("gitea", file="missing")}
    broken = new_service(tmp_path, service.ledger, clock, hosts=hosts, assignments={})
    response = post(TestClient(edge.create(broken)), GITEA)
    assert (response.status_code, response.json()["result"]) == (503, "failed")


def test_many_at_once_are_all_recorded(service):
    commits = [f"{number:040x}" for number in range(1, 41)]
    statuses = []

    def send(client, commit):
        body = GITLAB.edited(after=commit)
        statuses.append(post(client, GITLAB, body=body, delivery=commit).status_code)

    with TestClient(edge.create(service)) as client:
        threads = [threading.Thread(target=send, args=(client, commit)) for commit in commits]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    assert statuses == [202] * len(commits)
    assert sorted(push.commit for push in recorded(service)) == commits


def test_requests_are_sent_away_if_too_many_wait_for_the_ledger(service, monkeypatch):
    begun, go_on = threading.Event(), threading.Event()
    record_push = service.ledger.record_push

    def record_slowly(*arguments, **values):
        begun.set()
        assert go_on.wait(30)
        return record_push(*arguments, **values)

    monkeypatch.setattr(service.ledger, "record_push", record_slowly)
    with TestClient(edge.create(service, Limits(threads=1, waiting=1))) as client:
        first = []
        thread = threading.Thread(target=lambda: first.append(post(client).status_code))
        thread.start()
        assert begun.wait(30)
        assert post(client, delivery="second").status_code == 503
        go_on.set()
        thread.join(30)
    assert first == [202]


def test_the_limits_leave_room_for_a_whole_course_at_once():
    limits = Limits()
    assert min(limits.burst, limits.waiting) >= 500


# documentation -------------------------------------------------------------------------------------------


def test_every_kind_has_an_entry_and_a_sample():
    assert set(KINDS) == set(get_args(KindName))
    assert {host.name for host in HOSTS} == set(PARSERS)


def test_the_documentation_names_every_kind_that_sends_webhooks():
    table = (DOCS / "webhooks.md").read_text().split("## Setting one up")[1]
    rows = [line for line in table.split("\n") if line.startswith("|")]
    titles, _, addresses = ([cell.strip() for cell in row.split("|")[2:-1]] for row in rows[:3])
    assert titles == [KINDS[kind].title for kind in PARSERS]
    assert addresses == [f"`/webhook/{kind}`" for kind in PARSERS]
