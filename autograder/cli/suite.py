"""`autograder suite`: what is known about a hidden suite before students meet it."""

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from autograder.cli.options import config_option
from autograder.errors import GraderError
from autograder.sandbox.kinds import CHOICES

if TYPE_CHECKING:
    from autograder.config import Config
    from autograder.suite_check.findings import Findings

TOO_WEAK = 1


@click.group()
def suite() -> None:
    """Examine a hidden suite."""


@suite.command()
@click.argument("assignment")
@click.option("--long", "is_long", is_flag=True, help="Try every mutant on every case, with more draws.")
@click.option(
    "--only", default="", metavar="NAME", help="One case or its function, or mutants whose id contains NAME."
)
@click.option(
    "--seed", default="0", show_default=True, help="Any text; inputs and the choice of mutants depend on it."
)
@click.option(
    "--min-kill",
    type=click.FloatRange(0, 1),
    help="Exit with status 1 if a smaller part of the mutants is caught, or the reference fails a draw.",
)
@click.option(
    "--samples",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Folder of checkouts to try in several draws: does a verdict depend on the draw?",
)
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON instead of text.")
@click.option(
    "--html", "html_file", type=click.Path(path_type=Path, dir_okay=False), help="File for the HTML report."
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for report.json and report.html. Default: .autograder/suite-check/ASSIGNMENT.",
)
@click.option(
    "--sandbox",
    type=click.Choice(CHOICES),
    help="Sandbox to run in. Default: as in autograder.toml.",
)
@click.option("--jobs", type=click.IntRange(1, 256), help="Trials at a time. Default: one per processor.")
@config_option
@click.pass_context
def check(
    context: click.Context,
    assignment: str,
    is_long: bool,
    only: str,
    seed: str,
    min_kill: float | None,
    samples: Path | None,
    as_json: bool,
    html_file: Path | None,
    out: Path | None,
    sandbox: str | None,
    jobs: int | None,
    config_file: Path,
) -> None:
    """Report what the suite of ASSIGNMENT misses.

    Tries wrong solutions on the suite, and the reference in many draws. The wrong solutions are mutants of the
    reference: one small mistake each. Ctrl-C reports what is known by then.
    """
    from autograder import config, processors
    from autograder.report import dumps
    from autograder.suite_check import html, plan, run, terminal

    settings = config.load(config_file)
    settings.assignment(assignment)
    options = run.Options(
        form=plan.LONG if is_long else plan.SHORT,
        seed=seed,
        only=only,
        samples=samples,
        jobs=jobs or processors.available(),
        sandbox=sandbox or settings.sandbox.kind,
    )
    out = out or settings.state / "suite-check" / assignment
    page_file = html_file or out / "report.html"
    for folder in (out, page_file.parent):  # before the work, so that none is lost
        _make(folder)
    found = run.check(settings, config_file, assignment, options, _step)
    found = _with_history(settings, found)
    found = run.with_earlier(settings.state, found, keep=found.complete and not only)
    data = dumps(found.to_json())
    page = html.render(found)
    _write(out / "report.json", data)
    _write(page_file, page)
    click.echo(data if as_json else terminal.render(found))
    click.echo(f"written to {out}", err=True)
    if min_kill is not None:
        failed = sum(case.failed for case in found.cases)
        rate = found.kill_rate
        if failed or rate is None or rate < min_kill or not found.complete:
            click.echo(
                f"the suite of {assignment} is not good enough: kill rate "
                f"{'unknown' if rate is None else f'{rate:.1%}'} of at least {min_kill:.1%}, {failed} failed draws of "
                "the reference; see What to do next",
                err=True,
            )
            context.exit(TOO_WEAK)


def _with_history(settings: "Config", found: "Findings") -> "Findings":
    """Add the results of real pushes to the findings, if there is a ledger."""
    from dataclasses import replace

    from autograder.ledger import Ledger
    from autograder.ledger.database import parse_url

    folder = settings.path(".")
    url = parse_url(settings.ledger_url(), folder)
    if url.drivername.startswith("sqlite") and not Path(str(url.database)).is_file():
        return found
    try:
        with Ledger.open(settings.ledger_url(), folder=folder, create=False) as ledger:
            known = ledger.case_history(found.assignment)
    except GraderError as error:
        click.echo(f"no history: {error}", err=True)
        return found
    cases = [replace(case, history=known.get(case.name)) for case in found.cases]
    return replace(found, cases=cases)


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise GraderError(f"cannot make {folder}: {error.strerror}; name another with --out") from error


def _write(file: Path, text: str) -> None:
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise GraderError(f"cannot write {file}: {error.strerror}; name another with --out") from error


@contextlib.contextmanager
def _step(name: str, total: int) -> Iterator[Callable[[], None]]:
    """Show a bar for one step, where stderr is a terminal, and then its time."""
    from tqdm import tqdm

    started = time.monotonic()
    with tqdm(total=total, desc=name, leave=False, disable=None) as bar:

        def advance() -> None:
            bar.update()

        yield advance
    if total:
        click.echo(f"{name}: {total} in {time.monotonic() - started:.1f} s", err=True)
