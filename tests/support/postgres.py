"""A PostgreSQL server of our own for tests: from Debian's packages, on a socket in a temporary folder."""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

USER = "ledger"
_OPTIONS = (
    "-k {folder} -c listen_addresses={listen} -c fsync=off -c full_page_writes=off -c max_connections=60"
)
_numbers = itertools.count(1)


class Server:
    """A running server. `folder` holds its socket and data."""

    def __init__(self, folder: Path, listen: str, control: Callable[..., None]) -> None:
        self.folder, self._listen, self._control = folder, listen, control

    def stop(self) -> None:
        """Stop it as a crash does."""
        self._control("-m", "immediate", "-w", "stop")

    def start(self) -> None:
        """Start it, and wait until it answers."""
        options = _OPTIONS.format(folder=self.folder, listen=self._listen)
        self._control("-o", options, "-l", str(self.folder / "log"), "-w", "-t", "120", "start")

    def url(self, database: str) -> str:
        """Return the URL of one of its databases."""
        return f"postgresql://{USER}@/{database}?host={self.folder}"

    def new_database(self) -> str:
        """Make an empty database, and return its URL."""
        name = f"test{next(_numbers)}"
        self.execute(f"CREATE DATABASE {name}")
        return self.url(name)

    def execute(self, statement: str, database: str = "postgres") -> None:
        """Run a statement outside of any transaction."""
        import psycopg

        with psycopg.connect(
            host=str(self.folder), user=USER, dbname=database, autocommit=True
        ) as connection:
            connection.execute(statement)


def in_memory(size: int) -> str | None:
    """Return a folder in memory with room for `size` bytes, or None."""
    place = "/dev/shm"
    if os.access(place, os.W_OK | os.X_OK) and shutil.disk_usage(place).free > size:
        return place
    return None


@functools.cache
def missing() -> str:
    """Say what keeps a server from being started here; nothing where it can be."""
    try:
        import psycopg  # noqa: F401
    except ImportError:
        return "psycopg is not installed: pip install 'autograder[postgres]'"
    if _programs() is None:
        return "there is no PostgreSQL server here: apt-get install postgresql"
    return ""


def _programs() -> Path | None:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[4]))
    if found:
        return found[-1].parent
    path = shutil.which("initdb")
    return Path(path).parent if path else None


@contextlib.contextmanager
def running(listen: str = "", network_of: int | None = None) -> Iterator[Server]:
    """Start a server, and stop it in the end. Its data need not survive, so nothing is brought to the disk.

    Args:
        listen: an address on which it answers, too, to everybody.
        network_of: in the network namespace of this process; needs root.
    """
    programs = _programs()
    assert programs is not None
    folder = Path(tempfile.mkdtemp(prefix="pg-", dir=in_memory(500 * 2**20)))
    who: dict[str, object] = {}
    if os.geteuid() == 0:  # it refuses to run as root
        account = _account()
        os.chown(folder, account.pw_uid, account.pw_gid)
        who = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
    enter: list[str] = []
    if network_of is not None:
        enter = [
            "nsenter",
            "-t",
            str(network_of),
            "-n",
            f"--setuid={account.pw_uid}",
            f"--setgid={account.pw_gid}",
        ]
        who = {}
    data = folder / "data"

    def run(program: str, *arguments: str) -> None:
        subprocess.run(
            [*enter, programs / program, *arguments],
            cwd=folder,
            env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=True,
            timeout=240,
            **who,
        )

    server = Server(folder, listen, functools.partial(run, "pg_ctl", "-D", str(data)))
    try:
        run("initdb", "--no-sync", "-A", "trust", "-U", USER, "-E", "UTF8", "-D", str(data))
        if listen:
            (data / "pg_hba.conf").write_text("local all all trust\nhost all all all trust\n")
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _account() -> pwd.struct_passwd:
    try:
        return pwd.getpwnam("postgres")
    except KeyError:
        return pwd.getpwnam("nobody")
