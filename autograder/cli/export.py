"""`autograder export`: convert a score.json to another format."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

if TYPE_CHECKING:
    from autograder.language import Language


@click.command()
@click.argument("score", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option(
    "--format",
    "kind",
    type=click.Choice(["gradescope", "junit", "markdown"]),
    required=True,
    help="Format to print: Gradescope's results.json, JUnit XML, or the table of score.md.",
)
@click.option(
    "--score",
    "column",
    type=click.Choice(["points", "of"]),
    default="points",
    show_default=True,
    help="Column Score of the table: what was earned, or also what each case is worth.",
)
@click.option(
    "--language",
    type=click.Choice(["en", "zh-CN", "both"]),
    default="en",
    show_default=True,
    help="Language of the table. A message is in English if the file has it in English only.",
)
def export(score: Path, kind: str, column: Literal["points", "of"], language: "Language") -> None:
    """Print a score.json in another format.

    SCORE is a score.json of one assignment, or of several that were graded at once.
    """
    from autograder.language import languages
    from autograder.report import Form, dumps, gradescope, junit, markdown, reports_from_json

    try:
        reports = reports_from_json(json.loads(score.read_text(encoding="utf-8-sig")))
    except ValueError as error:
        raise click.UsageError(f"{score} is not a score.json: {error}") from error
    if kind == "gradescope":
        text = dumps(gradescope(reports))
    else:
        text = (
            junit(reports) if kind == "junit" else markdown(reports, form=Form(column, languages(language)))
        )
    sys.stdout.write(text)
