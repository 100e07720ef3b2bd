"""Turns the templates into the files of a new course or a new assignment."""

import json
import keyword
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from autograder import config
from autograder.authoring.kinds import Kind
from autograder.config import Config
from autograder.config.reading import FILE_NAME
from autograder.errors import ConfigError, GraderError
from autograder.files import replace_file
from autograder.submission import TreeLimits

TEMPLATES = Path(__file__).parent / "templates"
REQUIREMENTS = "requirements.txt"
LINES = {
    "numpy": "numpy>=2.0,<3",
    "torch": "torch>=2.4,<3",
    "pybind11": "pybind11>=2.13,<4",
    "pytest": "pytest>=8.2,<10",
    "pytest-timeout": "pytest-timeout>=2.3,<3",
}
DEVICES = ["/dev/nvidia0", "/dev/nvidiactl", "/dev/nvidia-uvm"]
TOOLS = ("pytest", "pytest-timeout")
DEFAULT_HANDOUTS = ("README.md",)


@dataclass(frozen=True)
class Made:
    """What was made: the paths of new files, and of files that got more lines."""

    new: tuple[Path, ...]
    extended: tuple[Path, ...]


def make_course(folder: Path, course: str, repositories: Path | None = None) -> Made:
    """Make a course without assignments in a new or empty folder.

    Args:
        folder: the folder.
        course: the name of the course, for people.
        repositories: the folder of students' bare repositories, which is made if it is missing. None: the host is
            written down later.

    Raises:
        ConfigError: the folder is not empty, or the name has more than one line.
        GraderError: a file cannot be written.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"{folder} is not an empty folder; give a new one")
    if not course.strip() or not course.isprintable():
        raise ConfigError(f"{course!a:.100} cannot be the name of a course; use one line of text")
    host = f'[hosts.localhost]\nkind = "folder"\nbase = {json.dumps(str((repositories or Path("/srv/git")).resolve()))}'
    values = {
        "course": json.dumps(course, ensure_ascii=False)[1:-1],
        "host": host if repositories else "\n".join(f"#   {line}" for line in host.split("\n")),
    }
    files = dict(_rendered("course", values))
    if repositories:
        _make_folder(repositories)
    return Made(_write(folder, files), ())


def make_assignment(
    settings: Config | None,
    config_file: Path,
    name: str,
    kind: Kind,
    *,
    task: int | None = None,
    title: str = "",
    pattern: str = "",
) -> Made:
    """Add an assignment to a course: a stub, probes, cases, visible tests, a sample, a handout, its configuration.

    Args:
        settings: the course's configuration; None: it has no assignment yet.
        config_file: its autograder.toml.
        name: the assignment's name.
        kind: what it is about.
        task: the number of its task. None: the next one.
        title: for people. Empty: the kind's.
        pattern: of the repositories. Empty: that of the last assignment, with the name replaced, if it has one.

    Raises:
        ConfigError: the name cannot be used, or one of its files or the task exists already.
        GraderError: a file cannot be written.
    """
    module = name.replace("-", "_").lower()
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,31}", module) or keyword.iskeyword(module):
        raise ConfigError(
            f"{name!a:.100} cannot be the name of an assignment; use up to 32 letters, digits, '-' and '_' after "
            "a letter, such as b0"
        )
    if settings and name in settings.assignments:
        raise ConfigError(f"there is an assignment {name} already: {settings.where('assignments', name)}")
    number, title = _task(settings, task), title or kind.title
    root = config_file.resolve().parent
    reference = settings.reference if settings else "."
    handouts = list(settings.starter.handout if settings else ()) or DEFAULT_HANDOUTS
    values = _values(name, module, kind, number, title)
    files: dict[str, str] = {}
    for path, text in _rendered(kind.folder, values):
        if path in ("sample.py", "sample.cpp"):
            sample = f"samples/{name}/wrong-{kind.sample}/src"
            files[f"{sample}/{values['file'].removeprefix('src/')}"] = text
        elif path.startswith("hidden/"):
            files[f"hidden/{name}/{path.removeprefix('hidden/')}"] = text
        elif path.startswith("src/"):
            files[os.path.normpath(f"{reference}/{path}")] = text
        else:
            files[path] = text
    documents = dict(_rendered("every", values))
    used = {handout: f"docs/{module}{'.zh-CN' if 'zh' in handout else ''}.md" for handout in handouts}
    files |= {path: documents[path] for path in used.values()}
    package = root / reference / "src" / "__init__.py"
    init = package.read_text("utf-8") if package.is_file() else ""
    files |= {f"{path}/__init__.py": init for path in _packages(files, name)}
    there = [path for path in files if (root / path).exists()]
    if there:
        raise ConfigError(f"{', '.join(there)} exists already; remove it, or choose another name")
    tables = _tables(name, kind, values, used, pattern or _pattern(settings, name))
    text = config_file.read_text("utf-8").rstrip("\n") + "\n" + tables
    config.parse(text, config_file)  # before anything is written
    new = _write(root, files)
    extended = [config_file]
    if _add_requirements(root / REQUIREMENTS, kind):
        extended.append(root / REQUIREMENTS)
    _replace(config_file, text)
    return Made(new, tuple(extended))


def _packages(files: Mapping[str, str], name: str) -> list[str]:
    """Return the folders src/ of the samples, which need an __init__.py."""
    return sorted({path[: path.index("/src/") + 4] for path in files if path.startswith(f"samples/{name}/")})


def _task(settings: Config | None, task: int | None) -> int:
    """Return the number of the task: `task`, or the next one.

    Raises:
        ConfigError: another assignment has this task.
    """
    releases = {name: one.release for name, one in settings.assignments.items()} if settings else {}
    used = {
        int(found[1]): name
        for name, release in releases.items()
        if release and (found := re.fullmatch(r"Task(\d+)", release.task))
    }
    if task is None:
        return max(used, default=-1) + 1
    if task in used:
        raise ConfigError(f"Task{task} is the task of {used[task]}; choose another number")
    return task


def _pattern(settings: Config | None, name: str) -> str:
    """Return the pattern of another assignment's repositories with the new name, or an empty string."""
    for other, assignment in reversed(settings.assignments.items()) if settings else ():
        for pattern in assignment.repositories:
            if other in pattern:
                return pattern.replace(other, name)
    return ""


