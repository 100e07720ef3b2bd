"""The packages that student code can import: which files they have, and where other packages may be.

Python keeps packages in folders of libraries, called `site-packages` or `dist-packages`. In such a folder, a
distribution (what pip installs) has a few entries, most of them folders. To import a package, Python needs the entries
of the distribution that contains it, and of the distributions that this one requires.

Both sides of the wall use this module: the trusted side makes the mounts of bubblewrap from it, and the first process
of a container makes its Landlock rules. It reads only what pip has recorded and imports no package.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from importlib.metadata import Distribution, PathDistribution
from pathlib import Path

LIBRARIES = ("site-packages", "dist-packages")
"""The names of the folders of libraries."""
PLACES = ("lib/python3*", "lib64/python3*", "envs/*/lib/python3*", "pkgs/*/lib/python3*", "pkgs/*")
"""Where below a prefix they are. In the last three, conda has environments and what it has unpacked."""


def folders(prefixes: Iterable[str]) -> list[str]:
    """Return every folder of libraries below these prefixes of Python and below the system's, without links."""
    found = {
        os.path.realpath(path)
        for prefix in {*prefixes, "/usr", "/usr/local"}
        for place in PLACES
        for path in Path(prefix).glob(f"{place}/*-packages")
        if path.name in LIBRARIES and path.is_dir()
    }
    return sorted(found)


def entries(libraries: Iterable[str], names: Iterable[str]) -> dict[str, list[str]]:
    """Return the entries of each folder of libraries that are needed to import the packages in `names`.

    `names` are names for `import`. A name that is in none of the folders, such as one of the standard library, has no
    entries. If a package was not installed by pip, its entries are those with its name.
    """
    libraries = list(dict.fromkeys(libraries))
    needed: dict[str, dict[str, None]] = {folder: {} for folder in libraries}
    installed: dict[str, tuple[str, Distribution]] = {}
    for folder in libraries:
        for path in sorted(Path(folder).iterdir()):
            if path.suffix in (".dist-info", ".egg-info"):
                name = _normal(path.stem.partition("-")[0])
                installed.setdefault(name, (folder, PathDistribution(path)))
    waiting: list[str] = []
    for name in dict.fromkeys(name.partition(".")[0] for name in names):
        owners = list(_owners(name, installed))
        waiting += owners
        for folder in () if owners else libraries:
            needed[folder].update(
                (path.name, None) for path in Path(folder).iterdir() if _stem(path.name) == name
            )
    seen = set[str]()
    while waiting:
        owner = waiting.pop()
        if owner not in seen and owner in installed:
            seen.add(owner)
            folder, distribution = installed[owner]
            needed[folder].update(
                (entry, None) for entry in _recorded(distribution) if Path(folder, entry).exists()
            )
            waiting += _required(distribution)
    return {folder: sorted(found) for folder, found in needed.items()}


def _owners(name: str, installed: dict[str, tuple[str, Distribution]]) -> Iterator[str]:
    """Yield the distributions that contain the package `name`. Most have the same name, others must be searched."""
    named = _normal(name)
    candidates = [named] if named in installed else []
    for candidate in (*candidates, *(other for other in installed if other != named)):
        if any(_stem(entry) == name for entry in _recorded(installed[candidate][1])):
            yield candidate
            if candidate == named:
                return


def _recorded(distribution: Distribution) -> list[str]:
    """Return the first parts of the paths of a distribution's files."""
    record = distribution.read_text("RECORD")
    if record is None:  # not installed by pip
        names = (distribution.read_text("top_level.txt") or "").split()
        return [*names, *(f"{name}.py" for name in names)]
    paths = (line.lstrip('"').partition("/")[0].partition(",")[0] for line in record.splitlines())
    return [path for path in dict.fromkeys(paths) if path not in ("", "..", "__pycache__")]


def _required(distribution: Distribution) -> Iterator[str]:
    """Yield the names of the distributions that one requires, whatever the platform; not those of its extras."""
    for requirement in distribution.requires or ():
        text, _, marker = requirement.partition(";")
        found = re.match(r"\s*([A-Za-z0-9._-]+)", text)
        if found and "extra" not in marker:
            yield _normal(found[1])


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _stem(entry: str) -> str:
    return entry.partition(".")[0]
