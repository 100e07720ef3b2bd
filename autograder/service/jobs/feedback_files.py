"""What a student gets for a push: the files of one commit on the feedback branch. Pure."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from autograder.grading import seal
from autograder.ledger import Job
from autograder.report import Report, dumps, markdown


@dataclass(frozen=True)
class Standing:
    """The score that counts, and the commit that it is from."""

    commit: str
    report: Report


def graded(report: Report, note: str, standing: Standing | None = None) -> dict[str, bytes]:
    """Return the answer to a push that was graded.

    Args:
        report: what was found.
        note: Markdown of ours, above the table.
        standing: what counts in its place, where an earlier push was better and the best one counts.
    """
    if standing is not None:
        note = f"{note} {_stands(standing)}"
    return _files(markdown([report], note), report.to_json())


def not_graded(assignment: str, commit: str, note: str, standing: Standing | None) -> dict[str, bytes]:
    """Return the answer to a push that is recorded and not graded.

    score.json is the report that stands; where there is none, one without cases.
    """
    if standing is not None:
        return _files(markdown([standing.report], f"{note} {_stands(standing)}"), standing.report.to_json())
    empty = Report(assignment, (), {"commit": commit})
    return _files(f"# Score Summary\n\n{note} There is no score yet.\n", empty.to_json())


def not_lowered(report: Report, note: str, standing: Standing) -> dict[str, bytes]:
    """Return the answer where staff had something graded again and another score stands: that one, and why."""
    again = f"This commit was graded again, with {report.points} / {report.max_points} points; that does not count."
    text = markdown([standing.report], f"{note} {again} {_stands(standing)}")
    return _files(text, standing.report.to_json())


def sealed(files: Mapping[str, bytes], job: Job, secret: bytes) -> dict[str, bytes]:
    """Return an answer with the seal of the course in its score.json, see `autograder.grading.seal`."""
    data = seal.sealed(
        json.loads(files["score.json"]),
        files["score.md"],
        repository=str(job.repository),
        commit=job.commit,
        attempt=job.attempt,
        secret=secret,
    )
    return {**files, "score.json": dumps(data).encode()}


def _stands(standing: Standing) -> str:
    report = standing.report
    return f"Your score is {report.points} / {report.max_points}, from commit `{standing.commit[:10]}`."


def _files(text: str, data: Mapping[str, Any]) -> dict[str, bytes]:
    return {"score.md": text.encode("utf-8", "backslashreplace"), "score.json": dumps(data).encode()}
