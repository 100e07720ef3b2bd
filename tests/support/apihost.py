"""Git hosts with an API, for tests: GitHub, Gitea and GitLab as far as we call them, in this process.

The state is real: a repository that was made is a bare repository, and an account that was let in is in the list. A
call that is not described in CALLS, or that has another body, gets status 422, so that nothing is sent by guess.
`tests/hosts/descriptions.py` compares the same calls with the descriptions that the hosts publish.
"""

import http.server
import json
import re
import threading
from contextlib import contextmanager
from urllib.parse import parse_qs, unquote, urlsplit

from tests.support.githost import Bare

REPO = r"/repos/(?P<owner>[^/]+)/(?P<name>[^/]+)"
PROJECT = r"/projects/(?P<path>[^/]+)"
# kind -> (method, path) -> the handler, and the keys that the body must and may have
CALLS = {
    "github": {
        ("GET", "/user"): ("user", (), ()),
        ("GET", REPO): ("repository", (), ()),
        ("POST", r"/orgs/(?P<owner>[^/]+)/repos"): ("create_in", ("name",), ("private", "auto_init")),
        ("POST", "/user/repos"): ("create_own", ("name",), ("private", "auto_init")),
        ("GET", REPO + "/collaborators"): ("collaborators", (), ()),
        ("GET", REPO + "/invitations"): ("invitations", (), ()),
        ("PUT", REPO + "/collaborators/(?P<login>[^/]+)"): ("let_in", (), ("permission",)),
        ("GET", REPO + "/rulesets"): ("rulesets", (), ()),
        ("POST", REPO + "/rulesets"): (
            "add_ruleset",
            ("name", "enforcement"),
            ("target", "bypass_actors", "conditions", "rules"),
        ),
        ("GET", r"/orgs/(?P<owner>[^/]+)/hooks"): ("owner_hooks", (), ()),
        ("GET", REPO + "/hooks"): ("hooks", (), ()),
        ("POST", REPO + "/hooks"): ("add_hook", (), ("name", "config", "events", "active")),
        ("POST", REPO + "/statuses/(?P<commit>[0-9a-f]{40})"): (
            "add_status",
            ("state",),
            ("target_url", "description", "context"),
        ),
    },
    "gitea": {
        ("GET", "/user"): ("user", (), ()),
        ("GET", REPO): ("repository", (), ()),
        ("POST", r"/orgs/(?P<owner>[^/]+)/repos"): (
            "create_in",
            ("name",),
            ("private", "auto_init", "default_branch"),
        ),
        ("POST", "/user/repos"): ("create_own", ("name",), ("private", "auto_init", "default_branch")),
        ("GET", REPO + "/collaborators"): ("collaborators", (), ()),
        ("GET", REPO + "/collaborators/(?P<login>[^/]+)/permission"): ("permission", (), ()),
        ("PUT", REPO + "/collaborators/(?P<login>[^/]+)"): ("let_in", (), ("permission",)),
        ("GET", REPO + "/branch_protections"): ("protections", (), ()),
        ("POST", REPO + "/branch_protections"): (
            "add_protection",
            (),
            ("rule_name", "enable_push", "enable_push_whitelist", "push_whitelist_usernames"),
        ),
        ("GET", r"/orgs/(?P<owner>[^/]+)/hooks"): ("owner_hooks", (), ()),
        ("GET", REPO + "/hooks"): ("hooks", (), ()),
        ("POST", REPO + "/hooks"): ("add_hook", ("type", "config"), ("events", "active")),
        ("POST", REPO + "/statuses/(?P<commit>[0-9a-f]{40})"): (
            "add_status",
            (),
            ("state", "target_url", "description", "context"),
        ),
    },
    "gitlab": {
        ("GET", "/user"): ("user", (), ()),
        ("GET", "/users"): ("users", (), ()),
        ("GET", r"/namespaces/(?P<owner>[^/]+)"): ("namespace", (), ()),
        ("GET", PROJECT): ("repository", (), ()),
        ("POST", "/projects"): ("create_project", (), ("name", "path", "namespace_id", "visibility")),
        ("GET", PROJECT + "/members"): ("members", (), ()),
        ("POST", PROJECT + "/members"): ("add_member", ("user_id", "access_level"), ()),
        ("PUT", PROJECT + r"/members/(?P<number>\d+)"): ("change_member", ("access_level",), ()),
        ("GET", PROJECT + "/protected_branches/(?P<branch>[^/]+)"): ("protected", (), ()),
        ("DELETE", PROJECT + "/protected_branches/(?P<branch>[^/]+)"): ("unprotect", (), ()),
        ("POST", PROJECT + "/protected_branches"): (
            "protect",
            ("name",),
            ("push_access_level", "merge_access_level", "allow_force_push"),
        ),
        ("GET", r"/groups/(?P<owner>[^/]+)/hooks"): ("owner_hooks", (), ()),
        ("GET", PROJECT + "/hooks"): ("hooks", (), ()),
        ("POST", PROJECT + "/hooks"): ("add_hook", ("url",), ("token", "push_events")),
        ("POST", PROJECT + "/statuses/(?P<commit>[0-9a-f]{40})"): (
            "add_status",
            ("state",),
            ("name", "description", "target_url"),
        ),
    },
}
ACCOUNTS = {"grader": 1, "ann": 11, "bob": 12, "eve": 13, "xiaoming": 14, "meimei": 15, "zhangwei": 16}


