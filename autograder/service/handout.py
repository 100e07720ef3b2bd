"""Hands out an assignment: a repository for each student, with the starter, to which that student alone may write.

Everything may be repeated. What is there stays, and what is missing is made, so a student who enrols late, or a run
that was interrupted, needs the same command. The order of the steps keeps a student from pushing to a repository that
is not complete: the starter first, the right to write last.

Our commits are recorded in the ledger before they are pushed, so the service never takes them for a student's push.
"""

import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeAlias

from autograder.config import Config
from autograder.course.course import Course
from autograder.errors import ConfigError, GraderError
from autograder.git.names import HEADS
from autograder.git.process import GitLimits, NoSuchRepository
from autograder.git.remote import LOOPBACK, Remote
from autograder.git.scratch import Repository, scratch
from autograder.hosts import ssh_access
from autograder.hosts.api import Api, Pace
from autograder.hosts.folder import give, path_of
from autograder.hosts.writes import Account, Branches
from autograder.ledger import Ledger, RepositoryName
from autograder.release import repository as commits
from autograder.release import starter as starters
from autograder.release.starter import Starter
from autograder.report import one_line
from autograder.service.intake import post_receive
from autograder.service.intake.spool import Spool

WRITE_SECONDS = 1.0  # between two changes at a host that is not ours; GitHub asks for that
TRIES = 3  # a student may push while the update is made
APPEARS_SECONDS = 1.0  # a host may need a moment until git finds a new repository
LIMITS = GitLimits(seconds=300.0, scratch_bytes=1 << 30)

StateName: TypeAlias = Literal["made", "updated", "completed", "unchanged", "failed"]
Prove: TypeAlias = Callable[[Starter, Path], None]


@dataclass(frozen=True)
class Recipient:
    """Whom a repository is for.

    Attributes:
        repository: its name.
        student: the student's name in it: a login, an id, or the name of a team.
        logins: the accounts that may write to it.
        people: the ids of these people in the roster; empty without a roster.
        missing: why somebody of them gets no right to write.
    """

    repository: RepositoryName
    student: str
    logins: tuple[str, ...]
    people: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()


@dataclass(frozen=True)
class Released:
    """A starter that was proven.

    Attributes:
        starter: its files.
        commit: the commit that they make.
        pack: the commit as git packs it.
    """

    starter: Starter
    commit: str
    pack: bytes = field(repr=False)


