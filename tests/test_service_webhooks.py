"""The HTTP edge of the webhooks: limits, answers, and that 2xx means on the disk."""

import dataclasses
import threading
import time
from datetime import datetime, timezone
from types import SimpleNamespace

import pytest
from starlette.testclient import TestClient

from autograder.hosts.webhook import MAX_BODY
from autograder.ledger import Ledger, LedgerError
from autograder.service.http import app as edge
from autograder.service.http.webhooks import Limits
from tests.test_webhook import GITEA, GITHUB, GITLAB, HOSTS, each_host
from tests.webservice import Conversation, Stub, exchange, serving

PATHS = {host.name: f"/webhook/{host.name}" for host in HOSTS}


@pytest.fixture
def stub(sqlite_database, clock):
    database, empty = sqlite_database
    empty()
    return Stub(Ledger(database, clock))


@pytest.fixture
def client(stub):
    with TestClient(edge.create(stub), raise_server_exceptions=False) as client:
        yield client


def post(client, host=GITHUB, body=None, path=None, **changes):
    body = host.push if body is None else body
    return client.post(path or PATHS[host.name], content=body, headers=host.headers(body, **changes))


def recorded(stub):
    return [
        push for repository in stub.ledger.repositories() for push in stub.ledger.history(repository).pushes
    ]


def counted(stub, **labels):
    text = stub.metrics.text([]).decode()
    (line,) = [
        line
        for line in text.splitlines()
        if line.startswith("autograder_webhooks_total{")
        and all(f'{k}="{v}"' in line for k, v in labels.items())
    ]
    return float(line.split()[-1])


# what is accepted ----------------------------------------------------------------------------------------


@each_host
def test_a_push_is_in_the_ledger_when_it_is_answered(client, stub, host):
    before = datetime.now(timezone.utc)
    response = post(client, host)
    assert (response.status_code, response.json()) == (202, {"result": "recorded"})
    (push,) = recorded(stub)
    assert push.commit == host.parse().commit
    assert before <= push.received <= datetime.now(timezone.utc)
    assert counted(stub, kind=host.name, outcome="recorded") == 1


def test_a_push_that_is_sent_again_is_known(client, stub):
    post(client)
    response = post(client)
    assert (response.status_code, response.json()) == (200, {"result": "known"})
    assert len(recorded(stub)) == 1


def test_a_captured_push_that_is_replayed_under_another_delivery_changes_nothing(client, stub):
    post(client)
    assert post(client, delivery="another-delivery").json() == {"result": "known"}
    assert len(recorded(stub)) == 1


def test_a_ping_is_answered(client, stub):
    body = b'{"zen": "Keep it simple.", "hook_id": 1}'
    assert post(client, body=body, event="ping").json() == {"result": "pong"}
    assert recorded(stub) == []


def test_what_is_of_no_use_is_said_to_be(client, stub):
    response = post(client, body=GITHUB.edited(ref="refs/tags/v1"))
    assert response.status_code == 200
    assert response.json()["result"] == "ignored"
    assert "tag" in response.json()["reason"]
    assert post(client, body=GITHUB.edited(full_name="dls/other")).json() == {
        "result": "ignored",
        "reason": "no assignment has this repository",
    }
    assert recorded(stub) == []


def test_the_receive_time_is_that_of_the_headers(stub):
    """A sender whose last byte comes late has still pushed in time."""
    headers = GITHUB.headers(GITHUB.push) | {"Content-Length": len(GITHUB.push), "Connection": "close"}
    with serving(edge.create(stub)) as port, Conversation(port) as sender:
        sender.begin(PATHS["github"], headers)
        meanwhile = datetime.now(timezone.utc)
        sender.send(GITHUB.push)
        assert sender.rest().startswith(b"HTTP/1.1 202 ")
    ((_, received),) = stub.received
    assert received < meanwhile


# which host ----------------------------------------------------------------------------------------------


def test_the_only_host_of_a_kind_need_not_be_named(client, stub):
    assert post(client, GITEA, path="/webhook/gitea/git.uni.example").status_code == 202
    assert recorded(stub)[0].repository.host == "git.uni.example"


