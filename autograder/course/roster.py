"""The roster: who is in the course, under which names, in which team. It alone knows the names of people.

A course needs no roster. With one, a repository is related to its people, extensions and adjustments may name a student
by id or login, and those who never pushed have a row in the gradebook. Nothing here decides what is graded: which
repositories belong to an assignment is in autograder.toml.

The file is a table, in the columns below or as Canvas, Moodle or GitHub Classroom export it. A line with a mistake does
not affect the others; `staff_files` says what is in force meanwhile.
"""

import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from autograder.course.staff_files import (
    MAX_BYTES,
    SHORTENED,
    NotATable,
    StaffFile,
    cells,
    decoded,
    is_shortened,
)
from autograder.errors import ConfigError
from autograder.git.names import is_bare_name, is_path

STUDENT, STAFF = "student", "staff"
KEPT_FOLDER = "roster"
MAX_ID = 100

_ROLES = {"": STUDENT, STUDENT: STUDENT, STAFF: STAFF, "学生": STUDENT, "教师": STAFF, "助教": STAFF}
_OWN = {
    "id": "id", "学号": "id",
    "name": "name", "姓名": "name",
    "login": "login", "用户名": "login",
    "earlier": "earlier", "曾用用户名": "earlier",
    "email": "email", "e-mail": "email", "邮箱": "email",
    "section": "section", "班级": "section",
    "team": "team", "小组": "team",
    "role": "role", "角色": "role",
}  # fmt: skip
_CLASSROOM = {"identifier": "id", "github_username": "github", "name": "name", "github_id": ""}
_CANVAS = {
    "student": "name",
    "sis user id": "id",
    "sis login id": "account",
    "id": "lms",
    "section": "section",
}
_MOODLE = {
    "id number": "id", "学号": "id",
    "username": "account", "用户名": "account",
    "email address": "email", "电子邮件地址": "email",
    "first name": "first", "名": "first",
    "last name": "last", "surname": "last", "姓": "last", "姓氏": "last",
    "groups": "section", "小组": "section",
}  # fmt: skip
_NOT_PEOPLE = ("points possible", "student, test", "test student", "")  # lines of Canvas
_PER = re.compile(r"(login|team):(\S+)")


@dataclass(frozen=True)
class Person:
    """One line of the roster.

    Attributes:
        id: what the university calls this person; unique.
        name: as people write it.
        logins: the login name by git host.
        email, section: as written.
        team: whose repositories this person shares; empty: none.
        teams: the team by assignment, where it is not `team`.
        role: student or staff.
        given: the cells of the line by column, as the file has them, for exports to where it came from.
        line: where the person is in the file.
        earlier: login names that this person had before; repositories may still have them.
    """

    id: str
    name: str = ""
    logins: Mapping[str, str] = field(default_factory=dict, hash=False)
    email: str = ""
    section: str = ""
    team: str = ""
    teams: Mapping[str, str] = field(default_factory=dict, hash=False)
    role: str = STUDENT
    given: Mapping[str, str] = field(default_factory=dict, hash=False, compare=False, repr=False)
    line: int = field(default=0, compare=False)
    earlier: tuple[str, ...] = ()

    @property
    def is_student(self) -> bool:
        """Whether this person is graded."""
        return self.role == STUDENT

    @property
    def whose(self) -> str:
        """Whose late days this person's are, see `Course.whose`."""
        return f"id:{self.id.casefold()}"

    def team_of(self, assignment: str) -> str:
        """Return the name of this person's team for an assignment; empty: none."""
        return self.teams.get(assignment, self.team)

    @property
    def alone(self) -> tuple[str, ...]:
        """The student's names that this person's own repositories may have: the id, and all logins."""
        return tuple(dict.fromkeys((self.id, *self.logins.values(), *self.earlier)))

    def alone_at(self, host: str) -> str:
        """Return the student's name of this person's own repositories at a host: the login there, or else the id."""
        return self.logins.get(host) or self.id


