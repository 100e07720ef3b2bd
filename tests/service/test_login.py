"""The login for staff: nothing is readable without it, and it cannot be forged, guessed or sent by another site."""

import re

import pytest
from itsdangerous import TimestampSigner
from starlette.requests import Request
from starlette.testclient import TestClient

from autograder.errors import ConfigError
from autograder.ledger import Ledger
from autograder.service.http import app as edge
from autograder.service.http.client_address import client_address, is_local
from autograder.service.http.login import ATTEMPTS, SECONDS, Login
from tests.support.webservice import TOKEN, URL, new_service

HTML = {"Accept": "text/html,*/*"}
PATHS = (
    "/",
    "/jobs",
    "/jobs/x",
    "/jobs/grade:git.uni.example/dls/a0-ann:1:a0",
    "/grades",
    "/grades.csv",
    "/r",
    "/r/git.uni.example/dls/a0-ann",
    "/nothing",
    "/logout",
    "/static",
    "/static/",
    "/static/nothing.css",
    "/static/../login.py",
    "/static/%2e%2e/login.py",
    "/login/",
    "/webhook",
    "//",
    "/%00",
    "/.git/config",
)


@pytest.fixture
def service(sqlite_database, clock, tmp_path):
    database, empty = sqlite_database
    empty()
    return new_service(tmp_path, Ledger(database, clock), clock)


@pytest.fixture
def app(service):
    return edge.create(service, monotonic=lambda: 0.0)


@pytest.fixture
def client(app):
    return TestClient(app, base_url=URL, follow_redirects=False)


def log_in(client, token=TOKEN, headers=(), **fields):
    return client.post("/login", data={"token": token, **fields}, headers=dict(headers))


# nothing without it --------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PATHS, ids=range(len(PATHS)))
def test_without_a_login_all_paths_get_one_response(client, path):
    response = client.get(path)
    assert (response.status_code, response.text) == (401, "log in first\n")
    response = client.get(path, headers=HTML)
    assert response.status_code == 303
    assert response.text == ""
    assert re.fullmatch(r"/login(\?next=[\w%.-]*)?", response.headers["location"])


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "HEAD"])
@pytest.mark.parametrize("path", ["/", "/jobs", "/logout", "/nothing"])
def test_without_a_login_all_methods_get_one_response(client, path, method):
    response = client.request(method, path)
    assert (response.status_code, response.headers.get("allow")) == (401, None)


def test_after_the_login_the_front_page_is_there(client):
    assert log_in(client).headers["location"] == "/"
    assert client.get("/").status_code == 200
    assert client.get("/nothing").status_code == 404
    assert client.request("TRACE", "/").status_code == 405