def test_one_of_several_hosts_is_named(client, stub):
    stub.course.config.hosts["git.other.example:3000"] = SimpleNamespace(kind="gitea")
    assert post(client, GITEA).status_code == 404
    assert post(client, GITEA, path="/webhook/gitea/git.other.example:3000").status_code == 202
    assert recorded(stub)[0].repository.host == "git.other.example:3000"


@pytest.mark.parametrize(
    "path",
    [
        "/webhook/github/git.uni.example",  # of another kind
        "/webhook/github/github.example",
        "/webhook/folder",
        "/webhook/folder/folder",
        "/webhook/bitbucket",
        "/webhook/github/..%2Fgithub.com",
        "/webhook/github/%00",
    ],
)
def test_there_is_no_other_webhook(client, stub, path):
    assert post(client, path=path).status_code in (401, 404)
    assert recorded(stub) == []


@pytest.mark.parametrize(
    "path", ["/webhook", "/webhook/", "/webhook/github/", "/webhook/github/a/b", "//webhook/github"]
)
def test_other_paths_are_not_those_of_webhooks(client, stub, path):
    assert post(client, path=f"http://testserver{path}").status_code in (401, 404)
    assert recorded(stub) == []


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH"])
def test_only_posts_are_taken(client, method):
    response = client.request(method, "/webhook/github")
    assert response.status_code == 405
    assert response.headers["allow"] == "POST"


# what is refused -----------------------------------------------------------------------------------------


@each_host
def test_unsigned_and_wrongly_signed_pushes_are_refused(client, stub, host):
    for changes in ({"auth": None}, {"auth": host.sign(host.push, b"another secret of ours")}):
        response = post(client, host, **changes)
        assert response.status_code == 401
        assert response.json()["result"] == "refused"
    assert recorded(stub) == []
    assert counted(stub, kind=host.name, outcome="refused 401") == 2


def test_a_signature_is_of_one_body(client, stub):
    changed = GITHUB.edited(full_name="dls/a0-another")
    assert post(client, body=changed, auth=GITHUB.sign(GITHUB.push)).status_code == 401
    assert recorded(stub) == []


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
)
def test_malformed_pushes_are_refused(client, stub, body, status):
    assert post(client, body=body).status_code == status
    assert recorded(stub) == []


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


def test_a_body_that_announces_too_much_is_refused_unread(stub):
    head = "POST /webhook/github HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n"
    for announced in (MAX_BODY + 1, 10**18):
        with serving(edge.create(stub)) as port:
            answer = exchange(port, head.format(announced).encode())
        assert answer.startswith(b"HTTP/1.1 413 ")
        assert b"connection: close" in answer.lower()


def test_a_body_that_grows_too_large_is_refused_while_it_is_read(stub):
    """In chunks, so that nothing announces its size. It never ends: an answer means that it was not awaited."""
    endpoint = stub.course.endpoint
    stub.course.endpoint = lambda host: dataclasses.replace(endpoint(host), max_body=1000)
    with serving(edge.create(stub)) as port, Conversation(port) as sender:
        sender.begin(PATHS["github"], {"Transfer-Encoding": "chunked"})
        sender.send(b"400\r\n" + b"x" * 1024 + b"\r\n")
        assert sender.rest().startswith(b"HTTP/1.1 413 ")


def test_a_body_that_does_not_come_is_not_awaited(stub):
    with serving(edge.create(stub, Limits(body_seconds=0.2))) as port, Conversation(port) as sender:
        sender.begin(PATHS["github"], {"Content-Length": 100})
        sender.send(b"{")
        assert sender.rest().startswith(b"HTTP/1.1 408 ")


def test_what_is_refused_is_logged_and_does_not_fill_the_log(stub, caplog):
    client = TestClient(edge.create(stub, monotonic=lambda: 0.0))
    for _ in range(20):
        post(client, auth=None)
    lines = [record for record in caplog.records if record.message == "a webhook was not taken"]
    assert len(lines) == 10
    assert (lines[0].status, lines[0].path, lines[0].source) == (401, "/webhook/github", "testclient")
    assert "secret" in lines[0].why


