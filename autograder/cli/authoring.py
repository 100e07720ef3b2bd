"""`autograder init` and `autograder new`: a new course, a new assignment."""

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from autograder.cli.options import config_option

if TYPE_CHECKING:
    from autograder.authoring.kinds import Kind
    from autograder.authoring.scaffold import Made

_Command = Callable[..., None]


def _kind_options(command: _Command) -> _Command:
    """Add the options that choose a kind of assignment. Without one, it is about NumPy."""
    for name, about in (
        ("cuda", "torch on a GPU, with a case for speed"),
        ("cpp", "C++ that Python calls"),
        ("plain", "Python without packages"),
    ):
        command = click.option(f"--{name}", "kind", flag_value=name, help=f"An assignment about {about}.")(
            command
        )
    return command


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--name", "course", default="", help="Name of the course, for people. Default: the folder's name."
)
@click.option("--first", default="a0", show_default=True, help="Name of the first assignment.")
@click.option(
    "--git",
    "repositories",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of this machine for students' bare repositories. Default: the host is written down later.",
)
@_kind_options
def init(folder: Path, course: str, first: str, repositories: Path | None, kind: str | None) -> None:
    """Make a course in a new folder, with a first assignment.

    The course is a folder with autograder.toml; the program stays where it is installed. Without an option, the first
    assignment is about NumPy.
    """
    from autograder.authoring import scaffold

    course = course or folder.resolve().name
    made = scaffold.make_course(folder, course, repositories)
    file = scaffold.configuration(folder)
    _show(made, folder)
    pattern = f"course/{first}-*" if repositories else ""
    _show(scaffold.make_assignment(None, file, first, _kind(kind), pattern=pattern), folder)
    click.echo(f"\nNext:\n  export AUTOGRADER_CONFIG={shlex.quote(str(file.resolve()))}")
    _next(first)


@click.command()
@click.argument("assignment")
@click.option("--task", type=click.IntRange(0, 999), help="Number of its task. Default: the next one.")
@click.option("--title", default="", help="Title, for people.")
@_kind_options
@config_option
def new(assignment: str, task: int | None, title: str, kind: str | None, config_file: Path) -> None:
    """Add an assignment that works as it is, to be changed.

    It has a function to write with its solution, probes, three cases, visible tests, a wrong sample, a handout and its
    configuration. Without an option, it is about NumPy.
    """
    from autograder import config
    from autograder.authoring import scaffold

    settings = config.load(config_file)
    made = scaffold.make_assignment(settings, config_file, assignment, _kind(kind), task=task, title=title)
    _show(made, config_file.parent)
    click.echo("\nNext:")
    _next(assignment)


def _kind(name: str | None) -> "Kind":
    from autograder.authoring import kinds

    return kinds.BY_NAME[name or "numpy"]


def _show(made: "Made", folder: Path) -> None:
    top = folder.resolve()
    for word, paths in (("new", made.new), ("more", made.extended)):
        for path in paths:
            inner = path.resolve()
            click.echo(f"{word:5} {inner.relative_to(top) if inner.is_relative_to(top) else inner}")


def _next(assignment: str) -> None:
    for command, meaning in (
        ("config check", "the reference passes the suite"),
        (f"grade samples/{assignment} -a {assignment}", "the wrong sample loses points"),
        (f"suite check {assignment}", "do wrong solutions lose points?"),
        (f"release {assignment} --to DIR", "what students get; in a git repository, commit before"),
    ):
        click.echo(f"  autograder {command:32} # {meaning}")
