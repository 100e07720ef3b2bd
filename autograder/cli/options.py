"""Options that several commands have."""

import getpass
import os
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from autograder.course.course import Course
    from autograder.ledger import RepositoryName


def _found(_context: click.Context, _option: click.Parameter, value: Path | None) -> Path:
    from autograder import config

    return value or config.find()


def _config_option(**settings: Any) -> Callable[[click.decorators.FC], click.decorators.FC]:
    return click.option(
        "--config",
        "config_file",
        type=click.Path(path_type=Path, dir_okay=False, exists=True),
        help="Path of autograder.toml. Default: $AUTOGRADER_CONFIG, or the file of the course that autograder was "
        "installed from.",
        **settings,
    )


config_option = _config_option(callback=_found)
"""The path of the configuration, as the parameter `config_file`."""
optional_config_option = _config_option()
"""The same option for commands that may not need a configuration. The parameter is None if the option is not given."""


def user() -> str:
    """Return the name of the user who runs this program, for the audit trail."""
    try:
        return os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):  # this user id has no name
        return f"user {os.getuid()}"


def moment_of(course: "Course", written: str) -> datetime:
    """Return the instant of a time that was given as an option; without an offset, it is in the zone of the course.

    Raises:
        DeadlineError: it is not a time.
    """
    from autograder.config.times import instant

    try:
        given: object = datetime.fromisoformat(written.replace("Z", "+00:00"))
    except ValueError:
        given = written
    return instant(given, course.zone(), later=True)


repositories_option = click.option(
    "--repo",
    "repositories",
    multiple=True,
    metavar="HOST/OWNER/NAME",
    help="Only this repository. May be repeated.",
)
"""Names of repositories, as the parameter `repositories`; `named` reads them."""


def named(repositories: tuple[str, ...]) -> "list[RepositoryName]":
    """Return the names of repositories that were given as an option.

    Raises:
        LedgerError: one is not a name.
    """
    from autograder.ledger import RepositoryName

    return [RepositoryName.parse(name) for name in repositories]


why_option = click.option("--why", required=True, help="The reason, for the audit trail.")
"""The reason of an action of staff, as the parameter `why`."""
who_option = click.option(
    "--who",
    default=lambda: user(),
    show_default="the user's name",
    help="Your name, for the audit trail.",
)
"""Who acts, as the parameter `who`."""
