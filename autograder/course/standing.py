"""Decides which commit of a repository counts, when it came, and what it is worth. There is no other place for this.

`standing` derives everything from what the ledger recorded and from the rules of the course. Nothing is stored. The
branch, the pages, `autograder status`, regrades and exports ask this function, so they agree:

    the branch      shows the newest push that is settled, and `score`         service/jobs/showing
    the page        the decision on each push, and which one counts            service/http/pages
    a regrade       grades the commits in `chosen` again                       service/staff
    the reconciler  grades the commits in `chosen` that have no report         service/intake/reconciler
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Protocol, TypeVar

from autograder.config.times import DeadlineError
from autograder.course import late
from autograder.course.course import Course, Target
from autograder.course.deadline import Decision
from autograder.course.late import Cost, LateRule
from autograder.course.limits import OverLimit, PushLimits, over
from autograder.course.roster import Person, Roster
from autograder.errors import ConfigError
from autograder.git.names import HEADS
from autograder.language import Text, tell, tell_count
from autograder.ledger import (
    Adjustment,
    AdjustmentKind,
    Cutoffs,
    Ledger,
    RecordedPush,
    RepositoryName,
    Score,
    ScorePolicy,
    Source,
)
from autograder.ledger.adjustments import in_force
from autograder.ledger.scores import Candidate, current
from autograder.report import one_line


class _OfRepository(Protocol):
    @property
    def repository(self) -> RepositoryName: ...


class _Received(_OfRepository, Protocol):
    @property
    def received(self) -> datetime: ...


_Row = TypeVar("_Row", bound=_OfRepository)
_Push = TypeVar("_Push", bound=_Received)


@dataclass(frozen=True)
class Judged:
    """A push, and whether it may change the score.

    Attributes:
        push: as it was recorded.
        decision: how its receive time compares with the deadline; None if a mistake in the file of extensions leaves
            open whether it is late.
        own: what the commit is, if we made it ourselves (`starter of a0`); empty for a commit of the student.
        by_staff: whether staff decided that this commit counts.
        no_days_left: whether the student has too few late days left for it, where further ones have no price.
        limit: why it is not graded at once, if too many pushes came before it; None once it is graded.
    """

    push: RecordedPush
    decision: Decision | None
    own: str = ""
    by_staff: bool = False
    no_days_left: bool = False
    limit: OverLimit | None = None

    @property
    def counts(self) -> bool:
        """Whether the push may change the score."""
        return not self.own and (self.by_staff or self.accepted) and not self.replaced

    @property
    def accepted(self) -> bool:
        """Whether its time allows the push to change the score."""
        return self.decision is not None and self.decision.timing.counts and not self.no_days_left

    @property
    def replaced(self) -> bool:
        """Whether it was over a limit of pushes, and a newer push came before it could be graded."""
        return self.limit is not None and self.limit.until is None

    def is_due(self, now: datetime) -> bool:
        """Whether it counts, and may be graded by now."""
        return self.counts and (
            self.limit is None or (self.limit.until is not None and self.limit.until <= now)
        )


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
    why: tuple[Text, ...] = ()
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
        waits: why a push of the student waits until staff have corrected that file; empty if none does.
        result: what counts, with late rules and adjustments.
        chosen_by_staff: the commit of which staff decided that it counts; empty: the score policy decides.
    """

    target: Target
    policy: ScorePolicy
    pushes: tuple[Judged, ...]
    score: Score | None
    open: str = ""
    waits: str = ""
    result: Result = Result()
    chosen_by_staff: str = ""

    @property
    def chosen(self) -> list[str]:
        """The commits whose reports decide the score once all of them are graded, the newest first."""
        if self.chosen_by_staff:
            return [commit for commit in self.counting if commit == self.chosen_by_staff]
        return self.counting[:1] if self.policy is ScorePolicy.LAST else self.counting

    @property
    def counting(self) -> list[str]:
        """The commits with a push that counts, the newest first."""
        return list(dict.fromkeys(each.push.commit for each in reversed(self.pushes) if each.counts))

    def due(self, now: datetime) -> list[str]:
        """Return those of the chosen commits that may be graded by now, the newest first."""
        due = {each.push.commit for each in self.pushes if each.is_due(now)}
        return [commit for commit in self.chosen if commit in due]

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
    adjusted: Iterable[Adjustment] = (),
) -> Standing:
    """Return how a repository stands for its assignment.

    Args:
        ledger, course: the facts and the rules.
        target: the repository and its assignment.
        further: reports that are treated as if they were recorded.
        policy: in place of the assignment's.
        adjusted: adjustments that are treated as if they were recorded.

    Raises:
        GraderError: the ledger cannot be read.
    """
    pushes = ledger.pushes(target.repository, ref=HEADS + target.branch)
    facts = _Facts(
        pushes,
        ledger.own_commits({push.commit for push in pushes}),
        [*ledger.candidates(target.assignment, repository=target.repository), *further],
        [*ledger.adjustments(target.assignment, repository=target.repository), *adjusted],
    )
    used = _used_before(ledger, course, target.assignment, whose=course.whose(target))
    cutoffs = course.cutoffs(target.assignment, [target.repository])
    found = _derived(course, target, facts, cutoffs, used, policy)
    if found.result.max_points:
        return found
    return _worth(found, ledger.max_points(target.assignment))


