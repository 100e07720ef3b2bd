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
from datetime import timedelta

from autograder.config.times import DeadlineError
from autograder.course.course import Course, Target
from autograder.course.deadline import Decision
from autograder.git.names import HEADS
from autograder.ledger import (
    Adjustment,
    Cutoffs,
    Ledger,
    RecordedPush,
    RepositoryName,
    Score,
    ScorePolicy,
    Source,
)
from autograder.ledger.scores import Candidate, current


@dataclass(frozen=True)
class Judged:
    """A push, and whether it may change the score.

    Attributes:
        push: as it was recorded.
        decision: how its receive time compares with the deadline; None if a mistake in the file of extensions leaves
            open whether it is late.
        own: what the commit is, if we made it ourselves (`starter of a0`); empty for a commit of the student.
    """

    push: RecordedPush
    decision: Decision | None
    own: str = ""

    @property
    def counts(self) -> bool:
        """Whether the push may change the score."""
        return not self.own and self.decision is not None and self.decision.timing.counts


@dataclass(frozen=True)
class Result:
    """What counts for a repository, and how it came about. Every number that people see is taken from here.

    Attributes:
        points: what counts; None: nothing yet, or excused.
        graded: what grading gave to the commit that counts; None: no report of it.
        max_points: what the assignment is worth; 0 while nothing was graded.
        excused: whether staff decided that the assignment does not count for this repository.
        late: how long after the deadline the commit that counts came; zero if it was in time.
        late_days: the same in late days, each begun day as a whole.
        penalty: the points that lateness takes off.
        adjustments: those in force, the oldest first.
        why: one sentence for each thing that makes `points` differ from `graded`, for students.
        free_days: how many of the late days are taken from the student's budget, and cost nothing.
    """

    points: int | None = None
    graded: int | None = None
    max_points: int = 0
    excused: bool = False
    late: timedelta = timedelta(0)
    late_days: int = 0
    penalty: int = 0
    adjustments: tuple[Adjustment, ...] = ()
    why: tuple[str, ...] = ()
    free_days: int = 0

    @property
    def plain(self) -> bool:
        """Whether grading alone decides: nothing was late, and staff changed nothing."""
        return not (self.late_days or self.adjustments)


@dataclass(frozen=True)
class Standing:
    """How a repository stands for its assignment.

    Attributes:
        target: the repository and its assignment.
        policy: the score policy.
        pushes: all pushes to the graded branch, in the order in which it moved.
        score: which commit counts now, when it came, and what it is worth; None while no push that counts has a report,
            and while the score is open.
        open: why nobody can say which score counts: a mistake in the file of extensions, which staff must correct
            first. Empty if the score does not depend on it.
        result: what counts, with late rules and adjustments.
    """

    target: Target
    policy: ScorePolicy
    pushes: tuple[Judged, ...]
    score: Score | None
    open: str = ""
    result: Result = Result()

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
        GraderError: the ledger cannot be read.
    """
    pushes = ledger.pushes(target.repository, ref=HEADS + target.branch)
    own = ledger.own_commits({push.commit for push in pushes})
    judged, open_since = [], ""
    for push in pushes:
        decision = None
        try:
            decision = decide(course, target, push)
        except DeadlineError as error:
            open_since = str(error)
        judged.append(Judged(push, decision, own.get(push.commit, "")))
    policy = policy or course.policy(target.assignment)
    candidates = [*ledger.candidates(target.assignment, repository=target.repository), *further]

    def scores(cutoffs: Cutoffs) -> list[Score]:
        return current(candidates, target.assignment, policy, cutoffs)

    cutoffs = course.cutoffs(target.assignment, [target.repository])
    found = scores(cutoffs)
    if open_since and found != scores(Cutoffs(opens=cutoffs.opens)):
        return Standing(target, policy, tuple(judged), None, open_since)
    score = found[0] if found else None
    result = Result(score.points, score.points, score.max_points) if score else Result()
    return Standing(target, policy, tuple(judged), score, result=result)


def standings(ledger: Ledger, course: Course, assignment: str) -> dict[RepositoryName, Standing]:
    """Return how every repository of an assignment stands that pushed to it, or that staff adjusted, by name.

    Each is equal to what `standing` returns. The number of queries does not depend on the number of repositories.

    Args:
        ledger, course: the facts and the rules.
        assignment: its name.

    Raises:
        ConfigError: there is no such assignment.
        GraderError: the ledger cannot be read.
    """
    branch = course.config.assignment(assignment).branch
    targets = [course.target(name, branch) for name in ledger.repositories()]
    return {
        target.repository: standing(ledger, course, target)
        for target in targets
        if target is not None and target.assignment == assignment
    }


def decide(course: Course, target: Target, push: RecordedPush) -> Decision:
    """Return how the time of one push compares with the student's deadline.

    Raises:
        DeadlineError: the push would be late, but perhaps only because of a mistake in the file of extensions.
    """
    return course.decide(target, push.received, known=push.source is not Source.UNKNOWN)


def counts(course: Course, target: Target, push: RecordedPush, *, undecided: bool = False) -> bool:
    """Return whether a push may change the score; `undecided` if a mistake in the extensions leaves that open."""
    try:
        return decide(course, target, push).timing.counts
    except DeadlineError:
        return undecided
