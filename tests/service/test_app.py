"""Health, readiness and metrics, and that slow clients do not delay others."""

import contextlib
import re
import socket

import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from autograder.ledger import Ledger
from autograder.service.http import app as edge
from autograder.service.http.listener import Listener
from autograder.service.http.login import ATTEMPTS
from autograder.service.jobs.queue import QueueError
from autograder.service.metrics import Depth
from tests.support import ROOT
from tests.support.ledgers import report
from tests.support.webservice import TOKEN, URL, Conversation, exchange, new_service, serving

LOCAL = ("127.0.0.1", 50000)
BEARER = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture
def service(sqlite_database, clock, tmp_path):
    database, empty = sqlite_database
    empty()
    return new_service(tmp_path, Ledger(database, clock), clock)


def client(service, address=("192.0.2.1", 1), url=URL):
    return TestClient(edge.create(service), base_url=url, client=address)


def read(text):
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


# health --------------------------------------------------------------------------------------------------


def test_the_process_lives(service):
    service.checks.append(lambda: ["the ledger cannot be written"])
    assert client(service).get("/healthz").text == "ok\n"
    assert client(service).head("/healthz").status_code == 200
    assert client(service).post("/healthz").status_code == 405


def test_it_is_ready(service):
    response = client(service).get("/readyz")
    assert (response.status_code, response.json()) == (200, {"ready": True})


def test_it_is_not_ready_and_tells_staff_why(service):
    problems = ["the ledger sqlite:////srv/ledger.sqlite cannot be written"]
    service.checks.append(lambda: problems)
    response = client(service).get("/readyz")
    assert (response.status_code, response.json()) == (503, {"ready": False})
    for detailed in (client(service, LOCAL).get("/readyz"), client(service).get("/readyz", headers=BEARER)):
        assert detailed.status_code == 503
        assert detailed.json() == {"ready": False, "problems": problems}


# metrics -------------------------------------------------------------------------------------------------


def test_metrics_are_for_this_machine_or_with_the_token(service):
    assert client(service, LOCAL).get("/metrics").status_code == 200
    assert client(service).get("/metrics", headers=BEARER).status_code == 200
    refused = client(service).get("/metrics")
    assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
    assert "autograder_" not in refused.text


@pytest.mark.parametrize("header", ["Bearer x", f"Basic {TOKEN}", f"Bearer {TOKEN}x", f"{TOKEN} x"])
def test_a_wrong_token_reads_no_metrics(service, header):
    assert client(service, LOCAL).get("/metrics", headers={"Authorization": header}).status_code == 401


def test_the_token_is_not_guessed_at_the_metrics(service):
    guesser = TestClient(edge.create(service, monotonic=lambda: 0.0))
    statuses = [
        guesser.get("/metrics", headers={"Authorization": f"Bearer {number}"}).status_code
        for number in range(ATTEMPTS + 1)
    ]
    assert statuses == [401] * ATTEMPTS + [429]
    assert guesser.get("/metrics", headers=BEARER).status_code == 429


def test_a_proxy_on_this_machine_opens_nothing(service):
    forwarded = {"X-Forwarded-For": "192.0.2.7"}
    assert client(service, LOCAL).get("/metrics", headers=forwarded).status_code == 401
    assert client(service, LOCAL, "http://rebound.example").get("/metrics").status_code == 401


def test_metrics_need_the_token_where_the_service_may_be_behind_a_proxy(service, clock, tmp_path):
    proxied = new_service(tmp_path, service.ledger, clock, url="https://grader.uni.example")
    assert client(proxied, LOCAL).get("/metrics").status_code == 401


def test_what_is_measured(service, clock):
    from tests.support.ledgers import Semester

    semester = Semester(service.ledger, clock)
    semester.push("one")
    semester.grade("one")
    semester.push("two")
    semester.open("two")
    service.queue.depths = {"cpu": Depth(3, 1, 12.5)}
    service.checks.append(lambda: ["one"])
    service.metrics.step("grade", 0.3)
    service.metrics.step("grade", 30)
    service.metrics.fault("publish")
    service.metrics.report(report())
    values = read(client(service, LOCAL).get("/metrics").text)
    assert values["autograder_jobs", "final"] == 1
    assert values["autograder_jobs", "queued"] == 1
    assert values["autograder_jobs", "dead"] == 0
    assert values["autograder_queue_depth", "cpu"] == 3
    assert values["autograder_queue_running", "cpu"] == 1
    assert values["autograder_queue_oldest_seconds", "cpu"] == 12.5
    assert values["autograder_queue_depth", "gpu"] == 0
    assert values[("autograder_workers",)] == 2
    assert values[("autograder_problems",)] == 1
    assert values["autograder_step_seconds_bucket", "0.5", "grade"] == 1
    assert values["autograder_step_seconds_count", "grade"] == 2
    assert values["autograder_step_seconds_count", "fetch"] == 0
    assert values["autograder_faults_total", "publish"] == 1
    assert values["autograder_verdicts_total", "a0", "wrong"] == 1
    assert values[("process_resident_memory_bytes",)] > 0


def test_metrics_are_there_without_the_queue_and_without_the_ledger(service, monkeypatch):
    def away(*_arguments):
        raise QueueError("the queue sqlite:///jobs.sqlite: unable to open database file")

    monkeypatch.setattr(service.queue, "entries", away)
    monkeypatch.setattr(service.queue, "check", away)
    measured = client(service, LOCAL).get("/metrics")
    assert measured.status_code == 200
    assert read(measured.text)["autograder_problems",] == 1
    assert read(measured.text)["autograder_workers",] == 2
    assert "autograder_queue_depth" not in measured.text
    monkeypatch.setattr(service.ledger, "count_jobs", away)
    assert client(service, LOCAL).get("/metrics").status_code == 200


