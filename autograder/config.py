"""`autograder.toml`: what is graded with what, and within which limits.

One file beside `src/` and `hidden/`; every key has a sane default but the assignments themselves. A mistake
in it is reported with the file, the line, the key, and what is allowed there.
"""

import os
import re
import secrets
import sys
from pathlib import Path
from typing import TypeVar

import msgspec

from autograder.errors import GraderError
from autograder.sandbox.outcome import Limits

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FILE_NAME = "autograder.toml"
CONFIG_VARIABLE = "AUTOGRADER_CONFIG"
SECRET_VARIABLE = "AUTOGRADER_SECRET"  # noqa: S105 (the name of a variable)
STATE_FOLDER = ".autograder"
LEDGER_VARIABLE = "AUTOGRADER_LEDGER_URL"
MIN_SECRET_BYTES = 16


Struct = TypeVar("Struct", bound=msgspec.Struct)


class ConfigError(GraderError):
    """The configuration cannot be used; the message says where and what is allowed."""


class BuildConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Something that is made of a submission once, before its cases run.

    Attributes:
        probe: name of the probe that returns a dict of path -> bytes, added to the submission's files.
        sources: glob patterns of the files that the result depends on, and which the probe gets.
        prepare: name of a probe that makes, from our files alone, what `probe` can start from; optional.
        seconds: time limit.
    """

    probe: str
    sources: tuple[str, ...]
    prepare: str = ""
    seconds: float = 60.0


class AssignmentConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One assignment.

    Attributes:
        suite: folder with test_score.py and probes.py, relative to the configuration file.
        title: shown to people.
        preload: modules that the warm processes import before they fork: what the suite needs, no more.
        given: glob patterns of files of ours under the reference that replace the student's.
        plugins: pytest plugins that the suite uses, by module name.
        devices: device nodes that student code may use, such as /dev/nvidia0.
        timeout: seconds of student code per case, where the case says nothing else.
        limits: of the sandbox, see `autograder.sandbox.Limits`.
        build: what is made of a submission before its cases run.
    """

    suite: str
    title: str = ""
    preload: tuple[str, ...] = ("numpy",)
    given: tuple[str, ...] = ()
    plugins: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    timeout: float = 10.0
    limits: dict[str, bool | int | float] = {}
    build: BuildConfig | None = None


class SandboxConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How student code is walled in.

    Attributes:
        kind: `auto` takes the strongest wall that works here.
        waive: protections that may be missing; each is named in every report.
    """

    kind: str = "auto"
    waive: tuple[str, ...] = ()


class LedgerConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where pushes, jobs and reports are recorded.

    Attributes:
        url: sqlite:///FILE, relative to the configuration file, or postgresql://USER@HOST/DATABASE. A password
            belongs into AUTOGRADER_LEDGER_URL, which goes before this key.
    """

    url: str = f"sqlite:///{STATE_FOLDER}/ledger.sqlite"


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file. `folder` is where it lies; paths in it are relative to that."""

    assignments: dict[str, AssignmentConfig] = {}
    course: str = ""
    reference: str = "."
    secret_file: str = f"{STATE_FOLDER}/secret"
    sandbox: SandboxConfig = SandboxConfig()
    ledger: LedgerConfig = LedgerConfig()
    folder: str = "."

    def path(self, relative: str) -> Path:
        """Return a path of the file as an absolute one."""
        return (Path(self.folder) / relative).resolve()

    @property
    def state(self) -> Path:
        """Where the grader keeps caches and its secret."""
        return self.path(STATE_FOLDER)

    def assignment(self, name: str) -> AssignmentConfig:
        """Return one assignment.

        Raises:
            ConfigError: there is none of that name.
        """
        if name not in self.assignments:
            raise ConfigError(
                f"there is no assignment {name!r}; {FILE_NAME} has {', '.join(self.assignments)}"
            )
        return self.assignments[name]

    def limits(self, name: str) -> Limits:
        """Return the sandbox limits of one assignment."""
        return Limits(**self.assignment(name).limits)  # type: ignore[arg-type]

    def ledger_url(self) -> str:
        """Return the ledger's URL, from the environment or the file; relative files are relative to `folder`."""
        return os.environ.get(LEDGER_VARIABLE) or self.ledger.url

    def secret(self) -> bytes:
        """Return the course secret, from the environment or the file; makes the file the first time.

        Raises:
            ConfigError: it is too short to be a secret, or the file cannot be made.
        """
        given = os.environ.get(SECRET_VARIABLE)
        if given is not None:
            return _long_enough(given.encode(), SECRET_VARIABLE)
        path = self.path(self.secret_file)
        try:
            return _long_enough(path.read_bytes().strip(), str(path))
        except FileNotFoundError:
            return _make_secret(path)
        except OSError as error:
            raise ConfigError(f"cannot read the course secret: {error}; or set {SECRET_VARIABLE}") from error


