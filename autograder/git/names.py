"""Valid names of hosts, repositories, branches and commits. Every name from outside is checked here first.

The rules are stricter than git's, so that a name is safe in a URL, a path, a log line and an argument list. No name
begins with a dash or holds `..`, a space, a control character or markup.
"""

import re

HEADS = "refs/heads/"  # the full name of a branch begins so
MAX_SEGMENTS = 20
HOST = r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?"
PORT = r"(?::[0-9]{1,5})?"
SEGMENT = r"(?!-)(?!\.(?:/|$))(?!\.git(?:/|$))(?![^/]*\.\.)[A-Za-z0-9._-]{1,100}"
PATH = rf"{SEGMENT}(?:/{SEGMENT})*"

_HOST = re.compile(HOST + PORT)
_PART = r"(?!-)[A-Za-z0-9._*?-]{1,100}"
_PATTERN = re.compile(rf"(?!.*(?:\.\.|\.git(?:/|$))){_PART}(?:/{_PART}){{1,19}}")
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_REF = re.compile(r"refs/[^\x00-\x20\x7f-\xa0\ud800-\udfff~^:?*\[\\]{1,250}")
_BRANCH = re.compile(r"(?!.*(?:\.\.|//|/\.|\.lock(?:/|$)|[./]$))[A-Za-z0-9_][A-Za-z0-9._/-]{0,199}")
_AUTHOR = re.compile(r"[^<>\x00-\x1f]{1,200}")


def is_host(text: str) -> bool:
    """Whether this is the name of a host in lower case, with or without a port: `git.uni.example:3000`."""
    return _HOST.fullmatch(text) is not None and text == text.lower()


def is_path(text: str) -> bool:
    """Whether this is the path of a repository on a git host: `name`, `owner/name`, `group/team/name`."""
    return text.count("/") < MAX_SEGMENTS and re.fullmatch(PATH, text) is not None


def is_repository_path(text: str) -> bool:
    """Whether this is `owner/name`. An owner may be nested: `group/team`."""
    return "/" in text and is_path(text)


def is_bare_name(name: str) -> bool:
    """Whether the name of a repository is without `.git`, by which git would find the same repository again."""
    return not name.lower().endswith(".git")


def is_pattern(text: str) -> bool:
    """Whether this is a pattern of `owner/name`, in which `*` and `?` stand for other characters."""
    return _PATTERN.fullmatch(text) is not None


def is_commit(text: str) -> bool:
    """Whether this is the full id of a commit: 40 (SHA-1) or 64 (SHA-256) lower-case hex digits."""
    return _COMMIT.fullmatch(text) is not None


def is_ref(text: str) -> bool:
    """Whether this is the full name of a ref: `refs/heads/main`."""
    return _REF.fullmatch(text) is not None


def is_branch(text: str) -> bool:
    """Whether this is the short name of a branch: `main`, `feedback/a0`. Stricter than `is_ref`."""
    return _BRANCH.fullmatch(text) is not None


def is_author(text: str) -> bool:
    """Whether git keeps this unchanged as the name or the email address of a commit's author."""
    return _AUTHOR.fullmatch(text) is not None and text == text.strip(" .,:;'\"")
