"""`autograder doctor`: does the sandbox hold here?"""

import click

from autograder.errors import GraderError


@click.command(short_help="Try the sandbox, and say what is missing and how to get it.")
@click.option("--image", default="", help="try --sandbox docker too, with containers of this image")
def doctor(image: str) -> None:
    """Try the sandbox for real, and say what is missing and how to get it."""
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
