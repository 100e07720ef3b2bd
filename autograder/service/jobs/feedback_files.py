"""The content of the feedback files that a student gets for a push: score.md and score.json.

The functions are pure: they read and write no files.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from autograder.grading import seal
from autograder.ledger import Job, RecordedPush, Source
from autograder.report import Report, dumps, markdown, one_line


@dataclass(frozen=True)
class Standing:
    """The score that counts: its report and its commit."""

    commit: str
    report: Report


def graded(report: Report, note: str, standing: Standing | None = None) -> dict[str, bytes]:
    """Return the feedback files for a push that was graded.

    Args:
        report: of the push.
        note: Markdown, shown above the table.
        standing: the score that counts, if the best push counts and an earlier push was better; otherwise None.
    """
    if standing is not None:
        note = f"{note} {_stands(standing)}"
    return _files(markdown([report], note), report.to_json())


def lower(report: Report, note: str, best: Standing) -> dict[str, bytes]:
    """Return the feedback files for a push that counts although an earlier one was better.

    Args:
        report: of the push.
        note: Markdown, shown above the table.
        best: the best report of the repository.
    """
    earlier = (
        f"An earlier push was better: commit `{best.commit[:10]}` had "
        f"{best.report.points} / {best.report.max_points}. The last push counts."
    )
    return _files(markdown([report], f"{note} {earlier}"), report.to_json())


def graded_again(why: str, before: Report | None) -> str:
    """Return the sentences for a regrade: that the commit was graded again, why, and what it had before.

    Args:
        why: the reason that staff gave; it may be empty.
        before: the report of the last attempt before; None if no earlier attempt has a report.
    """
    reason = one_line(why).rstrip(".")
    had = f"{before.points} / {before.max_points}" if before else "no"
    return f"This commit was graded again{f': {reason}' if reason else ''}. Before, it had {had} points."


def not_graded(assignment: str, commit: str, note: str, standing: Standing | None) -> dict[str, bytes]:
    """Return the feedback files for a push that is recorded but not graded.

    score.json is the report that counts. If there is no such report, score.json is a report without cases.
    """
    if standing is not None:
        return _files(markdown([standing.report], f"{note} {_stands(standing)}"), standing.report.to_json())
    empty = Report(assignment, (), {"commit": commit})
    return _files(f"# Score Summary\n\n{note} There is no score yet.\n", empty.to_json())


def not_lowered(report: Report, note: str, standing: Standing) -> dict[str, bytes]:
    """Return the feedback files after a regrade that does not count.

    They show the score that counts, and say that the regrade does not count. `note` says that this was a regrade.
    """
    again = f"The new result, {report.points} / {report.max_points} points, does not count."
    text = markdown([standing.report], f"{note} {again} {_stands(standing)}")
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


def _stands(standing: Standing) -> str:
    report = standing.report
    return f"Your score is {report.points} / {report.max_points}, from commit `{standing.commit[:10]}`."


def _files(text: str, data: Mapping[str, Any]) -> dict[str, bytes]:
    return {"score.md": text.encode("utf-8", "backslashreplace"), "score.json": dumps(data).encode()}
