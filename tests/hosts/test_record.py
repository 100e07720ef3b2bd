"""The record of pushes that each host keeps itself: what is read of it, and what is not believed."""

import http.server
import json
import threading
from contextlib import contextmanager
from datetime import datetime, timezone
from urllib.parse import urlsplit

import pytest

from autograder.git.process import GitHostError
from autograder.hosts import KINDS
from autograder.hosts.api import Api
from autograder.hosts.push import Move
from autograder.hosts.record import web_of

A, B, ZERO = "a" * 40, "b" * 40, "0" * 40
EARLIER = datetime(2026, 9, 10, 12, 0, tzinfo=timezone.utc)
LATER = datetime(2026, 9, 10, 13, 30, tzinfo=timezone.utc)
MOVES = [Move(ZERO, A, EARLIER), Move(A, B, LATER)]

GITHUB = [
    {
        "id": 2,
        "node_id": "x",
        "before": A,
        "after": B,
        "ref": "refs/heads/main",
        "timestamp": "2026-09-10T13:30:00Z",
        "activity_type": "force_push",
        "actor": {"login": "ann"},
    },
    {"before": B, "after": ZERO, "ref": "refs/heads/main", "timestamp": "2026-09-10T12:30:00Z"},  # deleted
    {"before": ZERO, "after": B, "ref": "refs/heads/dev", "timestamp": "2026-09-10T12:30:00Z"},
    {"before": ZERO, "after": A, "ref": "refs/heads/main", "timestamp": "2026-09-10T12:00:00Z"},
]
GITEA = [
    {
        "op_type": "commit_repo",
        "ref_name": "refs/heads/main",
        "created": "2026-09-10T15:30:00+02:00",
        "content": json.dumps(
            {
                "Commits": [{"Sha1": B, "Message": "work"}],
                "HeadCommit": {"Sha1": B},
                "CompareURL": f"cs/a0-ann/compare/{A}...{B}",
                "Len": 1,
            }
        ),
    },
    {"op_type": "star_repo", "ref_name": "", "created": "2026-09-10T15:00:00+02:00", "content": ""},
    {
        "op_type": "commit_repo",
        "ref_name": "refs/heads/main",
        "created": "2026-09-10T14:00:00+02:00",
        "content": json.dumps(
            {"Commits": [{"Sha1": A}], "HeadCommit": {"Sha1": A}, "CompareURL": f"cs/x/compare/{ZERO}...{A}"}
        ),
    },
    {"op_type": "commit_repo", "ref_name": "main", "created": "2026-09-10T13:00:00Z", "content": "not JSON"},
]
GITLAB = [
    {
        "id": 4,
        "action_name": "pushed to",
        "created_at": "2026-09-10T13:30:00.000Z",
        "push_data": {
            "ref_type": "branch",
            "ref": "main",
            "commit_from": A,
            "commit_to": B,
            "action": "pushed",
        },
    },
    {
        "created_at": "2026-09-10T12:40:00Z",
        "push_data": {"ref_type": "tag", "ref": "main", "commit_from": None, "commit_to": B},
    },
    {
        "created_at": "2026-09-10T12:30:00Z",
        "push_data": {"ref_type": "branch", "ref": "main", "commit_from": B, "commit_to": None},
    },
    {
        "created_at": "2026-09-10T12:00:00.000Z",
        "push_data": {"ref_type": "branch", "ref": "main", "commit_from": ZERO, "commit_to": A},
    },
]
PAGES = {
    "github": ("/repos/cs/a0-ann/activity", GITHUB, "Bearer secret"),
    "gitea": ("/repos/cs/a0-ann/activities/feeds", GITEA, "token secret"),
    "gitlab": ("/projects/cs%2Fa0-ann/events", GITLAB, "secret"),
}


@contextmanager
def serving(respond):
    """A server whose response is `(status, body)` for a path; notes the requests."""
    requests = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            requests.append((self.path, dict(self.headers)))
            status, body = respond(self.path)
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", requests
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def as_json(rows):
    return lambda _path: (200, json.dumps(rows).encode())


@pytest.mark.parametrize("kind", PAGES)
def test_the_moves_of_a_branch_are_read_in_order(kind):
    path, rows, authorization = PAGES[kind]
    with serving(as_json(rows)) as (base, requests):
        found = KINDS[kind].moves(Api("host", base, "secret"), "cs", "a0-ann", "main")
    assert found == MOVES
    asked, headers = requests[0]
    assert urlsplit(asked).path == path
    assert authorization in (
        headers.get("Authorization"),
        headers.get("PRIVATE-TOKEN"),
        headers.get("Private-Token"),
    )


@pytest.mark.parametrize("kind", PAGES)
@pytest.mark.parametrize(
    "respond",
    [
        lambda _: (404, b"{}"),
        lambda _: (302, b""),
        lambda _: (200, b"{}"),
        lambda _: (200, b"no JSON"),
        lambda _: (200, b'[{"created": 1, "created_at": 1, "before": 1}]'),
        lambda _: (200, b"[" * 100_000),
    ],
    ids=["missing", "redirect", "object", "text", "types", "deep"],
)
def test_another_response_is_a_fault_of_the_host(kind, respond):
    with serving(respond) as (base, _), pytest.raises(GitHostError):
        KINDS[kind].moves(Api("host", base), "cs", "a0-ann", "main")


@pytest.mark.parametrize("kind", PAGES)
def test_the_repositories_of_an_owner_are_listed_over_all_pages(kind):
    def respond(path):
        page = int(path.rpartition("page=")[2])
        names = {1: ["a0-ann", "a0-bob"], 2: ["a0-eve"]}.get(page, [])
        return 200, json.dumps([{"name": name, "path": name} for name in names]).encode()

    with serving(respond) as (base, _):
        assert KINDS[kind].names(Api("host", base), "cs") == ["a0-ann", "a0-bob", "a0-eve"]


def folder(tmp_path, text):
    log = tmp_path / "cs" / "a0-ann.git" / "logs" / "refs" / "heads" / "main"
    log.parent.mkdir(parents=True)
    log.write_bytes(text)
    return log


REFLOG = (
    f"{ZERO} {A} ann <ann@uni> 1789041600 +0200\tpush\n{A} {B} x > y <> 1789047000 +0000\n{B} nonsense\n"
).encode()


def test_a_reflog_gives_the_moves_of_a_bare_repository(tmp_path):
    folder(tmp_path, REFLOG)
    assert KINDS["folder"].moves(Api("files", str(tmp_path)), "cs", "a0-ann", "main") == MOVES
    assert KINDS["folder"].names(Api("files", str(tmp_path)), "cs") == ["a0-ann"]
    assert KINDS["folder"].moves(Api("files", str(tmp_path)), "cs", "a0-ann", "dev") == []


def test_a_link_in_place_of_a_reflog_is_not_followed(tmp_path):
    log = folder(tmp_path, REFLOG)
    log.rename(tmp_path / "elsewhere")
    log.symlink_to(tmp_path / "elsewhere")
    assert KINDS["folder"].moves(Api("files", str(tmp_path)), "cs", "a0-ann", "main") == []


@pytest.mark.parametrize(
    ("base", "web"),
    [
        ("https://git.uni.example/sub/", "https://git.uni.example/sub"),
        ("ssh://git@git.uni.example:22", "https://git.uni.example"),
        ("ssh://git.uni.example/sub", "https://git.uni.example/sub"),
    ],
)
def test_the_web_server_of_a_host(base, web):
    assert web_of(base) == web
