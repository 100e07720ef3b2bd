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

    SCORE is a score.json of one assignment, or of several that were graded at once.
    """
    from autograder.report import dumps, gradescope, junit, markdown, reports_from_json

    try:
        reports = reports_from_json(json.loads(score.read_text(encoding="utf-8-sig")))
    except ValueError as error:
        raise click.UsageError(f"{score} is not a score.json: {error}") from error
    if kind == "gradescope":
        text = dumps(gradescope(reports))
    else:
        text = junit(reports) if kind == "junit" else markdown(reports)
    sys.stdout.write(text)
