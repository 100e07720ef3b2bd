"""The samples in samples/: what an expect.toml says, and how a sample becomes a checkout.

    python -m tests.samples DIR [NAME ...]       write samples (all of them by default) as checkouts below DIR
    autograder grade DIR -a a0                   and grade them

A sample is a folder with an expect.toml (`Expectation` below), which may say what it changes in files of its base, and
with files of its own. The base is the reference, or the starter: the reference without its solutions.
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

REPOSITORY = Path(__file__).resolve().parent.parent
SAMPLES = REPOSITORY / "samples"


class Expectation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a sample is, and what must become of it.

    Attributes:
        assignment: which suite grades it.
        why: one line: what it does, and what it hopes for.
        base: what lies under its own files.
        points: the total.
        verdicts: by the name of a case; "*" is every case that is not named.
        message: what the message of every case that is not passed must contain.
        in_container: the same behind a wall of containers, where that shows something else than bubblewrap.
        links: symbolic links to make, path -> target.
        solved: files of the starter that are the reference's.
        change: by file, pairs (text of the base, text instead); every occurrence is replaced.
        delete: files or folders of the base to take away.
        alone: graded while nothing else is: it takes the processors away from its neighbours.
    """

    assignment: Literal["a0", "a1", "a2"]
    why: str
    base: Literal["reference", "starter"]
    points: int | None = None
    verdicts: dict[str, Literal["passed", "wrong", "timeout", "error"]] = {}
    message: str = ""
    in_container: str = ""
    links: dict[str, str] = {}
    solved: tuple[str, ...] = ()
    change: dict[str, tuple[tuple[str, str], ...]] = {}
    delete: tuple[str, ...] = ()
    alone: bool = False

    def __post_init__(self) -> None:
        if self.points is None and not self.verdicts:
            raise ValueError("needs points, or [verdicts], or both")
        if not self.why or "\n" in self.why:
            raise ValueError("why must be one line")


@dataclass(frozen=True)
class Sample:
    folder: Path
    expected: Expectation

    @property
    def name(self) -> str:
        return self.folder.name

    @classmethod
    def read(cls, folder: Path) -> Sample:
        """Read a sample's expect.toml. Raises ValueError, naming the file, for whatever is wrong with it."""
        file = folder / "expect.toml"
        try:
            return cls(folder, msgspec.convert(tomllib.loads(file.read_text("utf-8")), Expectation))
        except (OSError, ValueError) as error:  # msgspec's and tomllib's errors are ValueErrors
            raise ValueError(f"{file}: {error}") from error


SOLUTION = re.compile(r"^( *)(// )?### BEGIN SOLUTION\n.*?### END SOLUTION\n", re.DOTALL | re.MULTILINE)
STUBS = {
    ".py": 'raise NotImplementedError("write your solution here")\n',
    ".cpp": 'throw std::logic_error("write your solution here");\n',
}


def without_solution(text: str, suffix: str) -> str:
    """What students start from: solutions within functions say that they are missing, others are gone."""
    stubbed = SOLUTION.sub(lambda match: match[1] + STUBS[suffix] if match[1] else "", text)
    return "#include <stdexcept>\n" + stubbed if stubbed != text and suffix == ".cpp" else stubbed


def changed(text: str, pairs: Iterable[tuple[str, str]]) -> str:
    """Replace every occurrence of the first text of each pair by the second; ValueError where there is none."""
    for old, new in pairs:
        if old not in text:
            raise ValueError(f"there is no {old!r} any more")
        text = text.replace(old, new)
    return text


def build(sample: Sample, checkout: Path) -> Path:
    """Make the checkout of a sample: its base, changed, less what it deletes, its own files over it, its links."""
    source = checkout / "src"
    shutil.copytree(REPOSITORY / "src", source, ignore=shutil.ignore_patterns("__pycache__", "_build"))
    if sample.expected.base == "starter":
        for file in source.rglob("*"):
            if file.suffix in STUBS and str(file.relative_to(checkout)) not in sample.expected.solved:
                file.write_text(without_solution(file.read_text("utf-8"), file.suffix), "utf-8")
    for path, pairs in sample.expected.change.items():
        try:
            (checkout / path).write_text(changed((checkout / path).read_text("utf-8"), pairs), "utf-8")
        except ValueError as error:
            raise ValueError(f"{sample.folder}/expect.toml: {path}: {error}") from error
    for path in sample.expected.delete:
        target = checkout / path
        if target.is_dir():
            shutil.rmtree(target)
        else:
            target.unlink()  # what is not there is a mistake in expect.toml
    shutil.copytree(sample.folder, checkout, dirs_exist_ok=True, ignore=shutil.ignore_patterns("expect.toml"))
    for path, target_of_link in sample.expected.links.items():
        (checkout / path).symlink_to(target_of_link)
    return checkout


ALL = [Sample.read(folder) for folder in sorted(SAMPLES.iterdir()) if folder.is_dir()]


def main() -> int:
    """Write samples as checkouts; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.samples", description="Write samples as checkouts."
    )
    parser.add_argument("folder", type=Path, help="where to; it must not hold them yet")
    parser.add_argument("names", nargs="*", metavar="NAME", help="default: all")
    options = parser.parse_args()
    known = {sample.name: sample for sample in ALL}
    unknown = [name for name in options.names if name not in known]
    if unknown:
        parser.error(f"there is no sample {', '.join(unknown)} in {SAMPLES}")
    for name in options.names or known:
        checkout = options.folder / name
        if checkout.exists():
            parser.error(f"{checkout} exists")
        build(known[name], checkout)
        print(f"{name:35} {known[name].expected.assignment}  {known[name].expected.why}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