def standings(
    ledger: Ledger, course: Course, assignment: str, *, at: datetime | None = None
) -> dict[RepositoryName, Standing]:
    """Return how every repository of an assignment stands that pushed to it, or that staff adjusted, by name.

    Each is equal to what `standing` returns. The number of queries does not depend on the number of repositories.

    Args:
        ledger, course: the facts and the rules.
        assignment: its name.
        at: as if no push had been received after this moment. What staff decided counts all the same.

    Raises:
        ConfigError: there is no such assignment.
        GraderError: the ledger cannot be read.
    """
    return all_standings(ledger, course, [assignment], at=at)[assignment]


def all_standings(
    ledger: Ledger, course: Course, assignments: Collection[str], *, at: datetime | None = None
) -> dict[str, dict[RepositoryName, Standing]]:
    """Return what `standings` returns for several assignments, by assignment, without deriving anything twice.

    Raises:
        ConfigError: there is no such assignment.
        GraderError: the ledger cannot be read.
    """
    for assignment in assignments:
        course.config.assignment(assignment)
    known: dict[str, dict[RepositoryName, Standing]] = {}
    found = {}
    for assignment in sorted(assignments, key=lambda name: len(course.before(name))):
        used = _used_before(ledger, course, assignment, at=at, known=known)
        if assignment not in known:
            known[assignment] = _standings(ledger, course, assignment, ledger.repositories(), used, at)
        of = known[assignment]
        if any(not each.result.max_points for each in of.values()):
            points = ledger.max_points(assignment)
            of = {name: each if each.result.max_points else _worth(each, points) for name, each in of.items()}
        found[assignment] = of
    return {assignment: found[assignment] for assignment in assignments}


def dependents(ledger: Ledger, course: Course, target: Target) -> list[Target]:
    """Return the repositories whose results may change with this one: those of the same student in later assignments.

    They take late days from the same budget. Those of the members of a team depend on each other.

    Raises:
        GraderError: the ledger cannot be read.
    """
    if not course.config.course.late_days:
        return []
    order = [name for name in course.config.assignments if target.assignment in course.before(name)]
    whose, found = set(course.whose(target)), []
    for name in sorted(order, key=lambda name: len(course.before(name))):
        branch = course.config.assignment(name).branch
        others = [course.target(repository, branch) for repository in ledger.repositories()] if whose else []
        mine = [
            other
            for other in others
            if other is not None and other.assignment == name and not whose.isdisjoint(course.whose(other))
        ]
        found += mine
        whose.update(
            *(course.whose(other) for other in mine)
        )  # in a team, one member's days are the others', too
    return found


@dataclass(frozen=True)
class _Facts:
    """What the ledger has about one repository: pushes in order, our own commits, reports, adjustments."""

    pushes: Sequence[RecordedPush]
    own: Mapping[str, str]
    candidates: Sequence[Candidate]
    adjustments: Sequence[Adjustment]


def _worth(found: Standing, max_points: int) -> Standing:
    return replace(found, result=replace(found.result, max_points=max_points))


