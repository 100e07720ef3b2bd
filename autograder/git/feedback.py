"""Publishes feedback: a feedback commit for each graded push, on the branch `score-feedback` of a student's repository.

The student may do anything with that branch: rewrite it, delete it, push anything to it. So only the last few commit
objects are fetched, without trees and files if the git host can leave them out. The tree of a new feedback commit
consists of the feedback files alone. The ledger is the truth about grades; the branch only shows them.

Publishing may be repeated, and several publishers may publish at once. Two trailers of a feedback commit,
`Graded-Commit` and `Graded-Attempt`, name what was graded; feedback that is already there is not published again. If a
student sets the branch back to a graded commit, its feedback is published again, on top. The push holds a lease on the
tip that was read (`--force-with-lease`): if the branch has moved since, the git host refuses the push. Of
two publishers, the slower one is refused, reads the branch again, and asks again what the branch must show. The caller
passes the date, so that two publishers with the same feedback make the same commit.
"""

import random
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from autograder.errors import GraderError
from autograder.git.names import is_author
from autograder.git.process import (
    GitHostError,
    GitLimits,
    NotFound,
    RepositoryError,
    TooLarge,
    TooSlow,
    one_line,
)
from autograder.git.remote import Credentials, Remote
from autograder.git.scratch import Objects, Repository, checked_branch, checked_commit, scratch

BRANCH = "score-feedback"
HISTORY = 20  # the feedback is looked for in so many commits, from the tip down
TRIES = 8
OLD_TIP = "refs/feedback/old"
MAX_COMMIT_BYTES = 64 << 10  # a feedback commit, with its signature, is smaller than 2 KiB

# the messages with which git hosts refuse a push because another one was faster
_RACE = re.compile(
    r"stale info|fetch first|non-fast-forward|\block(?:ed)?\b|failed to update ref|already exists|old value"
)
_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True)
class Identity:
    """The author of the feedback commits."""

    name: str = "autograder"
    email: str = "autograder@localhost"

    def __post_init__(self) -> None:
        for text in (self.name, self.email):
            if not is_author(text):
                raise GraderError(
                    f"cannot be the author of a commit: {text!r:.200}; check name and email of [feedback]"
                )


@dataclass(frozen=True)
class Published:
    """The result of `publish`.

    Attributes:
        commit: the commit on the branch that holds the feedback.
        changed: whether this call made it.
    """

    commit: str
    changed: bool


@dataclass(frozen=True)
class _Commit:
    tree: str
    parent: str | None
    author: str  # `name <email>`
    message: str

    def holds(self, message: str, tree: str, identity: Identity) -> bool:
        """Whether this is a commit of `identity` with the same trailers as `message` and the same files."""
        by_us = self.author == f"{identity.name} <{identity.email}>"
        return by_us and self.tree == tree and _trailers(self.message) == _trailers(message)


@dataclass(frozen=True)
class Entry:
    """One feedback commit as it is to be made.

    Attributes:
        graded_commit: full id of the commit that was graded.
        attempt: 1, and higher for a regrade.
        files: name -> content.
        when: the date of the commit. A repeated call must pass the same date.
    """

    graded_commit: str
    attempt: int
    files: Mapping[str, bytes]
    when: datetime


def publish(
    remote: Remote,
    *,
    branch: str = BRANCH,
    graded_commit: str,
    attempt: int,
    files: Mapping[str, bytes],
    when: datetime,
    identity: Identity | None = None,
    credentials: Credentials | None = None,
    signing_key: Path | None = None,
    limits: GitLimits | None = None,
) -> Published:
    """Publish the feedback on one attempt at grading one commit, wherever the branch is.

    Does nothing if the tip, or one of the commits below it, already holds this feedback. See `show` for the arguments
    and errors.
    """
    entry = Entry(graded_commit, attempt, files, when)
    return show(
        remote,
        lambda: [entry],
        branch=branch,
        at_tip=False,
        identity=identity,
        credentials=credentials,
        signing_key=signing_key,
        limits=limits,
    )[-1]


