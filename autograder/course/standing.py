"""Decides which commit of a repository counts, when it came, and what it is worth. There is no other place for this.

`standing` derives everything from what the ledger recorded and from the rules of the course. Nothing is stored. The
branch, the pages, `autograder status`, regrades and exports ask this function, so they agree:

    the branch      shows the newest push that is settled, and `score`         service/jobs/showing
    the page        the decision on each push, and which one counts            service/http/pages
    a regrade       grades the commits in `chosen` again                       service/staff
    the reconciler  grades the commits in `chosen` that have no report         service/intake/reconciler
"""

from collections.abc import Iterable
from dataclasses import dataclass

from autograder.course.course import Course, Target
from autograder.course.deadline import Decision
from autograder.git.names import HEADS
from autograder.ledger import Ledger, RecordedPush, Score, ScorePolicy, Source
from autograder.ledger.scores import Candidate, current


@dataclass(frozen=True)
class Judged:
    """A push, and whether it may change the score.

    Attributes:
        push: as it was recorded.
        decision: how its receive time compares with the deadline.
        own: what the commit is, if we made it ourselves (`starter of a0`); empty for a commit of the student.
    """

    push: RecordedPush
    decision: Decision
    own: str = ""

    @property
    def counts(self) -> bool:
        """Whether the push may change the score."""
        return not self.own and self.decision.timing.counts


@dataclass(frozen=True)
class Standing:
    """How a repository stands for its assignment.

    Attributes:
        target: the repository and its assignment.
        policy: the score policy.
        pushes: all pushes to the graded branch, in the order in which it moved.
        score: which commit counts now, when it came, and what it is worth; None while no push that counts has a report.
    """

    target: Target
    policy: ScorePolicy
    pushes: tuple[Judged, ...]
    score: Score | None

    @property
    def chosen(self) -> list[str]:
        """The commits whose reports decide the score once all of them are graded, the newest first."""
        return self.counting[:1] if self.policy is ScorePolicy.LAST else self.counting

    @property
    def counting(self) -> list[str]:
        """The commits with a push that counts, the newest first."""
        return list(dict.fromkeys(each.push.commit for each in reversed(self.pushes) if each.counts))

    def judged(self, push_id: int) -> Judged | None:
        """Return the push with this number."""
        return next((each for each in self.pushes if each.push.id == push_id), None)


def standing(
    ledger: Ledger,
    course: Course,
    target: Target,
    *,
    further: Iterable[Candidate] = (),
    policy: ScorePolicy | None = None,
) -> Standing:
    """Return how a repository stands for its assignment.

    Args:
        ledger, course: the facts and the rules.
        target: the repository and its assignment.
        further: reports that are treated as if they were recorded.
        policy: in place of the assignment's.

    Raises:
        GraderError: the ledger or the file of extensions cannot be read.
    """
    pushes = ledger.pushes(target.repository, ref=HEADS + target.branch)
    own = ledger.own_commits({push.commit for push in pushes})
    judged = tuple(Judged(push, decide(course, target, push), own.get(push.commit, "")) for push in pushes)
    policy = policy or course.policy(target.assignment)
    candidates = [*ledger.candidates(target.assignment, repository=target.repository), *further]
    scores = current(
        candidates, target.assignment, policy, course.cutoffs(target.assignment, [target.repository])
    )
    return Standing(target, policy, judged, scores[0] if scores else None)


def decide(course: Course, target: Target, push: RecordedPush) -> Decision:
    """Return how the time of one push compares with the student's deadline.

    Raises:
        DeadlineError: the file of extensions is missing or has a mistake.
    """
    deadline = course.deadline(target.assignment)
    known = push.source is not Source.UNKNOWN
    return deadline.decide(push.received, course.extension(target), known=known)
