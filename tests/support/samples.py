"""The samples in samples/: what they say of themselves, and how one becomes a checkout.

    python -m tests.support.samples DIR [NAME ...]       write samples (all of them by default) as checkouts below DIR
    autograder grade DIR -a a0                   and grade them

A sample is a folder with an expect.toml, whose fields are those of `Expectation` below, and with files of its own; or,
where it has no files, an entry of a table: a0.toml, a1.toml or a2.toml. A sample changes its base: the reference, the
starter (the reference without its solutions), or another sample.
"""

from __future__ import annotations

import argparse
import functools
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import msgspec

from tests.support import ROOT

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

SAMPLES = ROOT / "samples"
EXPECTATION = "expect.toml"

Verdict = Literal["passed", "wrong", "timeout", "error"]


class Verdicts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The verdict of each case: lists of the numbers of cases. A case in two lists may get either verdict.

    Attributes:
        rest: of every case that is in no list; without it they may get any verdict.
    """

    passed: tuple[int, ...] = ()
    wrong: tuple[int, ...] = ()
    timeout: tuple[int, ...] = ()
    error: tuple[int, ...] = ()
    rest: Verdict | None = None

    def of(self, case: int) -> frozenset[str]:
        """The verdicts that a case may get."""
        listed = frozenset(verdict for verdict in get_args(Verdict) if case in getattr(self, verdict))
        return listed or frozenset(get_args(Verdict) if self.rest is None else (self.rest,))

    @property
    def listed(self) -> frozenset[int]:
        """The cases that are in a list."""
        return frozenset(self.passed + self.wrong + self.timeout + self.error)


class Expectation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a sample is, and how it must be graded.

    Attributes:
        assignment: which suite grades it.
        why: one line: what it does, and what it hopes for.
        base: what it changes: `reference`, `starter`, or a sample.
        points: the total.
        verdicts: of its cases.
        message: what the message of every case that is not passed must contain.
        in_container: the same behind a wall of containers, where the message differs from bubblewrap's.
        links: symbolic links to make, path -> target.
        solved: files of the starter that are the reference's.
        change: by file, pairs (text of the base, text instead); every occurrence is replaced.
        delete: files or folders of the base to take away.
        not_given: files that the course gives to students; this sample is graded in a course that gives them not.
        alone: graded while nothing else is: what it costs is the grader's, not the sandbox's.
        beside: other samples that are graded at the same time, and must get what they expect.
    """

    assignment: Literal["a0", "a1", "a2"]
    why: str
    base: str
    points: int | None = None
    verdicts: Verdicts = Verdicts()
    message: str = ""
    in_container: str = ""
    links: dict[str, str] = {}
    solved: tuple[str, ...] = ()
    change: dict[str, tuple[tuple[str, str], ...]] = {}
    delete: tuple[str, ...] = ()
    not_given: tuple[str, ...] = ()
    alone: bool = False
    beside: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.points is None and self.verdicts == Verdicts():
            raise ValueError("needs points, or verdicts, or both")
        if not self.why or "\n" in self.why:
            raise ValueError("why must be one line")


@dataclass(frozen=True)
class Sample:
    """A sample, and where it stands: its folder, or the table that it is an entry of."""

    name: str
    place: Path
    expected: Expectation


def read_folder(folder: Path) -> Sample:
    """Read a sample's expect.toml. Raises ValueError, naming the file, for whatever is wrong with it."""
    file = folder / EXPECTATION
    return Sample(folder.name, folder, expectation(_load(file), file))


def read_table(file: Path) -> list[Sample]:
    """Read a table: what stands at its top holds for every [[sample]]. Raises ValueError as `read_folder` does."""
    common = _load(file)
    samples = []
    for entry in common.pop("sample", []):
        name = entry.pop("name", "")
        if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)+", name):
            raise ValueError(f"{file}: {name!r} cannot be the name of a sample: use words-with-hyphens")
        verdicts = common.get("verdicts", {}) | entry.get("verdicts", {})
        fields = common | entry | {"verdicts": verdicts}
        samples.append(Sample(name, file, expectation(fields, f"{file}: {name}")))
    return samples