def show(
    remote: Remote,
    entries: Callable[[], Sequence[Entry]],
    *,
    branch: str = BRANCH,
    at_tip: bool = True,
    identity: Identity | None = None,
    credentials: Credentials | None = None,
    signing_key: Path | None = None,
    limits: GitLimits | None = None,
) -> list[Published]:
    """Make the last entry the whole content of `branch`, after the others; return a result for each of them.

    An entry that the branch already holds gets no second commit, except that the tip always holds the last entry.

    Args:
        remote: the repository.
        entries: returns what the branch must show. It is asked after the tip of the branch was read, and again if the
            branch has moved meanwhile. So of two publishers, the one that pushes last has the newer entries.
        branch: the branch for feedback.
        at_tip: whether the last entry must be at the tip, even if a commit below holds it.
        identity: the author.
        credentials: for writing to the repository.
        signing_key: file of an SSH private key without a passphrase, which signs the commits.
        limits: of git, for each try.

    Raises:
        RepositoryError: there is no such repository, or a branch below `branch/` exists, so `branch` cannot be made.
        GitHostError: the git host did not respond, or refused the request; another try may help.
    """
    limits = limits or GitLimits(seconds=60, scratch_bytes=16 << 20)
    identity = identity or Identity()
    reference = f"refs/heads/{checked_branch(branch)}"
    settings = _signing(signing_key)
    refusal, sha256 = "", _is_sha256(entries())
    for number in range(TRIES):
        if number:
            time.sleep(random.uniform(0, 0.05 * 2**number))  # noqa: S311 (so that two publishers do not collide again)
        # a new scratch repository for each try, so that nothing is left over from a failed fetch
        with scratch(remote, credentials, limits, sha256=sha256) as repository:
            tip = _fetch_tip(repository, branch)
            wanted = entries()
            with repository.objects() as objects:
                history = _history(objects, tip)
            done: list[Published] = []
            now = tip
            for position, entry in enumerate(wanted):
                message = _message(checked_commit(entry.graded_commit), entry.attempt)
                tree = _write_tree(repository, entry.files)
                held = [commit for commit, parsed in history.items() if parsed.holds(message, tree, identity)]
                if at_tip and position == len(wanted) - 1:
                    held = [commit for commit in held if commit == now]
                if held:
                    done.append(Published(held[0], changed=False))
                    continue
                parent = ("-p", now) if now is not None and (now in history or now != tip) else ()
                now = repository.run(
                    "commit-tree",
                    *parent,
                    *(("-S",) if settings else ()),
                    tree,
                    stdin=message.encode(),
                    settings=settings,
                    variables=_who(identity, entry.when),
                )
                done.append(Published(now, changed=True))
            if now == tip or now is None:
                return done
            flag, refusal = repository.push(now, reference, expected=tip)
            if flag == "=":  # another publisher made the same commits
                return [Published(each.commit, changed=False) for each in done]
            if flag != "!":
                return done
            if any(name != reference for name in repository.heads(branch)):
                raise RepositoryError(
                    f"{remote}: a branch below {branch}/ prevents {branch} from being made; delete it on the git host"
                )
            if not _RACE.search(refusal):
                break
    raise GitHostError(
        f"{remote}: the push to {branch} was refused: {refusal}; check the branch's protection and the credentials"
    )


def _is_sha256(entries: Sequence[Entry]) -> bool:
    return bool(entries) and len(entries[-1].graded_commit) == 64


def require_write(
    remote: Remote, *, branch: str, graded_commit: str, when: datetime, credentials: Credentials | None = None
) -> None:
    """Check that `credentials` allow publishing on `branch`. Nothing is published.

    Args:
        remote: the repository.
        branch: the branch for feedback.
        graded_commit: full id of the commit that would be graded.
        when: any moment with a time zone: the date of a commit that is made for the check and not pushed.
        credentials: for writing to the repository.

    Raises:
        RepositoryError, GitHostError: feedback cannot be published there.
    """
    reference = f"refs/heads/{checked_branch(branch)}"
    with scratch(remote, credentials, sha256=len(graded_commit) == 64) as repository:
        tree = repository.run("mktree")
        commit = repository.run("commit-tree", "-m", "", tree, variables=_who(Identity(), when))
        repository.require_write(commit, reference)


def published(
    remote: Remote, branch: str, *, limit: int, credentials: Credentials | None = None
) -> dict[str, bytes | None]:
    """Return the files at the tip of `branch`, as a student sees them. A student may have changed them.

    None stands for an entry that is not a plain file, or is larger than `limit`.

    If `remote` is a clone without this branch, the branch of the clone's own remote `origin` is read.

    Args:
        remote: the repository.
        branch: the branch for feedback.
        limit: the most bytes of one file.
        credentials: for reading the repository.

    Raises:
        NotFound: there is no such branch.
        RepositoryError, GitHostError: the branch cannot be read, or holds a name twice, so that two readers could see
            different files.
    """
    reference = f"refs/heads/{checked_branch(branch)}"
    with scratch(remote, credentials) as repository:
        tip = repository.heads(branch).get(reference)
    if tip is None:
        reference = f"refs/remotes/origin/{branch}"
    with scratch(remote, credentials, sha256=len(tip or "") == 64) as repository:
        repository.fetch(reference, OLD_TIP, depth=1, filter_spec=f"blob:limit={limit + 1}")
        listing = repository.run("ls-tree", "-z", OLD_TIP)
        found: dict[str, bytes | None] = {}
        with repository.objects() as objects:
            for line in filter(None, listing.split("\0")):
                about, _, name = line.partition("\t")
                mode, kind, identity = about.split(" ")
                if name in found:
                    raise RepositoryError(
                        f"{remote}: the branch {branch} holds the name {one_line(name)} twice"
                    )
                is_file = kind == "blob" and mode.startswith("100")  # not a link
                found[name] = objects.read(identity, "blob", limit) if is_file else None
    return found