def _values(name: str, module: str, kind: Kind, number: int, title: str) -> dict[str, str]:
    file = "src/" + kind.file.replace("@module@", module)
    rows = list(enumerate(kind.cases, start=1))
    listed = " and ".join(f"`{package}`" for package in kind.packages)
    limits = TreeLimits()
    values = {
        "name": module,
        "assignment": name,
        "module": module,
        "Module": module.capitalize(),
        "number": str(number),
        "task": f"Task{number}",
        "title": title,
        "file": file,
        "devices": _devices(),
        "tests": f"test_{module}.py",
        "packages": f"the standard library and {listed}" if listed else "the standard library",
        "packages_zh": "标准库" + "".join(f"、`{package}`" for package in kind.packages),
        "cases": "\n".join(f"| Task{number} - Case{i} | {case.points} | {case.english} |" for i, case in rows)
        + "\n",
        "cases_zh": "\n".join(
            f"| Task{number} - Case{i} | {case.points} | {case.chinese} |" for i, case in rows
        )
        + "\n",
        "files": str(limits.files),
        "file_mib": str(limits.file_bytes >> 20),
        "total_mib": str(limits.total_bytes >> 20),
    }
    return values | {"hints": _filled(kind.hints, values), "hints_zh": _filled(kind.hints_zh, values)}


def _devices() -> str:
    """Return the line with the devices of a GPU. On a machine without one, the CPU stands for it."""
    real = json.dumps(DEVICES)
    if Path(DEVICES[0]).exists():
        return f"devices = {real}"
    return f'# devices = {real}\ndevices = ["/dev/null"]              # no GPU here: the CPU stands for it'


def _tables(
    name: str, kind: Kind, values: Mapping[str, str], handouts: Mapping[str, str], pattern: str
) -> str:
    packages = json.dumps(list(kind.packages))
    documents = ", ".join(f"{json.dumps(key)} = {json.dumps(value)}" for key, value in handouts.items())
    tools = f"tools = {json.dumps([*TOOLS, *kind.tools])}\n" if kind.tools else ""
    owned = values["file"] if values["file"].count("/") == 1 else values["file"].rpartition("/")[0] + "/*"
    repositories = f"repositories = [{json.dumps(pattern or f'course/{name}-*')}]"
    repositories = f"{'' if pattern else '# '}{repositories:36}  # course/{name}-ann is ann's"
    text = f"""
[assignments.{name}]
title = {json.dumps(values["title"], ensure_ascii=False)}
suite = "hidden/{name}"
packages = {packages}
preload = {packages}
{kind.tables}{repositories}
# zone = "Europe/Berlin"               # times are of this zone
# closes = "2026-09-15 23:59"
{kind.more}
[assignments.{name}.release]           # autograder release {name} --to DIR
task = "{values["task"]}"
files = ["{owned}"]
{tools}score = 0

[assignments.{name}.starter]
files = ["{values["tests"]}"]
handout = {{ {documents} }}
tests = ["{values["tests"]}"]
"""
    return _filled(text, values)


def _add_requirements(path: Path, kind: Kind) -> bool:
    """Add the lines that the kind needs to the students' requirements, if there is such a file."""
    if not path.is_file():
        return False
    text = path.read_text("utf-8")
    there = {
        re.split(r"[^A-Za-z0-9-]", line, maxsplit=1)[0].lower().replace("_", "-")
        for line in text.splitlines()
    }
    missing = [LINES[name] for name in (*kind.packages, *TOOLS, *kind.tools) if name not in there]
    if missing:
        _replace(path, text.rstrip("\n") + "\n" + "".join(f"{line}\n" for line in missing))
    return bool(missing)


def _rendered(folder: str, values: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield path and text of each template in a folder of `templates/`."""
    for template in sorted((TEMPLATES / folder).rglob("*.in")):
        path = template.relative_to(TEMPLATES / folder).as_posix()
        name = "/".join(re.sub(r"^dot-", ".", part) for part in path.removesuffix(".in").split("/"))
        yield _filled(name, values), _filled(template.read_text("utf-8"), values)


def _filled(text: str, values: Mapping[str, str]) -> str:
    return re.sub(r"@(\w+)@", lambda found: values.get(found[1], found[0]), text)


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise GraderError(f"cannot make {path}: {error.strerror}") from error


def _write(root: Path, files: Mapping[str, str]) -> tuple[Path, ...]:
    written = []
    try:
        for path, text in files.items():
            file = root / path
            file.parent.mkdir(parents=True, exist_ok=True)
            with file.open("x", encoding="utf-8", newline="\n") as stream:
                stream.write(text)
            written.append(file)
    except OSError as error:
        raise GraderError(f"cannot write {error.filename or root}: {error.strerror}") from error
    return tuple(written)


def _replace(path: Path, text: str) -> None:
    try:
        replace_file(path, text.encode(), path.stat().st_mode & 0o777)
    except OSError as error:
        raise GraderError(f"cannot write {path}: {error.strerror}") from error


def configuration(folder: Path) -> Path:
    """Return the configuration file of a course's folder."""
    return folder / FILE_NAME