def _standings(
    ledger: Ledger,
    course: Course,
    assignment: str,
    repositories: Collection[RepositoryName],
    used: Mapping[str, int],
    at: datetime | None = None,
) -> dict[RepositoryName, Standing]:
    """Return the standings of those of some repositories that belong to an assignment, and of those staff adjusted."""
    branch = course.config.assignment(assignment).branch
    adjustments = _by_repository(ledger.adjustments(assignment))
    targets = {}
    for name in sorted({*repositories, *adjustments}):
        target = course.target(name, branch)
        if target is not None and target.assignment == assignment:
            targets[name] = target
    pushes = _by_repository(_until(ledger.pushes_to(HEADS + branch, targets), at))
    candidates = _by_repository(_until(ledger.candidates(assignment), at))
    own, cutoffs = ledger.own_commits(), course.cutoffs(assignment, targets)
    found = {}
    for name, target in targets.items():
        facts = _Facts(pushes.get(name, ()), own, candidates.get(name, ()), adjustments.get(name, ()))
        found[name] = _derived(course, target, facts, cutoffs, used)
    return found


def _until(rows: Iterable[_Push], at: datetime | None) -> Iterable[_Push]:
    """Return the pushes, or the reports of pushes, that were received until a moment."""
    return rows if at is None else [row for row in rows if row.received <= at]


def _used_before(
    ledger: Ledger,
    course: Course,
    assignment: str,
    *,
    whose: Collection[str] | None = None,
    at: datetime | None = None,
    known: dict[str, dict[RepositoryName, Standing]] | None = None,
) -> dict[str, int]:
    """Return how many late days each student has used in the assignments before this one.

    Args:
        ledger, course: the facts and the rules.
        assignment: its name.
        whose: only of these students, see `Course.whose`.
        at: as in `standings`.
        known: the standings of all repositories in assignments that were derived already; further ones are added.
    """
    used: dict[str, int] = {}
    if not course.config.course.late_days:
        return used
    earlier = course.before(assignment)
    related = _related(ledger, course, earlier, whose) if whose is not None else None
    for name in earlier:
        of = known.get(name) if known is not None else None
        if of is None:
            repositories = ledger.repositories() if related is None else related[name]
            of = _standings(ledger, course, name, repositories, used, at)
            if known is not None:
                known[name] = of
        mine, strangers = owned(course.roster(), of.values())
        now = {person.whose: stands.result.free_days for person, stands in mine}
        for stands in strangers:
            for student in course.whose(stands.target):
                now[student] = now.get(student, 0) + stands.result.free_days
        used = {student: used.get(student, 0) + now.get(student, 0) for student in {*used, *now}}
    return used


def _related(
    ledger: Ledger, course: Course, assignments: Iterable[str], whose: Collection[str]
) -> dict[str, list[RepositoryName]]:
    """Return the repositories on which the late days of some students depend, by assignment.

    These are their own, those of their teams, and so those of everybody who was ever in a team with one of them.
    """
    found: dict[str, dict[RepositoryName, set[str]]] = {name: {} for name in assignments}
    for repository in ledger.repositories():
        for name, of in found.items():
            target = course.target(repository, course.config.assignment(name).branch)
            if target is not None and target.assignment == name:
                of[repository] = set(course.whose(target))
    people, before = set(whose), 0
    while len(people) > before:
        before = len(people)
        for of in found.values():
            people.update(*(students for students in of.values() if not people.isdisjoint(students)))
    return {
        name: [repository for repository, students in of.items() if not people.isdisjoint(students)]
        for name, of in found.items()
    }


def owned(
    roster: Roster | None, found: Iterable[Standing]
) -> tuple[list[tuple[Person, Standing]], list[Standing]]:
    """Return which repository of an assignment counts for each student, and the repositories of nobody in the roster.

    For the member of a team that is the team's, never one of the member's own. Of several to which the student pushed,
    it is the one with the right name, or else the first one with a score. Staff have none.

    Args:
        roster: None: the course has no roster.
        found: the standings of repositories of one assignment.
    """
    best: dict[str, tuple[tuple[bool, bool, bool], Person, Standing]] = {}
    strangers = []
    for stands in found:
        target = stands.target
        owners = roster.of(target.student, target.assignment) if roster is not None else ()
        if not owners:
            strangers.append(stands)
        for person in owners:
            team = person.team_of(target.assignment)
            if not person.is_student or (team and team.casefold() != target.student.casefold()):
                continue
            pushed = any(not judged.own for judged in stands.pushes)
            rank = (pushed, _is_named(roster, person, stands), stands.score is not None)
            if person.whose not in best or rank > best[person.whose][0]:
                best[person.whose] = rank, person, stands
    return [(person, stands) for _, person, stands in best.values()], strangers


