"""Tokens of a GitHub App, from a server on loopback in place of GitHub."""

import http.server
import json
import threading
from datetime import datetime, timedelta, timezone

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from autograder.config import parse
from autograder.course.course import Course
from autograder.errors import ConfigError
from autograder.git.process import GitHostError
from autograder.hosts.github import App, AppTokens, signed

KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
PEM = KEY.private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
).decode()
FILE = """\
[hosts."github.com"]
kind = "github"
base = "https://github.com"
app_id = "Iv1.abc"
app_installation = 7
app_key_file = "app.pem"
{more}

[assignments.a0]
suite = "hidden/a0"
repositories = ["cs/a0-*"]
"""


class Github(http.server.ThreadingHTTPServer):
    """Responds as it is configured, and records the requests."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked, self.status, self.response, self.location = [], 201, None, None

    @property
    def address(self):
        return f"http://127.0.0.1:{self.server_port}"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.asked.append((self.path, dict(self.headers), json.loads(body)))
        response = self.server.response
        if response is None:
            until = datetime.now(timezone.utc) + timedelta(hours=1)
            number = len(self.server.asked)
            response = json.dumps(
                {"token": f"ghs_{number}", "expires_at": until.strftime("%Y-%m-%dT%H:%M:%SZ")}
            )
        self.send_response(self.server.status)
        if self.server.location:
            self.send_header("Location", self.server.location)
        self.send_header("Content-Length", str(len(response)))
        self.end_headers()
        self.wfile.write(response.encode())

    def do_GET(self):
        self.do_POST()

    def log_message(self, *arguments):
        pass


@pytest.fixture
def github():
    server = Github()
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def app(github, **others):
    return App(
        **(
            {"host": "github.com", "api": github.address, "app_id": "7", "installation": 9, "key": PEM}
            | others
        )
    )


def test_the_signature_is_the_apps_and_ends_soon(github):
    assert AppTokens().token(app(github)) == "ghs_1"
    path, headers, body = github.asked[0]
    assert path == "/app/installations/9/access_tokens"
    assert body == {"permissions": {"contents": "write"}}
    scheme, _, token = headers["Authorization"].partition(" ")
    claims = jwt.decode(token, KEY.public_key(), algorithms=["RS256"])
    assert scheme == "Bearer"
    assert claims["iss"] == "7"
    assert claims["exp"] - claims["iat"] <= 600


def test_a_token_is_kept_until_it_is_nearly_over(github):
    now = datetime.now(timezone.utc)
    tokens = AppTokens(lambda: now)
    assert [tokens.token(app(github)) for _ in range(3)] == ["ghs_1"] * 3
    now += timedelta(minutes=54)
    assert tokens.token(app(github)) == "ghs_1"
    now += timedelta(minutes=2)
    assert tokens.token(app(github)) == "ghs_2"
    assert tokens.token(app(github, installation=10)) == "ghs_3"


@pytest.mark.parametrize("status", [401, 403, 404, 422, 500, 503])
def test_a_refusal_is_tried_again_later(github, status):
    github.status, github.response = status, '{"message": "ghs_secret"}'
    with pytest.raises(GitHostError, match=f"status {status}") as caught:
        AppTokens().token(app(github))
    assert "ghs_secret" not in str(caught.value)
    assert ("app_key_file" in str(caught.value)) == (status in (401, 403, 404))


@pytest.mark.parametrize(
    "response",
    [
        "",
        "[]",
        "{}",
        "not json",
        '{"token": 5, "expires_at": "2026-01-01T00:00:00Z"}',
        '{"token": "x", "expires_at": "soon"}',
        '{"token": "x", "expires_at": "2026-01-01T00:00:00"}',
        '{"token": "x", "more": "' + "x" * 100_000 + '"}',
    ],
    ids=["empty", "list", "object", "text", "token", "date", "zone", "length"],
)
def test_an_odd_response_is_tried_again_later(github, response):
    github.response = response
    with pytest.raises(GitHostError, match="no token for the GitHub App"):
        AppTokens().token(app(github))


def test_a_redirect_is_not_followed(github):
    github.status, github.response, github.location = 302, "", f"{github.address}/elsewhere"
    with pytest.raises(GitHostError, match="status 302"):
        AppTokens().token(app(github))
    assert len(github.asked) == 1


def test_nobody_there_is_tried_again_later(github):
    with pytest.raises(GitHostError, match="no token"):
        AppTokens().token(app(github, api="http://127.0.0.1:1"))


def test_a_key_that_cannot_sign_is_our_mistake(github):
    for key in ("", "ssh-rsa AAAA", PEM.replace("A", "B")):
        with pytest.raises(ConfigError, match="not an RSA private key"):
            signed(app(github, key=key), datetime.now(timezone.utc))
    assert PEM not in repr(app(github))


def course(folder, more=""):
    (folder / "app.pem").write_text(PEM)
    (folder / "app.pem").chmod(0o600)
    return Course.of(parse(FILE.format(more=more), folder / "autograder.toml"))


def test_credentials_carry_the_token(github, tmp_path):
    made = course(tmp_path, f'api = "{github.address}"')
    assert [made.credentials("github.com").token for _ in range(2)] == ["ghs_1"] * 2
    assert github.asked[0][0] == "/app/installations/7/access_tokens"


def test_the_check_reads_the_key_and_asks_nobody(github, tmp_path):
    made = course(tmp_path, f'api = "{github.address}"')
    assert not [problem for problem in made.problems() if "App" in problem]
    (tmp_path / "app.pem").write_text("no key")
    assert [problem for problem in made.problems() if "GitHub App of github.com" in problem]
    assert not github.asked


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ('token_file = "token"', "use a token or a GitHub App"),
        ('api = "http://api.github.com"', "must be an https address"),
        ('api = "https://api.github.com/"', "must be an https address"),
    ],
    ids=["token", "http", "slash"],
)
def test_what_does_not_fit_is_refused(tmp_path, more, message):
    with pytest.raises(ConfigError, match=message):
        course(tmp_path, more)


def test_an_app_is_githubs_and_needs_its_installation(tmp_path):
    for old, new in (('kind = "github"', 'kind = "gitea"'), ("app_installation = 7\n", "")):
        with pytest.raises(ConfigError, match="a GitHub App needs"):
            parse(FILE.format(more="").replace(old, new), tmp_path / "autograder.toml")
