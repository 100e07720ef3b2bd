"""`autograder jobs` and `autograder regrade`: show and change jobs. Each change needs a reason and is recorded."""

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from autograder.cli.opened import opened_ledger, opened_staff
from autograder.cli.options import config_option, named, repositories_option, user, who_option, why_option

if TYPE_CHECKING:
    from autograder.course.gradebook import Entry
    from autograder.ledger import Job, JobHistory, JobState, RepositoryName
    from autograder.service.jobs.graders import Graders
    from autograder.service.staff import Choice, Preview, Staff


class StateType(click.ParamType):  # type: ignore[type-arg]  # click 8.1 has no type argument
    """The name of a job's state. The states are imported only when needed: importing the ledger takes a second."""

    name = "state"

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:  # noqa: ARG002
        """Return all names, for the help."""
        return f"[{'|'.join(self._choice().choices)}]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> "JobState":
        """Return the state with this name."""
        from autograder.ledger import JobState

        return JobState(self._choice().convert(value, param, ctx))

    @staticmethod
    def _choice() -> "click.Choice[str]":
        from autograder.ledger import JobState

        return click.Choice([state.value for state in JobState])


_why, _who = why_option, who_option
_jobs = click.argument("names", nargs=-1, metavar="JOB...")


@click.group()
def jobs() -> None:
    """Look at jobs, try them again, cancel them.

    JOB is a job's id, or any part of it that the ids of no other commit contain, such as the commit's first digits. A
    part means the last attempt to grade the commit; the whole id means the attempt that it names.
    """