def test_a_sender_who_goes_away_leaves_nothing_behind(stub):
    with serving(edge.create(stub, Limits(held_bytes=1000))) as port:
        for _ in range(3):
            with Conversation(port) as gone:
                gone.begin(PATHS["github"], {"Content-Length": 900})
                gone.send(b"x" * 800)
        deadline = time.monotonic() + 60
        while 'outcome="refused 400"} 3.0' not in stub.metrics.text([]).decode():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        with Conversation(port) as sender:
            sender.begin(PATHS["github"], {"Content-Length": 900, "Connection": "close"})
            sender.send(b"x" * 900)
            assert sender.rest().startswith(b"HTTP/1.1 401 ")
    assert recorded(stub) == []


# too much ------------------------------------------------------------------------------------------------


def test_a_source_that_asks_too_often_must_wait(stub):
    with TestClient(edge.create(stub, Limits(rate=0.01, burst=3), monotonic=lambda: 0.0)) as client:
        assert [post(client, auth=None).status_code for _ in range(4)] == [401, 401, 401, 429]
        response = post(client)
        assert response.status_code == 429
        assert response.headers["retry-after"] == "100"
    assert recorded(stub) == []


def test_sources_are_told_apart(stub):
    app = edge.create(stub, Limits(rate=0.01, burst=1), monotonic=lambda: 0.0)
    addresses = ["192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8:0:1::1"]
    for address in addresses:
        assert post(TestClient(app, client=(address, 1))).status_code in (200, 202)
    assert (
        post(TestClient(app, client=("2001:db8::ffff", 1))).status_code == 429
    )  # the network of 2001:db8::1


def test_bodies_take_only_so_much_memory_together(stub):
    length = {"Content-Length": 700, "Connection": "close"}
    with serving(edge.create(stub, Limits(held_bytes=1000))) as port, Conversation(port) as slow:
        slow.begin(PATHS["github"], length)
        slow.send(b"x" * 600)
        with Conversation(port) as other:
            # The 600 bytes above may come a moment later than these: the limit holds for both together.
            other.begin(PATHS["github"], length)
            other.send(b"y" * 600)
            slow.send(b"x" * 100)
            other.send(b"y" * 100)
            answers = [slow.rest(), other.rest()]
        with Conversation(port) as third:
            third.begin(PATHS["github"], length)
            third.send(b"z" * 700)
            answers.append(third.rest())
    statuses = [answer.split()[1] for answer in answers]
    assert b"503" in statuses[:2]
    assert statuses[2] == b"401"  # what they held was given back
    assert any(b"retry-after: 30" in answer.lower() for answer in answers)


def test_a_ledger_that_fails_is_said_to(client, stub, caplog):
    stub.fails = LedgerError("the ledger sqlite:////srv/secret/place is full")
    response = post(client)
    assert response.status_code == 503
    assert response.headers["retry-after"] == "30"
    assert response.json() == {"result": "failed", "reason": "the push is not recorded; send it again"}
    assert "/srv/secret/place" in caplog.text
    stub.fails = None
    assert post(client).json() == {"result": "recorded"}


def test_a_bug_of_ours_is_no_2xx(client, stub):
    stub.fails = RuntimeError("a bug")
    assert post(client).status_code == 500
    assert recorded(stub) == []


def test_a_secret_that_is_missing_is_our_fault(client, stub):
    stub.course.config.hosts = {"git.broken.example": SimpleNamespace(kind="gitea")}
    assert post(client, GITEA).status_code == 503


def test_many_at_once_are_all_recorded(stub):
    commits = [f"{number:040x}" for number in range(1, 41)]
    answers = []

    def send(client, commit):
        body = GITLAB.edited(after=commit)
        answers.append(post(client, GITLAB, body=body, delivery=commit).status_code)

    with TestClient(edge.create(stub)) as client:
        threads = [threading.Thread(target=send, args=(client, commit)) for commit in commits]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    assert answers == [202] * len(commits)
    assert sorted(push.commit for push in recorded(stub)) == commits


def test_too_many_that_wait_for_the_ledger_are_sent_away(stub):
    begun, go_on = threading.Event(), threading.Event()

    def receive(push, received):
        begun.set()
        assert go_on.wait(30)
        return Stub.receive(stub, push, received)

    stub.receive = receive
    with TestClient(edge.create(stub, Limits(threads=1, waiting=1))) as client:
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
