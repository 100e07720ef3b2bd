"""The address of a student's repository, and the credentials for it. Pure: checked values, no input or output.

The address of a `Remote` is made of the configured base and a checked owner and name. No part of a webhook's payload is
ever used as an address. A secret is in `Credentials` only: never in an address, never in a `repr`.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

from autograder.errors import GraderError
from autograder.git.names import HOST, PATH, PORT, is_bare_name, is_path

LOOPBACK = ("localhost", "127.0.0.1")  # the hosts for which plain http is allowed

_AT_HOST = rf"(?P<host>{HOST}){PORT}(?:/{PATH})?"
_BASES = {
    "https": re.compile(rf"https://{_AT_HOST}"),
    "http": re.compile(rf"http://{_AT_HOST}"),
    "ssh": re.compile(rf"ssh://(?:[A-Za-z0-9_][A-Za-z0-9._-]{{0,63}}@)?{_AT_HOST}"),
}
_TOKEN = re.compile(r"[\x21-\x7e]{1,4096}")
_USERNAME = re.compile(r"[A-Za-z0-9._@+-]{1,100}")


class RemoteError(GraderError):
    """An address or a credential of the configuration cannot be used."""


@dataclass(frozen=True)
class Remote:
    """One repository on a git host. Make one with `Remote.at`.

    Attributes:
        protocol: the only one that git may use: `https`, `http` (this machine only), `ssh` or `file`.
        url: the address for git; an absolute path for `file`. Never holds a secret.
        name: for people, `owner/name`.
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
            owner: letters, digits, `.`, `_`, `-`; nested groups are separated by `/`; may be empty.
            name: of the repository, without `.git`.

        Raises:
            RemoteError: one of them is not allowed.
        """
        base = str(base).rstrip("/")
        if base.startswith("file:///"):
            base = unquote(base.removeprefix("file://"))
        full = f"{owner}/{name}" if owner else name
        if not is_path(full) or "/" in name:
            raise RemoteError(
                f"not the name of a repository: {full!r:.200}; use letters, digits, dots, underscores and hyphens, but "
                "no hyphen at the start and no two dots in a row"
            )
        if not is_bare_name(name):
            raise RemoteError(f"write the name of the repository without .git: {full}")
        if base.startswith("/"):
            if not base.isprintable() or ".." in base.split("/"):
                raise RemoteError(f"not a folder of repositories: {base!r:.200}; give an absolute path")
            return cls("file", f"{base}/{full}.git", full)
        protocol = base.partition("://")[0]
        match = _BASES[protocol].fullmatch(base) if protocol in _BASES else None
        if match is None or ".." in match["host"]:
            raise RemoteError(
                f"not the address of a git host: {_without_secret(base)!r:.200}; "
                "use https://HOST, ssh://USER@HOST, file:///PATH or an absolute path, without a password"
            )
        if protocol == "http" and match["host"] not in LOOPBACK:
            raise RemoteError(f"{base} is not encrypted; use https (http only for {' and '.join(LOOPBACK)})")
        return cls(protocol, f"{base}/{full}.git", full)

    @property
    def origin(self) -> str:
        """`https://host:port`, to which the credentials belong."""
        return "/".join(self.url.split("/")[:3])

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Credentials:
    """The credentials for a repository. The token never appears in a `repr`, a command line, an environment or a log.

    Attributes:
        token: the password for https, such as a GitHub App's token.
        username: user name for https.
        ssh_key: file of the private key for ssh, without a passphrase.
        known_hosts: file of the host's public keys; required for ssh.
        ca_file: file of certificates (PEM) to trust for https in place of the system's.
    """

    token: str = field(default="", repr=False)
    username: str = "x-access-token"
    ssh_key: Path | None = None
    known_hosts: Path | None = None
    ca_file: Path | None = None

    def __post_init__(self) -> None:
        if self.token and not _TOKEN.fullmatch(self.token):
            raise RemoteError("the token of the git host holds spaces or line breaks; check its file")
        if not _USERNAME.fullmatch(self.username):
            raise RemoteError(f"not a user name for a git host: {self.username!r:.200}")
        for path in (self.ssh_key, self.known_hosts, self.ca_file):
            # ssh expands % and ~, and interprets quotes
            if path is not None and (
                not path.is_absolute() or not re.fullmatch(r"[^\"'\\%$\x00-\x1f]+", str(path))
            ):
                raise RemoteError(
                    f"give an absolute path without quotes, backslashes, % and $: {str(path)!r:.200}"
                )


def _without_secret(base: str) -> str:
    return re.sub(r"//[^/@]*@", "//***@", base)
