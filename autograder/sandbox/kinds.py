"""The kinds of sandbox. The registry `KINDS` is the only list of them.

`--sandbox`, `[sandbox] kind` in autograder.toml, the suite server and the reports use this registry. A new kind needs
a module with a `Wall`, a name in `KindName`, and an entry in `KINDS`. The module of a wall is imported only when a wall
is made, because the command line needs only the names.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

from autograder.errors import GraderError
from autograder.sandbox.limits import Limits

if TYPE_CHECKING:
    from autograder.sandbox.wall import Wall

KindName: TypeAlias = Literal["bwrap", "docker", "none"]
"""The names of kinds in reports. Each of them is also a choice."""
Choice: TypeAlias = Literal["auto", KindName]
"""The values that `--sandbox` and autograder.toml accept."""
CHOICES: tuple[Choice, ...] = get_args(Choice)

STRONGEST: KindName = "bwrap"
"""The kind that `auto` stands for. It must isolate; a kind that does not isolate must be chosen by name."""


@dataclass(frozen=True)
class WallSettings:
    """All settings of walls. Each kind takes the ones that it uses; `BwrapWall` and `DockerWall` explain them."""

    probes: Path
    preload: Sequence[str] = ()
    importable: Sequence[str] = ()
    waive: Sequence[str] = ()
    devices: Sequence[str] = ()
    limits: Limits | None = None
    image: str = ""
    volumes: Sequence[str] = ()


@dataclass(frozen=True)
class SandboxKind:
    """A kind of sandbox.

    Attributes:
        name: the name on the command line, in autograder.toml and in reports. Never rename a kind: old reports keep
            the name.
        isolated: whether this machine is protected from student code. Every report contains this value.
        takes_image: whether submissions run in an image, so that `--image` makes sense.
        make: returns a wall that is not started yet. Raises GraderError if this machine or the settings do not allow
            this kind.
    """

    name: KindName
    isolated: bool
    takes_image: bool
    make: Callable[[WallSettings], Wall]


def find(choice: str) -> SandboxKind:
    """Return the kind that `choice` stands for. Raises GraderError if `choice` is not one of CHOICES."""
    name = STRONGEST if choice == "auto" else choice
    for kind in KINDS.values():
        if kind.name == name:
            return kind
    raise GraderError(f"there is no sandbox {choice!r}; use one of {', '.join(CHOICES)}")


def _bwrap(settings: WallSettings) -> Wall:
    from autograder.sandbox.bubblewrap import BwrapWall

    return BwrapWall(
        settings.probes,
        preload=settings.preload,
        importable=settings.importable,
        waive=settings.waive,
        devices=settings.devices,
        limits=settings.limits,
    )


def _docker(settings: WallSettings) -> Wall:
    from autograder.sandbox.docker.wall import DockerWall

    return DockerWall(
        settings.probes,
        image=settings.image,
        preload=settings.preload,
        importable=settings.importable,
        waive=settings.waive,
        devices=settings.devices,
        limits=settings.limits,
        volumes=settings.volumes,
    )


def _none(settings: WallSettings) -> Wall:
    from autograder.sandbox.none import NoWall

    _refuse_reference()
    return NoWall(settings.probes, preload=settings.preload, limits=settings.limits)


def _refuse_reference() -> None:
    """Raise GraderError if the reference is installed: without a wall, student code could import and use it."""
    from autograder.sandbox import policy
    from autograder.sandbox.inside import packages

    found = packages.entries(policy.Interpreter.current().site_packages, ("ref",))
    paths = [f"{folder}/{entry}" for folder, entries in found.items() for entry in entries]
    if paths:
        raise GraderError(
            f"the reference is installed here ({', '.join(paths)}), and without a sandbox student code would find "
            f"it: {sys.executable} -m pip uninstall ref"
        )


KINDS: Mapping[KindName, SandboxKind] = {
    kind.name: kind
    for kind in (
        SandboxKind("bwrap", isolated=True, takes_image=False, make=_bwrap),
        SandboxKind("docker", isolated=True, takes_image=True, make=_docker),
        SandboxKind("none", isolated=False, takes_image=False, make=_none),
    )
}
