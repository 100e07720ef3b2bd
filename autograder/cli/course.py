"""`autograder course`: the end of a term, and the data of a student."""

import json
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

import click

from autograder.cli.opened import opened_course
from autograder.cli.options import config_option, who_option, why_option
from autograder.errors import GraderError

if TYPE_CHECKING:
    from autograder.config import Config
    from autograder.ledger import Ledger


@click.group()
def course() -> None:
    """Archive the course, and begin a new term."""


@course.command()
@click.option(
    "--to",
    "target",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="File to write, such as dl-2026.zip. Only its owner can read it.",
)
@click.option(
    "--secret/--no-secret", default=True, help="Put the course secret into the archive. Default: yes."
)
@click.option("--force", is_flag=True, help="Replace the file if it exists already.")
@config_option
def archive(target: Path, secret: bool, force: bool, config_file: Path) -> None:
    """Write everything that the grades follow from into one file.

    The archive holds the ledger, the course secret, the digests of the suites, the configuration with the roster and
    the extensions, and the gradebook. The service may keep running. autograder ledger check FILE examines an archive,
    and derives the gradebook again.
    """
    from autograder import config
    from autograder.term import archive as term

    settings = config.load(config_file)
    made = term.write(settings, config_file, target, datetime.now(timezone.utc), secret=secret, force=force)
    for line in made.lines:
        click.echo(f"  {line}")
    for line in made.missing:
        click.echo(f"not in it: {line}", err=True)
    click.echo(f"{target}: {made.size} bytes; check it with autograder ledger check {target}")


@course.command("new-term")
@click.option(
    "--archive",
    "file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    required=True,
    help="The archive of the old term, from autograder course archive.",
)
@click.option("--dry-run", is_flag=True, help="Say what would be done, and change nothing.")
@config_option
def new_term(file: Path, dry_run: bool, config_file: Path) -> None:
    """Begin a new term with an empty ledger and a new secret.

    Stop the service first. The archive must be sound and hold everything that is in the ledger. Then the ledger, the
    job queue, the course secret, the staff token and the spool are moved into a folder of .autograder; nothing is
    deleted. Prints what only you can do: new dates, a new roster, other repositories.
    """
    from autograder.term import new_term as term

    now = datetime.now(timezone.utc)
    with opened_course(config_file) as (course, ledger):
        settings = course.config
        if not dry_run:
            _require_stopped(settings, ledger)
        term.require_archived(file, ledger)
        found = term.plan(settings, course, ledger, now)
    click.echo(f"{file} holds everything that is in the ledger")
    if dry_run:
        for path in (*found.databases, *found.files):
            click.echo(f"would move  {path}")
    else:
        folder = term.set_aside(settings, found, now)
        click.echo(
            f"what belonged to the old term is in {folder}; delete it when the archive is in a safe place"
        )
    for line in found.to_do:
        click.echo(f"to do       {line}")
    click.echo("then        autograder config check, and autograder serve, which makes a new secret")


@course.group()
def student() -> None:
    """Show the data of a student, or remove the student's names.

    STUDENT is an id or a login of the roster, or the student's name of a repository.
    """


@student.command()
@click.argument("name", metavar="STUDENT")
@click.option(
    "--json", "as_json", is_flag=True, help="Print everything, as JSON, for instance for the student."
)
@config_option
def show(name: str, as_json: bool, config_file: Path) -> None:
    """Show what the course holds about a student."""
    from autograder.term import students

    with opened_course(config_file) as (course, ledger):
        found = students.data(ledger, course, students.find(ledger, course, name))
    if as_json:
        click.echo(json.dumps(found, indent=2, ensure_ascii=False))
        return
    row = found["roster"]
    click.echo(f"roster     {'; '.join(f'{key}: {cell}' for key, cell in row.items()) if row else 'no line'}")
    for each in found["repositories"]:
        reports = sum(job["report"] is not None for job in each["jobs"])
        shared = ", shared by a team" if each["shared"] else ""
        click.echo(
            f"ledger     {each['repository']} ({each['assignment']}{shared}): {len(each['pushes'])} pushes, "
            f"{len(each['jobs'])} jobs, {reports} reports, {len(each['adjustments'])} adjustments"
        )
    for each in found["extensions"]:
        click.echo(f"extension  {each['assignment']} until {each['closes']}: {each['reason']}")
    click.echo(f"audit      {len(found['audit'])} lines")
    for line in found["elsewhere"]:
        click.echo(f"elsewhere  {line}")


@student.command()
@click.argument("name", metavar="STUDENT")
@click.option("--dry-run", is_flag=True, help="Say what would change, and change nothing.")
@why_option
@who_option
@config_option
def remove(name: str, dry_run: bool, why: str, who: str, config_file: Path) -> None:
    """Replace a student's names in the ledger by a pseudonym.

    Stop the service first. Pushes, reports and points stay, under a name that nobody can compute from the student's.
    The student has no row in the gradebook any more. Prints what only you can remove, such as the line of the roster.
    This cannot be undone, except with a backup.
    """
    from autograder.term import students

    with opened_course(config_file) as (course, ledger):
        if not dry_run:
            _require_stopped(course.config, ledger)
        found = students.find(ledger, course, name)
        remains = list(students.remains(course, found))
        pseudonym, removed = students.remove(ledger, found, who, why, dry_run=dry_run)
    rows = ", ".join(f"{number} rows of {table}" for table, number in removed.rows.items()) or "nothing"
    if dry_run:
        click.echo(f"would change {rows}; nothing was changed")
    else:
        click.echo(f"{name} is {pseudonym} in the ledger now: changed {rows}")
    for line in remains:
        click.echo(f"yours to remove  {line}", err=True)


def _require_stopped(settings: "Config", ledger: "Ledger") -> None:
    """Require that no worker runs.

    Raises:
        GraderError: one does.
    """
    from autograder.ledger.workers import workers
    from autograder.service.readiness import is_alive

    now, seconds = ledger.database.now(), settings.service.lease_seconds
    alive = [one.name for one in workers(ledger.database) if is_alive(one, now, seconds)]
    if alive:
        raise GraderError(f"the service runs ({', '.join(alive)}); stop it first")