@pytest.mark.parametrize(
    "path", ["/", "/login", "/nothing", "/healthz", "/static/style.css", "/webhook/github"]
)
def test_every_response_has_rules_for_browsers(client, path):
    headers = client.get(path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert "server" not in headers


# the cookie ----------------------------------------------------------------------------------------------


def test_the_cookie_is_kept_from_scripts_and_other_sites(client):
    cookie = log_in(client).headers["set-cookie"]
    name, *attributes = re.split(r"; *", cookie)
    assert name.startswith("autograder=")
    assert {"HttpOnly", "SameSite=strict", "Path=/", f"Max-Age={SECONDS}"} == set(attributes)


def test_over_https_the_cookie_is_bound_to_it(service, clock, tmp_path):
    url = "https://grader.uni.example"
    secure = new_service(tmp_path, service.ledger, clock, url=url)
    client = TestClient(edge.create(secure), base_url=url, follow_redirects=False)
    cookie = log_in(client).headers["set-cookie"]
    assert cookie.startswith("__Host-autograder=")
    assert "Secure" in cookie
    assert "Domain" not in cookie


def is_in(client, cookie):
    client.cookies.clear()
    return client.get("/", headers={"Cookie": f"autograder={cookie}"}).status_code == 200


def test_forged_cookies_are_refused(client):
    log_in(client)
    good = client.cookies["autograder"]
    login, when, signature = good.split(".")
    assert is_in(client, good)
    for bad in (
        "",
        "x",
        "..",
        login,
        f"{login}.{when}",
        f"{login}.{when}.",
        f"{login}.{when}.{signature[:-2]}AA",
        f"{login}x.{when}.{signature}",
        f"{login}.{when[:-1]}_.{signature}",
        TimestampSigner("another token of the staff").sign(login).decode(),
        TimestampSigner(TOKEN).sign(login).decode(),  # made for another purpose
        good * 20,
        "\\xff" + good,
    ):
        assert not is_in(client, bad), bad


def test_a_cookie_expires(client, monkeypatch):
    now = TimestampSigner("x").get_timestamp()
    log_in(client)
    good = client.cookies["autograder"]
    monkeypatch.setattr(TimestampSigner, "get_timestamp", lambda _self: now + SECONDS - 60)
    assert is_in(client, good)
    monkeypatch.setattr(TimestampSigner, "get_timestamp", lambda _self: now + SECONDS + 60)
    assert not is_in(client, good)
    monkeypatch.setattr(
        TimestampSigner, "get_timestamp", lambda _self: now - 3600
    )  # a clock that was set back
    assert not is_in(client, good)


def test_a_new_token_ends_all_logins(client, service):
    log_in(client)
    good = client.cookies["autograder"]
    config = service.course.config
    config.path(config.service.staff_token_file).write_text("the-next-token-of-the-staff")
    assert not is_in(TestClient(edge.create(service), base_url=URL, follow_redirects=False), good)


def test_logging_out_ends_the_login_for_thieves_too(client):
    log_in(client)
    good = client.cookies["autograder"]
    response = client.post("/logout")
    assert (response.status_code, response.headers["location"]) == (303, "/login")
    assert not client.cookies
    assert not is_in(client, good)


def test_logging_out_is_a_post_from_our_own_page(client):
    log_in(client)
    assert client.get("/logout").status_code in (404, 405)
    assert client.post("/logout", headers={"Origin": "http://evil.example"}).status_code == 403
    assert client.post("/logout", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
    assert client.post("/logout", headers={"Sec-Fetch-Site": "same-site"}).status_code == 403
    assert client.post("/logout", headers={"Origin": "null"}).status_code == 403
    assert client.get("/").status_code == 200
    assert client.post("/logout", headers={"Origin": URL, "Sec-Fetch-Site": "same-origin"}).status_code == 303


# the form ------------------------------------------------------------------------------------------------


def test_a_wrong_token_is_refused(client, caplog):
    response = log_in(client, "not-the-token-of-the-staff")
    assert response.status_code == 401
    assert "That is not the staff token." in response.text
    assert not client.cookies
    assert "not-the-token" not in caplog.text + response.text


def test_guessing_is_slow(client):
    statuses = [log_in(client, f"guess {number}").status_code for number in range(ATTEMPTS + 2)]
    assert statuses == [401] * ATTEMPTS + [429] * 2
    response = log_in(
        client
    )  # even the right one must wait, or the response would tell a right guess from a wrong one
    assert response.status_code == 429
    assert 1 <= int(response.headers["retry-after"]) <= 60
    assert not client.cookies


def test_one_who_guesses_does_not_lock_out_others(app):
    guesser = TestClient(app, client=("192.0.2.1", 1))
    for number in range(ATTEMPTS + 1):
        log_in(guesser, f"guess {number}")
    assert log_in(TestClient(app, client=("192.0.2.2", 1), follow_redirects=False)).status_code == 303


def test_attempts_come_back_with_time():
    now = [0.0]
    login = Login(TOKEN, monotonic=lambda: now[0])
    request = request_from("192.0.2.1")
    assert [login.wait(request) for _ in range(ATTEMPTS)] == [0.0] * ATTEMPTS
    wait = login.wait(request)
    assert wait > 0
    now[0] += wait
    assert login.wait(request) == 0


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"token=" + b"x" * 5000, "application/x-www-form-urlencoded"),
        (b"token=%ff\xff", "application/x-www-form-urlencoded"),
        (b"&".join(b"a=1" for _ in range(100)), "application/x-www-form-urlencoded"),
        (b'{"token": "x"}', "application/json"),
        (b"", ""),
    ],
    ids=["long", "not-utf8", "many", "json", "empty"],
)
def test_odd_forms_are_refused(client, body, kind):
    assert client.post("/login", content=body, headers={"Content-Type": kind}).status_code == 400


@pytest.mark.parametrize("host", ["grader.uni.example", "grader.uni.example:8443"])
def test_the_login_works_on_another_port_than_443(service, clock, tmp_path, host):
    """Some proxies forward the name that the browser asked for without its port."""
    url = "https://grader.uni.example:8443"
    proxied = TestClient(
        edge.create(new_service(tmp_path, service.ledger, clock, url=url)), follow_redirects=False
    )
    assert log_in(proxied, headers={"Host": host, "Origin": url}).status_code == 303
    elsewhere = {"Host": host, "Origin": "https://grader.uni.example:9443"}
    assert log_in(proxied, headers=elsewhere).status_code == 403


def test_the_form_of_another_site_is_refused(client):
    response = log_in(client, headers={"Origin": "http://evil.example", "Sec-Fetch-Site": "cross-site"})
    assert response.status_code == 403
    assert not client.cookies


@pytest.mark.parametrize(
    "wanted",
    [
        "//evil.example/",
        "https://evil.example/",
        "/\\evil.example",
        "\\\\evil.example",
        "javascript:alert(1)",
        "/jobs\r\nSet-Cookie: a=b",
        '/"><script>alert(1)</script>',
        "",
        "jobs",
        "/" + "x" * 2000,
    ],
    ids=range(10),
)
def test_after_the_login_nobody_is_sent_elsewhere(client, wanted):
    form = client.get("/login", params={"next": wanted})
    assert 'name="next" type="hidden" value="/"' in form.text
    response = log_in(client, next=wanted)
    assert response.headers["location"] == "/"


