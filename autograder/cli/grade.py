"""`autograder grade`: grade checkouts on this machine."""

import json
import time
from pathlib import Path
from typing import Any

import click

from autograder.cli.options import config_option
from autograder.sandbox.kinds import CHOICES, KINDS, find

INTERRUPTED = 130  # the exit status of a program that Ctrl-C ended


@click.command()
@click.argument("path", type=click.Path(path_type=Path, exists=True, file_okay=False), default=".")
@click.option(
    "-a",
    "--assignment",
    default="all",
    metavar="ASSIGNMENT",
    help="Name of an assignment in autograder.toml, or all. Default: all.",
)
@click.option(
    "--sandbox",
    type=click.Choice(CHOICES),
    help="Sandbox to grade in. The kind none does not protect this machine, and the report says so. "
    "Default: as in autograder.toml.",
)
@click.option(
    "--image",
    default="",
    help="Image of the containers, only with --sandbox docker. Default: as in autograder.toml.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for score.md and score.json. Default: PATH for one checkout, ./grades for several.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the reports as JSON instead of tables.")
@click.option(
    "--jobs",
    type=click.IntRange(1, 256),
    help="Number of submissions to grade at a time. Default: one per processor.",
)
@config_option
def grade(
    path: Path,
    assignment: str,
    sandbox: str | None,
    image: str,
    out: Path | None,
    as_json: bool,
    jobs: int | None,
    config_file: Path,
) -> None:
    """Grade a checkout, or a folder of checkouts.

    PATH is a checkout with a folder src, or a folder of such checkouts. A score.md and a score.json are written for
    each checkout, and a grades.csv with a row for each folder and archive in PATH. A folder without src gets no points,
    and its row says why. Ctrl-C keeps what is graded.
    """
    from autograder import config, processors
    from autograder.grading import batch
    from autograder.report import markdown

    started = time.monotonic()
    settings = config.load(config_file)
    assignments = list(settings.assignments) if assignment == "all" else [assignment]
    for name in assignments:
        settings.assignment(name)
    sandbox = sandbox or settings.sandbox.kind
    if image and not find(sandbox).takes_image:
        takers = " or ".join(kind.name for kind in KINDS.values() if kind.takes_image)
        raise click.UsageError(f"--image needs --sandbox {takers}; give both, or leave --image out")
    results = out or Path("grades")
    found = batch.find_checkouts(path, out=results)
    checkouts = found.checkouts
    if not checkouts:
        raise click.UsageError(f"there is no folder src in {path}, nor in any folder in it")
    if found.single:
        results = out or path
    batch.prepare(results)
    for file in found.packed:
        click.echo(f"not graded: {file} is an archive; unpack it", err=True)
    if found.others:
        click.echo(f"not submissions: {', '.join(file.name for file in found.others)}", err=True)
    jobs = jobs or processors.available()
    if warning := processors.too_many(jobs, "submissions"):
        click.echo(warning, err=True)

    quiet = found.single or as_json
    with _Progress(len(checkouts) * len(assignments), quiet=quiet) as progress:
        done = batch.grade_checkouts(
            settings,
            config_file,
            assignments,
            checkouts,
            sandbox=sandbox,
            image=image,
            jobs=jobs,
            progress=progress.step,
            keep=lambda checkout, own: batch.write_single(
                own, results if found.single else results / checkout.name, settings.feedback.form
            ),
        )
    reports = [report for own in done.reports.values() for report in own]
    if not found.single:
        batch.write_grades(done, found.packed, assignments, results)
    if as_json:
        click.echo(json.dumps([report.to_json() for report in reports], ensure_ascii=False))
    elif found.single and reports:
        click.echo(markdown(reports, form=settings.feedback.form))
    click.echo(
        f"{len(reports)} graded, {len(done.faults)} faults, {time.monotonic() - started:.1f} s; "
        f"written to {results}",
        err=True,
    )
    if done.warnings:
        click.echo("these cases were drawn again:\n  " + "\n  ".join(done.warnings), err=True)
    if done.faults:
        click.echo("error: these submissions got no score:\n  " + "\n  ".join(done.faults), err=True)
    if done.interrupted:
        click.echo(f"interrupted: {len(done.missing)} reports are missing", err=True)
    if done.interrupted or done.faults or found.packed:
        raise click.exceptions.Exit(INTERRUPTED if done.interrupted else 1)


class _Progress:
    """A progress bar on a terminal, and a line per submission."""

    def __init__(self, total: int, *, quiet: bool) -> None:
        from tqdm import tqdm

        self._quiet = quiet
        self._bar = tqdm(total=total, unit="submission", leave=False, disable=True if quiet else None)

    def step(self, assignment: str, graded: Any) -> None:
        self._bar.update()
        if not self._quiet:
            report = graded.report
            result = f"{report.points:3} / {report.max_points}" if report else "no score: our fault"
            self._bar.write(f"{graded.path.name:30} {assignment}  {result}")

    def __enter__(self) -> "_Progress":
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()
