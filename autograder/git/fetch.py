"""Fetches one commit of a student's repository and reads its `src/`, without ever checking it out.

Git fetches the commit at depth 1 into a scratch repository. Trees and files are read as bytes, by object id. So a hook,
an attribute, a filter, a submodule or a link is only data. `submission.collect` holds the rules for what a
submission may consist of; they are the same for a folder and for a commit.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from autograder.errors import SubmissionError
from autograder.git.process import Damaged, GitLimits, NotFound, RepositoryError, TooLarge, TooSlow
from autograder.git.remote import Credentials, Remote
from autograder.git.scratch import Objects, checked_branch, checked_commit, scratch
from autograder.language import tell
from autograder.submission import PACKAGE, Folder, Kind, Submission, TreeLimits, collect

GRADED = "refs/graded/commit"
MAX_COMMIT_BYTES = 1 << 20
MAX_TREE_BYTES = 4 << 20  # one folder; 20,000 names of the usual length take 1 MB

TAKES_TOO_LONG = tell("the commit takes too long to unpack; remove data sets and other large files from it")
DAMAGED = tell("a folder of the repository is damaged; clone it anew and push again")

_KINDS = {
    b"40000": Kind.FOLDER,
    b"100644": Kind.FILE,
    b"100755": Kind.FILE,
    b"100664": Kind.FILE,  # a group-writable file: git wrote this mode before 2005, and some tools still do
    b"120000": Kind.LINK,
    b"160000": Kind.SUBMODULE,
}


@dataclass(frozen=True)
class FetchLimits:
    """The limits of fetching one submission.

    Attributes:
        tree: what `src/` may consist of.
        seconds: the time for fetching and reading.
        cpu_seconds: the time of a processor that one process of git may use for that.
        bytes: the size of the whole commit, packed. If the git host cannot leave large files out, they count too.
    """

    tree: TreeLimits = field(default_factory=TreeLimits)
    seconds: float = 60.0
    cpu_seconds: int = 30
    bytes: int = 256 << 20


def fetch_commit(
    remote: Remote,
    commit: str,
    *,
    limits: FetchLimits | None = None,
    credentials: Credentials | None = None,
) -> Submission:
    """Return the submission that a repository holds at `commit`. The call is safe to repeat.

    Args:
        remote: the repository.
        commit: the full id.
        limits: for fetching and reading.
        credentials: for the repository.

    Raises:
        SubmissionError: the commit is too large, takes too long to unpack, or is damaged; or `src/` holds what a
            submission must not.
        NotFound: the commit does not exist, or no longer exists because the student pushed over it.
        NoSuchRepository: the git host says that there is no such repository.
        RepositoryError: the repository cannot be used; another try does not help.
        GitHostError: the git host did not respond; another try may help.
    """
    limits = limits or FetchLimits()
    checked_commit(commit)
    allowed = GitLimits(seconds=limits.seconds, cpu_seconds=limits.cpu_seconds, scratch_bytes=limits.bytes)
    with scratch(remote, credentials, allowed, sha256=len(commit) == 64) as repository:
        try:
            # the host need not send a file over the limit; `collect` then refuses the file because it is missing
            repository.fetch(commit, GRADED, depth=1, filter_spec=f"blob:limit={limits.tree.file_bytes + 1}")
        except TooLarge:
            raise SubmissionError(
                tell(
                    "the commit is larger than {mebibytes} MiB; remove data sets and other large files from it",
                    mebibytes=limits.bytes >> 20,
                )
            ) from None
        except TooSlow:
            raise SubmissionError(TAKES_TOO_LONG) from None
        except Damaged:
            raise SubmissionError(DAMAGED) from None
        with repository.objects() as objects:
            tree = _root_tree(objects, commit, remote)
            try:
                root = _TreeFolder(objects, tree)
                root.require_once(PACKAGE)
                files = collect(root, limits.tree)
            except TooSlow:
                raise SubmissionError(TAKES_TOO_LONG) from None
            except Damaged:
                raise SubmissionError(DAMAGED) from None
    return Submission(name=remote.name, commit=commit, files=files)


def branch_head(remote: Remote, branch: str, *, credentials: Credentials | None = None) -> str | None:
    """Return the id of the commit at the tip of `branch`, or None if there is no such branch.

    Raises:
        RepositoryError, GitHostError: for the reasons given at `fetch_commit`.
    """
    with scratch(remote, credentials) as repository:
        return repository.heads(branch).get(f"refs/heads/{checked_branch(branch)}")


def tips(
    remote: Remote, branches: Sequence[str], *, credentials: Credentials | None = None
) -> list[str | None]:
    """Return the id of the commit at the tip of each branch, None for a branch that does not exist.

    Raises:
        RepositoryError, GitHostError: for the reasons given at `fetch_commit`.
    """
    with scratch(remote, credentials) as repository:
        return [repository.heads(branch).get(f"refs/heads/{checked_branch(branch)}") for branch in branches]


def _root_tree(objects: Objects, commit: str, remote: Remote) -> str:
    content = objects.read(commit, "commit", MAX_COMMIT_BYTES)
    if content is None:
        if objects.describe(commit) is None:
            raise NotFound(f"{remote}: the commit {commit} was not sent")
        raise SubmissionError(tell("the message of the commit is too long"))
    word, _, tree = content.partition(b"\n")[0].partition(b" ")
    if word != b"tree":
        raise RepositoryError(f"{remote}: {commit} is not a commit that can be read")
    return tree.decode("ascii", "replace")


class _TreeFolder:
    """A `Folder` in a commit, read by the id of its tree."""

    def __init__(self, objects: Objects, tree: str) -> None:
        self._objects = objects
        content = objects.read(tree, "tree", MAX_TREE_BYTES)
        if content is None:
            if objects.describe(tree) is None:
                raise Damaged(f"the folder {tree} is missing")
            raise SubmissionError(tell("a folder of the repository holds too many names"))
        self._entries = list(_parse_tree(content, id_bytes=len(tree) // 2))
        self._by_name = {name: (mode, identity) for name, mode, identity in self._entries}

    def require_once(self, name: str) -> None:
        """Refuse a folder that holds a name twice. Any program can make one, and each reader takes another entry."""
        if sum(entry[0] == name for entry in self._entries) > 1:
            raise SubmissionError(
                tell("the repository holds {name} twice; clone it anew and push again", name=name)
            )

    def names(self, limit: int) -> list[str]:
        return [name for name, _, _ in self._entries[: limit + 1]]

    def kind(self, name: str) -> Kind | None:
        if name not in self._by_name:
            return None
        return _KINDS.get(self._by_name[name][0], Kind.OTHER)

    @contextmanager
    def folder(self, name: str) -> Iterator[Folder]:
        yield _TreeFolder(self._objects, self._by_name[name][1])

    def read(self, name: str, limit: int) -> bytes | None:
        return self._objects.read(self._by_name[name][1], "blob", limit)


def _parse_tree(content: bytes, *, id_bytes: int) -> Iterator[tuple[str, bytes, str]]:
    """Yield name, mode and object id of each entry. An entry is `mode SP name NUL id`, with the id in binary."""
    position = 0
    while position < len(content):
        space = content.find(b" ", position)
        end = content.find(b"\0", space)
        start = end + 1
        if not position < space < end or start + id_bytes > len(content):
            raise SubmissionError(DAMAGED)
        mode = content[position:space].lstrip(b"0")
        name = content[space + 1 : end].decode("utf-8", "surrogateescape")
        position = start + id_bytes
        yield name, mode, content[start:position].hex()