class Answer(Exception):
    """A response other than 200."""

    def __init__(self, status, data=None, headers=None):
        super().__init__(status)
        self.status, self.data, self.headers = status, data, headers or {}


class Repository:
    """What a host knows about one repository."""

    def __init__(self, path, private):
        self.bare, self.private = Bare(path), private
        self.writers, self.invited = {}, []
        self.hooks, self.rules, self.statuses = [], [], []


class ApiHost:
    """One host.

    Args:
        kind: `github`, `gitea` or `gitlab`.
        root: folder of its bare repositories.
        invites: whether an account that gets the right to write must accept first, as on GitHub.
        paid: whether rulesets for private repositories are in the plan.
    """

    def __init__(self, kind, root, *, invites=False, paid=True):
        self.kind, self.root, self.invites, self.paid = kind, root, invites, paid
        self.token = "t0ken"
        self.repositories = {}
        self.owner_hooks = []
        self.requests = []
        self.answers = []  # what the next calls get, in place of what they ask for: Answer, or None
        self.base = ""

    def __getitem__(self, path):
        return self.repositories[path]

    @property
    def writes(self):
        """The calls that change something: method and path."""
        return [f"{method} {path}" for method, path, _ in self.requests if method != "GET"]

    def respond(self, method, target, headers, body):
        path = urlsplit(target).path
        data = json.loads(body) if body else {}
        self.requests.append((method, path, data))
        if self.answers and (planned := self.answers.pop(0)) is not None:
            raise planned
        shown = headers.get("Authorization", "").rpartition(" ")[2] or headers.get("PRIVATE-TOKEN", "")
        shown = shown or headers.get("Private-Token", "")
        if shown != self.token:
            raise Answer(401, {"message": "Bad credentials"})
        for (verb, pattern), (name, must, may) in CALLS[self.kind].items():
            match = re.fullmatch(pattern, path)
            if verb == method and match:
                keys = set(data)
                if not set(must) <= keys <= {*must, *may}:
                    raise Answer(422, {"message": f"{name}: {sorted(keys)}"})
                parts = {key: unquote(value) for key, value in match.groupdict().items()}
                query = {key: values[0] for key, values in parse_qs(urlsplit(target).query).items()}
                return getattr(self, f"_{name}")(parts, data, query)
        raise Answer(422, {"message": f"no such call: {method} {path}"})

    # accounts and repositories

    def _user(self, *_):
        return {"id": 1, "login": "grader", "username": "grader"}

    def _users(self, _parts, _data, query):
        name = query["username"]
        return [{"id": ACCOUNTS[name], "username": name}] if name in ACCOUNTS else []

    def _namespace(self, parts, *_):
        if parts["owner"] not in ("cs", "grader"):
            raise Answer(404, {"message": "404 Namespace Not Found"})
        return {"id": 7, "full_path": parts["owner"]}

    def _of(self, parts):
        path = parts.get("path") or f"{parts['owner']}/{parts['name']}"
        if path not in self.repositories:
            raise Answer(404, {"message": "Not Found"})
        return self.repositories[path]

    def _repository(self, parts, *_):
        self._of(parts)
        return {"id": 5}

    def _make(self, owner, data):
        path = f"{owner}/{data['name']}"
        if path in self.repositories:
            if self.kind == "gitea":
                raise Answer(409, {"message": "The repository with the same name already exists."})
            raise Answer(
                400 if self.kind == "gitlab" else 422, {"message": "name already exists on this account"}
            )
        private = data.get("private") is True or data.get("visibility") == "private"
        self.repositories[path] = Repository(self.root / f"{path}.git", private)
        self.repositories[path].bare.git("config", "http.receivepack", "true")
        raise Answer(201, {"id": 5})

    def _create_in(self, parts, data, _):
        if parts["owner"] != "cs":
            raise Answer(404, {"message": "Not Found"})
        self._make("cs", data)

    def _create_own(self, _parts, data, _):
        self._make("grader", data)

    def _create_project(self, _parts, data, _):
        assert data["namespace_id"] == 7
        self._make("cs", data)

    # who may write

    def _collaborators(self, parts, _data, query):
        if query.get("page", "1") != "1":
            return []
        return [
            {"login": login, "permissions": {"push": level == "write"}}
            for login, level in self._of(parts).writers.items()
        ]

    def _permission(self, parts, *_):
        names = {login.lower(): level for login, level in self._of(parts).writers.items()}
        return {"permission": names[parts["login"].lower()]}

    def _invitations(self, parts, *_):
        return [{"invitee": {"login": login}, "permissions": "write"} for login in self._of(parts).invited]

    def _let_in(self, parts, data, _):
        if parts["login"] not in ACCOUNTS:
            raise Answer(404 if self.kind == "github" else 422, {"message": "user does not exist"})
        assert data["permission"] == ("push" if self.kind == "github" else "write")
        if self.invites:
            self._of(parts).invited.append(parts["login"])
            raise Answer(201, {"id": 3, "invitee": {"login": parts["login"]}})
        self._of(parts).writers[parts["login"]] = "write"
        raise Answer(204)

    def _members(self, parts, *_):
        return [
            {"id": ACCOUNTS[login], "username": login, "access_level": level}
            for login, level in self._of(parts).writers.items()
        ]

    def _add_member(self, parts, data, _):
        (login,) = [login for login, number in ACCOUNTS.items() if number == data["user_id"]]
        self._of(parts).writers[login] = data["access_level"]
        raise Answer(201, {})

    def _change_member(self, parts, data, _):
        self._add_member(parts, {**data, "user_id": int(parts["number"])}, _)

    # protection

    def _rulesets(self, parts, *_):
        if not self.paid:
            raise Answer(403, {"message": "Upgrade to GitHub Pro or make this repository public"})
        return [{"id": 1, "name": rule["name"]} for rule in self._of(parts).rules]

    def _add_ruleset(self, parts, data, _):
        self._of(parts).rules.append(data)
        raise Answer(201, {})

    _add_protection = _add_ruleset

    def _protections(self, parts, *_):
        return self._of(parts).rules

    def _protected(self, parts, *_):
        for rule in self._of(parts).rules:
            if rule["name"] == parts["branch"]:
                levels = [{"access_level": rule["push_access_level"]}]
                return {**rule, "push_access_levels": levels}
        raise Answer(404, {"message": "404 Not found"})

    def _unprotect(self, parts, *_):
        rules = self._of(parts).rules
        rules[:] = [rule for rule in rules if rule["name"] != parts["branch"]]
        raise Answer(204)

    def _protect(self, parts, data, _):
        assert data["name"] not in [rule["name"] for rule in self._of(parts).rules]
        self._of(parts).rules.append(data)
        raise Answer(201, {})

    # webhooks, statuses

    def _owner_hooks(self, *_):
        if self.owner_hooks is None:
            raise Answer(403, {"message": "Forbidden"})
        return self.owner_hooks

    def _hooks(self, parts, *_):
        return self._of(parts).hooks

    def _add_hook(self, parts, data, _):
        self._of(parts).hooks.append(data)
        raise Answer(201, {})

    def _add_status(self, parts, data, _):
        repository = self._of(parts)
        last = [each for each in repository.statuses if each["commit"] == parts["commit"]]
        if self.kind == "gitlab" and last and last[-1]["state"] == data["state"] == "pending":
            raise Answer(400, {"message": "Cannot transition status via :enqueue from :pending"})
        repository.statuses.append({**data, "commit": parts["commit"]})
        raise Answer(201, {})


@contextmanager
def serving(host):
    """Serve the API of a host on this machine's loopback."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def respond(self):
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = {}
            try:
                status, data = 200, host.respond(self.command, self.path, dict(self.headers), body)
            except Answer as answer:
                status, data, headers = answer.status, answer.data, answer.headers
            content = b"" if data is None else json.dumps(data).encode()
            self.send_response_only(status)
            for item in (headers | {"Content-Length": str(len(content)), "Connection": "close"}).items():
                self.send_header(*item)
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = respond  # noqa: N815

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    host.base = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield host
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
