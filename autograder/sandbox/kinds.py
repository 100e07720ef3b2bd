"""From a name on the command line to a wall: `auto`, `bwrap`, `docker`, `none`."""

import sys
from collections.abc import Sequence
from pathlib import Path

from autograder.errors import GraderError
from autograder.sandbox import policy
from autograder.sandbox.bubblewrap import BwrapWall
from autograder.sandbox.docker.wall import DockerWall
from autograder.sandbox.limits import Limits
from autograder.sandbox.none import NoWall
from autograder.sandbox.wall import Wall

KINDS = ("auto", "bwrap", "docker", "none")


def make_wall(
    kind: str,
    *,
    probes: Path,
    preload: Sequence[str],
    waive: Sequence[str] = (),
    devices: Sequence[str] = (),
    limits: Limits | None = None,
    image: str = "",
    volumes: Sequence[str] = (),
) -> Wall:
    """Return the wall called `kind`, not yet started.

    Args:
        kind: `auto` is the strongest that can work here, and never `none`: that must be asked for.
        probes, preload, waive, devices, limits: see `BwrapWall`.
        image, volumes: see `DockerWall`; of no use to the others.

    Raises:
        GraderError: there is no such wall here; or `none` is asked for where student code would find the reference.
    """
    if kind in ("auto", "bwrap"):
        return BwrapWall(probes, preload=preload, waive=waive, devices=devices, limits=limits)
    if kind == "docker":
        return DockerWall(
            probes,
            image=image,
            preload=preload,
            waive=waive,
            devices=devices,
            limits=limits,
            volumes=volumes,
        )
    if kind == "none":
        _refuse_reference()
        return NoWall(probes, preload=preload, limits=limits)
    raise GraderError(f"the sandbox {kind!r} is not available here; use one of {', '.join(KINDS)}")


def _refuse_reference() -> None:
    """A wall hides an installed reference; without one, student code could import it and hand its answers in."""
    found = policy.packages_to_mask(policy.Interpreter.current(), ("ref",))
    if found:
        raise GraderError(
            f"the reference is installed here ({', '.join(found)}), and without a sandbox student code would find "
            f"it: {sys.executable} -m pip uninstall ref"
        )
