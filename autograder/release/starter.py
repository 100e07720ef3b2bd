"""Makes the tree of a starter, path -> content: the files that students receive for one assignment.

What a starter has beside src/ is said in autograder.toml, `[starter]` and `[assignments.NAME.starter]`. The tree is not
written to disk here.
"""

import contextlib
import fnmatch
import importlib.metadata
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path

import msgspec

from autograder.config import Config, ReleaseConfig, StarterConfig
from autograder.errors import ConfigError, GraderError, SubmissionError
from autograder.git.process import closed_environment
from autograder.release import carried, handout, markers
from autograder.submission import PACKAGE, is_ignored, read_tree

REQUIREMENTS = "requirements.txt"
_SOURCES = (".py", ".cpp", ".hpp", ".cu", ".cuh")
_RUFF_FILES = ("ruff.toml", ".ruff.toml", "pyproject.toml")


class Problems:
    """Collects what keeps a starter from being made, so that all of it is reported at once."""

    def __init__(self) -> None:
        self.found: list[GraderError] = []

    @contextlib.contextmanager
    def collected(self) -> Iterator[None]:
        """Collect an error of the body."""
        try:
            yield
        except GraderError as error:
            self.found.append(error)

    def refuse(self) -> None:
        """Raise what was found.

        Raises:
            GraderError: a problem was found; a ConfigError if the configuration is the cause of all of them.
        """
        if len(self.found) == 1:
            raise self.found[0]
        if self.found:
            kind = ConfigError if all(isinstance(error, ConfigError) for error in self.found) else GraderError
            lines = "\n  ".join(str(error).replace("\n", "\n  ") for error in self.found)
            raise kind(f"{len(self.found)} problems:\n  {lines}")


@dataclass(frozen=True)
class Starter:
    """What students receive for one assignment.

    Attributes:
        assignment: its name in autograder.toml.
        title: its title, for people.
        files: path -> content.
        theirs: the files that students work in: those with stubs, the visible tests, and what the configuration names.
        tests: the visible tests.
        withheld: path of a source file -> the lines of its solutions that are not in the starter.
        public: lines that may be seen although a solution or a hidden case contains them too. These are the declared
            lines, and the lines of solutions that are handed out.
        carried: path of a file of an earlier assignment, solved -> that assignment.
    """

    assignment: str
    title: str
    files: dict[str, bytes]
    theirs: frozenset[str]
    tests: tuple[str, ...]
    withheld: dict[str, list[str]]
    public: frozenset[str]
    carried: dict[str, str] = field(default_factory=dict)


def mode(path: str) -> str:
    """Return the git mode of a released file."""
    return "100755" if path.endswith(".sh") else "100644"


def release_config(settings: Config, assignment: str) -> ReleaseConfig:
    """Return the release that `assignment` declares.

    Raises:
        ConfigError: `assignment` declares no release, or its `given` names an assignment that cannot be given.
    """
    release = settings.assignment(assignment).release
    if release is None:
        raise ConfigError(f"{assignment} declares no release; add [assignments.{assignment}.release]")
    for other in release.given:
        if other == assignment or settings.assignment(other).release is None:
            raise ConfigError(
                f"assignments.{assignment}.release.given: {other} cannot be given with {assignment}"
            )
    return release


