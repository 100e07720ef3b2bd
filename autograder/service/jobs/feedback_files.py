"""The content of the feedback files that a student gets for a push: score.md and score.json.

The functions are pure: they read and write no files.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from autograder.course.standing import Result
from autograder.grading import seal
from autograder.language import Text, as_text, join, stacked, tell
from autograder.ledger import Job, RecordedPush, Source
from autograder.report import PLAIN, Form, Report, dumps, heading, markdown, one_line, paragraphs


@dataclass(frozen=True)
class Standing:
    """The score that counts: its report and its commit."""

    commit: str
    report: Report


@dataclass(frozen=True)
class Counted:
    """What counts, where grading alone does not decide it: the result, and the commit that was graded."""

    result: Result
    commit: str = ""

    def line(self) -> Text:
        """Return the line of score.md that says what counts, and why."""
        result = self.result
        parts: list[Text] = []
        if result.excused:
            parts.append(tell("**This assignment does not count for you.**"))
        elif result.points is None:
            parts.append(tell("**There is no score yet.**"))
        else:
            parts.append(
                tell(
                    "**Your score is {points} / {max_points}.**",
                    points=result.points,
                    max_points=result.max_points,
                )
            )
        if result.graded is not None:
            parts.append(
                tell(
                    "Grading gave {points} / {max_points} to commit `{commit}`.",
                    points=result.graded,
                    max_points=result.max_points,
                    commit=self.commit[:10],
                )
            )
        return join([*parts, *result.why])

    def to_json(self) -> dict[str, Any]:
        """Return the facts for score.json, see docs/report-format.md."""
        result = self.result
        return {
            "points": result.points,
            "max_points": result.max_points,
            "graded": result.graded,
            "commit": self.commit or None,
            "excused": result.excused,
            "late_seconds": int(result.late.total_seconds()),
            "late_days": result.late_days,
            "free_days": result.free_days,
            "penalty": result.penalty,
            "adjustments": [
                {
                    "kind": each.kind.value,
                    "points": each.points,
                    "commit": each.commit or None,
                    "why": each.why,
                    "at": each.at.isoformat(),
                }
                for each in result.adjustments
            ],
        }


def graded(
    report: Report,
    note: str,
    standing: Standing | None = None,
    form: Form = PLAIN,
    counted: Counted | None = None,
) -> dict[str, bytes]:
    """Return the feedback files for a push that was graded.

    Args:
        report: of the push.
        note: Markdown, shown above the table.
        standing: the score that counts, if the best push counts and an earlier push was better; otherwise None.
        form: how score.md is written.
        counted: what counts, if that is not what grading gave.
    """
    note = _with_score(note, standing, counted)
    return _files(markdown([report], note, form), report, counted)


def lower(
    report: Report,
    note: str,
    best: Standing,
    form: Form = PLAIN,
    counted: Counted | None = None,
    penalty: int = 0,
) -> dict[str, bytes]:
    """Return the feedback files for a push that counts although an earlier one was better.

    Args:
        report: of the push.
        note: Markdown, shown above the table.
        best: the best report of the repository.
        form: how score.md is written.
        counted: what counts, if that is not what grading gave.
        penalty: the points that lateness takes off the best report.
    """
    values = {"commit": best.commit[:10], "points": best.report.points, "max_points": best.report.max_points}
    if penalty:
        earlier = tell(
            "An earlier push was better: commit `{commit}` had {points} / {max_points}, and lateness takes off "
            "{penalty}. The last push counts.",
            penalty=penalty,
            **values,
        )
    else:
        earlier = tell(
            "An earlier push was better: commit `{commit}` had {points} / {max_points}. The last push counts.",
            **values,
        )
    return _files(
        markdown([report], _with_score(join([note, earlier]), None, counted), form), report, counted
    )


def graded_again(why: str, before: Report | None) -> Text:
    """Return the sentences for a regrade: that the commit was graded again, why, and what it had before.

    Args:
        why: the reason that staff gave; it may be empty.
        before: the report of the last attempt before; None if no earlier attempt has a report.
    """
    reason = one_line(why).rstrip(".")
    if reason:
        again = tell("This commit was graded again: {reason}.", reason=reason)
    else:
        again = tell("This commit was graded again.")
    if before is None:
        return join([again, tell("Before, it had no points.")])
    had = tell(
        "Before, it had {points} / {max_points} points.", points=before.points, max_points=before.max_points
    )
    return join([again, had])


def not_graded(
    assignment: str,
    commit: str,
    note: str,
    standing: Standing | None,
    form: Form = PLAIN,
    counted: Counted | None = None,
) -> dict[str, bytes]:
    """Return the feedback files for a push that is recorded but not graded.

    score.json is the report that counts. If there is no such report, score.json is a report without cases.
    """
    if standing is not None:
        text = markdown([standing.report], _with_score(note, standing, counted), form)
        return _files(text, standing.report, counted)
    empty = Report(assignment, (), {"commit": commit})
    nothing = _with_score(note, None, counted) if counted else join([note, tell("There is no score yet.")])
    return _files(f"{heading(form)}\n{paragraphs(nothing, form)}", empty, counted)


def not_lowered(
    report: Report, note: str, standing: Standing, form: Form = PLAIN, counted: Counted | None = None
) -> dict[str, bytes]:
    """Return the feedback files after a regrade that does not count.

    They show the score that counts, and say that the regrade does not count. `note` says that this was a regrade.
    """
    again = tell(
        "The new result, {points} / {max_points} points, does not count.",
        points=report.points,
        max_points=report.max_points,
    )
    text = markdown([standing.report], _with_score(join([note, again]), standing, counted), form)
    return _files(text, standing.report, counted)


def sealed(files: Mapping[str, bytes], job: Job, secret: bytes, push: RecordedPush) -> dict[str, bytes]:
    """Return feedback files with the seal of the course in score.json, see `autograder.grading.seal`.

    The seal names when the push was received, so that a ledger that was lost can be restored from the branch.
    """
    data = seal.sealed(
        json.loads(files["score.json"]),
        files["score.md"],
        repository=str(job.repository),
        commit=job.commit,
        attempt=job.attempt,
        secret=secret,
        received=None if push.source is Source.UNKNOWN else push.received,
    )
    return {**files, "score.json": dumps(data).encode()}


def _with_score(note: str, standing: Standing | None, counted: Counted | None) -> Text:
    """Return a note with what counts: as a sentence, or as a line of its own where grading alone does not decide it."""
    if counted is not None:
        return stacked([note, counted.line()])
    return join([note, _stands(standing)]) if standing is not None else as_text(note)


def _stands(standing: Standing) -> Text:
    return tell(
        "Your score is {points} / {max_points}, from commit `{commit}`.",
        points=standing.report.points,
        max_points=standing.report.max_points,
        commit=standing.commit[:10],
    )


def _files(text: str, report: Report, counted: Counted | None) -> dict[str, bytes]:
    data = report.to_json() | ({"result": counted.to_json()} if counted else {})
    return {"score.md": text.encode("utf-8", "backslashreplace"), "score.json": dumps(data).encode()}
