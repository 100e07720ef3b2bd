"""Files that are replaced in one step, and whether one has changed.

Whoever reads a file that is replaced in one step sees all of the old content or all of the new one.
"""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path


def replace_file(
    path: Path, content: bytes, mode: int = 0o600, *, prepare: Callable[[Path], object] | None = None
) -> None:
    """Write a file in one step, in a folder that exists. A symbolic link at its place is replaced, not followed.

    Args:
        path: of the file.
        content: what it has in the end.
        mode: who may read and write it; only its owner, unless given.
        prepare: called with the new file before it is put in its place.

    Raises:
        OSError: it cannot be written. The old file is still there.
    """
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    draft = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        draft.chmod(mode)
        if prepare is not None:
            prepare(draft)
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def version(path: Path) -> tuple[int, ...]:
    """Return numbers that change when a file changes.

    Raises:
        OSError: there is no file, or it cannot be looked at.
    """
    status = path.stat()
    return status.st_mtime_ns, status.st_size, status.st_ino