def expectation(fields: Mapping[str, Any], place: object) -> Expectation:
    """Raises ValueError, beginning with the place, for whatever is wrong."""
    try:
        return msgspec.convert(fields, Expectation)
    except ValueError as error:  # msgspec's errors are ValueErrors
        raise ValueError(f"{place}: {error}") from error


def _load(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{file}: {error}") from error


def read_all(folder: Path) -> dict[str, Sample]:
    """Every sample in a folder by its name. Raises ValueError for a name that is there twice, or a base that is not."""
    found: dict[str, Sample] = {}
    in_folders = [read_folder(path) for path in folder.iterdir() if path.is_dir()]
    in_tables = [sample for file in folder.glob("*.toml") for sample in read_table(file)]
    for sample in sorted((*in_folders, *in_tables), key=lambda sample: sample.name):
        if sample.name in found:
            raise ValueError(f"{sample.place}: there is a sample {sample.name} in {found[sample.name].place}")
        found[sample.name] = sample
    bases = {"reference", "starter"}
    bases |= {name for name, sample in found.items() if sample.expected.base in bases}
    for sample in found.values():
        if sample.expected.base not in bases:
            raise ValueError(f"{sample.place}: {sample.name}: {sample.expected.base} cannot be its base")
    return found


# ── from a sample to a checkout ──────────────────────────────────────────────────────────────────────────


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
    """Replace every occurrence of the first text of each pair by the second; ValueError if it does not occur."""
    for old, new in pairs:
        if old not in text:
            raise ValueError(f"there is no {old!r} any more")
        text = text.replace(old, new)
    return text


@functools.cache
def solved() -> Mapping[str, bytes]:
    """The files of the reference."""
    unwanted = {"__pycache__", "_build"}
    paths = [p for p in (ROOT / "src").rglob("*") if p.is_file() and not unwanted & {*p.parts}]
    return {path.relative_to(ROOT).as_posix(): path.read_bytes() for path in paths}


def base_files(expected: Expectation) -> dict[str, bytes]:
    """The files of what a sample changes."""
    if expected.base not in ("reference", "starter"):
        return files(ALL[expected.base])
    base = dict(solved())
    if expected.base == "starter":
        for path in base.keys() - {*expected.solved}:
            if (suffix := Path(path).suffix) in STUBS:
                base[path] = without_solution(base[path].decode(), suffix).encode()
    return base


def files(sample: Sample) -> dict[str, bytes]:
    """The files of a sample's checkout, by path. Raises ValueError for a change of what is not there."""
    expected = sample.expected
    found = base_files(expected)
    for path, pairs in expected.change.items():
        try:
            found[path] = changed(found.get(path, b"").decode(), pairs).encode()
        except ValueError as error:
            raise ValueError(f"{sample.place}: {sample.name}: {path}: {error}") from error
    for gone in expected.delete:
        deleted = [path for path in found if path == gone or path.startswith(f"{gone}/")]
        if not deleted:
            raise ValueError(f"{sample.place}: {sample.name}: there is no {gone} to delete")
        for path in deleted:
            del found[path]
    if sample.place.is_dir():
        for file in sample.place.rglob("*"):
            if file.is_file() and file.name != EXPECTATION:
                found[file.relative_to(sample.place).as_posix()] = file.read_bytes()
    return found


def build(sample: Sample, checkout: Path) -> Path:
    """Write the checkout of a sample: its files and links."""
    checkout.mkdir(parents=True, exist_ok=True)
    for path, content in files(sample).items():
        file = checkout / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    for path, target in sample.expected.links.items():
        (checkout / path).symlink_to(target)
    return checkout


ALL = read_all(SAMPLES)


def main() -> int:
    """Write samples as checkouts; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.support.samples", description="Write samples as checkouts."
    )
    parser.add_argument("folder", type=Path, help="where to; it must not hold them yet")
    parser.add_argument("names", nargs="*", metavar="NAME", help="default: all")
    options = parser.parse_args()
    unknown = [name for name in options.names if name not in ALL]
    if unknown:
        parser.error(f"there is no sample {', '.join(unknown)} in {SAMPLES}")
    for name in options.names or ALL:
        checkout = options.folder / name
        if checkout.exists():
            parser.error(f"{checkout} exists")
        build(ALL[name], checkout)
        print(f"{name:40} {ALL[name].expected.assignment}  {ALL[name].expected.why}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