@dataclass(frozen=True)
class Handed:
    """What was done for one repository.

    Attributes:
        recipient: whom it is for.
        state: `made`, `updated`, `completed` (something else was missing), `unchanged` or `failed`.
        did: what was done, or would be done in a dry run.
        missing: what staff must look at.
        commit: our commit that was pushed; None if none was.
        error: why it failed; empty if it did not.
    """

    recipient: Recipient
    state: StateName
    did: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    commit: str | None = None
    error: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the result as plain data."""
        return {
            "repository": str(self.recipient.repository),
            "student": self.recipient.student,
            "people": list(self.recipient.people),
            "logins": list(self.recipient.logins),
            "state": self.state,
            "did": list(self.did),
            "missing": list(self.missing),
            "commit": self.commit,
            "error": self.error,
        }


def recipients(
    course: Course,
    assignment: str,
    names: Sequence[str],
    *,
    everybody: bool = False,
    known: Collection[RepositoryName] = (),
) -> list[Recipient]:
    """Return whom an assignment is handed out to, each repository once.

    A team has one repository, to which all of its members may write.

    Args:
        course: has the roster, and the repositories' names.
        assignment: its name.
        names: ids, logins or teams of the roster; without a roster, the students' names, which are their logins.
        everybody: all students of the roster, in place of `names`.
        known: repositories that were pushed to. A student who had another login keeps the one with that name.

    Raises:
        ConfigError: a name cannot be a student's; or everybody is asked for, and there is no roster.
    """
    roster, host = course.roster(), course.config.host_of(assignment)
    if roster is None:
        if everybody:
            raise ConfigError(
                f"{course.config.where('course')}: there is no roster, so name the students: autograder handout "
                f"{assignment} ann bob"
            )
        alone = {name: course.repository_of(assignment, name) for name in names}
        return [Recipient(repository, name, (name,)) for name, repository in alone.items()]
    if everybody and not roster.students:
        raise ConfigError(f"{roster.file} has no students")
    asked = [roster.repository_name(person, assignment) for person in roster.students] if everybody else []
    asked += [course.student(name, assignment) for name in names]
    is_folder = course.kind(host).is_folder
    found = []
    for student in dict.fromkeys(asked):
        people = roster.of(student, assignment)
        logins = [person.alone_at(host) if is_folder else person.logins.get(host, "") for person in people]
        missing = [
            f"{person.id} has no login at {host} in {roster.file}, and may not write"
            for person, login in zip(people, logins, strict=True)
            if not login
        ]
        earlier = people[0].earlier if people and not people[0].team_of(assignment) else ()
        possible = [course.repository_of(assignment, name) for name in (student, *earlier)]
        found.append(
            Recipient(
                next((name for name in possible if name in known), possible[0]),
                student,
                tuple(filter(None, logins)),
                tuple(person.id for person in people),
                tuple(missing),
            )
        )
    return found


def release(config: Config, ledger: Ledger, assignment: str, prove: Prove | None) -> Released:
    """Return the starter of an assignment. It is proven unless the ledger says that the same commit was released.

    Args:
        config, ledger: of the course.
        assignment: its name.
        prove: proves a starter and the repository with its commit, or raises an error. None: a dry run.

    Raises:
        GraderError: the starter cannot be made, or is not proven.
    """
    made = starters.build(config, assignment)
    with tempfile.TemporaryDirectory(prefix="autograder-handout-") as place:
        folder = Path(place) / "starter"
        folder.mkdir()
        commit = commits.create(folder, made)
        if prove is not None and not ledger.is_own(commit):
            prove(made, folder)
            ledger.add_own_commit(commit, f"starter of {assignment}")
        return Released(made, commit, commits.pack(folder, commit))


class Handout:
    """Hands out one assignment. Threads may share it.

    Args:
        course, ledger: of the course.
        assignment: its name.
        released: the starter; None in a dry run in which no starter was made.
        update: whether repositories that have a starter get the new one.
        dry_run: whether nothing is changed.
        pace: how fast the host may be called. Default: as GitHub wants it.
        say: is told when the host makes us wait.

    Raises:
        GraderError: nothing can be handed out: the host refuses the token, or something is not configured.
    """

    def __init__(
        self,
        course: Course,
        ledger: Ledger,
        assignment: str,
        released: Released | None,
        *,
        update: bool = False,
        dry_run: bool = False,
        pace: Pace | None = None,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._course, self._ledger, self._released = course, ledger, released
        self._assignment, self._update, self._dry = assignment, update, dry_run
        self._host = course.config.host_of(assignment)
        self._branch = course.config.assignment(assignment).branch
        self._kind = course.kind(self._host)
        is_away = not self._kind.is_folder
        self._pace = pace or Pace(WRITE_SECONDS if is_away else 0.0, say)
        self._spool = Spool(course.spool())
        settings = course.config.hosts[self._host]
        app = "" if settings.admin_token_file else settings.app_id
        grader: Account | None = None
        if self._kind.writes.account is not None and not settings.app_id:
            own = course.status_api(self._host)
            grader = self._kind.writes.account(own) if own.token else None
        self._branches = Branches(self._branch, course.feedback.branch, grader, settings.app_id)
        if self._kind.writes.account is not None and not app:
            self._kind.writes.account(self._api)  # a token that is refused ends everything here
        roster = course.roster()
        self.notes: list[str] = [] if roster is None else [*roster.mistakes]
        self._webhook = self._address() if self._kind.writes.add_webhook is not None else None
        self._keys = self._read_keys()

    @property
    def _api(self) -> Api:
        return self._course.admin_api(self._host, self._pace)

    def _address(self) -> tuple[str, str] | None:
        """Return the address and the secret of the webhook; None if hosts cannot reach the service."""
        url = self._course.config.service.url
        if any(url.startswith(f"http://{place}") for place in LOOPBACK):
            self.notes.append(f"no webhook is made: url of [service] is {url}, which no git host can reach")
            return None
        secret = self._course.endpoint(self._host).secrets[-1].decode("ascii", "replace")
        kind = self._course.config.hosts[self._host].kind
        return f"{url.rstrip('/')}/webhook/{kind}/{self._host}", secret

    def _read_keys(self) -> ssh_access.Keys | None:
        settings, path = self._course.config.hosts[self._host], self._course.config.path
        if not settings.student_keys or not self._kind.is_folder:
            return None
        place = path(settings.student_keys)
        held = ssh_access.held(path(settings.authorized_keys_file), self._host)
        keys = ssh_access.read(place, held)
        self.notes += keys.mistakes
        roster = self._course.roster()
        if roster is not None:
            known = {person.alone_at(self._host).casefold() for person in roster.people}
            self.notes += [
                f"{place / login}.pub: nobody in {roster.file} has the login {login}; correct the name of the file"
                for login in sorted(keys.logins)
                if login.casefold() not in known
            ]
        return keys

    def run(self, whom: Sequence[Recipient], jobs: int) -> Iterator[Handed]:
        """Yield what was done for each repository, in the order of `whom`. It goes on after one that fails.

        Args:
            whom: the recipients.
            jobs: how many repositories are worked on at a time.
        """
        pool = ThreadPoolExecutor(jobs, thread_name_prefix="handout")
        try:
            yield from pool.map(self._safely, whom)
        finally:
            pool.shutdown(cancel_futures=True)
        self._let_keys_in()

    def _let_keys_in(self) -> None:
        if self._keys is None or self._dry:
            return
        settings = self._course.config.hosts[self._host]
        file = self._course.config.path(settings.authorized_keys_file)
        base = Path(self._course.config.base(self._host).removeprefix("file://"))
        if ssh_access.install(self._keys, self._host, base, file):
            self.notes.append(f"{file}: written; students with a key: {len(self._keys.logins)}")

    def _safely(self, recipient: Recipient) -> Handed:
        try:
            return self._one(recipient)
        except (GraderError, OSError) as error:
            return Handed(recipient, "failed", missing=recipient.missing, error=one_line(str(error)))

    def _one(self, recipient: Recipient) -> Handed:
        name, writes, api = recipient.repository, self._kind.writes, self._api
        there = writes.exists(api, name.owner, name.name)
        missing = list(recipient.missing)
        if not there and not self._dry:
            writes.create(api, name.owner, name.name, self._branch)
        state, commit, line = self._starter(recipient, there)
        did = [line] if line else []
        if self._keys is not None:
            place = self._course.config.path(self._course.config.hosts[self._host].student_keys)
            missing += [
                f"{login} has no ssh key: put it at {place / login}.pub, and run this again"
                for login in recipient.logins
                if login not in self._keys.logins
            ]
        if self._dry:
            return Handed(recipient, state, tuple(did), tuple(missing))
        missing += writes.protect(api, name.owner, name.name, self._branches)
        did += self._reports_pushes(api, name, missing)
        if not there and self._kind.is_folder:  # git has replaced its file of settings meanwhile
            path = path_of(api, name.owner, name.name)
            give(path, path.parent)
        granted = writes.grant(api, name.owner, name.name, recipient.logins)
        invited = set(granted.invited)
        did += [f"{login} {'is invited' if login in invited else 'may write'}" for login in granted.added]
        missing += [f"{login} must accept the invitation" for login in granted.invited]
        missing += [f"{login} may write too" for login in granted.others]
        if state == "unchanged" and len(did) > bool(line):
            state = "completed"
        return Handed(recipient, state, tuple(did), tuple(missing), commit)

    def _reports_pushes(self, api: Api, name: RepositoryName, missing: list[str]) -> list[str]:
        """Install the hook or make the webhook; return what was done."""
        if self._kind.is_folder:
            at = post_receive.place(self._course, path_of(api, name.owner, name.name), host=name.host)
            is_new = not self._spool.folder.exists()
            changed = post_receive.install(at, self._spool)
            if is_new:  # the account of git must be able to write there
                give(self._spool.folder, Path(api.base))
            missing += post_receive.problems(at, self._spool)
            return ["hook installed"] if changed else []
        if self._webhook is None or self._kind.writes.add_webhook is None:
            return []
        made = self._kind.writes.add_webhook(api, name.owner, name.name, *self._webhook)
        return ["webhook made"] if made else []

    # the starter ----------------------------------------------------------------------------------------

    @cached_property
    def _given(self) -> Released:
        if self._released is None:
            raise ConfigError("no starter was made")
        return self._released

    def _starter(self, recipient: Recipient, there: bool) -> tuple[StateName, str | None, str]:
        """Push the starter, or its update; return the state, our new commit, and what was done."""
        if not there and self._dry:
            return "made", None, f"starter {self._given.commit[:10]}" if self._released else "starter"
        name = recipient.repository
        remote = Remote.at(self._course.config.base(name.host), name.owner, name.name)
        for number in range(TRIES):
            try:
                with scratch(remote, self._course.admin_credentials(name.host), LIMITS) as work:
                    tip = work.heads(self._branch).get(HEADS + self._branch)
                    if tip is None:
                        done = self._first(work)
                    elif self._update:
                        done = self._updated(work, tip, remote)
                    else:
                        return "unchanged", None, ""
            except NoSuchRepository:
                if there or number == TRIES - 1:
                    raise
                time.sleep(APPEARS_SECONDS)
                continue
            if done is not None:
                return done
        raise GraderError(
            f"{name}: the branch {self._branch} moved while the starter was pushed; run the command again"
        )

    def _first(self, work: Repository) -> tuple[StateName, str | None, str] | None:
        given = self._given
        if self._dry:
            return "made", None, f"starter {given.commit[:10]}"
        work.run("index-pack", "--stdin", stdin=given.pack)
        flag, reason = work.push(given.commit, HEADS + self._branch, expected=None)
        if flag == "!":
            self._check_moved(reason)
            return None
        return "made", given.commit, f"starter {given.commit[:10]}"

    def _updated(
        self, work: Repository, tip: str, remote: Remote
    ) -> tuple[StateName, str | None, str] | None:
        given = self._given
        work.fetch(HEADS + self._branch, commits.BRANCH)
        if work.run("rev-parse", commits.BRANCH) != tip:
            return None
        try:
            result = commits.update(work.folder, given.starter)
        except GraderError as error:
            raise GraderError(str(error).replace(str(work.folder), str(remote))) from error
        kept = f"; left as the student has them: {', '.join(result.kept)}" if result.kept else ""
        if result.commit is None:
            return "unchanged", None, kept.removeprefix("; ")
        line = f"{'would replace' if self._dry else 'replaced'} {', '.join(result.replaced)}{kept}"
        if self._dry:
            return "updated", None, line
        self._ledger.add_own_commit(result.commit, f"update of the starter of {self._assignment}")
        flag, reason = work.push(result.commit, HEADS + self._branch, expected=tip)
        if flag == "!":
            self._check_moved(reason)
            return None
        return "updated", result.commit, line

    def _check_moved(self, reason: str) -> None:
        """Go on to the next try if the branch has moved.

        Raises:
            GraderError: the host refused the push for another reason.
        """
        if not any(
            word in reason for word in ("stale", "fetch first", "exists", "non-fast", "lock", "old value")
        ):
            raise GraderError(f"the push of the starter was refused: {reason}; check what the token may do")
