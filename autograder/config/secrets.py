"""Secrets. Each comes from an environment variable or from a file, and never from a key of `autograder.toml`.

The variable takes precedence; an empty variable counts as not set.
"""

import os
import re
import secrets
import tempfile
from pathlib import Path

from autograder.errors import ConfigError
from autograder.hosts.webhook import MIN_SECRET_BYTES, NEW_SECRET

SECRET_VARIABLE = "AUTOGRADER_SECRET"  # noqa: S105 (the name of a variable)
STAFF_TOKEN_VARIABLE = "AUTOGRADER_STAFF_TOKEN"  # noqa: S105
WEBHOOK_SECRET_VARIABLE = "AUTOGRADER_WEBHOOK_SECRET"  # noqa: S105
TOKEN_VARIABLE = "AUTOGRADER_TOKEN"  # noqa: S105
ADMIN_TOKEN_VARIABLE = "AUTOGRADER_ADMIN_TOKEN"  # noqa: S105
APP_KEY_VARIABLE = "AUTOGRADER_APP_KEY"
SMTP_PASSWORD_VARIABLE = "AUTOGRADER_SMTP_PASSWORD"  # noqa: S105
NOTICES_WEBHOOK_VARIABLE = "AUTOGRADER_NOTICES_WEBHOOK"


def of_host(variable: str, host: str) -> str:
    """Return the name of the variable that holds a secret of one host, such as AUTOGRADER_TOKEN_GIT_UNI_EXAMPLE."""
    return f"{variable}_{re.sub(r'[^A-Z0-9]', '_', host.upper())}"


def course_secret(path: Path, *, make: bool = True) -> bytes:
    """Return the course secret. If `make`, its file is made at the first call.

    Raises:
        ConfigError: the secret is too short, or its file cannot be made or read; or it is missing, and `make` is False.
    """
    return kept(path, SECRET_VARIABLE, "the course secret", make=make)


def staff_token(path: Path) -> str:
    """Return the token with which staff log in. Its file is made at the first call.

    Raises:
        ConfigError: the token is too short or is not ASCII, or its file cannot be made or read.
    """
    token = kept(path, STAFF_TOKEN_VARIABLE, "the staff token")
    try:
        return token.decode("ascii")
    except UnicodeDecodeError:
        raise ConfigError(f"the staff token is not ASCII text; {NEW_SECRET}") from None


def kept(path: Path, variable: str, what: str, *, make: bool = True) -> bytes:
    """Return a secret that the grader can make itself: from the variable if it is set, otherwise from the file.

    If there is no file either, make a secret and write the file. If not `make`, that is an error.

    Raises:
        ConfigError: the secret is too short, or its file cannot be made or read.
    """
    given = os.environ.get(variable)
    if given:
        return _long_enough(given.strip().encode("utf-8", "surrogateescape"), what, variable)
    try:
        return _long_enough(path.read_bytes().strip(), what, str(path))
    except FileNotFoundError:
        if not make:
            raise ConfigError(
                f"{what} is not on this machine: set {variable}, or copy the file {path} from the machine that has it"
            ) from None
        return _make(path, variable, what)
    except OSError as error:
        raise ConfigError(f"cannot read {what}: {error}; fix that, or set {variable}") from error


def given(path: Path | None, variable: str, what: str) -> str:
    """Return a secret that somebody else made, from a variable or a file; empty if neither is set.

    Args:
        path: the configured file; None: no file is configured.
        variable: the variable, which takes precedence.
        what: name for messages.

    Raises:
        ConfigError: the file cannot be read, or is empty.
    """
    text = os.environ.get(variable)
    if text:
        return text.strip()
    if path is None:
        return ""
    try:
        text = path.read_text(encoding="ascii").strip()
    except OSError as error:
        raise ConfigError(
            f"cannot read {what} in {path}: {error.strerror}; fix that, or set {variable}"
        ) from None
    except UnicodeDecodeError:
        raise ConfigError(f"{what} in {path} is not ASCII text") from None
    if not text:
        raise ConfigError(f"the file {path} of {what} is empty")
    return text


def _long_enough(secret: bytes, what: str, where: str) -> bytes:
    if len(secret) < MIN_SECRET_BYTES:
        raise ConfigError(
            f"{what} in {where} has {len(secret)} bytes, but needs at least {MIN_SECRET_BYTES}; {NEW_SECRET}"
        )
    return secret


def _make(path: Path, variable: str, what: str) -> bytes:
    """Make the file in one step, so that another process that starts now sees the whole file or no file."""
    secret = secrets.token_hex(32).encode()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, draft = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)  # mode 600
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(secret + b"\n")
            os.link(draft, path)
        finally:
            Path(draft).unlink()
    except FileExistsError:  # another process was faster
        return _long_enough(path.read_bytes().strip(), what, str(path))
    except OSError as error:
        raise ConfigError(f"cannot make {what} {path}: {error}; fix that, or set {variable}") from error
    return secret
