"""`autograder adjust`: change what counts for one student, or show what was changed. Everything is recorded."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from autograder.cli.opened import opened_ledger, opened_staff
from autograder.cli.options import config_option, user, who_option
from autograder.errors import GraderError

if TYPE_CHECKING:
    from autograder.course.course import Course
    from autograder.course.standing import Result
    from autograder.ledger import Adjustment, Ledger, RepositoryName
    from autograder.service.staff import Staff


@click.command()
@click.argument("student", required=False)
@click.option("-a", "--assignment", help="The assignment. Required, except with --list.")
@click.option("--points", type=int, help="Add so many points, or take some off: --points +5, --points -10.")
@click.option(
    "--set", "to", type=click.IntRange(0), help="Set the score, whatever grading and lateness gave."
)
@click.option("--excuse", is_flag=True, help="The assignment does not count for this student.")
@click.option("--use", "commit", metavar="COMMIT", help="Let this commit count; its first digits are enough.")
@click.option(
    "--undo", type=int, metavar="NUMBER", help="Undo an earlier adjustment; --list shows its number."
)
@click.option(
    "--why", default="", help="The reason, for the audit trail and for score.md, where the student reads it."
)
@click.option("--dry-run", is_flag=True, help="Show what would count, and record nothing.")
@click.option(
    "--list", "listed", is_flag=True, help="List the adjustments, of one student if STUDENT is given."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@who_option
@config_option
def adjust(
    student: str | None,
    assignment: str | None,
    points: int | None,
    to: int | None,
    excuse: bool,
    commit: str | None,
    undo: int | None,
    why: str,
    dry_run: bool,
    listed: bool,
    as_json: bool,
    who: str,
    config_file: Path,
) -> None:
    """Change what counts for one student, and say why.

    Adds points or takes some off, sets the score, excuses the student, or chooses the commit that counts.

    STUDENT is the student's name in repositories, or an id or a login of the roster. Reports stay as they are, and
    score.md says what counts and why. Nothing is overwritten: an adjustment is undone by a further one.
    """
    from autograder.ledger import AdjustmentKind

    given: dict[AdjustmentKind, bool] = {
        AdjustmentKind.POINTS: points is not None,
        AdjustmentKind.SET: to is not None,
        AdjustmentKind.EXCUSE: excuse,
        AdjustmentKind.USE: commit is not None,
        AdjustmentKind.UNDO: undo is not None,
    }
    kinds = [kind for kind, wanted in given.items() if wanted]
    if listed:
        if kinds or why or dry_run:
            raise click.UsageError("--list changes nothing: give it STUDENT and -a at most")
        _list(student, assignment, as_json, config_file)
        return
    if student is None or assignment is None:
        raise click.UsageError("name the student and the assignment: autograder adjust STUDENT -a ASSIGNMENT")
    if len(kinds) != 1:
        raise click.UsageError("give one of --points, --set, --excuse, --use and --undo")
    if not why.strip() and not dry_run:
        raise click.UsageError("give --why, or --dry-run to see what would count")
    with opened_staff(config_file, who or user()) as staff:
        target = staff.target(student, assignment)
        result = staff.adjust(
            target,
            kinds[0],
            why,
            points=points if points is not None else to,
            commit=commit or "",
            undoes=undo,
            dry_run=dry_run,
        )
        before, after = _shown(result.before), _shown(result.after)
        if as_json:
            data = {
                "repository": str(target.repository),
                "assignment": assignment,
                "adjustment": _plain(result.adjustment) if result.adjustment else None,
                "before": result.before.points,
                "after": result.after.points,
                "max_points": result.after.max_points,
                "excused": result.after.excused,
            }
            click.echo(json.dumps(data, indent=2, ensure_ascii=False))
        else:
            number = (
                f" (adjustment {result.adjustment.id})" if result.adjustment else "; nothing was recorded"
            )
            click.echo(f"{target.repository}  {before} → {after} of {result.after.max_points}{number}")
        for note in result.notes:
            click.echo(note, err=True)
        if result.adjustment is not None:
            _publish(staff, result.adjustment)


def _publish(staff: "Staff", adjustment: "Adjustment") -> None:
    for published in staff.republish([adjustment.repository]):
        if published.problem:
            click.echo(f"not published yet: {published.problem}; the service tries again", err=True)


def _list(student: str | None, assignment: str | None, as_json: bool, config_file: Path) -> None:
    from autograder.course.course import Course

    with opened_ledger(config_file) as (settings, ledger):
        if assignment is not None:
            settings.assignment(assignment)  # it must exist
        names = [assignment] if assignment is not None else list(settings.assignments)
        found = [each for name in names for each in ledger.adjustments(name)]
        if student is not None:
            mine = _repositories(ledger, Course.of(settings), student, names)
            found = [each for each in found if each.repository in mine]
    found.sort(key=lambda each: each.id)
    undone = {each.undoes: each.id for each in found}
    if as_json:
        rows = [_plain(each) | {"undone_by": undone.get(each.id)} for each in found]
        click.echo(json.dumps(rows, indent=2, ensure_ascii=False))
        return
    for each in found:
        by = f"; undone by {undone[each.id]}" if each.id in undone else ""
        click.echo(
            f"{each.id:5} {each.at:%Y-%m-%d %H:%M:%S}Z {each.assignment} {each.repository}  {_what(each)}: {each.why} "
            f"({each.who}){by}"
        )
    if not found:
        click.echo("no adjustments", err=True)


def _repositories(
    ledger: "Ledger", course: "Course", student: str, names: list[str]
) -> "set[RepositoryName]":
    """Return the repositories of a student for those of the assignments for which there can be one."""
    from autograder.service.staff import target_of

    found, failed = set(), None
    for name in names:
        try:
            found.add(target_of(ledger, course, student, name).repository)
        except GraderError as error:
            failed = error
    if not found and failed is not None:
        raise failed
    return found


def _what(adjustment: "Adjustment") -> str:
    kind, points = adjustment.kind.value, adjustment.points
    if kind == "points":
        return f"{points:+} points"
    if kind == "set":
        return f"set to {points}"
    if kind == "use":
        return f"use {adjustment.commit[:10]}"
    return f"undo {adjustment.undoes}" if kind == "undo" else kind


def _shown(result: "Result") -> str:
    return "excused" if result.excused else "none" if result.points is None else f"{result.points}"


def _plain(adjustment: "Adjustment") -> dict[str, object]:
    return {
        "id": adjustment.id,
        "repository": str(adjustment.repository),
        "assignment": adjustment.assignment,
        "kind": adjustment.kind.value,
        "points": adjustment.points,
        "commit": adjustment.commit or None,
        "undoes": adjustment.undoes,
        "who": adjustment.who,
        "why": adjustment.why,
        "at": adjustment.at.isoformat(),
    }
