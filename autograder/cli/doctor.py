"""`autograder doctor`: test whether the sandbox protects this machine."""

import click

from autograder.errors import GraderError


@click.command(short_help="Try the sandbox, and say what is missing and how to get it.")
@click.option("--image", default="", help="Also try --sandbox docker, with containers of this image.")
def doctor(image: str) -> None:
    """Try the sandbox on this machine, and say what is missing and how to get it."""
    from autograder.sandbox.doctor import docker_findings, findings

    failed = 0
    for finding in [*findings(), *docker_findings(image)]:
        click.echo(f"{finding.mark:4}  {finding.name}: {finding.detail}")
        if not finding.ok:
            failed += 1
            click.echo(f"      {finding.remedy}")
    if failed:
        raise GraderError(f"{failed} findings say FAIL; the line below each says what to do")
    click.echo("the sandbox holds here")
