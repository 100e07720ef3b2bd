"""The content of the feedback files that a student gets for a push: score.md and score.json.

The functions are pure: they read and write no files.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from autograder.grading import seal
from autograder.language import Text, join, tell
from autograder.ledger import Job, RecordedPush, Source
from autograder.report import PLAIN, Form, Report, dumps, heading, markdown, one_line, paragraphs


@dataclass(frozen=True)
class Standing:
    """The score that counts: its report and its commit."""

    commit: str
    report: Report


def graded(
    report: Report, note: str, standing: Standing | None = None, form: Form = PLAIN
) -> dict[str, bytes]:
    """Return the feedback files for a push that was graded.

    Args:
        report: of the push.
        note: Markdown, shown above the table.
        standing: the score that counts, if the best push counts and an earlier push was better; otherwise None.
        form: how score.md is written.
    """
    if standing is not None:
        note = join([note, _stands(standing)])
    return _files(markdown([report], note, form), report.to_json())


def lower(report: Report, note: str, best: Standing, form: Form = PLAIN) -> dict[str, bytes]:
    """Return the feedback files for a push that counts although an earlier one was better.

    Args:
        report: of the push.
        note: Markdown, shown above the table.
        best: the best report of the repository.
        form: how score.md is written.
    """
    earlier = tell(
        "An earlier push was better: commit `{commit}` had {points} / {max_points}. The last push counts.",
        commit=best.commit[:10],
        points=best.report.points,
        max_points=best.report.max_points,
    )
    return _files(markdown([report], join([note, earlier]), form), report.to_json())


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
    assignment: str, commit: str, note: str, standing: Standing | None, form: Form = PLAIN
) -> dict[str, bytes]:
    """Return the feedback files for a push that is recorded but not graded.

    score.json is the report that counts. If there is no such report, score.json is a report without cases.
    """
    if standing is not None:
        text = markdown([standing.report], join([note, _stands(standing)]), form)
        return _files(text, standing.report.to_json())
    empty = Report(assignment, (), {"commit": commit})
    nothing = paragraphs(join([note, tell("There is no score yet.")]), form)
    return _files(f"{heading(form)}\n{nothing}", empty.to_json())


def not_lowered(report: Report, note: str, standing: Standing, form: Form = PLAIN) -> dict[str, bytes]:
    """Return the feedback files after a regrade that does not count.

    They show the score that counts, and say that the regrade does not count. `note` says that this was a regrade.
    """
    again = tell(
        "The new result, {points} / {max_points} points, does not count.",
        points=report.points,
        max_points=report.max_points,
    )
    text = markdown([standing.report], join([note, again, _stands(standing)]), form)
    return _files(text, standing.report.to_json())


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


def _stands(standing: Standing) -> Text:
    return tell(
        "Your score is {points} / {max_points}, from commit `{commit}`.",
        points=standing.report.points,
        max_points=standing.report.max_points,
        commit=standing.commit[:10],
    )


def _files(text: str, data: Mapping[str, Any]) -> dict[str, bytes]:
    return {"score.md": text.encode("utf-8", "backslashreplace"), "score.json": dumps(data).encode()}