def build(settings: Config, assignment: str, *, now: datetime | None = None) -> Starter:
    """Return the starter of `assignment`, formatted.

    Args:
        settings: the course's configuration.
        assignment: its name.
        now: the moment at which solutions of earlier assignments must be open for nobody. Default: the present.

    Raises:
        ConfigError: the release is not declared, or a pattern matches no file.
        MarkerError: a solution is not marked correctly.
        GraderError: a file is missing, ruff finds a mistake in what remains of a file, a handout does not name the
            task, or a solution would be handed out that is still open for somebody. If there are several problems, one
            error names all of them.
    """
    release = release_config(settings, assignment)
    root = settings.path(settings.reference)
    try:
        sources = read_tree(root)
    except SubmissionError as error:
        raise GraderError(f"{root}: {error}") from error
    problems = Problems()
    beside = _Beside(settings, settings.starter_of(assignment), problems)
    with problems.collected():
        _refuse_uncommitted(root, [f"{PACKAGE}/"], sources)
    owners = _owners(settings, sources, problems)
    mine = [path for path in sources if assignment in owners.get(path, (assignment,))]
    needed = carried.needed(sources, mine)
    given = {
        path: next(other for other in release.given if other in names)
        for path, names in owners.items()
        if path in needed and assignment not in names and not names.isdisjoint(release.given)
    }
    with problems.collected():
        _refuse_open(settings, sources, given, now or datetime.now(timezone.utc))
    files: dict[str, bytes] = {}
    stubs: set[str] = set()
    withheld: dict[str, list[str]] = {}
    public = {line for name in (assignment, *release.given) for line in release_config(settings, name).public}
    for path, content in sources.items():
        released = path in given or path in mine
        if not path.endswith(_SOURCES):
            if released:
                files[path] = content
            continue
        with problems.collected():
            text = _text(content, path)
            solved = path in given or (path in mine and path in owners and release.complete)
            lines = markers.solution_lines(text, path)
            if lines and path not in owners:
                raise ConfigError(f"{path} has solutions, but belongs to no assignment's release.files")
            if released:
                new = markers.solved(text, path) if solved else markers.stripped(text, path, release.task)
                files[path] = new.encode()
            if solved:
                public.update(lines)
            elif lines:
                withheld[path] = lines
                if released:
                    stubs.add(path)
    files |= beside.files
    packages = settings.assignment(assignment).importable()
    if REQUIREMENTS in files:
        with problems.collected():
            needs = (*packages, *release.tools)
            files[REQUIREMENTS] = requirements(_text(files[REQUIREMENTS], REQUIREMENTS), needs).encode()
    for path in beside.tests:
        with problems.collected():
            files[path] = with_packages(_text(files[path], path), packages).encode()
    cut = _own_sections(files, (*beside.tests, *beside.theirs))
    named = {path for path in mine if path in owners} if release.complete else stubs
    files |= beside.handouts(frozenset({*files, *beside.documents}), release.task, named)
    problems.refuse()
    _tidy(files, root, cut)
    title = settings.assignment(assignment).title or assignment
    theirs = frozenset({*stubs, *beside.tests, *beside.theirs})
    return Starter(
        assignment,
        title,
        dict(sorted(files.items())),
        theirs,
        beside.tests,
        withheld,
        frozenset(public),
        {path: other for path, other in given.items() if markers.regions(sources[path].decode(), path)},
    )


def _own_sections(files: dict[str, bytes], tests: Iterable[str]) -> list[str]:
    """Remove the parts of tests about tasks that the starter does not have; return the files that this changed."""
    cut = []
    for path in dict.fromkeys(tests):
        if path.endswith(".py"):
            new = handout.own_sections(_text(files[path], path), frozenset(files)).encode()
            if new != files[path]:
                files[path] = new
                cut.append(path)
    return cut


def belongs(settings: Config, assignment: str, path: str) -> bool:
    """Whether the configuration names a file of a starter: `path` is of src/, a handout, or a file of `[starter]`."""
    root, wanted = settings.path("."), settings.starter_of(assignment)
    return (
        path.startswith(f"{PACKAGE}/")
        or path in wanted.handout
        or any(root / path in _matching(root, pattern) for pattern in wanted.files)
        or any((root / folder / path).is_file() for folder in wanted.folders)
    )


def _matching(root: Path, pattern: str) -> list[Path]:
    """Return the files that a pattern of `starter.files` names; a name without wildcards need not exist."""
    if not re.search(r"[*?\[]", pattern):
        return [root / pattern]
    return sorted(path for path in root.glob(pattern) if path.is_file())


def _refuse_uncommitted(root: Path, folders: Sequence[str], paths: Iterable[str]) -> None:
    """Refuse a file that is not in git, since it would be in every starter by accident."""
    command = ["git", "-C", str(root), "ls-files", "-z", "--others", "--", *folders]
    environment = closed_environment({"safe.directory": "*"})
    done = subprocess.run(command, env=environment, capture_output=True, check=False)
    if done.returncode == 0:  # otherwise the staff repository is not in git
        names = {*done.stdout.decode("utf-8", "replace").split("\0")} & {*paths}
        if names:
            listed = ", ".join(sorted(names))
            raise GraderError(f"{listed} is not committed; commit it or remove it, then release")


def _owners(settings: Config, sources: Mapping[str, bytes], problems: Problems) -> dict[str, set[str]]:
    """Return path -> the assignments that it belongs to: one, if it has solutions."""
    owners: dict[str, set[str]] = {}
    for name, assignment in settings.assignments.items():
        for pattern in assignment.release.files if assignment.release else ():
            matching = fnmatch.filter(sources, pattern)
            with problems.collected():
                if not matching:
                    raise ConfigError(f"assignments.{name}.release.files: {pattern!r} matches no file")
            for path in matching:
                owners.setdefault(path, set()).add(name)
    for path, names in owners.items():
        if len(names) > 1 and path.endswith(_SOURCES):
            with problems.collected():
                if markers.regions(_text(sources[path], path), path):
                    raise ConfigError(
                        f"{path} has solutions and belongs to two assignments, {' and '.join(sorted(names))}"
                    )
    return owners


