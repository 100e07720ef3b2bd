"""Makes the tree of a starter, path -> content: the files that students receive for one assignment.

The tree is not written to disk here.
"""

import fnmatch
import importlib.metadata
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from autograder.config import Config, ReleaseConfig
from autograder.errors import ConfigError, GraderError, SubmissionError
from autograder.git.process import closed_environment
from autograder.release import handout, markers
from autograder.submission import PACKAGE, read_tree

REQUIREMENTS = "requirements.txt"
VISIBLE = "test_toy.py"
TOP = (
    VISIBLE,
    "test_with_ref.py",
    "test_score.py",
    "test_script.sh",
    "run_docker.sh",
    "Dockerfile",
    REQUIREMENTS,
)
WORKFLOW = ".github/workflows/grade.yml"
STUDENTS = (VISIBLE, "test_with_ref.py")  # students may change these, besides the files with stubs
_SOURCES = (".py", ".cpp", ".hpp", ".cu", ".cuh")


@dataclass(frozen=True)
class Starter:
    """What students receive for one assignment.

    Attributes:
        assignment: its name in autograder.toml.
        title: its title, for people.
        files: path -> content.
        theirs: the files that students work in: those with stubs, and the visible tests.
        withheld: path of a source file -> the lines of its solutions that are not in the starter.
        public: lines that may be seen although a solution or a hidden case contains them too. These are the declared
            lines, and the lines of solutions that are handed out.
    """

    assignment: str
    title: str
    files: dict[str, bytes]
    theirs: frozenset[str]
    withheld: dict[str, list[str]]
    public: frozenset[str]


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


def build(settings: Config, assignment: str) -> Starter:
    """Return the starter of `assignment`, formatted.

    Raises:
        ConfigError: the release is not declared, or a pattern matches no file.
        MarkerError: a solution is not marked correctly.
        GraderError: a file is missing, or ruff finds a mistake in what remains of a file.
    """
    release = release_config(settings, assignment)
    root = settings.path(settings.reference)
    try:
        sources = read_tree(root)
    except SubmissionError as error:
        raise GraderError(f"{root}: {error}") from error
    _refuse_uncommitted(root, sources)
    owners = _owners(settings, sources)
    files: dict[str, bytes] = {}
    stubs: set[str] = set()
    withheld: dict[str, list[str]] = {}
    public = {line for name in (assignment, *release.given) for line in release_config(settings, name).public}
    for path, content in sources.items():
        owner = owners.get(path)
        if not path.endswith(_SOURCES):
            if owner in (None, assignment, *release.given):
                files[path] = content
            continue
        text = _text(content, path)
        solved = owner in release.given or (owner == assignment and release.complete)
        if owner is None and markers.regions(text, path):
            raise ConfigError(f"{path} has solutions, but belongs to no assignment's release.files")
        if owner in (None, assignment, *release.given):
            new = markers.solved(text, path) if solved else markers.stripped(text, path, release.task)
            files[path] = new.encode()
        lines = markers.solution_lines(text, path)
        if solved:
            public.update(lines)
        elif lines:
            withheld[path] = lines
            if owner == assignment:
                stubs.add(path)
    files |= _beside_src(root)
    packages = settings.assignment(assignment).importable()
    needed = (*packages, *release.tools)
    files[REQUIREMENTS] = requirements(_text(files[REQUIREMENTS], REQUIREMENTS), needed).encode()
    files[VISIBLE] = with_packages(_text(files[VISIBLE], VISIBLE), packages).encode()
    files |= _readmes(root, frozenset(files))
    _tidy(files, root)
    title = settings.assignment(assignment).title or assignment
    theirs = frozenset({*stubs, *(path for path in STUDENTS if path in files)})
    return Starter(assignment, title, dict(sorted(files.items())), theirs, withheld, frozenset(public))


def _refuse_uncommitted(root: Path, sources: dict[str, bytes]) -> None:
    """Refuse a file under src/ that is not in git, since it would be in every starter by accident."""
    command = ["git", "-C", str(root), "ls-files", "-z", "--others", "--", f"{PACKAGE}/"]
    environment = closed_environment({"safe.directory": "*"})
    done = subprocess.run(command, env=environment, capture_output=True, check=False)
    if done.returncode == 0:  # otherwise the staff repository is not in git
        for name in done.stdout.decode("utf-8", "replace").split("\0"):
            if name in sources:
                raise GraderError(f"{name} is not committed; commit it or remove it, then release")


def _owners(settings: Config, sources: dict[str, bytes]) -> dict[str, str]:
    """Return path -> the assignment that it belongs to."""
    owners: dict[str, str] = {}
    for name, assignment in settings.assignments.items():
        for pattern in assignment.release.files if assignment.release else ():
            matching = fnmatch.filter(sources, pattern)
            if not matching:
                raise ConfigError(f"assignments.{name}.release.files: {pattern!r} matches no file")
            for path in matching:
                if owners.setdefault(path, name) != name:
                    raise ConfigError(f"{path} belongs to two assignments, {owners[path]} and {name}")
    return owners


def _beside_src(root: Path) -> dict[str, bytes]:
    files = {name: _read(root / name) for name in TOP}
    files[".gitignore"] = _read(root / "starter" / "gitignore")
    files[WORKFLOW] = _read(root / "starter" / "github" / "workflows" / "grade.yml")
    return files


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


def _readmes(root: Path, paths: frozenset[str]) -> dict[str, bytes]:
    return {
        name: handout.readme(_text(_read(root / "docs" / source), source), paths).encode()
        for name, source in handout.READMES.items()
    }


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


def _tidy(files: dict[str, bytes], root: Path) -> None:
    """Remove imports that are no longer used, and format the files. This changes `files`.

    Raises:
        GraderError: ruff is not installed, or finds a mistake, such as a name that only a solution defined.
    """
    config = root / "pyproject.toml"
    settings = ["--config", str(config)] if config.is_file() else ["--isolated"]
    rules = [] if config.is_file() else ["--select", "F"]
    with tempfile.TemporaryDirectory(prefix="autograder-release-") as name:
        folder = Path(name)
        for path in files:
            if path.endswith(".py"):
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                (folder / path).write_bytes(files[path])
        sources = [path for path in files if path.startswith(f"{PACKAGE}/")]
        unused = ["check", "--fix", "--quiet", "--exit-zero", "--select", "F401,I001", *settings]
        _ruff(folder, *unused, *(path for path in sources if not path.endswith("__init__.py")))
        _ruff(folder, "format", "--quiet", *settings, PACKAGE)
        _ruff(folder, "check", "--quiet", *rules, *settings, ".")
        _ruff(folder, "format", "--check", "--quiet", *settings, ".")
        for path in files:
            if path.endswith(".py"):
                files[path] = (folder / path).read_bytes()


def _ruff(folder: Path, *arguments: str) -> None:
    paths = [path for path in arguments if not path.endswith((".cpp", ".hpp"))]
    command = [sys.executable, "-m", "ruff", *paths, "--no-cache"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if "No module named ruff" in done.stderr:
        raise GraderError("a release needs ruff; run: pip install 'autograder[release]'")
    if done.returncode:
        raise GraderError(f"the starter has mistakes; ruff {arguments[0]} says:\n{done.stdout}{done.stderr}")
