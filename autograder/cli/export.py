"""`autograder export`: convert a score.json to another format."""

import json
import sys
from pathlib import Path

import click


@click.command()
@click.argument("score", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option(
    "--format",
    "kind",
    type=click.Choice(["gradescope", "junit", "markdown"]),
    required=True,
    help="Format to print: Gradescope's results.json, JUnit XML, or the table of score.md.",
)
def export(score: Path, kind: str) -> None:
    """Print a score.json in another format.

    SCORE is a score.json of one assignment.
    """
    from autograder.report import dumps, from_json, gradescope, junit, markdown

    try:
        report = from_json(json.loads(score.read_text(encoding="utf-8")))
    except ValueError as error:
        raise click.UsageError(f"{score} is not a score.json: {error}") from error
    if kind == "gradescope":
        text = dumps(gradescope(report))
    else:
        text = junit(report) if kind == "junit" else markdown([report])
    sys.stdout.write(text)
