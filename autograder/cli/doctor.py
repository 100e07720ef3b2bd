"""`autograder doctor`: test whether the sandbox protects this machine."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from autograder.cli.options import optional_config_option
from autograder.errors import GraderError

if TYPE_CHECKING:
    from autograder.sandbox.doctor import Finding


@click.command(short_help="Try the sandbox, and say what is missing and how to get it.")
@optional_config_option
@click.option("--image", default="", help="Also try --sandbox docker, with containers of this image.")
def doctor(config_file: Path | None, image: str) -> None:
    """Try the sandbox on this machine, and say what is missing and how to get it.

    With --config, try what that course needs: its sandbox, its devices, and every suite with its modules.
    """
    from autograder.sandbox.doctor import docker_findings, findings

    found = _of_course(config_file) if config_file else [*findings(), *docker_findings(image)]
    failed = 0
    for finding in found:
        click.echo(f"{finding.mark:4}  {finding.name}: {finding.detail}")
        if not finding.ok:
            failed += 1
            click.echo(f"      {finding.remedy}")
    if failed:
        raise GraderError(f"{failed} findings say FAIL; the line below each says what to do")
    click.echo("the sandbox holds here")


def _of_course(config_file: Path) -> "Iterator[Finding]":
    """Yield what is found when the sandbox, the devices and the suites of a course are tried."""
    from autograder import config
    from autograder.course.course import Course
    from autograder.sandbox import kinds
    from autograder.sandbox.doctor import Finding, docker_findings, findings
    from autograder.service import readiness

    loaded = config.load(config_file)
    sandbox = loaded.sandbox
    kind = kinds.find(sandbox.kind)
    if kind.takes_image:
        yield from docker_findings(sandbox.image, sandbox.volumes)
    elif kind.isolated:
        here = [one for one in loaded.assignments.values() if one.queue == "cpu" or _all_exist(one.devices)]
        yield from findings(devices=sorted({device for one in here for device in one.devices}))
    remedy = f"correct that, then run: autograder config check --config {config_file}"
    for one in readiness.tried(loaded, config_file, list(loaded.assignments), again=True):
        good = one.skipped or "the sandbox starts, and the reference passes the suite"
        yield Finding(one.assignment, not one.problem, one.problem or good, remedy, asked=not one.skipped)
    for obstacle in Course.of(loaded).obstacles():
        yield Finding("course", False, obstacle, remedy)


def _all_exist(devices: tuple[str, ...]) -> bool:
    return all(Path(device).exists() for device in devices)
