"""The resolved configuration of a course: the student, assignment, deadline and credentials of each repository.

Everything is resolved once, from checked values. Only secrets and extensions are read at each use, so that they can be
changed while the service runs. A secret is never kept, logged or shown.
"""

import os
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from zoneinfo import ZoneInfo

from autograder.config import Config, HostConfig, load
from autograder.config.schema import QueueName
from autograder.config.secrets import (
    ADMIN_TOKEN_VARIABLE,
    APP_KEY_VARIABLE,
    TOKEN_VARIABLE,
    WEBHOOK_SECRET_VARIABLE,
    given,
    of_host,
    staff_token,
)
from autograder.config.times import DeadlineError
from autograder.course import rules
from autograder.course.deadline import (
    Deadline,
    Decision,
    Extension,
    Timing,
    deadline_of,
    described,
    doubtful_zone,
)
from autograder.course.extensions import Extensions, ExtensionsFile, appearance
from autograder.course.late import LateRule
from autograder.course.limits import PushLimits
from autograder.course.roster import Person, Roster, RosterFile
from autograder.errors import ConfigError, GraderError
from autograder.files import version
from autograder.git.feedback import Identity
from autograder.git.names import is_bare_name, is_repository_path
from autograder.git.remote import Credentials, Remote
from autograder.hosts import KINDS, HostKind
from autograder.hosts.api import Api, Pace
from autograder.hosts.github import ADMINISTRATION, CONTENTS, STATUSES, App, AppTokens, signed
from autograder.hosts.push import Move
from autograder.hosts.webhook import NEW_SECRET, Endpoint
from autograder.ledger import Cutoffs, RepositoryName, ScorePolicy
from autograder.ledger.database import parse_url
from autograder.report import Form
from autograder.submission import PACKAGE


@dataclass(frozen=True)
class Target:
    """What a push to a branch of a repository is graded as.

    Attributes:
        assignment: name of the assignment.
        repository: the repository's name in the ledger.
        branch: the graded branch.
        student: the name by which extensions are granted.
        remote: the repository as git reaches it.
        queue: the queue whose workers grade the push.
    """

    assignment: str
    repository: RepositoryName
    branch: str
    student: str
    remote: Remote
    queue: QueueName


@dataclass(frozen=True)
class Feedback:
    """How feedback is published.

    Attributes:
        branch: the branch on which feedback is published.
        identity: the author of the feedback commits.
        signing_key: file of an SSH private key; None: the commits are not signed.
        form: how score.md is written.
    """

    branch: str
    identity: Identity
    signing_key: Path | None
    form: Form


