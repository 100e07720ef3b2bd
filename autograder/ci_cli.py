"""`autograder ci`: what a CI job of a student's repository may ask the grader's account for."""

import sys
from pathlib import Path

import click


@click.command()
@click.argument("assignment")
@click.option("--base", default="https://github.com", show_default=True, help="where the repositories are")
@click.option("--branch", default="main", show_default=True, help="whose tip is graded")
@click.option("--sandbox", type=click.Choice(["auto", "bwrap", "docker", "none"]))
@click.option(
    "--config",
    "config_file",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="default: $AUTOGRADER_CONFIG, or that of the staff repository this was installed from",
)
def ci(assignment: str, base: str, branch: str, sandbox: str | None, config_file: Path | None) -> None:
    """Grade one commit for a CI job, publish score.md with the job's token, and print it.

    Reads three lines from standard input: owner/name, the commit, the token. Everything else is fixed by whoever
    allows the job to call this: see docs/github-actions.md.
    """
    from autograder import ci, config

    config_file = config_file or config.find()
    settings = config.load(config_file)
    request = ci.read_request(sys.stdin.buffer)
    text = ci.answer(
        settings,
        config_file,
        request,
        assignment=assignment,
        base=base,
        branch=branch,
        sandbox=sandbox or settings.sandbox.kind,
    )
    click.echo(text, nl=False)
