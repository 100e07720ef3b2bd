"""The kinds of sandbox. A kind is registered in `KINDS`, and nowhere else.

`--sandbox`, `[sandbox] kind` in autograder.toml, the suite server and the reports follow this registry. A new kind is a
module with a `Wall`, a name in `KindName`, and an entry in `KINDS`. The module of a wall is imported when a wall is
made: the command line needs only the names.
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
"""How a report names the kind that was used; each is also a choice."""
Choice: TypeAlias = Literal["auto", KindName]
"""What `--sandbox` and autograder.toml accept."""
CHOICES: tuple[Choice, ...] = get_args(Choice)

STRONGEST: KindName = "bwrap"
"""What `auto` chooses. It is always a kind that isolates: anything less must be asked for by name."""


@dataclass(frozen=True)
class WallSettings:
    """Everything that a wall may need to know; each kind takes what it can use. See `BwrapWall` and `DockerWall`."""

    probes: Path
    preload: Sequence[str] = ()
    waive: Sequence[str] = ()
    devices: Sequence[str] = ()
    limits: Limits | None = None
    image: str = ""
    volumes: Sequence[str] = ()


@dataclass(frozen=True)
class SandboxKind:
    """A kind of sandbox.

    Attributes:
        name: on the command line, in autograder.toml and in reports, which keep it for good.
        isolated: whether student code is kept from this machine; every report says so.
        takes_image: whether it runs submissions in an image, so that `--image` makes sense.
        make: returns its wall, not yet started. Raises GraderError if this machine or the settings do not allow it.
    """

    name: KindName
    isolated: bool
    takes_image: bool
    make: Callable[[WallSettings], Wall]


def find(choice: str) -> SandboxKind:
    """Return the kind that `choice`, one of CHOICES, stands for. Raises GraderError for any other name."""
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
    """Raise GraderError if the reference is installed: without a wall, student code could import it and hand it in."""
    from autograder.sandbox import policy

    found = policy.packages_to_mask(policy.Interpreter.current(), ("ref",))
    if found:
        raise GraderError(
            f"the reference is installed here ({', '.join(found)}), and without a sandbox student code would find "
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