@dataclass(frozen=True)
class Roster:
    """The people of a course. Upper and lower case of ids, logins and teams do not matter.

    Attributes:
        people: in the order of the file.
        hosts: the host of each assignment.
        file: the file, for messages.
        form: whose columns the file has: `autograder`, `canvas`, `moodle` or `classroom`.
        columns: the names of its columns.
        mistakes: what is wrong with the file, one text each, beginning with `FILE:LINE: `.
        notes: what staff should know, in the same form.
    """

    people: tuple[Person, ...]
    hosts: Mapping[str, str] = field(default_factory=dict)
    file: str = "the roster"
    form: str = "autograder"
    columns: tuple[str, ...] = ()
    mistakes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def students(self) -> tuple[Person, ...]:
        """Those who are graded."""
        return tuple(person for person in self.people if person.is_student)

    def find(self, text: str, host: str = "") -> Person | None:
        """Return the person with this id or login, or None.

        Args:
            text: the id or the login.
            host: a login at this host is preferred to that of another person elsewhere.
        """
        name = text.casefold()
        found = self.exactly(text, host)
        if found is not None:
            return found
        elsewhere = [person for (_, login), person in self._logins.items() if login == name]
        elsewhere = elsewhere or [
            person for person in self.people if name in map(str.casefold, person.earlier)
        ]
        return elsewhere[0] if len({person.id for person in elsewhere}) == 1 else None

    def exactly(self, text: str, host: str) -> Person | None:
        """Return the person with this id, or else with this login at a host; None without one."""
        name = text.casefold()
        return self._ids.get(name) or self._logins.get((host, name))

    def of(self, student: str, assignment: str) -> tuple[Person, ...]:
        """Return the people whose work is in the repository of a student's name: one, or a team; nobody if unknown."""
        return self._owners(assignment).get(student.casefold(), ())

    def team(self, name: str, assignment: str) -> tuple[Person, ...]:
        """Return the members of a team for an assignment."""
        wanted = name.casefold()
        return tuple(
            person for person in self.students if wanted and person.team_of(assignment).casefold() == wanted
        )

    def repository_name(self, person: Person, assignment: str) -> str:
        """Return the student's name of a person's repository: the text that the last `*` of the pattern stands for.

        That is the team's name for the member of a team, or else the login at the assignment's host, or else the id.

        Raises:
            ConfigError: that cannot be a part of a repository's name.
        """
        name = person.team_of(assignment) or person.alone_at(self.hosts.get(assignment, ""))
        if not _fits(name):
            raise ConfigError(
                f"{self.file}:{person.line}: {name!r:.100} cannot be a part of a repository's name; give this person a "
                "login of letters, digits, '.', '_' and '-'"
            )
        return name

    @cached_property
    def _ids(self) -> dict[str, Person]:
        return {person.id.casefold(): person for person in self.people}

    @cached_property
    def _logins(self) -> dict[tuple[str, str], Person]:
        return {
            (host, login.casefold()): person
            for person in self.people
            for host, login in person.logins.items()
        }

    @cached_property
    def _by_student(self) -> dict[str, dict[str, tuple[Person, ...]]]:
        return {}

    def _owners(self, assignment: str) -> dict[str, tuple[Person, ...]]:
        """Return the people by the student's name in lower case. A name that fits exactly comes before all others."""
        if assignment not in self._by_student:
            host = self.hosts.get(assignment, "")
            found: dict[str, tuple[Person, ...]] = {}
            for person in self.students:
                if team := person.team_of(assignment):
                    name = team.casefold()
                    found[name] = (*found.get(name, ()), person)
            for names in (
                lambda person: [person.alone_at(host)],
                lambda person: [person.id],
                lambda person: person.logins.values(),
                lambda person: person.earlier,
            ):
                for person in self.people:
                    for name in names(person):
                        found.setdefault(name.casefold(), (person,))
            self._by_student[assignment] = found
        return self._by_student[assignment]


class RosterFile(StaffFile[Roster]):
    """The file of the roster, read again when it has changed.

    Args:
        path: the file.
        state: the folder of the grader's own files; the copy is kept in a folder below it.
        kinds: the kind of each host.
        hosts: the host of each assignment.
    """

    def __init__(self, path: Path, state: Path, kinds: Mapping[str, str], hosts: Mapping[str, str]) -> None:
        super().__init__(path, state / KEPT_FOLDER)
        self._kinds, self._hosts = kinds, hosts

    def parsed(self, content: bytes) -> Roster:
        """Return the people in a version of the file."""
        return parse_roster(content, str(self.path), self._kinds, self._hosts)

    def unreadable(self, reason: str) -> Roster:
        """Return a roster without people."""
        make = (
            "" if self.path.exists() else "; make it, with a first line that names the columns: id,name,login"
        )
        mistake = f"{self.path}:1: the roster cannot be read: {reason}{make}"
        return Roster((), self._hosts, str(self.path), mistakes=(mistake,))

    def together(self, earlier: Roster, found: Roster) -> Roster:
        """Return the people of `found`, and those of `earlier` that it lacks and who have no name of theirs."""
        taken = {name for person in found.people for name in _names(person)}
        missing = [person for person in earlier.people if taken.isdisjoint(_names(person))]
        return Roster(
            (*found.people, *missing),
            self._hosts,
            found.file,
            found.form if found.people else earlier.form,
            found.columns or earlier.columns,
            found.mistakes,
            found.notes,
        )