def _is_named(roster: Roster | None, person: Person, stands: Standing) -> bool:
    try:
        wanted = roster.repository_name(person, stands.target.assignment) if roster is not None else ""
    except ConfigError:
        return False
    return wanted.casefold() == stands.target.student.casefold()


def _derived(
    course: Course,
    target: Target,
    facts: _Facts,
    cutoffs: Cutoffs,
    used: Mapping[str, int],
    policy: ScorePolicy | None = None,
) -> Standing:
    """Return how a repository stands. This is a pure function of the facts and the rules."""
    policy, rule = policy or course.policy(target.assignment), course.late_rule(target.assignment)
    deadline = course.deadline(target.assignment)
    closes = deadline.last(course.extension(target))
    left = max(0, rule.budget - max((used.get(student, 0) for student in course.whose(target)), default=0))
    adjustments = in_force(facts.adjustments)
    chosen = next((each for each in reversed(adjustments) if each.kind is AdjustmentKind.USE), None)

    def days(received: datetime, source: Source) -> int:
        return (
            0 if source is Source.UNKNOWN or not deadline.accepted else deadline.late_days(received, closes)
        )

    def cost(candidate: Candidate | Score) -> Cost:
        number = days(candidate.received, candidate.source)
        found = rule.cost(candidate.points, number, left)
        return found or Cost(number, left, 0, 0)  # staff chose it, whatever the rule says

    def worth(candidate: Candidate) -> tuple[int, ...]:
        costs = cost(candidate)
        return candidate.points - costs.penalty, -costs.days

    judged: list[Judged] = []
    beyond: set[int] = set()
    open_since = ""
    for push in facts.pushes:
        decision = None
        try:
            decision = decide(course, target, push)
        except DeadlineError as error:
            open_since = str(error)
        if rule.cost(0, days(push.received, push.source), left) is None:
            beyond.add(push.id)
        by_staff = chosen is not None and push.commit == chosen.commit
        own = facts.own.get(push.commit, "")
        judged.append(Judged(push, decision, own, by_staff=by_staff, no_days_left=push.id in beyond))

    judged = _limited(course.limits(target.assignment), judged, {each.commit for each in facts.candidates})

    if chosen is None:
        counting = [each for each in facts.candidates if each.push_id not in beyond]
        found = current(counting, target.assignment, policy, cutoffs, worth)
    else:
        counting = [each for each in facts.candidates if each.commit == chosen.commit]
        found = current(counting, target.assignment, ScorePolicy.BEST, Cutoffs(), worth)
    score = found[0] if found else None
    stands = Standing(target, policy, tuple(judged), score, chosen_by_staff=chosen.commit if chosen else "")
    if any(each.decision is None and not each.own and not each.by_staff for each in judged):
        stands = replace(stands, waits=open_since)
    counts_now = stands.judged(score.push_id) if score else None
    if open_since and chosen is None:
        anyhow = current(facts.candidates, target.assignment, policy, Cutoffs(opens=cutoffs.opens))
        if found != anyhow or (counts_now is not None and counts_now.decision is None):
            return replace(
                stands, score=None, open=open_since, result=_result(None, Cost(), rule, adjustments)
            )
    if score is None:
        return replace(stands, result=_result(None, Cost(), rule, adjustments))
    result = _result(score, cost(score), rule, adjustments)
    decision = counts_now.decision if counts_now else None
    if decision is not None and decision.known:
        result = replace(result, late=max(decision.late, timedelta(0)))
    return replace(stands, result=result)


