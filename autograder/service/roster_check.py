"""What in the roster, on the hosts and in the ledger does not agree, for `autograder roster check`.

A problem is something that staff must correct, since a score or an extension may not reach its student: a mistake in
the roster, a repository of nobody, two repositories of one student. A finding that is no problem says who is missing,
and whose work is the same. Nothing here decides about points.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from autograder.course.course import Course, Target
from autograder.course.roster import Person, Roster
from autograder.errors import ConfigError, GraderError
from autograder.hosts import KINDS
from autograder.ledger import Ledger, RepositoryName, Source
from autograder.service.intake.post_receive import findings
from autograder.service.intake.spool import Spool

FOUND_BY_US = (Source.HOST, Source.FEEDBACK, Source.UNKNOWN)
SHOWN = 20  # names in one line


@dataclass(frozen=True)
class Finding:
    """Something that does not agree.

    Attributes:
        kind: what it is: `roster`, `extension`, `host`, `nobody`, `several`, `alone`, `no repository`, `no hook`,
            `no push` or `identical`.
        text: a sentence for staff, without the people.
        assignment: in which assignment; empty: in all of them.
        people: whom it is about.
        repositories: which repositories it is about.
        problem: whether staff must correct something.
    """

    kind: str
    text: str
    assignment: str = ""
    people: tuple[Person, ...] = ()
    repositories: tuple[RepositoryName, ...] = ()
    problem: bool = False

    def line(self) -> str:
        """Return the finding on one line."""
        names = [called(person) for person in self.people] or [str(name) for name in self.repositories]
        more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
        whom = f": {', '.join(names[:SHOWN])}{more}" if names else ""
        return f"{f'{self.assignment}: ' if self.assignment else ''}{self.text}{whom}"

    def to_json(self) -> dict[str, Any]:
        """Return the finding as plain data."""
        return {
            "kind": self.kind,
            "problem": self.problem,
            "assignment": self.assignment,
            "text": self.text,
            "people": [person.id for person in self.people],
            "repositories": [str(name) for name in self.repositories],
        }


def called(person: Person) -> str:
    """Return a person's name and id."""
    return f"{person.name} ({person.id})" if person.name else person.id


@dataclass
class _Known:
    """The repositories of one assignment.

    Attributes:
        owners: of each repository that pushed or exists, the people.
        pushed: those that pushed.
        there: those that exist, as the hosts say; None: they cannot be listed.
    """

    owners: dict[RepositoryName, tuple[Person, ...]] = field(default_factory=dict)
    targets: dict[RepositoryName, Target] = field(default_factory=dict)
    pushed: set[RepositoryName] = field(default_factory=set)
    there: set[RepositoryName] | None = None


def check(
    course: Course, ledger: Ledger | None, *, assignments: Collection[str] = (), ask_hosts: bool = True
) -> list[Finding]:
    """Return what does not agree, the problems first.

    Args:
        course: with a roster.
        ledger: None if it was not made yet.
        assignments: only these; empty: all that have repositories.
        ask_hosts: whether the hosts are asked which repositories exist.

    Raises:
        ConfigError: the course has no roster, or there is no such assignment.
        LedgerError: the ledger cannot be read.
    """
    roster = course.roster()
    if roster is None:
        raise ConfigError(
            'this course has no roster: add roster = "roster.csv" to [course]; see docs/gradebook.md'
        )
    for name in assignments:
        course.config.assignment(name)
    found = [Finding("roster", text, problem=True) for text in roster.mistakes]
    found += [Finding("roster", text) for text in roster.notes]
    found += [
        Finding("extension", text, problem=True)
        for extensions in course.extensions()
        for text in extensions.mistakes
    ]
    chosen = [
        name
        for name, settings in course.config.assignments.items()
        if settings.repositories and (not assignments or name in assignments)
    ]
    known = {name: _Known() for name in chosen}
    for repository in ledger.repositories() if ledger is not None else ():
        _add(course, known, repository, pushed=True)
    if ask_hosts:
        found += _ask(course, known)
    for name in chosen:
        found += _of_assignment(roster, name, known[name])
        if ledger is not None:
            found += _adjusted(course, ledger, name, known[name])
            found += _found_by_us(ledger, name, known[name])
            found += _identical(course, ledger, name, known[name])
    if ask_hosts and any(KINDS[host.kind].is_folder for host in course.config.hosts.values()):
        found += [Finding("no hook", text, problem=True) for text in findings(course, Spool(course.spool()))]
    return sorted(found, key=lambda finding: not finding.problem)


def _add(course: Course, known: dict[str, _Known], repository: RepositoryName, *, pushed: bool) -> None:
    target = course.target(repository, course.graded_branch(repository) or "")
    if target is None or target.assignment not in known:
        return
    of = known[target.assignment]
    of.owners[repository] = course.people(target)
    of.targets[repository] = target
    if pushed:
        of.pushed.add(repository)
    elif of.there is not None:
        of.there.add(repository)