@jobs.command("list")
@click.option(
    "--state",
    "states",
    type=StateType(),
    multiple=True,
    help="Only jobs in this state. May be repeated. Default: all states except final and superseded.",
)
@click.option("-a", "--assignment", help="Only jobs of this assignment.")
@repositories_option
@click.option("--all", "everything", is_flag=True, help="List final and superseded jobs, too.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@config_option
def list_jobs(
    states: "tuple[JobState, ...]",
    assignment: str | None,
    repositories: tuple[str, ...],
    everything: bool,
    as_json: bool,
    config_file: Path,
) -> None:
    """List jobs, the oldest first."""
    from autograder.ledger import ENDED, JobState

    chosen = states or [state for state in JobState if everything or state not in ENDED]
    wanted: list[RepositoryName | None] = [*named(repositories)] or [None]
    with opened_ledger(config_file) as (_, ledger):
        found = [
            job
            for repository in wanted
            for job in ledger.jobs(states=chosen, assignment=assignment, repository=repository)
        ]
        points = ledger.points([job.id for job in found]) if as_json else {}
    if as_json:
        rows = []
        for job in found:
            got, of = points.get(job.id, (None, None))
            rows.append(_plain(job) | {"points": got, "max_points": of})
        click.echo(json.dumps(rows, indent=2))
        return
    for job in found:
        click.echo(f"{job.state.value:10} {_when(job.updated)}  {job.id}{_because(job.reason)}")
    if not found:
        click.echo("no jobs", err=True)


@jobs.command()
@click.argument("name", metavar="JOB")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@config_option
def show(name: str, as_json: bool, config_file: Path) -> None:
    """Show one job with its history, report, feedback and audit trail."""
    from autograder.service.staff import find

    with opened_ledger(config_file) as (_, ledger):
        job = find(ledger, name)
        (history,) = (item for item in ledger.history(job.repository).jobs if item.job.id == job.id)
        audit = ledger.audit_lines(subject=job.id)
    if as_json:
        report = history.report.report.to_json() if history.report else None
        changes = [
            {
                "at": change.at.isoformat(),
                "state": change.after.value,
                "reason": change.reason,
                "worker": change.worker,
            }
            for change in history.changes
        ]
        feedback = [{"branch": each.branch, "commit": each.commit} for each in history.feedback]
        acts = [
            {"at": line.at.isoformat(), "who": line.who, "what": line.what, "why": line.why} for line in audit
        ]
        data = _plain(job) | {"changes": changes, "report": report, "feedback": feedback, "audit": acts}
        click.echo(json.dumps(data, indent=2, ensure_ascii=False))
        return
    for line in _history(history):
        click.echo(line)
    for act in audit:
        click.echo(f"{_when(act.at)}  {act.what} by {act.who}{_because(act.why)}")


@jobs.command()
@_jobs
@click.option("--dead", is_flag=True, help="Try all dead jobs again.")
@_why
@_who
@config_option
def retry(names: tuple[str, ...], dead: bool, why: str, who: str, config_file: Path) -> None:
    """Try dead jobs again, or try failed jobs without waiting."""
    from autograder.ledger import JobState
    from autograder.service.staff import find

    _named_or_all(names, dead, "--dead")
    with opened_staff(config_file, who) as staff:
        chosen = (
            staff.ledger.jobs(states=[JobState.DEAD])
            if dead
            else [find(staff.ledger, name) for name in names]
        )
        for job in chosen:
            click.echo(f"{staff.retry(job, why).state.value:10} {job.id}")
        if not chosen:
            click.echo("no jobs are dead", err=True)


@jobs.command()
@_jobs
@_why
@_who
@config_option
def cancel(names: tuple[str, ...], why: str, who: str, config_file: Path) -> None:
    """End jobs that wait or run.

    Their students get no feedback until the jobs are tried again.
    """
    from autograder.service.staff import find

    _named_or_all(names, False, "")
    with opened_staff(config_file, who) as staff:
        for job in [find(staff.ledger, name) for name in names]:
            click.echo(f"{staff.cancel(job, why).state.value:10} {job.id}")


@click.command()
@click.option("-a", "--assignment", required=True, help="The assignment to grade again.")
@repositories_option
@click.option(
    "--dry-run", is_flag=True, help="Grade on this machine, show what would change, and record nothing."
)
@click.option(
    "--suite",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="With --dry-run: folder of a suite to try in place of the assignment's, before it counts.",
)
@click.option(
    "--jobs",
    type=click.IntRange(1, 256),
    help="With --dry-run: number of submissions to grade at a time. Default: one per processor.",
)
@click.option("--allow-lower", is_flag=True, help="Let a lower score replace a higher one.")
@click.option(
    "--why",
    default="",
    help="The reason, for the audit trail and for score.md, where students read it. Required without --dry-run.",
)
@_who
@config_option
def regrade(
    assignment: str,
    repositories: tuple[str, ...],
    dry_run: bool,
    suite: Path | None,
    jobs: int | None,
    allow_lower: bool,
    why: str,
    who: str,
    config_file: Path,
) -> None:
    """Grade again after a suite was corrected.

    For each repository, grades the last push that was in time. If the best push counts, grades every commit that was
    pushed in time. Earlier reports stay recorded. No score becomes lower without --allow-lower.
    """
    if not dry_run and not why.strip():
        raise click.UsageError("give --why, or --dry-run to see whose score would change")
    if not dry_run and (suite or jobs):
        raise click.UsageError(
            "--suite and --jobs need --dry-run: a regrade uses the suite in autograder.toml"
        )
    with opened_staff(config_file, who) as staff:
        choices = staff.choices(assignment, named(repositories) or None)
        if dry_run:
            _preview(staff, choices, _graders(staff, config_file, assignment, suite), allow_lower, jobs)
            return
        queued = 0
        for choice in choices:
            if choice.obstacle:
                click.echo(f"{choice.target.repository}  not graded again: it {choice.obstacle}", err=True)
            else:
                queued += 1
                click.echo(staff.regrade(choice, why, allow_lower=allow_lower).id)
    click.echo(f"{queued} jobs queued; follow them with autograder status", err=True)


@click.group()
def pushes() -> None:
    """Look at pushes, and set when one was received."""


@pushes.command("list")
@repositories_option
@click.option("--undated", is_flag=True, help="Only pushes whose receive time is unknown.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@config_option
def list_pushes(repositories: tuple[str, ...], undated: bool, as_json: bool, config_file: Path) -> None:
    """List pushes with their receive times.

    The pushes to a branch are listed in the order in which it moved, each with how its receive time is known.
    """
    with opened_ledger(config_file) as (_, ledger):
        if undated:
            wanted = {str(name) for name in named(repositories)}
            found = [push for push in ledger.undated() if not wanted or str(push.repository) in wanted]
        else:
            chosen = named(repositories) or ledger.repositories()
            found = [push for repository in chosen for push in ledger.pushes(repository)]
    if as_json:
        rows = [
            {
                "push": push.id,
                "repository": str(push.repository),
                "ref": push.ref,
                "commit": push.commit,
                "received": push.received.isoformat(),
                "source": push.source.value,
                "sender": push.sender,
            }
            for push in found
        ]
        click.echo(json.dumps(rows, indent=2, ensure_ascii=False))
        return
    for push in found:
        click.echo(
            f"{push.id:6} {_when(push.received)} {push.source.value:8} {push.repository} {push.commit[:10]} "
            f"{push.ref.removeprefix('refs/heads/')}"
        )
    if not found:
        click.echo("no pushes", err=True)


@pushes.command()
@click.argument("number", metavar="PUSH", type=int)
@click.option(
    "--at",
    "at",
    required=True,
    metavar="TIME",
    help="When it was received: 2026-10-12 23:40, in the assignment's zone, or with an offset: 2026-10-12T23:40+02:00.",
)
@_why
@_who
@config_option
def received(number: int, at: str, why: str, who: str, config_file: Path) -> None:
    """Set when a push was received, if its report was lost.

    PUSH is a number that autograder pushes list shows. The score and the feedback follow within seconds while the
    service runs; otherwise, run autograder republish.
    """
    with opened_staff(config_file, who) as staff:
        push = staff.ledger.push(number)
        push = staff.set_received(push, staff.moment(push, at), why)
        click.echo(f"push {push.id} of {push.repository} was received {_when(push.received)}")


@click.command()
@repositories_option
@config_option
@click.pass_context
def republish(context: click.Context, repositories: tuple[str, ...], config_file: Path) -> None:
    """Bring the feedback branches up to date with the ledger.

    The service does this by itself, for one repository every few seconds. Use this command after a ledger was restored,
    or while the service does not run. A branch that is up to date stays as it is.
    """
    changed = failed = 0
    with opened_staff(config_file, user()) as staff:
        for result in staff.republish(named(repositories) or None):
            changed += result.changed
            failed += bool(result.problem)
            if result.problem:
                click.echo(f"{result.repository}: {result.problem}", err=True)
            elif result.changed:
                click.echo(f"{result.repository}: published again")
    click.echo(f"{changed} branches published again, {failed} could not be", err=True)
    if failed:
        context.exit(1)


def _graders(staff: "Staff", config_file: Path, assignment: str, suite: Path | None) -> "Graders":
    from autograder.service.jobs.graders import Graders

    config = staff.course.config
    if suite is not None:
        config = config.with_suite(assignment, str(suite.resolve()))
    return Graders(config, config_file)


def _preview(
    staff: "Staff", choices: "list[Choice]", graders: "Graders", allow_lower: bool, jobs: int | None
) -> None:
    from autograder import processors

    jobs = jobs or processors.available()
    changes = total = 0
    try:
        for preview in staff.preview(choices, graders, allow_lower=allow_lower, jobs=jobs):
            total += 1
            changes += preview.changes
            click.echo(_line(preview))
    finally:
        graders.close()
    click.echo(f"{total} repositories, {changes} scores would change; nothing was recorded", err=True)


def _line(preview: "Preview") -> str:
    """Return a preview as a line: `cs/a0-ann (Ann)  80 → 100 of 100; Task0 - Case2: wrong → passed`."""
    before, after = preview.before, preview.after
    new = f"{_counts(after)} of {after.result.max_points}" if after.points is not None else _counts(after)
    parts = [f"{_counts(before)} → {new}" if preview.changes else f"{new}, as before"]
    graded = after.result.graded
    if not after.result.plain and graded is not None:
        parts.append(f"grading gives {graded}, then lateness and staff decide")
    if preview.best is not None and graded is not None and preview.best < graded:
        parts.append(f"would get {preview.best}, but no score becomes lower without --allow-lower")
    parts += [f"{name}: {was} → {now}" for name, was, now in preview.changed]
    parts += preview.obstacles
    names = ", ".join(person.name or person.id for person in preview.people)
    whose = f"{preview.repository} ({names})" if names else f"{preview.repository}"
    return f"{'*' if preview.changes else ' '} {whose}  {'; '.join(parts)}"


def _counts(entry: "Entry") -> str:
    """Return the points of an entry, or in a word why there are no points."""
    if entry.points is not None:
        return str(entry.points)
    return "excused" if entry.result.excused else "none"


def _history(history: "JobHistory") -> Iterator[str]:
    job = history.job
    yield f"{job.id}"
    yield f"{job.state.value}{_because(job.reason)}; tries: {job.tries}, attempt {job.attempt}" + (
        ", may lower the score" if job.may_lower else ""
    )
    for change in history.changes:
        worker = f" ({change.worker})" if change.worker else ""
        yield f"{_when(change.at)}  {change.after.value}{worker}{_because(change.reason)}"
    if history.report:
        report = history.report.report
        yield f"{_when(history.report.recorded)}  report: {report.points} / {report.max_points}"
        for case in report.cases:
            yield f"    {case.name}: {case.verdict.value}, {case.points} / {case.max_points}{_because(case.message)}"
    for feedback in history.feedback:
        yield f"{_when(feedback.published)}  feedback: {feedback.commit} on {feedback.branch}"


def _plain(job: "Job") -> dict[str, object]:
    return {
        "id": job.id,
        "repository": str(job.repository),
        "commit": job.commit,
        "assignment": job.assignment,
        "attempt": job.attempt,
        "may_lower": job.may_lower,
        "state": job.state.value,
        "reason": job.reason,
        "worker": job.worker,
        "tries": job.tries,
        "created": job.created.isoformat(),
        "updated": job.updated.isoformat(),
    }


def _because(reason: str) -> str:
    from autograder.report import both_ends

    return f": {both_ends(reason)}" if reason else ""


def _when(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}Z"


def _named_or_all(names: tuple[str, ...], flag: bool, option: str) -> None:
    if bool(names) == flag:
        raise click.UsageError(
            f"name jobs{f', or give {option}' if option else ''}; autograder jobs list shows them"
        )
