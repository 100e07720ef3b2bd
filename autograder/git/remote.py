"""Where a student's repository lies, and what opens it. Pure: checked values, no input or output.

A `Remote` is put together from the configured base and a checked owner and name; nothing of a webhook's payload
is ever an address. A secret stands in `Credentials` only: not in an address, not in a `repr`.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

from autograder.errors import GraderError
from autograder.git.names import PATH, is_path

LOOPBACK = ("localhost", "127.0.0.1")  # where plain http is allowed

_HOST = r"(?P<host>[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?)"
_PORT = r"(?::[0-9]{1,5})?"
_BASES = {
    "https": re.compile(rf"https://{_HOST}{_PORT}(?:/{PATH})?"),
    "http": re.compile(rf"http://{_HOST}{_PORT}(?:/{PATH})?"),
    "ssh": re.compile(rf"ssh://(?:[A-Za-z0-9_][A-Za-z0-9._-]{{0,63}}@)?{_HOST}{_PORT}(?:/{PATH})?"),
}
_TOKEN = re.compile(r"[\x21-\x7e]{1,4096}")
_USERNAME = re.compile(r"[A-Za-z0-9._@+-]{1,100}")


class RemoteError(GraderError):
    """An address or a credential of the configuration cannot be used."""


@dataclass(frozen=True)
class Remote:
    """One repository on a git host; make one with `Remote.at`.

    Attributes:
        protocol: the only one that git may speak: `https`, `http` (this machine only), `ssh` or `file`.
        url: the address for git; an absolute path for `file`. Never holds a secret.
        name: as people call it, `owner/name`.
    """

    protocol: str
    url: str
    name: str

    @classmethod
    def at(cls, base: str | Path, owner: str, name: str) -> "Remote":
        """Return the repository `owner`/`name` below a configured base.

        Args:
            base: `https://host[:port][/path]`, `ssh://[user@]host[:port][/path]`, `file:///path`, or an absolute
                path of this machine.
            owner: letters, digits, `.`, `_`, `-`; groups within groups with `/` between; empty where there are none.
            name: of the repository, without `.git`.

        Raises:
            RemoteError: something in it is not allowed.
        """
        base = str(base).rstrip("/")
        if base.startswith("file:///"):
            base = unquote(base.removeprefix("file://"))
        full = f"{owner}/{name}" if owner else name
        if not is_path(full) or "/" in name:
            raise RemoteError(
                f"not a repository's name: {full!r:.200}; letters, digits, dots, underscores and hyphens are "
                "allowed, no leading hyphen, no two dots in a row"
            )
        if name.lower().endswith(".git"):
            raise RemoteError(f"write the repository's name without .git: {full}")
        if base.startswith("/"):
            if not base.isprintable() or ".." in base.split("/"):
                raise RemoteError(f"not a folder of repositories: {base!r:.200}; give an absolute path")
            return cls("file", f"{base}/{full}.git", full)
        protocol = base.partition("://")[0]
        match = _BASES[protocol].fullmatch(base) if protocol in _BASES else None
        if match is None or ".." in match["host"]:
            raise RemoteError(
                f"not an address of a git host: {_without_secret(base)!r:.200}; "
                "https://HOST, ssh://USER@HOST, file:///PATH or an absolute path are allowed, without a password"
            )
        if protocol == "http" and match["host"] not in LOOPBACK:
            raise RemoteError(f"{base} is not encrypted; use https (http only for {' and '.join(LOOPBACK)})")
        return cls(protocol, f"{base}/{full}.git", full)

    @property
    def origin(self) -> str:
        """`https://host:port`: what a credential is good for."""
        return "/".join(self.url.split("/")[:3])

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Credentials:
    """What opens a repository. The token never appears in `repr`, a command line, an environment or a log.

    Attributes:
        token: the password for https, for instance a GitHub App's token.
        username: that goes with it.
        ssh_key: file of the private key for ssh, without a passphrase.
        known_hosts: file of the host's public key; needed for ssh.
        ca_file: certificates (PEM) to trust for https in place of the system's.
    """

    token: str = field(default="", repr=False)
    username: str = "x-access-token"
    ssh_key: Path | None = None
    known_hosts: Path | None = None
    ca_file: Path | None = None

    def __post_init__(self) -> None:
        if self.token and not _TOKEN.fullmatch(self.token):
            raise RemoteError("the git host's token holds spaces or line breaks; check its file")
        if not _USERNAME.fullmatch(self.username):
            raise RemoteError(f"not a user name for a git host: {self.username!r:.200}")
        for path in (self.ssh_key, self.known_hosts, self.ca_file):
            # ssh expands % and ~, and reads quotes
            if path is not None and (
                not path.is_absolute() or not re.fullmatch(r"[^\"'\\%$\x00-\x1f]+", str(path))
            ):
                raise RemoteError(f"give an absolute path without quotes, % and $: {str(path)!r:.200}")

    @classmethod
    def of_token_file(cls, path: Path, username: str = "x-access-token") -> "Credentials":
        """Return credentials with the token in the file at `path`.

        Raises:
            RemoteError: the file cannot be read, or holds no token.
        """
        try:
            token = path.read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not text"
            raise RemoteError(f"cannot read the git host's token in {path}: {reason}") from None
        if not token:
            raise RemoteError(f"the token file {path} is empty")
        return cls(token=token, username=username)


def _without_secret(base: str) -> str:
    return re.sub(r"//[^/@]*@", "//***@", base)