def test_two_services_in_one_process_count_apart(service, clock, tmp_path):
    other = new_service(tmp_path, service.ledger, clock)
    service.metrics.fault("fetch")
    assert read(client(other, LOCAL).get("/metrics").text)["autograder_faults_total", "fetch"] == 0


# slow and broken clients ---------------------------------------------------------------------------------


class Hasty(Listener):
    """Waits only a short time for a head that never comes."""

    head_seconds = 0.2


class Brief(Listener):
    """Waits for a head that does come, on a busy machine too."""

    head_seconds = 1.0


@pytest.mark.parametrize(
    "begun",
    [b"", b"GET", b"GET /healthz HTTP/1.1\r\nHost: x\r\n", b"POST /webhook/github HTTP/1.1\r\nX-A: "],
    ids=["nothing", "a-word", "no-end", "no-value"],
)
def test_a_connection_without_a_whole_request_is_closed(service, begun):
    with serving(edge.create(service), http=Hasty) as port:
        assert exchange(port, begun) == b""  # it returns, although the client keeps the connection open


def test_a_second_request_that_does_not_come_is_not_awaited(service):
    with (
        serving(edge.create(service), http=Brief, timeout_keep_alive=1000) as port,
        Conversation(port) as slow,
    ):
        slow.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert slow.until(b"ok\n").startswith(b"HTTP/1.1 200 ")
        slow.send(b"GET /healthz HTTP/1.1\r\n")
        assert slow.rest() == b""


def test_a_drip_of_headers_does_not_prolong_the_wait(service):
    with serving(edge.create(service), http=Hasty) as port, Conversation(port) as slow:
        slow.send(b"GET /healthz HTTP/1.1\r\n")
        for _ in range(10_000):  # without the limit: 1,000 seconds
            slow.send(b"X: y\r\n")
            if slow.closed(0.1):
                break
        else:
            pytest.fail("the connection is still open")


def test_a_request_whose_response_takes_long_is_not_closed(service):
    with serving(edge.create(service), http=Brief) as port, Conversation(port) as slow:
        slow.begin("/webhook/github", {"Content-Length": 10, "Connection": "close"})
        assert not slow.closed(1.5)
        slow.send(b"x" * 10)
        assert slow.rest().startswith(b"HTTP/1.1 401 ")


def test_slow_connections_leave_room_for_others(service):
    with serving(edge.create(service)) as port, contextlib.ExitStack() as stack:
        for _ in range(100):
            stack.enter_context(Conversation(port)).send(b"POST /webhook/github HTTP/1.1\r\nX-Slow: ")
        assert b"200 OK" in exchange(port, b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")


def test_the_number_of_connections_is_limited(service):
    with serving(edge.create(service), limit_concurrency=4) as port, contextlib.ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(Conversation(port)).begin("/webhook/github", {"Content-Length": 10})
        response = exchange(port, b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    assert response.startswith(b"HTTP/1.1 503 ")


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64),
        b"GET /a b HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX-A: \x00\r\n\r\n",
        b"POST /webhook/github HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        b"POST /webhook/github HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX-Long: " + b"x" * 1_000_000 + b"\r\n\r\n",
    ],
    ids=["tls", "path", "no-host", "two-hosts", "nul", "two-lengths", "negative-length", "long-head"],
)
def test_what_is_not_http_is_refused(service, request_bytes):
    with serving(edge.create(service)) as port:
        response = exchange(port, request_bytes)
        assert response.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 431 "))
        assert b"Traceback" not in response
        assert b"200 OK" in exchange(port, b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")


def test_a_body_of_two_lengths_is_not_two_requests(service):
    """Request smuggling: if both are given, the chunks count, and what follows them is not read as a request."""
    data = (
        b"POST /webhook/github HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"0\r\n\r\nGET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    )
    with serving(edge.create(service)) as port:
        response = exchange(port, data)
    assert response.count(b"HTTP/1.1 ") == 1


def test_a_request_with_two_lengths_ends_the_connection(service):
    """What follows may be meant for somebody else: it is not read, even if the path is one that everybody may read."""
    data = (
        b"POST /login HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    )
    with serving(edge.create(service)) as port, Conversation(port) as sender:
        sender.send(data)
        response = sender.until(b"\r\n\r\n")
        assert response.startswith(b"HTTP/1.1 400 ")
        assert b"connection: close" in response.lower()
        assert sender.closed(60)


def test_responses_do_not_name_the_server(service):
    with serving(edge.create(service)) as port:
        response = exchange(port, b"GET /login HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").lower()
    assert b"200 ok" in response
    assert b"uvicorn" not in response
    assert b"\r\nserver:" not in response


def test_it_listens_only_on_the_given_address(service):
    with serving(edge.create(service)) as port, pytest.raises(OSError):
        socket.create_connection(("127.0.0.2", port), timeout=5)


# documentation -------------------------------------------------------------------------------------------


def test_every_metric_is_documented(service):
    documented = (ROOT / "docs" / "dashboard.md").read_text()
    text = client(service, LOCAL).get("/metrics").text
    names = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE autograder_")}
    shown = {name for name in names if not name.endswith("_created")}
    assert len(shown) == 11
    for name in shown:
        assert f"`{name}{{" in documented or f"`{name}`" in documented, name
    assert set(re.findall(r"`(autograder_\w+?)(?:\{[a-z,]+\})?`", documented)) == shown
