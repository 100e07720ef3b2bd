"""The data of one student: everything that the course holds, and its removal.

Names of people are in the roster only, but logins are in the names of repositories, and so in the ledger. `remove`
replaces them by a pseudonym that nobody can compute from the name. What the course cannot remove itself (the roster's
line, the host, backups) is named in `remains`.
"""

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from autograder.course import extensions, roster
from autograder.course.course import Course, Target
from autograder.course.deadline import Extension
from autograder.course.roster import Person
from autograder.errors import GraderError
from autograder.git.names import HEADS
from autograder.ledger import AuditLine, Ledger, RepositoryName
from autograder.ledger.removal import HOST, Removed, remove_names

OWNER = "student"
LEAST_WORD = 3  # characters; a shorter word would be replaced where it means something else


@dataclass(frozen=True)
class Student:
    """One student, as the course knows them.

    Attributes:
        text: as staff named the student.
        person: the line of the roster; None if there is no such line.
        alone: the repositories that are the student's alone.
        shared: the repositories of teams, which are others' work too.
    """

    text: str
    person: Person | None
    alone: tuple[Target, ...] = ()
    shared: tuple[Target, ...] = ()

    @property
    def names(self) -> set[str]:
        """All names of the student: id, logins, and the student's names of repositories."""
        own = {target.student for target in self.alone}
        if self.person is not None:
            own |= {self.person.name, self.person.email, *self.person.alone}
        return {name for name in {*own, self.text} if name}

    @property
    def logins(self) -> set[str]:
        """The names under which the student may have pushed."""
        own = {target.student for target in self.alone}
        earlier = self.person.earlier if self.person is not None else ()
        return own | {*earlier} | ({*self.person.logins.values()} if self.person is not None else set())


def find(ledger: Ledger, course: Course, text: str) -> Student:
    """Return a student by id, login, or the student's name of a repository.

    Raises:
        GraderError: there is no such student, neither in the roster nor in the ledger.
    """
    book = course.roster()
    person = book.find(text) if book is not None else None
    alone: list[Target] = []
    shared: list[Target] = []
    for repository in ledger.repositories():
        branch = course.graded_branch(repository)
        target = course.target(repository, branch) if branch is not None else None
        if target is None:
            continue
        people = course.people(target)
        if person is not None and any(each.id == person.id for each in people):
            (alone if len(people) == 1 else shared).append(target)
        elif not people and target.student.casefold() == text.casefold():
            alone.append(target)
    if person is None and not alone:
        raise GraderError(
            f"nobody has the id, login or repository name {text!r:.100}; autograder roster show lists the students, "
            "and autograder pushes list the repositories"
        )
    return Student(text, person, tuple(alone), tuple(shared))


# showing -----------------------------------------------------------------------------------------------------


def data(ledger: Ledger, course: Course, student: Student) -> dict[str, Any]:
    """Return everything that the course holds about a student, as plain data.

    Raises:
        GraderError: the ledger cannot be read.
    """
    person = student.person
    return {
        "student": student.text,
        "roster": {column: cell for column, cell in person.given.items() if cell} if person else None,
        "repositories": [_repository(ledger, target, alone=True) for target in student.alone]
        + [_repository(ledger, target, alone=False) for target in student.shared],
        "extensions": [
            {
                "assignment": extension.assignment,
                "closes": extension.closes.isoformat(),
                "reason": extension.reason,
            }
            for extension in _extensions(course, student)
        ],
        "audit": [
            {
                "at": line.at.isoformat(),
                "who": line.who,
                "what": line.what,
                "why": line.why,
                "subject": line.subject,
            }
            for line in _audit(ledger, student)
        ],
        "elsewhere": list(remains(course, student)),
    }


