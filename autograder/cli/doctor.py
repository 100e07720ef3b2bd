"""`autograder doctor`: does the sandbox hold here?"""

import click

from autograder.errors import GraderError


@click.command(short_help="Try the sandbox, and say what is missing and how to get it.")
@click.option("--image", default="", help="try --sandbox docker too, with containers of this image")
def doctor(image: str) -> None:
    """Try the sandbox for real, and say what is missing and how to get it."""
    from autograder.sandbox.doctor import checks, docker_checks

    failed = 0
    for check in [*checks(), *docker_checks(image)]:
        click.echo(f"{check.mark:4}  {check.name}: {check.detail}")
        if not check.ok:
            failed += 1
            click.echo(f"      {check.remedy}")
    if failed:
        raise GraderError(f"{failed} checks failed; do what is said below each")
    click.echo("the sandbox holds here")