def _limited(limits: PushLimits, judged: list[Judged], graded: Collection[str]) -> list[Judged]:
    """Return the pushes with the limit of those that are not graded at once."""
    if not limits:
        return judged
    counted = [index for index, each in enumerate(judged) if each.accepted and not each.own]
    pushes = [(judged[index].push.commit, judged[index].push.received) for index in counted]
    for index, limit in zip(counted, over(limits, pushes), strict=True):
        each = judged[index]
        if limit is not None and not each.by_staff and each.push.commit not in graded:
            judged[index] = replace(each, limit=limit)
    return judged


def _result(score: Score | None, cost: Cost, rule: LateRule, adjustments: Sequence[Adjustment]) -> Result:
    """Return what counts. What staff set replaces what was added, and an excuse replaces both."""
    last = {each.kind: each for each in adjustments}
    excuse, is_set = last.get(AdjustmentKind.EXCUSE), last.get(AdjustmentKind.SET)
    added = [each for each in adjustments if each.kind is AdjustmentKind.POINTS]
    if excuse or is_set:
        cost = replace(cost, penalty=0)
    points: int | None = None
    if is_set:
        points = is_set.points
    elif score or added:
        graded = score.points - cost.penalty if score else 0
        points = max(0, graded + sum(each.points or 0 for each in added))
    if excuse:
        cost, points = replace(cost, free=0), None
    why = [late.sentence(cost, rule)] if cost.days and not excuse else []
    use = last.get(AdjustmentKind.USE)
    reasons = [excuse] if excuse else [use, is_set] if is_set else [use, *added]
    return Result(
        points=points,
        graded=score.points if score else None,
        max_points=score.max_points if score else 0,
        excused=excuse is not None,
        late_days=cost.days,
        penalty=cost.penalty,
        adjustments=tuple(adjustments),
        why=(*why, *(_because(each) for each in reasons if each)),
        free_days=cost.free,
    )


def _because(adjustment: Adjustment) -> Text:
    """Return the sentence for students about an adjustment."""
    why, points = one_line(adjustment.why).rstrip(".。"), adjustment.points or 0
    if adjustment.kind is AdjustmentKind.SET:
        return tell_count(
            "The course staff set the score to {n} point: {why}.",
            "The course staff set the score to {n} points: {why}.",
            n=points,
            why=why,
        )
    if adjustment.kind is AdjustmentKind.EXCUSE:
        return tell("The course staff excused you from this assignment: {why}.", why=why)
    if adjustment.kind is AdjustmentKind.USE:
        return tell(
            "The course staff chose commit `{commit}`: {why}.", commit=adjustment.commit[:10], why=why
        )
    if points < 0:
        return tell_count(
            "The course staff took off {n} point: {why}.",
            "The course staff took off {n} points: {why}.",
            n=-points,
            why=why,
        )
    return tell_count(
        "The course staff added {n} point: {why}.",
        "The course staff added {n} points: {why}.",
        n=points,
        why=why,
    )


def _by_repository(rows: Iterable[_Row]) -> dict[RepositoryName, list[_Row]]:
    found: dict[RepositoryName, list[_Row]] = {}
    for row in rows:
        found.setdefault(row.repository, []).append(row)
    return found


def decide(course: Course, target: Target, push: RecordedPush) -> Decision:
    """Return how the time of one push compares with the student's deadline.

    Raises:
        DeadlineError: the push would be late, but perhaps only because of a mistake in the file of extensions.
    """
    return course.decide(target, push.received, known=push.source is not Source.UNKNOWN)


def counts(course: Course, target: Target, push: RecordedPush, *, undecided: bool = False) -> bool:
    """Return whether the time of a push allows it to change the score, as far as that depends on this push alone.

    Args:
        course, target: the rules.
        push: as it was recorded.
        undecided: what to return if a mistake in the extensions leaves that open.
    """
    try:
        return decide(course, target, push).timing.counts
    except DeadlineError:
        return undecided


def replaces(ledger: Ledger, course: Course, target: Target, push: RecordedPush) -> bool:
    """Return whether a push takes the place of older pushes that still wait: it counts, and is graded at once.

    Raises:
        GraderError: the ledger cannot be read.
    """
    if not counts(course, target, push):
        return False
    if not (course.limits(target.assignment) or course.config.course.late_days):
        return True
    judged = standing(ledger, course, target).judged(push.id)
    return judged is not None and judged.counts and judged.limit is None
