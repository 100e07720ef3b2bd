"""Read the configuration file and the environment into a `Config`. A mistake is reported with its file and line.

An environment variable may replace a key of the tables in `OVERRIDABLE`: AUTOGRADER_SERVICE_LISTEN is `listen` of
`[service]`. An empty variable counts as not set. Keys that decide about trust (suites, hosts, the sandbox) can be set
in the file only.
"""

import ipaddress
import math
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args

import msgspec

from autograder.config import toml
from autograder.config.schema import AssignmentConfig, Config, HostConfig
from autograder.config.secrets import TOKEN_VARIABLE, of_host
from autograder.config.times import DeadlineError, Window
from autograder.errors import ConfigError
from autograder.git.names import is_author, is_branch, is_host, is_pattern
from autograder.git.remote import Remote, RemoteError
from autograder.hosts import KINDS
from autograder.sandbox import policy
from autograder.sandbox.inside.reply import PACKAGE

FILE_NAME = "autograder.toml"
CONFIG_VARIABLE = "AUTOGRADER_CONFIG"
OVERRIDABLE = ("service", "feedback", "ledger")
NO_KEYS = ("folder", "file", "lines")  # of `Config`, but not of the file

_NAME = re.compile(r"[A-Za-z0-9_-]{1,32}")
_LISTEN = re.compile(r"(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:]+\]):(?P<port>[0-9]{1,5})")
_CPP = re.compile(rf"{PACKAGE}(?:/[a-z_][a-z0-9_]*)+")
_URL = re.compile(r"https?://[A-Za-z0-9.:\[\]-]+(?:/[A-Za-z0-9._~/-]*)?")

_API = re.compile(
    r"(?:https://[A-Za-z0-9.:-]+|http://(?:localhost|127\.0\.0\.1)(?::[0-9]{1,5})?)(?:/[A-Za-z0-9._~/-]*[^/])?"
)
_MAIL = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9.-]{1,255}")
_SMTP = re.compile(r"(?P<kind>smtp|starttls|smtps)://(?P<host>[A-Za-z0-9.-]+):(?P<port>[0-9]{1,5})")

Struct = TypeVar("Struct", bound=msgspec.Struct)
Keys = tuple[str, ...]


@dataclass(frozen=True)
class Setting:
    """One key of the configuration.

    Attributes:
        key: its full name with its tables, such as `service.listen`.
        value: the value in effect.
        source: where the value comes from: `autograder.toml:12`, the name of a variable, or `default`.
    """

    key: str
    value: Any
    source: str


def find() -> Path:
    """Return the configuration file to use when none is named.

    That is $AUTOGRADER_CONFIG, or the file of the staff repository from which this program was installed (`pip install
    -e`). It is never the file in the current folder, which may belong to a student: a configuration decides what is
    trusted.

    Raises:
        ConfigError: the variable is not set, and there is no such file.
    """
    named = os.environ.get(CONFIG_VARIABLE)
    if named:
        return Path(named)
    installed_from = Path(__file__).resolve().parents[2] / FILE_NAME
    if installed_from.is_file():
        return installed_from
    raise ConfigError(f"no {FILE_NAME} was found; pass --config FILE, or set {CONFIG_VARIABLE}")


def load(path: Path, environment: Mapping[str, str] = os.environ) -> Config:
    """Read the configuration file at `path`. Environment variables take precedence over it.

    Raises:
        ConfigError: the file cannot be read, or is not valid.
    """
    return parse(_text(path), path, environment)


def parse(text: str, path: Path, environment: Mapping[str, str] | None = None) -> Config:
    """Return the configuration in `text`, the content of the file `path`.

    Raises:
        ConfigError: the text is not TOML, or a key or value is not allowed.
    """
    return _Reader(text, path, environment or {}).config()


def settings(path: Path, environment: Mapping[str, str] = os.environ) -> list[Setting]:
    """Return every key with its value and source. Secrets are not keys, so they are not returned.

    Raises:
        ConfigError: see `load`.
    """
    reader = _Reader(_text(path), path, environment)
    config = reader.config()
    return [
        Setting(".".join(keys), value, reader.source(keys))
        for keys, value in _flat(config)
        if keys[0] not in NO_KEYS
    ]


