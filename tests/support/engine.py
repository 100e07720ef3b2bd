"""A Docker engine for tests, and an image that costs nothing: this machine's own Python, shown read-only.

The image contains only empty folders. `/usr`, the interpreter and the installed packages of this machine are mounted on
them, so a container has the same versions as a grader that uses bubblewrap, including the compiler.
"""

from __future__ import annotations

import contextlib
import functools
import io
import os
import re
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

from autograder.errors import GraderError
from autograder.sandbox import policy
from autograder.sandbox.docker import engine
from tests.support import walls

PASSWD = b"root:x:0:0::/root:/bin/sh\n"
SITE_PACKAGES = "/site-packages"


@functools.cache
def why_no_engine() -> str:
    """Why containers cannot be tested here; empty where they can."""
    try:
        engine.server_version()
    except GraderError as error:
        return f"no Docker engine: {error}"
    return ""


def volumes() -> list[str]:
    """Return what a container of `host_image` must show, as HOST:INSIDE."""
    python = policy.Interpreter.current()
    shown = [*python.prefixes[:1], *(path for path in ("/usr",) if path not in python.prefixes)]
    return [*(f"{path}:{path}" for path in shown), f"{python.site_packages[0]}:{SITE_PACKAGES}"]


def host_image_name() -> str:
    """Return the name of the image that belongs to this process."""
    return f"autograder-test:{os.getpid()}"


@contextlib.contextmanager
def host_image() -> Iterator[str]:
    """Make an image for `volumes`, yield its name, and remove it at the end."""
    name = host_image_name()
    prefix = policy.Interpreter.current().prefixes[0]
    changes = (f"ENV PATH={prefix}/bin:/usr/local/bin:/usr/bin:/bin", f"ENV PYTHONPATH={SITE_PACKAGES}")
    words = [word for change in changes for word in ("--change", change)]
    subprocess.run(
        ["docker", "import", *words, "-", name], input=_skeleton(prefix), check=True, capture_output=True
    )
    try:
        yield name
    finally:
        subprocess.run(["docker", "rmi", "--force", name], check=True, capture_output=True)


def _skeleton(prefix: str) -> bytes:
    """Return a tar of the folders on which something is mounted, and of the few files in other places."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        folders = {
            "etc",
            "usr",
            SITE_PACKAGES[1:],
            *(str(p)[1:] for p in (Path(prefix), *Path(prefix).parents)),
        }
        for folder in sorted(folders - {""}):
            tar.addfile(_entry(folder, tarfile.DIRTYPE, 0o755))
        tar.addfile(_entry("tmp", tarfile.DIRTYPE, 0o1777))
        for directory in policy.SYSTEM_DIRECTORIES:
            if Path(directory).is_symlink():
                link = _entry(directory[1:], tarfile.SYMTYPE, 0o777)
                link.linkname = str(Path(directory).readlink())
                tar.addfile(link)
        passwd = _entry("etc/passwd", tarfile.REGTYPE, 0o644)
        passwd.size = len(PASSWD)
        tar.addfile(passwd, io.BytesIO(PASSWD))
        for file in policy.SYSTEM_FILES:
            if Path(file).exists():
                tar.add(file, file[1:])
    return data.getvalue()


def _entry(name: str, kind: bytes, mode: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode = kind, mode
    return entry


def containers() -> list[str]:
    """Return every container of `host_image`, running or not; others may use the engine at the same time."""
    return engine.ask("ps", "--all", "--quiet", "--filter", f"ancestor={host_image_name()}").split()


def containers_left() -> list[str]:
    """Return the containers of `host_image` that stay; the engine removes one some time after it ended."""
    walls.wait_until(lambda: not containers())
    return containers()


def small_image(name: str, programs: tuple[str, ...] = ("bash", "id", "cat", "mkdir", "true")) -> None:
    """Make an image of a few programs of this machine and the libraries that they need."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w", dereference=True) as tar:
        tar.addfile(_entry("tmp", tarfile.DIRTYPE, 0o1777))
        files: set[str] = set()
        for program in programs:
            path = shutil.which(program, path="/usr/bin:/bin") or ""
            tar.add(path, f"bin/{program}")
            files |= set(re.findall(r"(/\S+) \(0x", subprocess.check_output(["ldd", path], text=True)))
        for file in sorted(files):
            tar.add(file, file[1:])
    command = ["docker", "import", "--change", "ENV PATH=/bin", "-", name]
    subprocess.run(command, input=data.getvalue(), check=True, capture_output=True)