def parse_roster(content: bytes, file: str, kinds: Mapping[str, str], hosts: Mapping[str, str]) -> Roster:
    """Return the people in a file, and its mistakes.

    Our own columns are id, name, login (at all hosts) or `login:HOST`, earlier (logins), email, section, team (for all
    assignments) or `team:ASSIGNMENT`, role. The exports of Canvas, Moodle and GitHub Classroom are recognized by their
    columns.

    Args:
        content: of the file: CSV with commas, semicolons or tabs, in UTF-8, UTF-16 or GB18030.
        file: its name, for messages.
        kinds: the kind of each host of the course.
        hosts: the host of each assignment.
    """
    return _Reader(file, kinds, hosts).roster(content)


class _Mistake(Exception):
    """What is wrong with one line."""


class _Reader:
    def __init__(self, file: str, kinds: Mapping[str, str], hosts: Mapping[str, str]) -> None:
        self._file, self._kinds, self._hosts = file, kinds, hosts
        self._people: list[Person] = []
        self._mistakes: list[str] = []
        self._notes: list[str] = []
        self._form, self._columns = "autograder", list[str]()
        self._fields: list[str] = []  # what each column is: a field of `_person`, `login:HOST`, or empty

    def roster(self, content: bytes) -> Roster:
        text = decoded(content)
        if len(content) > MAX_BYTES:
            self._wrong(1, f"the file is larger than {MAX_BYTES >> 20} MiB")
        elif not text.strip():
            self._wrong(1, "the file is empty; its first line names the columns, such as id,name,login,email")
        else:
            self._read(text)
        return Roster(
            tuple(self._people),
            self._hosts,
            self._file,
            self._form,
            tuple(self._columns),
            tuple(self._mistakes),
            tuple(self._notes),
        )

    def _read(self, text: str) -> None:
        taken: dict[str, Person] = {}
        try:
            for line, values in cells(text):
                if not self._columns:
                    if not self._header(line, values):
                        return
                    continue
                try:
                    person = self._person(line, values)
                    if person is None:
                        continue
                    self._add(person, taken)
                except _Mistake as mistake:
                    self._wrong(line, mistake)
        except NotATable as error:
            self._wrong(error.line, error)
        if not self._columns:
            self._wrong(1, "the first line must name the columns, such as id,name,login,email")
        self._check_teams()
        self._check_ids()

    def _wrong(self, line: int, message: object) -> None:
        self._mistakes.append(f"{self._file}:{line}: {message}")

    # the first line -------------------------------------------------------------------------------------

    def _header(self, line: int, columns: list[str]) -> bool:
        """Find out what each column is. Return whether the table can be read."""
        names = [column.casefold() for column in columns]
        self._columns = columns
        if "github_username" in names:
            self._form, known = "classroom", _CLASSROOM
        elif "student" in names and {"sis user id", "sis login id", "id"} & set(names):
            self._form, known = "canvas", _CANVAS
        elif {"first name", "last name", "surname", "姓", "姓氏"} & set(names):
            self._form, known = "moodle", _MOODLE
        else:
            known = _OWN
        for column, name in zip(columns, names, strict=True):
            per = _PER.fullmatch(name) if known is _OWN else None
            place = {"login": self._kinds, "team": self._hosts}[per[1]] if per else {}
            if per and per[2] not in {each.casefold() for each in place}:
                what = "host" if per[1] == "login" else "assignment"
                self._wrong(
                    line, f"{column!r:.100}: there is no {what} of this name; there are {', '.join(place)}"
                )
                return False
            what = per[0] if per else known.get(name, "")
            if what and what in self._fields:
                self._wrong(line, f"{column!r:.100}: two columns have this meaning; keep one")
                return False
            if not what and known is _OWN and column:
                self._notes.append(
                    f"{self._file}:{line}: the column {column!r:.100} is not read; columns are id, name, login, "
                    "login:HOST, earlier, email, section, team, team:ASSIGNMENT, role"
                )
            self._fields.append(what)
        if not {"id", "account", "email", "lms"} & set(self._fields if known is not _OWN else ["id"]) or (
            known in (_OWN, _CLASSROOM) and "id" not in self._fields
        ):
            self._wrong(line, "no column has the students' ids; name one of them id")
            return False
        return True

    # the others -----------------------------------------------------------------------------------------

    def _person(self, line: int, values: list[str]) -> Person | None:
        if len(values) > len(self._columns):
            raise _Mistake(f"{len(values)} columns, but the first line names {len(self._columns)}")
        values = values + [""] * (len(self._columns) - len(values))
        cell = {what: value for what, value in zip(self._fields, values, strict=True) if what}
        if self._form == "canvas" and cell.get("name", "").casefold() in _NOT_PEOPLE:
            return None
        for what, value in cell.items():
            if not value.isprintable():
                raise _Mistake(f"{what}: {value!a:.100} has characters that cannot be shown")
        number = cell.get("id") or cell.get("account") or cell.get("lms") or ""
        if self._form == "moodle":
            number = number or cell.get("email", "")
        if not number:
            raise _Mistake("this person has no id")
        if len(number) > MAX_ID:
            raise _Mistake(f"id: has more than {MAX_ID} characters")
        if is_shortened(number):
            raise _Mistake(f"id: {number!r} {SHORTENED}")
        role = _ROLES.get(cell.get("role", "").casefold())
        if role is None:
            raise _Mistake(f"role: {cell['role']!r:.100} is not student or staff")
        name = cell.get("name", "") or _full_name(cell.get("first", ""), cell.get("last", ""))
        return Person(
            number,
            name,
            self._logins(cell),
            cell.get("email", ""),
            cell.get("section", ""),
            _checked("team", cell.get("team", "")),
            {
                assignment: _checked(f"team:{assignment}", cell[key])
                for assignment in self._hosts
                if (key := f"team:{assignment}".casefold()) in cell
            },
            role,
            dict(zip(self._columns, values, strict=True)),
            line,
            tuple(_checked("earlier", name) for name in cell.get("earlier", "").split()),
        )

    def _logins(self, cell: Mapping[str, str]) -> dict[str, str]:
        """Return the logins by host. The university's account is not a login of GitHub."""
        found = {}
        for host, kind in self._kinds.items():
            other = cell.get("github", "") if kind == "github" else cell.get("account", "")
            login = cell.get(f"login:{host}") or cell.get("login") or other
            if login:
                found[host] = _checked("login", login.removeprefix("@"))
        return found

    def _add(self, person: Person, taken: dict[str, Person]) -> None:
        """Add a person to the roster, unless one of the names is another person's."""
        alone = (f"{person.alone_at(host)} at {host}".casefold() for host in self._hosts.values())
        names = dict.fromkeys((*_names(person), *alone))
        for name in names:
            other = taken.get(name)
            if other is not None:
                raise _Mistake(
                    f"{name.removesuffix(' at ')} is also in line {other.line}; correct one of them"
                )
        self._people.append(person)
        taken.update(dict.fromkeys(names, person))
        if not person.logins and not _fits(person.id):
            self._notes.append(
                f"{self._file}:{person.line}: {person.id!r} cannot be a part of a repository's name, and there is no "
                "login: this person cannot have a repository"
            )

    def _check_teams(self) -> None:
        """Report the name of a team that is also the name of a student who is not in it."""
        students = [person for person in self._people if person.is_student]
        for assignment, host in self._hosts.items():
            alone = {person.alone_at(host).casefold(): person for person in students}
            for person in students:
                team = person.team_of(assignment).casefold()
                other = alone.get(team) if team else None
                message = f"team: {team} is also a name of line {other.line if other else 0}, who is not in the team"
                if other is not None and other.team_of(assignment).casefold() != team:
                    text = f"{self._file}:{person.line}: {message}; choose another name for the team"
                    if text not in self._mistakes:
                        self._mistakes.append(text)

    def _check_ids(self) -> None:
        """Report a login or a team that is the id of another person: students choose these names, and may mean to."""
        ids = {person.id.casefold(): person for person in self._people}
        for person in self._people:
            chosen = [*person.logins.values(), person.team, *person.teams.values()]
            for name in dict.fromkeys(each.casefold() for each in chosen):
                other = ids.get(name)
                if other is not None and other is not person:
                    self._notes.append(
                        f"{self._file}:{person.line}: {name!r} is the id of line {other.line}: where staff write it, "
                        "it is that person; ask for another login or team"
                    )


def _names(person: Person) -> Iterator[str]:
    """Yield the names that no other person may have."""
    yield f"id {person.id}".casefold()
    for host, login in person.logins.items():
        yield f"{login} at {host}".casefold()
        for name in person.earlier:
            yield f"{name} at {host}".casefold()


def _checked(what: str, name: str) -> str:
    """Return a name that becomes a part of a repository's name.

    Raises:
        _Mistake: it cannot be one.
    """
    if name and is_shortened(name):
        raise _Mistake(f"{what}: {name!r:.100} {SHORTENED}")
    if name and not _fits(name):
        raise _Mistake(
            f"{what}: {name!r:.100} cannot be a part of a repository's name; write letters, digits, '.', '_' and '-'"
        )
    return name


def _fits(name: str) -> bool:
    """Whether a name can be a part of a repository's name."""
    return "/" not in name and is_path(f"a-{name}") and is_bare_name(name)


def _full_name(first: str, last: str) -> str:
    """Return a whole name. Names in Chinese characters begin with the family's, without a space."""
    if first and last and all(unicodedata.name(each, "").startswith("CJK") for each in first + last):
        return last + first
    return f"{first} {last}".strip()