def _ask(course: Course, known: dict[str, _Known]) -> Iterator[Finding]:
    """Ask the hosts which repositories there are."""
    for name, of in known.items():
        patterns = course.config.assignment(name).repositories
        if not any({"*", "?"} & set(pattern.rpartition("/")[0]) for pattern in patterns):
            of.there = set()
    folding = {host for host in course.config.hosts if course.folds_case(host)}
    recorded = {
        str(name).casefold(): name for of in known.values() for name in of.pushed if name.host in folding
    }
    try:
        for repository in course.listed():
            _add(course, known, recorded.get(str(repository).casefold(), repository), pushed=False)
    except GraderError as error:
        for of in known.values():
            of.there = None
        yield Finding("host", f"the repositories cannot be listed: {error}", problem=True)


def _of_assignment(roster: Roster, name: str, known: _Known) -> Iterator[Finding]:
    nobody = sorted(repository for repository, people in known.owners.items() if not people)
    if nobody:
        text = "nobody in the roster has the name that these repositories have; correct the roster"
        yield Finding("nobody", text, name, repositories=tuple(nobody), problem=True)
    mine: dict[str, list[RepositoryName]] = {}
    for repository, people in sorted(known.owners.items()):
        for person in people:
            mine.setdefault(person.id, []).append(repository)
    for person in roster.students:
        found = mine.get(person.id, [])
        team = person.team_of(name)
        alone = [each for each in found if team and known.targets[each].student.casefold() != team.casefold()]
        if alone:
            text = f"is in the team {team}, and has a repository of their own ({_listed(alone)}), which does not count"
            yield Finding("alone", text, name, (person,), tuple(alone), problem=True)
        rest = [each for each in found if each not in alone]
        if len(rest) > 1:
            text = (
                f"has {len(rest)} repositories ({_listed(rest)}); one of them counts, see docs/gradebook.md"
            )
            yield Finding("several", text, name, (person,), tuple(rest), problem=True)
    having = set(mine)
    pushing = {person.id for repository in known.pushed for person in known.owners[repository]}
    students = roster.students
    if known.there is not None and students and not having:
        yield Finding("no repository", "no student has a repository; they were not handed out yet", name)
        return
    missing = tuple(person for person in students if person.id not in having)
    if known.there is not None and missing:
        yield Finding("no repository", "have no repository", name, missing)
    silent = tuple(
        person
        for person in students
        if person.id not in pushing and (known.there is None or person.id in having)
    )
    if silent and len(silent) == len(students):
        yield Finding("no push", "no student has pushed yet", name)
    elif silent:
        yield Finding("no push", "have not pushed yet", name, silent)


def _adjusted(course: Course, ledger: Ledger, name: str, known: _Known) -> Iterator[Finding]:
    """Name the repositories that never pushed, whose score staff adjusted, and whose student is nobody."""
    branch = course.config.assignment(name).branch
    found = []
    for repository in {each.repository for each in ledger.adjustments(name)} - set(known.owners):
        target = course.target(repository, branch)
        if target is None or not course.people(target):
            found.append(repository)
    if found:
        text = "staff adjusted a score, and nobody in the roster has the name; see autograder adjust --list"
        yield Finding("nobody", text, name, repositories=tuple(sorted(found)), problem=True)


def _found_by_us(ledger: Ledger, name: str, known: _Known) -> Iterator[Finding]:
    """Name the repositories whose last push no webhook and no hook reported."""
    last = ledger.last_sources()
    found = sorted(each for each in known.pushed if last.get(each) in FOUND_BY_US)
    if found:
        text = "no webhook or hook reported the last push, so pushes are found late; see docs/webhooks.md"
        yield Finding("no hook", text, name, repositories=tuple(found))


def _identical(course: Course, ledger: Ledger, name: str, known: _Known) -> Iterator[Finding]:
    """Name those who handed in the same src/ as somebody else. The starter itself is left out, by its points."""
    release = course.config.assignment(name).release
    worthless = {0, release.score if release is not None else 0}
    by_tree: dict[str, dict[RepositoryName, str]] = {}
    for graded in ledger.graded_trees(name):
        if graded.points not in worthless and graded.repository in known.owners:
            by_tree.setdefault(graded.tree, {}).setdefault(graded.repository, graded.commit)
    groups: dict[tuple[RepositoryName, ...], str] = {}
    for of_tree in by_tree.values():
        if len({known.owners[each] or (each,) for each in of_tree}) > 1:
            groups.setdefault(
                tuple(sorted(of_tree)), ", ".join(sorted(each[:10] for each in of_tree.values()))
            )
    for repositories, commits in groups.items():
        people = tuple(dict.fromkeys(person for each in repositories for person in known.owners[each]))
        text = f"handed in the same src/ (commits {commits})"
        yield Finding("identical", text, name, people, repositories)


def _listed(names: Sequence[RepositoryName]) -> str:
    return ", ".join(f"{name.owner}/{name.name}" for name in names)