def _refuse_open(
    settings: Config, sources: Mapping[str, bytes], given: Mapping[str, str], now: datetime
) -> None:
    """Refuse to hand out a solution that somebody may still hand in."""
    wrong = []
    for other in sorted({*given.values()}):
        solved = [
            path
            for path, name in given.items()
            if name == other and path.endswith(_SOURCES) and markers.regions(_text(sources[path], path), path)
        ]
        if release_config(settings, other).complete or not solved:
            continue
        if whom := carried.still_open(settings, other, now):
            wrong.append(f"{', '.join(solved)} of {other}, which is open for " + "; ".join(whom))
    if wrong:
        raise GraderError(
            "the starter would hand out solutions that students may still hand in: " + "; ".join(wrong)
        )


def beside(settings: Config, wanted: StarterConfig) -> dict[str, bytes]:
    """Return what `wanted` names beside src/, without handouts: path in a starter -> content.

    Raises:
        GraderError: a file is missing.
    """
    problems = Problems()
    files = _Beside(settings, msgspec.structs.replace(wanted, handout={"-": "-"}), problems).files
    problems.refuse()
    return files


class _Beside:
    """What the configuration says that a starter has beside src/.

    Attributes:
        files: path in the starter -> content, without the handouts.
        documents: name of each handout in the starter -> its path in the course.
        tests, theirs: see `StarterConfig`, with patterns resolved.
    """

    def __init__(self, settings: Config, wanted: StarterConfig, problems: Problems) -> None:
        self._root, self._problems = settings.path("."), problems
        self._contact = settings.course.contact
        self._ours = [settings.state, Path(settings.file).resolve()]
        self._ours += [settings.path(assignment.suite) for assignment in settings.assignments.values()]
        self.files: dict[str, bytes] = {}
        self.documents = wanted.handout
        for pattern in wanted.files:
            with problems.collected():
                self._add_pattern(pattern)
        for folder in wanted.folders:
            with problems.collected():
                self._add_folder(folder)
        self.tests = tuple(name for name in wanted.tests if self._has(name, "tests", wanted))
        self.theirs = tuple(name for name in wanted.theirs if self._has(name, "theirs", wanted))
        with problems.collected():
            if not self.documents:
                raise ConfigError(
                    "the starter has no handout; name one: [starter] handout = "
                    '{ "README.md" = "docs/assignment.md" }'
                )

    def handouts(self, paths: frozenset[str], task: str, named: Iterable[str]) -> dict[str, bytes]:
        """Return the handouts: name in the starter -> content."""
        found = {}
        for name, document in self.documents.items():
            with self._problems.collected():
                text = handout.readme(
                    _text(_read(self._root / document), document),
                    paths,
                    document,
                    self.documents,
                    contact=self._contact,
                )
                found[name] = text.encode()
                missing = [] if re.search(rf"\b{re.escape(task)}\b", text) else [task]
                missing += [path for path in sorted(named) if path not in text]
                if missing:
                    raise GraderError(
                        f"{name} of the starter does not name {', '.join(missing)}, so students do not learn what to "
                        f"write; add it to {document}"
                    )
        return found

    def _has(self, name: str, key: str, wanted: StarterConfig) -> bool:
        with self._problems.collected():
            if name not in self.files and name not in wanted.files:  # otherwise the file itself is missing
                raise ConfigError(f"starter.{key}: the starter has no {name}; add it to starter.files")
        return name in self.files

    def _add_pattern(self, pattern: str) -> None:
        matching = _matching(self._root, pattern)
        if not matching:
            raise ConfigError(f"starter.files: {pattern!r} matches no file")
        for path in matching:
            self._add(path.relative_to(self._root).as_posix(), path)

    def _add_folder(self, folder: str) -> None:
        top = self._root / folder
        if not top.is_dir():
            raise ConfigError(f"starter.folders: there is no folder {top}")
        found = {
            path.relative_to(top).as_posix(): path
            for path in sorted(top.rglob("*"))
            if path.is_file() and not is_ignored(path.relative_to(top).as_posix())
        }
        _refuse_uncommitted(
            self._root, [f"{folder}/"], [path.relative_to(self._root).as_posix() for path in found.values()]
        )
        for name, path in found.items():
            self._add(name, path)

    def _add(self, name: str, path: Path) -> None:
        if name.partition("/")[0] in (PACKAGE, ".git"):
            raise ConfigError(f"starter: {name} cannot be beside {PACKAGE}/")
        if any(path.resolve().is_relative_to(place) for place in self._ours):
            raise ConfigError(f"starter: {path} is for the staff alone; it is never handed out")
        self.files[name] = _read(path)