def variable_of(keys: Keys) -> str:
    """Return the environment variable that takes precedence over a key of the file, or an empty string."""
    overridable = len(keys) == 2 and keys[0] in OVERRIDABLE
    return f"AUTOGRADER_{keys[0]}_{keys[1]}".upper() if overridable else ""


def _text(path: Path) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error}") from error
    return toml.decode(content, str(path))


class _Reader:
    """Reads one file once, and finds the line of each of its keys."""

    def __init__(self, text: str, path: Path, environment: Mapping[str, str]) -> None:
        self._lines = text.splitlines()
        self._path = path
        self._environment = {name: value for name, value in environment.items() if value}
        self._data = toml.loads(text, str(path))

    def config(self) -> Config:
        data = dict(self._data)
        for name in NO_KEYS:
            if name in data:
                raise self._wrong((name,), "this key is not allowed")
        tables = self._tables(data.pop("assignments", {}), "assignments")
        if not tables:
            raise self._wrong(("assignments",), "at least one table [assignments.NAME] is required")
        hosts = {
            name: self._convert(table, HostConfig, ("hosts", name))
            for name, table in self._tables(data.pop("hosts", {}), "hosts").items()
        }
        if isinstance(data.get("course"), str):
            data["course"] = {"name": data["course"]}
        config = self._overridden(self._convert(data, Config, ()))
        assignments = {
            name: self._convert(table, AssignmentConfig, ("assignments", name))
            for name, table in tables.items()
        }
        assignments = {name: self._with_build(one, name) for name, one in assignments.items()}
        folder = str(self._path.resolve().parent)
        config = msgspec.structs.replace(
            config,
            assignments=assignments,
            hosts=hosts,
            folder=folder,
            file=str(self._path),
            lines={".".join(keys): self._line(keys) for keys in _keys(self._data)},
        )
        self._check_numbers(config)
        self._check_sandbox(config)
        for name in hosts:
            self._check_host(config, name)
        self._check_service(config)
        self._check_notices(config)
        if config.course.roster and not config.course.roster.endswith(".csv"):
            raise self._wrong(("course", "roster"), "must be a .csv file")
        for name in assignments:
            self._check_assignment(config, name)
        self._check_patterns(config)
        return config

    def source(self, keys: Keys) -> str:
        """Return the source of a key's value."""
        variable = variable_of(keys)
        if variable in self._environment:
            return variable
        if keys == ("course", "name") and isinstance(self._data.get("course"), str):
            keys = ("course",)
        table: Any = self._data
        for key in keys:
            if not isinstance(table, dict) or key not in table:
                return "default"
            table = table[key]
        return f"{self._path.name}:{self._line(keys)}"

    # values ---------------------------------------------------------------------------------------------

    def _tables(self, tables: object, key: str) -> dict[str, object]:
        if not isinstance(tables, dict):
            raise self._wrong((key,), f"must be a table of tables: [{key}.NAME]")
        return tables

    def _convert(self, table: object, kind: type[Struct], keys: Keys) -> Struct:
        """Return `table` as `kind`; `keys` is its place in the file."""
        try:
            return msgspec.convert(table, kind)
        except msgspec.ValidationError as error:
            message, _, where = str(error).partition(" - at `$")
            below = re.findall(r"[\w-]+", where)
            allowed = _type_at(kind, below)
            unknown = re.search(r"unknown field `(.+)`", message)
            if unknown:
                below.append(unknown[1])
                names = [name for name in getattr(allowed, "__struct_fields__", ()) if name not in NO_KEYS]
                message = f"this key is not allowed; allowed are {', '.join(names)}"
                if keys[:1] == ("hosts",):
                    message += '; put a name with dots in quotes: [hosts."git.uni.example"]'
            elif message.startswith("Invalid enum value"):
                message += f"; allowed are {', '.join(get_args(allowed))}"
            raise self._wrong((*keys, *below), message) from None

    def _with_build(self, assignment: AssignmentConfig, name: str) -> AssignmentConfig:
        """Return an assignment with everything that the key `build.cpp` stands for."""
        build, keys = assignment.build, ("assignments", name, "build")
        if build is None:
            return assignment
        if build.cpp and not _CPP.fullmatch(build.cpp):
            raise self._wrong((*keys, "cpp"), f"must be a folder below {PACKAGE}/, such as src/softmax_ext")
        if build.cpp and (build.probe or build.prepare or build.sources):
            raise self._wrong((*keys, "cpp"), "remove probe, prepare and sources: this key replaces them")
        if not build.cpp and not (build.probe and build.sources):
            raise self._wrong(keys, "add the key cpp, the folder of a C++ extension; or probe and sources")
        return msgspec.structs.replace(
            assignment, build=build.whole(), given=(*assignment.given, *build.given())
        )

    def _overridden(self, config: Config) -> Config:
        """Return `config` with the values of environment variables in place of those of the file."""
        for name in OVERRIDABLE:
            table = getattr(config, name)
            values = {
                key: self._environment[variable]
                for key in table.__struct_fields__
                if (variable := variable_of((name, key))) in self._environment
            }
            for key, value in values.items():
                listed = [part.strip() for part in value.split(",")]
                given = listed if isinstance(getattr(table, key), tuple) else value
                try:
                    read = msgspec.convert({key: given}, type(table), strict=False)
                except msgspec.ValidationError as error:
                    message = str(error).partition(" - at `$")[0]
                    raise ConfigError(f"{variable_of((name, key))}: {message}") from None
                table = msgspec.structs.replace(table, **{key: getattr(read, key)})
            config = msgspec.structs.replace(config, **{name: table})
        return config

    # checks ---------------------------------------------------------------------------------------------

    def _check_numbers(self, config: Config) -> None:
        """Refuse `inf` and `nan`, which TOML allows."""
        for keys, value in _flat(config):
            if isinstance(value, float) and not math.isfinite(value):
                raise self._wrong(keys, f"must be a number, got {value}")

    def _check_sandbox(self, config: Config) -> None:
        sandbox = config.sandbox
        allowed = [name for name in policy.PROTECTIONS if name not in policy.INDISPENSABLE]
        for name in sandbox.waive:
            if name not in allowed:
                raise self._wrong(
                    ("sandbox", "waive"),
                    f"{name!r:.100} is not a protection that can be waived; these can: {', '.join(allowed)}",
                )
        if sandbox.kind == "docker" and not sandbox.image:
            raise self._wrong(
                ("sandbox", "kind"),
                'the containers need an image: add the key image to [sandbox], such as image = "a_sandbox:v1"; '
                "see docs/docker.md",
            )

    def _check_host(self, config: Config, name: str) -> None:
        host, keys = config.hosts[name], ("hosts", name)
        if not is_host(name):
            raise self._wrong(
                keys,
                "not a host's name; write it in lower case, such as git.uni.example or git.uni.example:3000",
            )
        same = [
            other for other in config.hosts if of_host(TOKEN_VARIABLE, other) == of_host(TOKEN_VARIABLE, name)
        ]
        if same[0] != name:
            raise self._wrong(
                keys, f"its environment variables have the same names as those of {same[0]}; rename one"
            )
        try:
            remote = Remote.at(config.base(name), "owner", "name")
        except RemoteError as error:
            raise self._wrong((*keys, "base"), str(error)) from None
        kind = KINDS[host.kind]
        if kind.is_folder and remote.protocol != "file":
            raise self._wrong((*keys, "base"), f"the kind {host.kind} needs a folder of this machine")
        if kind.is_folder and host.webhook_secret_file:
            raise self._wrong(
                (*keys, "webhook_secret_file"),
                f"the kind {host.kind} has no webhook; it has a post-receive hook",
            )
        for key in ("student_keys", "authorized_keys_file"):
            if getattr(host, key) and not (
                kind.is_folder and host.student_keys and host.authorized_keys_file
            ):
                raise self._wrong(
                    (*keys, key), "needs the kind folder, and both student_keys and authorized_keys_file"
                )
        if host.app_id and (kind.app_api is None or remote.protocol == "ssh" or not host.app_installation):
            able = " or ".join(name for name, other in KINDS.items() if other.app_api is not None)
            raise self._wrong(
                (*keys, "app_id"), f"a GitHub App needs kind {able}, https, and app_installation"
            )
        if host.app_id and host.token_file:
            raise self._wrong((*keys, "token_file"), "use a token or a GitHub App: remove this or app_id")
        if host.api and not _API.fullmatch(host.api):
            raise self._wrong((*keys, "api"), "must be an https address, such as https://api.github.com")
        if remote.protocol == "ssh" and not host.known_hosts_file:
            raise self._wrong(
                (*keys, "base"),
                "ssh needs known_hosts_file: run ssh-keyscan HOST > FILE, compare the keys, and name the file here",
            )

    def _check_service(self, config: Config) -> None:
        service, feedback = config.service, config.feedback
        listen = _LISTEN.fullmatch(service.listen)
        if not listen or int(listen["port"]) > 65535:
            raise self._wrong(("service", "listen"), "must be ADDRESS:PORT, such as 127.0.0.1:8700")
        if not _URL.fullmatch(service.url):
            raise self._wrong(("service", "url"), "must be an address, such as https://grades.uni.example")
        for proxy in service.proxies:
            try:
                ipaddress.ip_address(proxy)
            except ValueError:
                raise self._wrong(
                    ("service", "proxies"), f"{proxy!a:.100} is not an IP address, such as 127.0.0.1"
                ) from None
        if not is_branch(feedback.branch):
            raise self._wrong(("feedback", "branch"), "not the name of a branch, such as score-feedback")
        for key in ("name", "email"):
            if not is_author(getattr(feedback, key)):
                raise self._wrong(
                    ("feedback", key),
                    "cannot be the author of a commit: remove < and >, and any . , : ; ' \" at either end",
                )

    def _check_notices(self, config: Config) -> None:
        notices = config.notices
        for key, addresses in (("mail_to", notices.mail_to), ("mail_from", (notices.mail_from,))):
            for address in addresses:
                if not _MAIL.fullmatch(address):
                    raise self._wrong(
                        ("notices", key), f"{address!r:.100} is not a mail address, such as ta@uni.example"
                    )
        server = _SMTP.fullmatch(notices.smtp)
        if not server or int(server["port"]) > 65535:
            raise self._wrong(
                ("notices", "smtp"),
                "must be smtp://localhost:25, starttls://HOST:587 or smtps://HOST:465, with a port",
            )
        if (
            notices.smtp_user
            and server["kind"] == "smtp"
            and server["host"] not in ("localhost", "127.0.0.1")
        ):
            raise self._wrong(
                ("notices", "smtp"), "a password is sent over TLS only: write starttls:// or smtps://"
            )

    def _check_assignment(self, config: Config, name: str) -> None:
        assignment, keys = config.assignments[name], ("assignments", name)
        if not _NAME.fullmatch(name):
            raise self._wrong(keys, "the name of an assignment has up to 32 letters, digits, '_' and '-'")
        if not is_branch(assignment.branch):
            raise self._wrong((*keys, "branch"), "not the name of a branch, such as main")
        if assignment.branch == config.feedback.branch:
            raise self._wrong((*keys, "branch"), "this is the branch of the feedback; choose another one")
        self._check_whose(config, name)
        self._check_deadline(assignment, keys)

    def _check_whose(self, config: Config, name: str) -> None:
        assignment, keys = config.assignments[name], ("assignments", name)
        hosts = ", ".join(config.hosts) or "no hosts yet: add [hosts.NAME]"
        if assignment.host and assignment.host not in config.hosts:
            raise self._wrong((*keys, "host"), f"no such host: {assignment.host}; there are {hosts}")
        if assignment.repositories and not assignment.host and len(config.hosts) != 1:
            raise self._wrong(
                (*keys, "repositories"), f"add the key host, the host that they are on; there are {hosts}"
            )
        for pattern in assignment.repositories:
            if not is_pattern(pattern):
                raise self._wrong(
                    (*keys, "repositories"),
                    f"not a pattern of repositories: {pattern!r:.200}; write owner/name of letters, digits, "
                    "'.', '_' and '-', with the wildcards '*' and '?', without .git",
                )

    def _check_deadline(self, assignment: AssignmentConfig, keys: Keys) -> None:
        for key in ("opens", "closes"):
            if getattr(assignment, key) and not assignment.zone:
                raise self._wrong((*keys, key), 'add the key zone, the time zone: zone = "Europe/Berlin"')
        zone, opens, closes = assignment.zone or "UTC", assignment.opens or None, assignment.closes or None
        grace = assignment.grace_minutes
        steps: list[tuple[str, Callable[[], object]]] = [  # each step can fail only because of its own key
            ("zone", lambda: Window.of(zone)),
            ("opens", lambda: Window.of(zone, opens=opens)),
            ("closes", lambda: Window.of(zone, opens=opens, closes=closes)),
            ("grace_minutes", lambda: Window.of(zone, grace_minutes=grace)),
        ]
        for key, step in steps:
            try:
                step()
            except DeadlineError as error:
                raise self._wrong((*keys, key), str(error)) from None
        if assignment.late_days_allowed and not assignment.closes:
            raise self._wrong((*keys, "late_days_allowed"), "there is no deadline: add the key closes")
        for key in ("late_points_per_day", "late_percent_per_day"):
            if getattr(assignment, key) and not assignment.late_days_allowed:
                raise self._wrong((*keys, key), "no late push is accepted: add the key late_days_allowed")
        if assignment.late_points_per_day and assignment.late_percent_per_day:
            raise self._wrong(
                (*keys, "late_percent_per_day"),
                "a late day costs points or percent: remove this or late_points_per_day",
            )
        if assignment.extensions_file:
            if not assignment.closes:
                raise self._wrong(
                    (*keys, "extensions_file"), "there is no deadline to extend: add the key closes"
                )
            if not assignment.extensions_file.endswith((".csv", ".toml")):
                raise self._wrong((*keys, "extensions_file"), "must be a .csv or a .toml file")

    def _check_patterns(self, config: Config) -> None:
        """Refuse a pattern that two assignments have: a repository belongs to one assignment."""
        known: dict[tuple[str, str], str] = {}
        for name, assignment in config.assignments.items():
            for pattern in assignment.repositories:
                other = known.setdefault((config.host_of(name), pattern), name)
                if other != name:
                    raise self._wrong(
                        ("assignments", name, "repositories"),
                        f"{pattern} is already a pattern of {other}; a repository belongs to one assignment",
                    )

    # lines ----------------------------------------------------------------------------------------------

    def _wrong(self, keys: Keys, message: str) -> ConfigError:
        variable = variable_of(keys)
        if variable in self._environment:
            return ConfigError(f"{variable}: {message}")
        return ConfigError(f"{self._path}:{self._line(keys)}: {'.'.join(keys) or 'the file'}: {message}")

    def _line(self, keys: Keys) -> int:
        """Return the line, counted from 1, on which the last of `keys` seems to be."""
        line = 0
        for key in keys:
            pattern = re.compile(
                rf"^\s*(\[.*(?<![\w-]){re.escape(key)}(?![\w-]).*\]|\"?{re.escape(key)}\"?\s*=)"
            )
            line = next((i for i in range(line, len(self._lines)) if pattern.match(self._lines[i])), line)
        return line + 1


def _type_at(kind: Any, keys: list[str]) -> Any:
    """Return the type of the value at `keys` below `kind`."""
    for key in keys:
        fields = {field.name: field.type for field in msgspec.structs.fields(kind)}
        kind = fields.get(key)
        kind = next(
            (
                part
                for part in get_args(kind)
                if isinstance(part, type) and hasattr(part, "__struct_fields__")
            ),
            kind,
        )
        if not hasattr(kind, "__struct_fields__"):
            break
    return kind


def _keys(table: Mapping[str, Any], above: Keys = ()) -> Iterator[Keys]:
    """Yield each table and key of a TOML document by its full name."""
    for key, value in table.items():
        yield (*above, key)
        if isinstance(value, dict):
            yield from _keys(value, (*above, key))


def _flat(table: Any, keys: Keys = ()) -> Iterator[tuple[Keys, Any]]:
    """Yield each key below `table` that is not a table, with its value, in order."""
    if isinstance(table, msgspec.Struct):
        table = {name: getattr(table, name) for name in table.__struct_fields__}
    for key, value in table.items():
        if isinstance(value, (msgspec.Struct, dict)):
            yield from _flat(value, (*keys, key))
        else:
            yield (*keys, key), value