def test_the_login_leads_to_the_page_that_was_requested(client):
    location = client.get("/jobs?state=dead&page=2", headers=HTML).headers["location"]
    form = client.get(location).text
    (wanted,) = re.findall(r'name="next" type="hidden" value="([^"]*)"', form)
    assert wanted.replace("&amp;", "&") == "/jobs?state=dead&page=2"
    assert log_in(client, next="/jobs?state=dead&page=2").headers["location"] == "/jobs?state=dead&page=2"


@pytest.mark.parametrize("host", ["evil.example", "[", "a@b", "127.0.0.1:99999", ""])
def test_the_host_that_is_claimed_decides_nothing(client, host):
    response = client.get("/jobs", headers=HTML | {"Host": host})
    assert response.headers["location"] == "/login?next=%2Fjobs"


def test_a_short_token_is_refused():
    with pytest.raises(ConfigError, match="shorter than 16"):
        Login("short")


# client address ------------------------------------------------------------------------------------------


def request_from(address, **headers):
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    client = None if address is None else (address, 1)
    return Request({"type": "http", "client": client, "headers": raw})


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.1"),
        (None, ""),
        ("testclient", "testclient"),
    ],
)
def test_client_addresses(address, expected):
    assert client_address(request_from(address)) == expected


@pytest.mark.parametrize(
    ("address", "forwarded", "expected"),
    [
        ("127.0.0.1", "192.0.2.1", "192.0.2.1"),
        # The client may send the header, too: the proxy added the last address.
        ("::1", "198.51.100.9, 192.0.2.1", "192.0.2.1"),
        ("127.0.0.1", "2001:db8::1", "2001:db8::/64"),
        ("127.0.0.1", "unknown", "127.0.0.1"),
        ("127.0.0.1", "", "127.0.0.1"),
        ("127.0.0.1", "192.0.2.1,", "127.0.0.1"),
        ("127.0.0.1", "192.0.2.7, 127.0.0.1", "127.0.0.1"),  # a client on the proxy's machine
        ("203.0.113.5", "192.0.2.1", "203.0.113.5"),  # not on this machine: anybody could claim that
    ],
    ids=[
        "ipv4",
        "several",
        "ipv6",
        "not-an-address",
        "empty",
        "comma",
        "on-the-proxy",
        "elsewhere",
    ],
)
def test_a_configured_proxy_names_the_client(address, forwarded, expected):
    proxies = ("127.0.0.1", "::1", "10.0.0.2")
    assert client_address(request_from(address, x_forwarded_for=forwarded), proxies) == expected


def test_without_a_configured_proxy_nobody_names_another_client():
    assert client_address(request_from("127.0.0.1", x_forwarded_for="192.0.2.1")) == "127.0.0.1"


def test_who_guesses_does_not_get_more_attempts_by_a_header(app):
    """An account on this machine reaches the service without a proxy, and may send any header."""
    guesser = TestClient(app, base_url=URL, client=("127.0.0.1", 1), follow_redirects=False)
    statuses = [
        log_in(guesser, f"guess {number}", headers={"X-Forwarded-For": f"192.0.2.{number}"}).status_code
        for number in range(ATTEMPTS + 1)
    ]
    assert statuses == [401] * ATTEMPTS + [429]


def test_behind_a_proxy_one_who_guesses_does_not_lock_out_others(service, clock, tmp_path):
    proxied = new_service(tmp_path, service.ledger, clock, proxies=("127.0.0.1",))
    app = edge.create(proxied, monotonic=lambda: 0.0)
    proxy = TestClient(app, base_url=URL, client=("127.0.0.1", 1), follow_redirects=False)
    for number in range(ATTEMPTS + 1):
        log_in(proxy, f"guess {number}", headers={"X-Forwarded-For": "192.0.2.1"})
    assert log_in(proxy, headers={"X-Forwarded-For": "192.0.2.1"}).status_code == 429
    assert log_in(proxy, headers={"X-Forwarded-For": "192.0.2.2"}).status_code == 303


@pytest.mark.parametrize(
    ("address", "url", "headers", "expected"),
    [
        ("127.0.0.1", URL, {"host": "127.0.0.1:8700"}, True),
        ("::1", URL, {"host": "localhost"}, True),
        ("192.0.2.1", URL, {"host": "localhost"}, False),
        ("127.0.0.1", URL, {"host": "grader.uni.example"}, False),  # a foreign name that points here
        ("127.0.0.1", "https://grader.uni.example", {"host": "localhost"}, False),  # perhaps a proxy
        ("127.0.0.1", URL, {"host": "localhost", "x_forwarded_for": "192.0.2.1"}, False),
        ("127.0.0.1", URL, {"host": "localhost", "via": "1.1 proxy"}, False),
        ("127.0.0.1", URL, {}, False),
        ("127.0.0.1", URL, {"host": "["}, False),
        (None, URL, {"host": "localhost"}, False),
    ],
    ids=range(10),
)
def test_who_is_on_this_machine(address, url, headers, expected):
    assert is_local(request_from(address, **headers), url) is expected