class Course:
    """The course of one configuration. Make one with `Course.of`. Safe to share between threads."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.feedback = Feedback(
            config.feedback.branch,
            Identity(config.feedback.name, config.feedback.email),
            self._file(config.feedback.signing_key_file),
            config.feedback.form,
        )
        self._apps = AppTokens()
        self._bases = {host: config.base(host) for host in config.hosts}
        self._deadlines = {name: deadline_of(assignment) for name, assignment in config.assignments.items()}
        self._patterns = [
            (name, config.host_of(name), _pattern(pattern, folds_case=self.folds_case(config.host_of(name))))
            for name, assignment in config.assignments.items()
            for pattern in assignment.repositories
        ]
        self._extensions = {
            assignment.extensions_file: ExtensionsFile(
                config.path(assignment.extensions_file), config.state, self._deadlines, self._not_a_student
            )
            for assignment in config.assignments.values()
            if assignment.extensions_file
        }
        self._roster = (
            RosterFile(
                config.path(config.course.roster),
                config.state,
                {name: host.kind for name, host in config.hosts.items()},
                {name: config.host_of(name) for name in config.assignments},
            )
            if config.course.roster
            else None
        )
        self._compared: dict[str, tuple[Extensions, Roster, Extensions]] = {}
        self._reading = threading.Lock()
        self._seen = _version(config.file)
        self._not_in_force: tuple[str, ...] = ()

    @classmethod
    def of(cls, config: Config) -> "Course":
        """Return the course of a loaded configuration.

        Raises:
            GraderError: something in the configuration is not allowed.
        """
        return cls(config)

    # the configuration file -----------------------------------------------------------------------------

    def refresh(self) -> None:
        """Take the rules of the configuration file, if it has changed; see `course.rules`.

        `not_in_force` returns what is not taken. While the file has a mistake, the rules of before hold.
        """
        with self._reading:
            seen = _version(self.config.file)
            if seen is None or seen == self._seen:
                return
            self._seen = seen
            try:
                written = load(Path(self.config.file))
                fresh = Course(rules.merged(self.config, written))
            except GraderError as error:
                self._not_in_force = (f"{error}; until this is corrected, the configuration of before holds",)
                return
            self._not_in_force = tuple(
                f"{written.where(*key.split('.'))} has changed since the service started; start it again"
                for key in rules.not_in_force(fresh.config, written)
            )
            # In one step, since other threads read meanwhile.
            kept = ("_apps", "_reading", "_seen", "_not_in_force")
            self.__dict__.update({name: item for name, item in vars(fresh).items() if name not in kept})

    def not_in_force(self) -> list[str]:
        """Return a line for each change of the configuration file that this process has not taken."""
        return list(self._not_in_force)

    # repositories ---------------------------------------------------------------------------------------

    def target(self, repository: RepositoryName, branch: str) -> Target | None:
        """Return what a push to `branch` of `repository` is graded as, or None if it is not graded.

        A repository belongs to one assignment: the first one in the file with a pattern that matches its name.
        """
        found = self._belongs(repository)
        if found is None or self.config.assignment(found[0]).branch != branch:
            return None
        name, student = found
        remote = Remote.at(self._bases[repository.host], repository.owner, repository.name)
        return Target(name, repository, branch, student, remote, self.config.assignment(name).queue)

    def graded_branch(self, repository: RepositoryName) -> str | None:
        """Return the branch of a repository that is graded, or None if it belongs to no assignment."""
        found = self._belongs(repository)
        return None if found is None else self.config.assignment(found[0]).branch

    def _belongs(self, repository: RepositoryName) -> tuple[str, str] | None:
        """Return the assignment and the student of a repository, or None if it belongs to no assignment."""
        if not is_bare_name(repository.name):  # with .git, it is a second name for the same repository
            return None
        path = f"{repository.owner}/{repository.name}"
        for name, host, pattern in self._patterns:
            match = pattern.fullmatch(path) if host == repository.host else None
            if match:
                return name, match["student"] if "student" in pattern.groupindex else repository.name
        return None

    def commit_url(self, repository: RepositoryName, commit: str) -> str | None:
        """Return the address of the page of its git host that shows a commit, or None if there is no such page."""
        settings = self.config.hosts.get(repository.host)
        page = KINDS[settings.kind].commit_page if settings else None
        return None if page is None else self._page(repository, f"{page}{commit}")

    def feedback_url(self, repository: RepositoryName) -> str | None:
        """Return the address of the page of its git host that shows score.md, or None if there is no such page."""
        settings = self.config.hosts.get(repository.host)
        page = KINDS[settings.kind].file_page if settings else None
        return None if page is None else self._page(repository, f"{page}{self.feedback.branch}/score.md")

    def _page(self, repository: RepositoryName, rest_of_path: str) -> str | None:
        settings = self._host(repository.host)
        scheme, _, rest = settings.base.partition("://")
        place, slash, path = rest.rstrip("/").partition("/")
        if scheme == "ssh":  # its user and port are not those of the pages
            scheme, place = "https", place.rpartition("@")[2].partition(":")[0]
        if scheme not in ("http", "https"):
            return None
        return f"{scheme}://{place}{slash}{path}/{repository.owner}/{repository.name}{rest_of_path}"

    def zone(self) -> ZoneInfo:
        """Return the time zone that the assignments name; UTC if they name none, or several."""
        zones = {assignment.zone for assignment in self.config.assignments.values() if assignment.zone}
        return ZoneInfo(zones.pop() if len(zones) == 1 else "UTC")

    def listed(self) -> Iterator[RepositoryName]:
        """Yield the repositories of the course that exist, whether they pushed or not, as their hosts list them.

        Only owners that are written without wildcards can be listed.

        Raises:
            GitHostError: an owner's repositories cannot be listed; another try may help. It is raised after all others
                were yielded.
        """
        asked: set[tuple[str, str]] = set()
        failed: GraderError | None = None
        for name, assignment in self.config.assignments.items():
            host = self.config.host_of(name)
            for pattern in assignment.repositories:
                owner, _, last = pattern.rpartition("/")
                if not {"*", "?"} & set(pattern):
                    yield RepositoryName(host, owner, last)
                elif not {"*", "?"} & set(owner) and (host, owner) not in asked:
                    asked.add((host, owner))
                    try:
                        names = self._kind(host).names(self._api(host), owner)
                    except GraderError as error:
                        failed = error
                        continue
                    for found in names:
                        if is_repository_path(f"{owner}/{found}") and is_bare_name(found):
                            yield RepositoryName(host, owner, found)
        if failed is not None:
            raise failed

    def record(self, target: Target) -> list[Move]:
        """Return the moves of a target's branch that its host has recorded itself, the oldest first.

        Raises:
            GitHostError: the host did not respond, or refused.
        """
        name = target.repository
        return self._kind(name.host).moves(self._api(name.host), name.owner, name.name, target.branch)

    def repository_of(self, assignment: str, student: str) -> RepositoryName:
        """Return the name of a student's repository, made from the first pattern of an assignment.

        Args:
            assignment: its name.
            student: the student's name, which takes the place of the `*`.

        Raises:
            ConfigError: there is no such assignment, its first pattern does not name one repository for each student,
                or the student cannot have the name.
        """
        where = self.config.where("assignments", assignment, "repositories")
        pattern = next(iter(self.config.assignment(assignment).repositories), "")
        if pattern.count("*") != 1 or "?" in pattern:
            raise ConfigError(
                f"{where}: the first pattern must have one * and no ?, such as cs/{assignment}-*; a repository is made "
                "with the student's name in its place"
            )
        path = pattern.replace("*", student)
        owner, _, name = path.rpartition("/")
        if not student or "/" in student or not is_repository_path(path) or not is_bare_name(name):
            raise ConfigError(f"{path!r:.200} cannot be the name of a repository; rename {student!r:.100}")
        repository = RepositoryName(self.config.host_of(assignment), owner, name)
        belongs = self._belongs(repository)
        if belongs is None or belongs[0] != assignment or belongs[1] != student:
            other = f"to {belongs[0]}, as that of {belongs[1]}" if belongs else "to no assignment"
            raise ConfigError(f"{where}: the repository {path} of {student} would belong {other}")
        return repository

    def kind(self, host: str) -> HostKind:
        """Return the kind of a host. A host whose repositories lie in a folder is one of these.

        Raises:
            ConfigError: there is no such host.
        """
        return self._kind(host)

    def admin_api(self, host: str, pace: Pace | None = None) -> Api:
        """Return the API of a host with the right to make repositories, see `admin_credentials`.

        Raises:
            ConfigError: there is no such host, or a file cannot be read.
            GitHostError: GitHub gave no token to the GitHub App; another try may help.
        """
        return replace(self._api(host, self.admin_credentials), pace=pace)

    def admin_credentials(self, host: str) -> Credentials:
        """Return the credentials for making repositories: the token of the administrator, or else those of the host.

        Raises:
            ConfigError: there is no such host, or a file cannot be read.
            GitHostError: GitHub gave no token to the GitHub App; another try may help.
        """
        file = self._file(self._host(host).admin_token_file)
        token = given(file, of_host(ADMIN_TOKEN_VARIABLE, host), f"the administrator's token of {host}")
        return self.credentials(host, ADMINISTRATION) if not token else self._with_token(host, token)

    def status_api(self, host: str) -> Api:
        """Return the API of a host with the right to set statuses of commits.

        Raises:
            ConfigError: there is no such host, or a file cannot be read.
            GitHostError: GitHub gave no token to the GitHub App; another try may help.
        """
        return self._api(host, partial(self.credentials, permissions=STATUSES))

    def folds_case(self, host: str) -> bool:
        """Whether upper and lower case do not matter in the names of repositories of this host."""
        return host in self.config.hosts and KINDS[self.config.hosts[host].kind].folds_case

    def _kind(self, host: str) -> HostKind:
        """Return the kind of a host. A host whose repositories lie in a folder keeps its record there."""
        settings = self._host(host)
        return KINDS["folder" if _in_folder(self.config.base(host)) else settings.kind]

    def _api(self, host: str, credentials: Callable[[str], Credentials] | None = None) -> Api:
        settings, kind = self._host(host), self._kind(host)
        base = settings.api if settings.api and not kind.is_folder else kind.api(host, self.config.base(host))
        token = "" if kind.is_folder else (credentials or self.credentials)(host).token
        return Api(host, base, token, self._file(settings.ca_file))

    # people ---------------------------------------------------------------------------------------------

    def roster(self) -> Roster | None:
        """Return the roster that is in force, or None if the course has none. It is read again when it has changed."""
        return None if self._roster is None else self._roster.current()

    def people(self, target: Target) -> tuple[Person, ...]:
        """Return the people whose work is in a repository: one, or a team; nobody if the roster does not say."""
        roster = self.roster()
        return () if roster is None else roster.of(target.student, target.assignment)

    def person(self, target: Target) -> Person | None:
        """Return the one person whose work is in a repository; None if it is a team's, or the roster does not say."""
        people = self.people(target)
        return people[0] if len(people) == 1 else None

    def whose(self, target: Target) -> tuple[str, ...]:
        """Return from whose budgets a repository takes late days: of its people, or of the student's name without any.

        A team may use as many late days as each of its members has left.
        """
        return tuple(person.whose for person in self.people(target)) or (
            f"student:{target.student.casefold()}",
        )

    def student(self, text: str, assignment: str = "") -> str:
        """Return the student's name that repositories have, of a student whom staff named.

        Without a roster, the text is the name.

        Args:
            text: an id or a login of the roster, the name of a team, or the student's name of a repository.
            assignment: for which assignment; empty: for any of them, in all of which the name must be the same.

        Raises:
            ConfigError: the roster has no such student, the student has different names for different assignments, or
                there is no such assignment.
        """
        if assignment:
            self.config.assignment(assignment)
        roster = self.roster()
        if roster is None:
            return text
        assignments = [assignment] if assignment else [*self.config.assignments]
        person = roster.find(text, self.config.host_of(assignment) if assignment else "")
        if person is not None:
            names = {roster.repository_name(person, name) for name in assignments}
        else:
            members = [(roster.of(text, name), name) for name in assignments]
            names = {roster.repository_name(people[0], name) for people, name in members if people}
        if not names:
            alike = [
                name for each in roster.people for name in each.alone if appearance(name) == appearance(text)
            ]
            hint = f"; is it {alike[0]}?" if alike else "; autograder roster show lists the students"
            raise ConfigError(f"nobody in {roster.file} has the id, login or team {text!r:.100}{hint}")
        if len(names) > 1:
            raise ConfigError(
                f"{text} has several names in repositories: {', '.join(sorted(names))}; name the assignment"
            )
        return names.pop()

    # credentials and secrets ----------------------------------------------------------------------------

    def credentials(self, host: str, permissions: Mapping[str, str] = CONTENTS) -> Credentials:
        """Return the credentials for the repositories of `host`, read again at each call.

        Args:
            host: its name.
            permissions: what the token of a GitHub App must allow.

        Raises:
            ConfigError: there is no such host, or a file cannot be read.
            RemoteError: a configured value cannot be used as a credential.
            GitHostError: GitHub gave no token to the GitHub App; another try may help.
        """
        settings = self._host(host)
        app = self._app(host)
        token = given(self._file(settings.token_file), of_host(TOKEN_VARIABLE, host), f"the token of {host}")
        if app is not None:
            token = self._apps.token(app, permissions)
        return self._with_token(host, token)

    def _with_token(self, host: str, token: str) -> Credentials:
        settings = self._host(host)
        return Credentials(
            token=token,
            username=settings.username,
            ssh_key=self._file(settings.ssh_key_file),
            known_hosts=self._file(settings.known_hosts_file),
            ca_file=self._file(settings.ca_file),
        )

    def _app(self, host: str) -> App | None:
        """Return the GitHub App that opens the repositories of `host`, or None if none is configured."""
        settings = self._host(host)
        default_api = KINDS[settings.kind].app_api
        if not settings.app_id or default_api is None:
            return None
        key_variable = of_host(APP_KEY_VARIABLE, host)
        key = given(self._file(settings.app_key_file), key_variable, f"the App's key of {host}")
        if not key:
            raise ConfigError(
                f"{self.config.where('hosts', host, 'app_id')}: the GitHub App has no key: add "
                f'app_key_file = "FILE" to [hosts."{host}"], or set {key_variable}; the App\'s page has the key'
            )
        return App(
            host,
            api=settings.api or default_api(host),
            app_id=settings.app_id,
            installation=settings.app_installation,
            key=key,
            ca_file=self._file(settings.ca_file),
        )

    def endpoint(self, host: str) -> Endpoint:
        """Return the configuration of a host's webhooks. The secrets are read again at each call.

        Raises:
            ConfigError: there is no such host, it has no webhook or no secret, or a secret is too short. The message
                says where the secret goes.
        """
        settings = self._host(host)
        if KINDS[settings.kind].is_folder:
            raise ConfigError(f"{host} is a folder and has no webhook; see autograder hook install --help")
        secrets = given(
            self._file(settings.webhook_secret_file),
            of_host(WEBHOOK_SECRET_VARIABLE, host),
            f"the webhook secret of {host}",
        )
        lines = tuple(line.strip().encode() for line in secrets.splitlines() if line.strip())
        if not lines:
            raise ConfigError(
                f"{self.config.where('hosts', host)}: the webhook of {host} has no secret, so no push is accepted: add "
                f'webhook_secret_file = "FILE" to [hosts."{host}"], or set '
                f"{of_host(WEBHOOK_SECRET_VARIABLE, host)}; {NEW_SECRET}"
            )
        return Endpoint(
            host,
            secrets=lines,
            bots=settings.bots,
        )

    def staff_token(self) -> str:
        """Return the token with which staff log in. Its file is made at the first call.

        Raises:
            ConfigError: the token is too short, or its file cannot be made or read.
        """
        return staff_token(self.config.path(self.config.service.staff_token_file))

    # deadlines ------------------------------------------------------------------------------------------

    def deadline(self, assignment: str) -> Deadline:
        """Return when an assignment opens and closes.

        Raises:
            ConfigError: there is no such assignment.
        """
        self.config.assignment(assignment)
        return self._deadlines[assignment]

    def extension(self, target: Target) -> Extension | None:
        """Return the student's extension that is in force, or None. The file is read again when it has changed.

        With a roster, the file may name a student by id or login. What one member of a team has, the team has.
        """
        return self.extension_of(target.student, target.assignment)

    def extension_of(self, student: str, assignment: str) -> Extension | None:
        """Return the extension of a student's name in repositories, as `extension` does."""
        return self._extension(self._in_force(assignment), student, assignment)

    def accepts_until(self, student: str, assignment: str) -> datetime | None:
        """Return the last moment at which a push of a student counts; None: there is no deadline."""
        deadline = self.deadline(assignment)
        return deadline.until(deadline.last(self.extension_of(student, assignment)))

    def extensions(self) -> tuple[Extensions, ...]:
        """Return all extensions that are in force, one item for each file."""
        return tuple(self._compared_with_roster(file) for file in self._extensions)

    def decide(self, target: Target, received: datetime, *, known: bool = True) -> Decision:
        """Return whether a push to a target that was received at the moment `received` counts.

        Args:
            target: the assignment and the student.
            received: when the push was received.
            known: False if the push was found at `received`, and was made at some time before.

        Raises:
            DeadlineError: the push would be late, but perhaps only because of a mistake in the file of extensions. It
                must wait until staff have corrected the file.
        """
        extensions = self._in_force(target.assignment)
        extension = self._extension(extensions, target.student, target.assignment)
        decision = self.deadline(target.assignment).decide(received, extension, known=known)
        if decision.timing not in (Timing.LATE, Timing.LATE_DAY):
            return decision
        waits = "this push would be late; it waits until the file is corrected"
        if extensions.mistakes:
            more = f" (and {len(extensions.mistakes) - 1} more)" if extensions.mistakes[1:] else ""
            raise DeadlineError(f"{extensions.mistakes[0]}{more}; {waits}")
        other = None if extension is not None else extensions.alike(target.student, target.assignment)
        if other is not None and not self._are_two(target, other.student):
            file = self.config.path(self.config.assignment(target.assignment).extensions_file)
            raise DeadlineError(
                f"{file}:{other.line}: the name {other.student} is nearly {target.student}; {waits}: correct the "
                f"name, or add a line for {target.student} if these are two students"
            )
        return decision

    def misnamed(self, repositories: Iterable[RepositoryName]) -> list[str]:
        """Return a line for each extension of a name that looks like a student's, and is no student's.

        Args:
            repositories: those that have pushed.
        """
        students = self._students(repositories)
        found = []
        for extension, known, place in self._strangers(students):
            alike = [name for name in known.values() if appearance(name) == appearance(extension.student)]
            if alike:
                found.append(
                    f"{place}: student: no repository of {extension.student!r} has pushed, but one of {alike[0]!r} "
                    "has; correct the name"
                )
        return found

    def not_seen(self, repositories: Iterable[RepositoryName]) -> list[str]:
        """Return a line for each extension of a name of which no repository has pushed, as `misnamed` does."""
        students = self._students(repositories)
        return [
            f"{place}: no repository of {extension.student} has pushed to {extension.assignment} yet"
            for extension, known, place in self._strangers(students)
            if known
        ]

    def _students(self, repositories: Iterable[RepositoryName]) -> dict[str, dict[str, str]]:
        """Return the students of repositories: assignment -> name in lower case -> name."""
        students: dict[str, dict[str, str]] = {}
        for repository in repositories:
            belongs = self._belongs(repository)
            if belongs is not None:
                students.setdefault(belongs[0], {})[belongs[1].casefold()] = belongs[1]
        return students

    def _strangers(
        self, students: dict[str, dict[str, str]]
    ) -> Iterator[tuple[Extension, dict[str, str], str]]:
        """Yield each extension of a name that is not among the assignment's students, with these and its place."""
        for file in self._extensions.values():
            for extension in file.current().by_key.values():
                known = students.get(extension.assignment, {})
                if known.keys().isdisjoint(self._repository_names(extension)):
                    yield extension, known, f"{file.path}:{extension.line}"

    def _repository_names(self, extension: Extension) -> set[str]:
        """Return the names in lower case that the repository of an extension's student may have."""
        roster, names = self.roster(), {extension.student.casefold()}
        person = roster.find(extension.student) if roster is not None else None
        if person is not None:
            alone = (*person.alone, person.team_of(extension.assignment))
            names.update(name.casefold() for name in alone if name)
        return names

    def _in_force(self, assignment: str) -> Extensions:
        file = self.config.assignment(assignment).extensions_file
        return self._compared_with_roster(file) if file else Extensions({})

    def _compared_with_roster(self, file: str) -> Extensions:
        """Return the extensions of a file. A name that nobody in the roster has is a mistake.

        Nobody knows whose extension that is, so no push may be called late while it stands there.
        """
        current, roster = self._extensions[file].current(), self.roster()
        if roster is None:
            return current
        before = self._compared.get(file)
        if before is None or before[0] is not current or before[1] is not roster:
            mistakes = [
                f"{self._extensions[file].path}:{each.line}: student: nobody in {roster.file} has the id, login or "
                f"team {each.student!r:.100}; correct the name, or add the student to the roster"
                for each in current.by_key.values()
                if roster.find(each.student) is None and not roster.of(each.student, each.assignment)
            ]
            checked = replace(current, mistakes=(*current.mistakes, *mistakes))
            before = self._compared[file] = current, roster, checked
        return before[2]

    def _extension(self, extensions: Extensions, student: str, assignment: str) -> Extension | None:
        """Return the extension of a student's repository that ends last, under whichever name it was written."""
        names, roster = [student], self.roster()
        if roster is not None and extensions.by_key:
            people = roster.of(student, assignment)
            names += [name for each in people for name in each.alone]
            # A student may have chosen the id of another one as a login. The line of that id is not this student's.
            exact = {name: roster.exactly(name, self.config.host_of(assignment)) for name in names}
            names = [name for name, owner in exact.items() if owner is None or owner in people]
        found = (extensions.of(name, assignment) for name in names)
        return max(filter(None, found), key=lambda extension: extension.closes, default=None)

    def _are_two(self, target: Target, name: str) -> bool:
        """Whether the roster knows a repository's student and a name, and these are different people."""
        roster, people = self.roster(), self.people(target)
        other = roster.find(name) if roster is not None else None
        return bool(people) and other is not None and other not in people

    def _not_a_student(self, assignment: str, name: str) -> str:
        """Return why no student of an assignment has this name, or an empty text; see `extensions.NotAStudent`."""
        patterns = self.config.assignment(assignment).repositories
        host = self.config.host_of(assignment)
        owners = {pattern.rpartition("/")[0] for pattern in patterns if "*" not in pattern.rpartition("/")[0]}
        for path in filter(is_repository_path, [name, *(f"{owner}/{name}" for owner in owners)]):
            belongs = self._belongs(RepositoryName(host, *path.rsplit("/", 1))) if host else None
            if belongs is not None and belongs[1].casefold() != name.casefold():
                return f"is a repository; write the student's name, {belongs[1]}"
        if (
            self._roster is not None
            or not patterns
            or any(_may_be_student(pattern, name) for pattern in patterns)
        ):
            return ""
        return f"cannot be a student: no repository of {', '.join(patterns)} can have that name"

    def cutoffs(self, assignment: str, repositories: Iterable[RepositoryName]) -> Cutoffs:
        """Return the last moment at which a push to each of `repositories` counts, with grace and extensions.

        Raises:
            ConfigError: there is no such assignment.
        """
        deadline, in_force = self.deadline(assignment), self._in_force(assignment)
        extensions: dict[RepositoryName, datetime | None] = {}
        for repository in repositories:
            found = self._belongs(repository)
            mine = found is not None and found[0] == assignment
            extension = self._extension(in_force, found[1], assignment) if found and mine else None
            last = deadline.last(extension)
            if last is not None and last != deadline.closes:
                extensions[repository] = deadline.until(last)
        return Cutoffs(deadline.until(deadline.closes), extensions, deadline.opens)

    def late_rule(self, assignment: str) -> LateRule:
        """Return what the late days of an assignment cost.

        Raises:
            ConfigError: there is no such assignment.
        """
        settings = self.config.assignment(assignment)
        return LateRule(
            settings.late_points_per_day, settings.late_percent_per_day, self.config.course.late_days
        )

    def limits(self, assignment: str) -> PushLimits:
        """Return how many pushes of an assignment are graded per hour and per day.

        Raises:
            ConfigError: there is no such assignment.
        """
        settings = self.config.assignment(assignment)
        return PushLimits(settings.pushes_per_hour, settings.pushes_per_day)

    def before(self, assignment: str) -> list[str]:
        """Return the assignments that take late days from a student's budget before this one, in this order.

        They are ordered by their deadlines; two with the same deadline, as they stand in the file.
        """
        order = sorted(
            (name for name, deadline in self._deadlines.items() if deadline.closes and deadline.accepted),
            key=lambda name: self._deadlines[name].closes or datetime.max.replace(tzinfo=timezone.utc),
        )
        return order[: order.index(assignment)] if assignment in order else []

    def policy(self, assignment: str) -> ScorePolicy:
        """Return the score policy: which of several pushes counts.

        Raises:
            ConfigError: there is no such assignment.
        """
        return ScorePolicy(self.config.assignment(assignment).policy)

    # places ---------------------------------------------------------------------------------------------

    def jobs_url(self) -> str:
        """Return the URL of the job queue's database, which may hold a password.

        That is the configured database. If none is configured, it is a file beside a SQLite ledger, or the database
        of a PostgreSQL ledger.

        Raises:
            LedgerError: the URL does not name a database.
        """
        url = parse_url(self.config.service.jobs or self.config.ledger_url(), self.config.path("."))
        if not self.config.service.jobs and url.drivername.startswith("sqlite"):
            url = url.set(database=str(Path(str(url.database)).with_name("jobs.sqlite")))
        return url.render_as_string(hide_password=False)

    def spool(self) -> Path:
        """Return the folder in which hooks leave pushes."""
        return self.config.path(self.config.service.spool)

    def problems(self) -> list[str]:
        """Return the problems outside autograder.toml: files that are missing, faulty, or open to other users."""
        roster = self.roster()
        return [
            *self.obstacles(),
            *(roster.mistakes if roster is not None else ()),
            *self._unused(),
            *self._exposed(),
        ]

    def obstacles(self) -> list[str]:
        """Return those of the problems that keep the course from taking or grading some pushes."""
        found = [*self._missing()]
        steps: list[Callable[[], object]] = [
            partial(self._read_credentials, host) for host in self.config.hosts
        ]
        steps += [
            partial(self.endpoint, host)
            for host, settings in self.config.hosts.items()
            if not KINDS[settings.kind].is_folder
        ]
        for step in steps:
            try:
                step()
            except GraderError as error:
                found.append(str(error))
        for extensions in self.extensions():
            found += extensions.mistakes
        return found

    def notes(self) -> list[str]:
        """Return what staff should know before it surprises them, and is no problem."""
        found = []
        for name, deadline in self._deadlines.items():
            why = doubtful_zone(deadline)
            if why:
                found.append(f"{self.config.where('assignments', name, 'zone')}: {why}")
        if self.config.course.late_days and not any(each.accepted for each in self._deadlines.values()):
            found.append(
                f"{self.config.where('course', 'late_days')}: has no effect: no assignment accepts late pushes; "
                "add the key late_days_allowed to one"
            )
        roster = self.roster()
        if roster is not None:
            found += roster.notes
        for extensions in self.extensions():
            found += extensions.notes
        for name, host in self.config.hosts.items():
            variable = of_host(TOKEN_VARIABLE, name)
            if host.base.startswith("https:") and not (
                host.token_file or host.app_id or os.environ.get(variable)
            ):
                found.append(
                    f"{self.config.where('hosts', name)}: there is no token, so only `autograder ci` can publish "
                    f'feedback: add token_file = "FILE" to [hosts."{name}"], or set {variable}'
                )
        return found

    def calendar(self) -> list[str]:
        """Return a line for each assignment that says in words when it opens and closes."""
        return [f"{name} {described(deadline)}" for name, deadline in self._deadlines.items()]

    def _read_credentials(self, host: str) -> None:
        """Read the credentials of a host. GitHub is not called: only the key of a GitHub App is tried."""
        app = self._app(host)
        if app is None:
            self.credentials(host)
        else:
            signed(app, datetime.now(timezone.utc))

    def _missing(self) -> Iterator[str]:
        where = self.config.where
        for name, host in self.config.hosts.items():
            base = self.config.base(name)
            if KINDS[host.kind].is_folder and not Path(base.removeprefix("file://")).is_dir():
                yield f"{where('hosts', name, 'base')}: there is no folder {base}; make it, or correct the path"
            for key in ("known_hosts_file", "ca_file", "ssh_key_file"):
                file = self._file(getattr(host, key))
                if file is not None and not file.is_file():
                    yield f"{where('hosts', name, key)}: there is no file {file}"
        for name, assignment in self.config.assignments.items():
            suite = self.config.path(assignment.suite) / "test_score.py"
            if not suite.is_file():
                yield f"{where('assignments', name, 'suite')}: there is no file {suite}"
        reference = self.config.path(self.config.reference)
        if not (reference / PACKAGE).is_dir():
            yield f"{where('reference')}: there is no folder {reference / PACKAGE}"
        signing = self.feedback.signing_key
        if signing is not None and not signing.is_file():
            yield f"{where('feedback', 'signing_key_file')}: there is no file {signing}"

    def _unused(self) -> Iterator[str]:
        used = {host for _, host, _ in self._patterns}
        for name in self.config.hosts:
            if name not in used:
                yield (
                    f"{self.config.where('hosts', name)}: no assignment has repositories on it; add some to "
                    "assignments.NAME.repositories"
                )

    def _exposed(self) -> Iterator[str]:
        """Yield a line for each secret that other users can read, and for a spool that they can write to."""
        files = [self._file(self.config.secret_file), self._file(self.config.service.staff_token_file)]
        files.append(self.feedback.signing_key)
        notices = self.config.notices
        files += [self._file(notices.smtp_password_file), self._file(notices.webhook_file)]
        for host in self.config.hosts.values():
            files += [
                self._file(getattr(host, f"{key}_file"))
                for key in ("webhook_secret", "token", "admin_token", "app_key", "ssh_key")
            ]
        for file in filter(None, files):
            if os.name == "posix" and file.is_file() and file.stat().st_mode & 0o077:
                yield f"other users can read {file}: chmod 600 {file}"
        spool = self.spool()
        if os.name == "posix" and spool.is_dir() and spool.stat().st_mode & 0o002:
            yield f"every user can write to {spool}, and claim pushes: chmod o-w {spool}"

    def _host(self, name: str) -> HostConfig:
        if name not in self.config.hosts:
            known = ", ".join(self.config.hosts) or "no hosts"
            raise ConfigError(f"there is no host {name!a:.200}; autograder.toml has {known}")
        return self.config.hosts[name]

    def _file(self, path: str) -> Path | None:
        return self.config.path(path) if path else None