def _repository(ledger: Ledger, target: Target, *, alone: bool) -> dict[str, Any]:
    history = ledger.history(target.repository)
    adjustments = ledger.adjustments(target.assignment, repository=target.repository)
    return {
        "repository": str(target.repository),
        "assignment": target.assignment,
        "shared": not alone,
        "pushes": [
            {
                "ref": push.ref.removeprefix(HEADS),
                "commit": push.commit,
                "received": push.received.isoformat(),
                "receive_time_from": push.source.value,
                "sender": push.sender,
            }
            for push in history.pushes
        ],
        "jobs": [
            {
                "job": item.job.id,
                "state": item.job.state.value,
                "reason": item.job.reason,
                "report": item.report.report.to_json() if item.report else None,
                "feedback": [each.commit for each in item.feedback],
            }
            for item in history.jobs
        ],
        "adjustments": [
            {"kind": each.kind.value, "points": each.points, "who": each.who, "why": each.why}
            for each in adjustments
        ],
    }


def _extensions(course: Course, student: Student) -> Iterator[Extension]:
    names = {name.casefold() for name in student.names}
    for file in course.extensions():
        yield from (each for each in file.by_key.values() if each.student.casefold() in names)


def _audit(ledger: Ledger, student: Student) -> Iterator[AuditLine]:
    """Yield the audit lines about the student's repositories and jobs, and those that name the student."""
    words = {str(target.repository).casefold() for target in (*student.alone, *student.shared)}
    words |= {name.casefold() for name in student.names if len(name) >= LEAST_WORD}
    for line in reversed(ledger.audit_lines()):
        text = f"{line.subject}\n{line.why}\n{line.details}".casefold()
        if any(word in text for word in words):
            yield line


def remains(course: Course, student: Student) -> Iterator[str]:
    """Yield where else data of the student may be, and what removes it there, a line each."""
    config = course.config
    if student.person is not None:
        file = config.path(config.course.roster)
        yield f"the roster: delete line {student.person.line} of {file}"
    for extension in _extensions(course, student):
        file = config.path(config.assignment(extension.assignment).extensions_file)
        yield f"extensions: delete line {extension.line} of {file}"
    for target in student.alone:
        yield f"the git host: delete {target.repository}; while it is there, its pushes are recorded again"
    for target in student.shared:
        yield f"the team repository {target.repository} is others' work too; its commits name their authors"
    copies = [config.state / folder for folder in (roster.KEPT_FOLDER, extensions.KEPT_FOLDER)]
    if any(folder.is_dir() for folder in copies):
        yield (
            f"copies of the roster and the extensions in {config.state}: they are replaced once the lines are deleted "
            "and the service, or autograder config check, has read the files again"
        )
    yield f"the job queue forgets finished jobs after {config.service.keep_days:g} days"
    yield f"files of hooks in {course.spool()}/taken are deleted after two weeks"
    yield "logs, backups of the ledger, archives, exported grades, and work that autograder collect wrote"


# removing ----------------------------------------------------------------------------------------------------


def remove(
    ledger: Ledger,
    student: Student,
    who: str,
    why: str,
    *,
    pseudonym: str = "",
    dry_run: bool = False,
) -> tuple[str, Removed]:
    """Replace the student's names in the ledger by a pseudonym; return the pseudonym, and what was changed.

    No process of the service may run.

    Args:
        ledger: of the course.
        student: whose names.
        who, why: for the audit trail, which names the pseudonym alone.
        pseudonym: default: one that is drawn.
        dry_run: change nothing.

    Raises:
        LedgerError: a job of the student has not ended, or the ledger would not be sound afterwards. Nothing has
            changed then.
    """
    pseudonym = pseudonym or f"s-{secrets.token_hex(4)}"
    repositories = {
        target.repository: RepositoryName(HOST, OWNER, f"{pseudonym}-{target.assignment}-{number}")
        for number, target in enumerate(student.alone, start=1)
    }
    words: dict[str, str] = {}
    for old, new in repositories.items():
        words |= {
            str(old): str(new),
            f"{old.owner}/{old.name}": f"{new.owner}/{new.name}",
            old.name: new.name,
        }
    words |= {name: pseudonym for name in student.names if len(name) >= LEAST_WORD or not name.isascii()}
    removed = remove_names(ledger.database, repositories, words, student.logins, dry_run=dry_run)
    if not dry_run:
        ledger.audit(who, "course student remove", why=why, subject=pseudonym, details=dict(removed.rows))
    return pseudonym, removed