def find() -> Path:
    """Return the configuration file that is meant where none is named: $AUTOGRADER_CONFIG, or that of the staff
    repository which this program was installed from (`pip install -e`).

    Never the current folder's: that may be a student's, and a configuration decides what is trusted.

    Raises:
        ConfigError: there is neither.
    """
    named = os.environ.get(CONFIG_VARIABLE)
    if named:
        return Path(named)
    installed_from = Path(__file__).resolve().parent.parent / FILE_NAME
    if installed_from.is_file():
        return installed_from
    raise ConfigError(f"which {FILE_NAME} is meant? Pass --config FILE, or set {CONFIG_VARIABLE}")


def load(path: Path) -> Config:
    """Read the configuration file at `path`.

    Raises:
        ConfigError: it cannot be read, or something in it is wrong.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {path}: {error}") from error
    return parse(text, path)


def parse(text: str, path: Path) -> Config:
    """Return the configuration in `text`, which came from `path`.

    Raises:
        ConfigError: it is not TOML, or a key or value is not allowed.
    """
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: {error}") from error
    if "folder" in data:
        raise ConfigError(_at(path, text, ["folder"], "this key is not allowed"))
    tables = data.pop("assignments", None)
    if not isinstance(tables, dict) or not tables:
        raise ConfigError(_at(path, text, ["assignments"], "at least one [assignments.NAME] is needed"))
    config = _convert(data, Config, [], path, text)
    assignments = {
        name: _convert(table, AssignmentConfig, ["assignments", name], path, text)
        for name, table in tables.items()
    }
    config = msgspec.structs.replace(config, assignments=assignments, folder=str(path.resolve().parent))
    allowed = ", ".join(Limits.__dataclass_fields__)
    for name, assignment in assignments.items():
        for key, value in assignment.limits.items():
            keys = ["assignments", name, "limits", key]
            if key not in Limits.__dataclass_fields__:
                raise ConfigError(_at(path, text, keys, f"this key is not allowed; allowed are {allowed}"))
            if not isinstance(value, bool) and value <= 0:
                raise ConfigError(_at(path, text, keys, f"must be above 0, got {value}"))
    return config


_TABLES: dict[str, type[msgspec.Struct]] = {
    "build": BuildConfig,
    "sandbox": SandboxConfig,
    "ledger": LedgerConfig,
}


def _convert(table: object, kind: type[Struct], keys: list[str], path: Path, text: str) -> Struct:
    """Return `table` as `kind`; `keys` is where it stands in the file."""
    try:
        return msgspec.convert(table, kind)
    except msgspec.ValidationError as error:
        message, _, where = str(error).partition(" - at `$")
        keys = keys + re.findall(r"[\w-]+", where)
        unknown = re.search(r"unknown field `(.+)`", message)
        if unknown:
            allowed = _TABLES.get(keys[-1], kind) if keys else kind
            keys.append(unknown[1])
            message = f"this key is not allowed; allowed are {', '.join(allowed.__struct_fields__)}"
        raise ConfigError(_at(path, text, keys, message)) from None


def _at(path: Path, text: str, keys: list[str], message: str) -> str:
    """Return the message with the line where the last of `keys` seems to stand."""
    line = 0
    for key in keys:
        pattern = re.compile(rf"^\s*(\[.*\b{re.escape(key)}\b.*\]|\"?{re.escape(key)}\"?\s*=)")
        lines = text.splitlines()
        line = next((i for i in range(line, len(lines)) if pattern.match(lines[i])), line)
    return f"{path}:{line + 1}: {'.'.join(keys) or 'the file'}: {message}"


def _long_enough(secret: bytes, where: str) -> bytes:
    if len(secret) < MIN_SECRET_BYTES:
        raise ConfigError(
            f"the course secret in {where} has {len(secret)} bytes, at least {MIN_SECRET_BYTES} are needed; "
            "make one: python3 -c 'import secrets; print(secrets.token_hex(32))'"
        )
    return secret


def _make_secret(path: Path) -> bytes:
    secret = secrets.token_hex(32).encode()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:  # another process was faster
        return _long_enough(path.read_bytes().strip(), str(path))
    except OSError as error:
        raise ConfigError(
            f"cannot make the course secret {path}: {error}; or set {SECRET_VARIABLE}"
        ) from error
    with os.fdopen(descriptor, "wb") as file:
        file.write(secret + b"\n")
    return secret