def history(
    remote: Remote, branch: str, *, limit: int, commits: int = 200, credentials: Credentials | None = None
) -> list[bytes]:
    """Return score.json of the last commits of `branch`, the newest first. A student may have changed them.

    Args:
        remote: the repository.
        branch: the branch for feedback.
        limit: the most bytes of one file; larger ones are left out.
        commits: how many commits are read.
        credentials: for reading the repository.

    Raises:
        RepositoryError, GitHostError: the branch cannot be read.
    """
    reference = f"refs/heads/{checked_branch(branch)}"
    with scratch(remote, credentials) as repository:
        tip = repository.heads(branch).get(reference)
    if tip is None:
        return []
    found: list[bytes] = []
    with scratch(remote, credentials, sha256=len(tip) == 64) as repository:
        try:
            repository.fetch(reference, OLD_TIP, depth=commits, filter_spec=f"blob:limit={limit + 1}")
        except (NotFound, TooLarge):  # deleted meanwhile, or filled by the student
            return []
        listed = repository.run("log", "--first-parent", f"--max-count={commits}", "--format=%H", OLD_TIP)
        with repository.objects() as objects:
            for commit in listed.split():
                entry = repository.run("ls-tree", commit, "score.json").split()
                if len(entry) == 4 and entry[1] == "blob" and entry[0].startswith("100"):
                    content = objects.read(entry[2], "blob", limit)
                    found += [content] if content is not None else []
    return found


def _fetch_tip(repository: Repository, branch: str) -> str | None:
    """Fetch the last commits of `branch`; return its tip, or None if there is no such branch.

    Feedback commits are small. If the commits of the branch are too large to fetch, or take too long to unpack, nothing
    of them is kept, and the next feedback commit starts a new history.
    """
    reference = f"refs/heads/{branch}"
    try:
        repository.fetch(reference, OLD_TIP, depth=HISTORY, filter_spec="tree:0")
    except NotFound:
        return None
    except (TooLarge, TooSlow):
        return repository.heads(branch).get(reference)
    return repository.run("rev-parse", "--verify", "--end-of-options", OLD_TIP)


def _history(objects: Objects, tip: str | None) -> dict[str, _Commit]:
    """Return the commits from `tip` along first parents, up to the first one that is missing or too large."""
    history: dict[str, _Commit] = {}
    commit = tip
    while commit is not None and len(history) < HISTORY:
        content = objects.read(commit, "commit", MAX_COMMIT_BYTES)
        if content is None:
            break
        history[commit] = _parse(content)
        commit = history[commit].parent
    return history


def _parse(content: bytes) -> _Commit:
    head, _, message = content.decode("utf-8", "replace").partition("\n\n")
    fields: dict[str, str] = {}
    for line in head.split("\n"):
        key, _, value = line.partition(" ")
        fields.setdefault(key, value)  # of several parents, the first one is kept
    author = fields.get("author", "").rpartition(">")[0] + ">"
    return _Commit(fields.get("tree", ""), fields.get("parent"), author, message)


def _message(graded_commit: str, attempt: int) -> str:
    if attempt < 1:
        raise GraderError(f"attempts are counted from 1, not {attempt}")
    return f"Feedback on {graded_commit[:10]}\n\nGraded-Commit: {graded_commit}\nGraded-Attempt: {attempt}\n"


def _trailers(message: str) -> dict[str, str]:
    last = message.rstrip("\n").rpartition("\n\n")[2]
    return dict(line.split(": ", 1) for line in last.split("\n") if ": " in line)


def _who(identity: Identity, when: datetime) -> dict[str, str]:
    if when.tzinfo is None:
        raise GraderError("the date of a feedback commit needs a time zone")
    date = f"@{int(when.timestamp())} +0000"
    return {
        f"GIT_{role}_{key}": value
        for role in ("AUTHOR", "COMMITTER")
        for key, value in (("NAME", identity.name), ("EMAIL", identity.email), ("DATE", date))
    }


def _signing(key: Path | None) -> dict[str, str]:
    if key is None:
        return {}
    if not key.is_absolute() or not key.is_file():
        raise GraderError(f"there is no signing key {key}; give the absolute path of an SSH private key")
    return {"gpg.format": "ssh", "gpg.ssh.program": "ssh-keygen", "user.signingKey": str(key)}


def _write_tree(repository: Repository, files: Mapping[str, bytes]) -> str:
    lines = []
    for name, content in sorted(files.items()):
        if not _FILE_NAME.fullmatch(name):
            raise GraderError(f"not a valid name of a feedback file: {name!r:.200}")
        blob = repository.run("hash-object", "-w", "--stdin", "--no-filters", stdin=content)
        lines.append(f"100644 blob {blob}\t{name}\0")
    return repository.run("mktree", "-z", stdin="".join(lines).encode())