def requirements(text: str, needed: Iterable[str]) -> str:
    """Return the lines of a requirements file that are needed, with the comments above them.

    Args:
        text: the file.
        needed: names of packages, or of distributions.

    Raises:
        GraderError: the file has no line for one of them.
    """
    providers = importlib.metadata.packages_distributions()
    missing = {name: {_normal(other) for other in (name, *providers.get(name, ()))} for name in needed}
    wanted = set[str]().union(*missing.values())
    sections: list[tuple[list[str], list[str]]] = [
        ([], [])
    ]  # comments, and the lines below them that are needed
    was_comment = True
    for line in text.splitlines():
        name = re.match(r"[A-Za-z0-9][A-Za-z0-9._-]*", line)
        if name is None:
            sections += [] if was_comment else [([], [])]
            sections[-1][0].append(line)
        elif _normal(name[0]) in wanted:
            sections[-1][1].append(line)
            missing = {key: names for key, names in missing.items() if _normal(name[0]) not in names}
        was_comment = name is None
    if missing:
        raise GraderError(
            f"requirements.txt has no line for {', '.join(missing)}, which a starter needs; add it"
        )
    kept = [section for section in sections if section[1] or section is sections[0]]
    return "".join(f"{line}\n" for comments, lines in kept for line in (*comments, *lines))


def _normal(distribution: str) -> str:
    return re.sub(r"[-_.]+", "-", distribution).lower()


def with_packages(text: str, packages: Sequence[str]) -> str:
    """Return the visible tests with the packages of an assignment in their line `PACKAGES = (…)`, if there is one."""
    listed = ", ".join(f'"{name}"' for name in packages) + ("," if len(packages) == 1 else "")
    return re.sub(r"^PACKAGES = \([^)]*\)", f"PACKAGES = ({listed})", text, flags=re.MULTILINE)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise GraderError(f"a starter needs {path}: {error.strerror}") from error


def _text(content: bytes, path: str) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise GraderError(f"{path} is not UTF-8: {error.reason}; save it as UTF-8") from error


def _tidy(files: dict[str, bytes], root: Path, cut: Sequence[str]) -> None:
    """Remove imports that are no longer used from src/ and from the files `cut`, and format them. This changes `files`.

    The course's settings of ruff hold, if it has some. Other files beside src/ are handed out as they are.

    Raises:
        GraderError: ruff is not installed, or finds a mistake, such as a name that only a solution defined.
    """
    sources = [path for path in files if path.startswith(f"{PACKAGE}/") and path.endswith(".py")] + [*cut]
    if not sources:
        return
    config = _ruff_settings(root)
    settings = ["--config", str(config)] if config else ["--isolated"]
    rules = [] if config else ["--select", "F"]
    with tempfile.TemporaryDirectory(prefix="autograder-release-") as name:
        folder = Path(name)
        for path in sources:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(files[path])
        unused = ["check", "--fix", "--quiet", "--exit-zero", "--select", "F401,I001", *settings]
        if modules := [path for path in sources if not path.endswith("__init__.py")]:
            _ruff(folder, *unused, *modules)
        _ruff(folder, "format", "--quiet", *settings, ".")
        _ruff(folder, "check", "--quiet", *rules, *settings, ".")
        for path in sources:
            files[path] = (folder / path).read_bytes()


def _ruff_settings(root: Path) -> Path | None:
    """Return the file with the course's settings of ruff, if there is one."""
    for name in _RUFF_FILES:
        path = root / name
        if path.is_file() and (
            name != "pyproject.toml" or "[tool.ruff" in path.read_text("utf-8", "replace")
        ):
            return path
    return None


def _ruff(folder: Path, *arguments: str) -> None:
    command = [sys.executable, "-m", "ruff", *arguments, "--no-cache"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if "No module named ruff" in done.stderr:
        raise GraderError("a release needs ruff; run: pip install 'autograder[release]'")
    if done.returncode:
        raise GraderError(f"the starter has mistakes; ruff {arguments[0]} says:\n{done.stdout}{done.stderr}")
