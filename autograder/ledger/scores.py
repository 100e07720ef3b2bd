"""Decides which score counts: a pure function of what was recorded, so no score is ever stored or overwritten.

1. Of the attempts at one submission, the first one counts. A later attempt replaces it if it gives at least as many
   points, or if staff allowed the later attempt to lower the score.
2. A push counts if it was received in the repository's time: after the assignment opened, and at or before the cutoff.
   A push whose receive time is unknown counts, unless it was found before the assignment opened.
3. The score policy chooses among the pushes that count and have a report. `last` takes the last push, in the order of
   the branch's moves (`moves`). `best` takes the push with the most points; if several have the most points, it takes
   the last of these.

So the previous score stays while a newer push waits, after it failed through our fault, or after it was superseded.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum

from autograder.ledger.names import RepositoryName
from autograder.ledger.records import Job, RecordedPush, Source
from autograder.report import Report


class ScorePolicy(str, Enum):
    """Which of several pushes counts."""

    LAST = "last"
    BEST = "best"


@dataclass(frozen=True)
class Cutoffs:
    """The times until which pushes count. None means that there is no limit.

    Attributes:
        default: the cutoff of all repositories that have no extension.
        extensions: the cutoffs of single repositories, instead of the default.
        opens: the first moment at which a push counts.
    """

    default: datetime | None = None
    extensions: Mapping[RepositoryName, datetime | None] = field(default_factory=dict)
    opens: datetime | None = None

    def counts(self, repository: RepositoryName, received: datetime, source: Source = Source.WEBHOOK) -> bool:
        """Return whether a push of `repository` that was received at this time counts."""
        if self.opens is not None and received < self.opens:
            return False
        cutoff = self.extensions.get(repository, self.default)
        return cutoff is None or received <= cutoff or source is Source.UNKNOWN


@dataclass(frozen=True)
class Candidate:
    """A push together with one final report of its submission."""

    repository: RepositoryName
    push_id: int
    received: datetime
    source: Source
    position: float
    commit: str
    job_id: str
    attempt: int
    may_lower: bool
    points: int
    max_points: int

    @classmethod
    def of(cls, push: RecordedPush, job: Job, report: Report) -> "Candidate":
        """Return a push together with a report of a job for its commit. The report need not be recorded."""
        return cls(
            push.repository,
            push.id,
            push.received,
            push.source,
            push.position,
            push.commit,
            job.id,
            job.attempt,
            job.may_lower,
            report.points,
            report.max_points,
        )


@dataclass(frozen=True)
class Score:
    """The score of one repository for one assignment, and where it comes from."""

    repository: RepositoryName
    assignment: str
    points: int
    max_points: int
    commit: str
    received: datetime
    job_id: str
    attempt: int
    source: Source = Source.WEBHOOK
    push_id: int = 0


def current(
    candidates: Iterable[Candidate],
    assignment: str,
    policy: ScorePolicy,
    cutoffs: Cutoffs,
    worth: Callable[[Candidate], tuple[int, ...]] = lambda candidate: (candidate.points,),
) -> list[Score]:
    """Return the score of each repository that has one, by repository.

    Args:
        candidates: the pushes with their reports.
        assignment: of which the scores are.
        policy: which push counts, the last or the best.
        cutoffs: until when a push counts.
        worth: by which `best` compares pushes.
    """
    standing: dict[int, Candidate] = {}  # push -> the report that counts for it
    for candidate in sorted(candidates, key=lambda c: c.attempt):
        if not cutoffs.counts(candidate.repository, candidate.received, candidate.source):
            continue
        before = standing.get(candidate.push_id)
        if before is None or candidate.may_lower or candidate.points >= before.points:
            standing[candidate.push_id] = candidate

    chosen: dict[RepositoryName, Candidate] = {}
    for candidate in sorted(standing.values(), key=lambda c: (c.position, c.push_id)):
        before = chosen.get(candidate.repository)
        if before is None or policy is ScorePolicy.LAST or worth(candidate) >= worth(before):
            chosen[candidate.repository] = candidate
    return [
        Score(
            c.repository,
            assignment,
            c.points,
            c.max_points,
            c.commit,
            c.received,
            c.job_id,
            c.attempt,
            c.source,
            c.push_id,
        )
        for c in sorted(chosen.values(), key=lambda c: c.repository)
    ]
