"""What hosts, repositories, branches and commits may be called. Everything from outside passes here first.

Stricter than git: such a name is safe in a URL, a path, a log line and an argument list. None begins with a
dash or is `..`, none holds a space, a control character or markup.
"""

import re

_HOST = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?(?::[0-9]{1,5})?")
_SEGMENT = re.compile(r"[A-Za-z0-9_.][A-Za-z0-9_.-]{0,99}")
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_REF = re.compile(r"refs/[^\x00-\x20\x7f-\xa0\ud800-\udfff~^:?*\[\\]{1,250}")


def is_host(text: str) -> bool:
    """Whether this is a host's name, with or without a port: `git.uni.example:3000`."""
    return _HOST.fullmatch(text) is not None


def is_repository_path(text: str) -> bool:
    """Whether this is `owner/name`; an owner may be nested, `group/team`."""
    segments = text.split("/")
    return 2 <= len(segments) <= 20 and all(
        _SEGMENT.fullmatch(segment) and segment not in (".", "..") for segment in segments
    )


def is_commit(text: str) -> bool:
    """Whether this is the full id of a commit: 40 (SHA-1) or 64 (SHA-256) lower-case hex digits."""
    return _COMMIT.fullmatch(text) is not None


def is_ref(text: str) -> bool:
    """Whether this is the full name of a ref: `refs/heads/main`."""
    return _REF.fullmatch(text) is not None