def _version(file: str) -> tuple[int, ...] | None:
    """Return what changes when the configuration file changes; None if the configuration was not read from a file."""
    if not file:
        return None
    try:
        return version(Path(file))
    except OSError:
        return None


def _in_folder(base: str) -> bool:
    return base.startswith(("/", "file://"))


def _pattern(pattern: str, *, folds_case: bool = False) -> re.Pattern[str]:
    """Return the regular expression for a pattern of repositories. The last `*` becomes the group `student`.

    Args:
        pattern: `owner/name` with wildcards.
        folds_case: whether the host takes upper and lower case for the same.
    """
    last = pattern.rfind("*")
    parts = {"*": "[^/]*", "?": "[^/]"}
    text = (
        "(?P<student>[^/]+)" if place == last else parts.get(character, re.escape(character))
        for place, character in enumerate(pattern)
    )
    return re.compile("".join(text), re.IGNORECASE if folds_case else 0)


def _may_be_student(pattern: str, name: str) -> bool:
    """Return whether a repository that matches `pattern` may be that of a student of this name."""
    before, star, after = pattern.rpartition("*")
    if not star:
        return _pattern(pattern.rpartition("/")[2], folds_case=True).fullmatch(name) is not None
    fill = str.maketrans({"*": "x", "?": "x"})
    path = f"{before.translate(fill)}{name}{after.translate(fill)}"
    return "/" not in name and is_repository_path(path) and is_bare_name(path)
