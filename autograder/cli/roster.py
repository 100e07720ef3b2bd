"""`autograder roster`: show the people of the course, and compare them with repositories, hosts and the ledger."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from autograder.cli.options import config_option
from autograder.cli.tables import aligned
from autograder.errors import ConfigError, GraderError

if TYPE_CHECKING:
    from autograder.course.course import Course
    from autograder.course.roster import Person, Roster

_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group()
def roster() -> None:
    """Look at the roster: the people of the course.

    The key roster of [course] names its file, see docs/gradebook.md.
    """


@roster.command()
@click.option("-a", "--assignment", "assignments", multiple=True, help="Only this one. May be repeated.")
@click.option(
    "--hosts/--no-hosts", "ask", default=True, help="Ask the hosts which repositories exist. Default: yes."
)
@_json
@config_option
def check(assignments: tuple[str, ...], ask: bool, as_json: bool, config_file: Path) -> None:
    """Compare the roster with repositories, hosts and the ledger.

    Names mistakes in the roster, extensions of nobody, repositories of nobody, and members of a team with repositories
    of their own. Then, for each assignment, says who has no repository, no hook, no push, and who handed in the same
    src/ as somebody else. The exit status is 1 if something must be corrected.
    """
    from autograder.ledger import Ledger
    from autograder.service import roster_check

    course, _ = _opened(config_file)
    settings = course.config
    ledger: Ledger | None = None
    try:
        ledger = Ledger.open(settings.ledger_url(), folder=settings.path("."), create=False)
    except GraderError as error:
        click.echo(f"note  nothing is known about pushes: {error}", err=True)
    try:
        found = roster_check.check(course, ledger, assignments=assignments, ask_hosts=ask)
    finally:
        if ledger is not None:
            ledger.close()
    problems = [finding for finding in found if finding.problem]
    if as_json:
        click.echo(json.dumps([finding.to_json() for finding in found], indent=2, ensure_ascii=False))
    else:
        for finding in found:
            click.echo(f"{'FAIL' if finding.problem else 'note'}  {finding.line()}")
    if problems:
        raise GraderError(f"{len(problems)} problem{'s' * (len(problems) > 1)}; correct what is listed above")
    if not as_json:
        click.echo("ok    the roster agrees with repositories and extensions")


@roster.command()
@click.argument("who", nargs=-1, metavar="STUDENT...")
@_json
@config_option
def show(who: tuple[str, ...], as_json: bool, config_file: Path) -> None:
    """Show the people of the course, or those named by STUDENT.

    STUDENT is an id, a login, the name of a team, or a part of a name. For each assignment the table has the student's
    name, which repositories have in place of the last * of the pattern.
    """
    course, roster = _opened(config_file)
    people = [person for person in roster.people if not who or any(_is(person, text) for text in who)]
    if as_json:
        click.echo(
            json.dumps([_plain(course, roster, each) for each in people], indent=2, ensure_ascii=False)
        )
        return
    for mistake in roster.mistakes:
        click.echo(f"FAIL  {mistake}", err=True)
    if not people:
        raise GraderError(
            f"nobody in {roster.file} is {' or '.join(who)}" if who else f"{roster.file} has no people"
        )
    assignments = [name for name, each in course.config.assignments.items() if each.repositories]
    rows = [["id", "name", "section", "team", "role", "logins", *assignments]]
    for person in people:
        logins = dict.fromkeys(person.logins.values())
        names = [_repository_name(roster, person, name) or "-" for name in assignments]
        team = person.team or ", ".join(f"{name}: {team}" for name, team in person.teams.items() if team)
        rows.append([person.id, person.name, person.section, team, person.role, ", ".join(logins), *names])
    for line in aligned(rows):
        click.echo(line)


def _is(person: "Person", text: str) -> bool:
    wanted = text.casefold()
    names = (*person.alone, person.team, *person.teams.values())
    return wanted in (name.casefold() for name in names) or wanted in person.name.casefold()


def _repository_name(roster: "Roster", person: "Person", assignment: str) -> str | None:
    if not person.is_student:
        return None
    try:
        return roster.repository_name(person, assignment)
    except ConfigError:
        return None


def _plain(course: "Course", roster: "Roster", person: "Person") -> dict[str, Any]:
    return {
        "id": person.id,
        "name": person.name,
        "logins": dict(person.logins),
        "earlier": list(person.earlier),
        "email": person.email,
        "section": person.section,
        "teams": {name: team for name in course.config.assignments if (team := person.team_of(name))},
        "role": person.role,
        "repositories": {name: _repository_name(roster, person, name) for name in course.config.assignments},
    }


def _opened(config_file: Path) -> "tuple[Course, Roster]":
    from autograder import config
    from autograder.course.course import Course

    course = Course.of(config.load(config_file))
    roster = course.roster()
    if roster is None:
        raise ConfigError(
            f'{config_file}: this course has no roster: add roster = "roster.csv" to [course]; see docs/gradebook.md'
        )
    return course, roster
