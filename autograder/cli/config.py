"""`autograder config`: check the configuration, and show each value with its source. No secret is shown."""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from autograder.cli.options import config_option
from autograder.errors import ConfigError

if TYPE_CHECKING:
    from autograder.config import Config, Setting


@click.group("config")
def config_group() -> None:
    """Check and show the configuration."""


@config_group.command()
@config_option
@click.option(
    "--suites/--no-suites",
    default=True,
    help="Start the sandbox and every suite, and let the reference pass it. This takes seconds. Default: yes.",
)
def check(config_file: Path, suites: bool) -> None:
    """Check the configuration, its files, the suites and the sandbox.

    Shows when each assignment opens and closes, in words. Run this as the account of the service. The exit status is 2
    when there is a problem.
    """
    from autograder import config
    from autograder.course.course import Course
    from autograder.service import readiness

    loaded = config.load(config_file)
    course = Course.of(loaded)
    for line in course.calendar():
        click.echo(f"      {line}")
    problems, notes = readiness.recorded(course)
    problems, notes = course.problems() + problems, course.notes() + notes
    found = readiness.tried(loaded, config_file, list(loaded.assignments), again=True) if suites else ()
    for one in found:
        if one.problem:
            problems.append(one.problem)
        elif one.skipped:
            notes.append(f"{loaded.where('assignments', one.assignment)}: not tried: {one.skipped}")
        else:
            click.echo(f"ok    {one.assignment}: the sandbox starts, and the reference passes the suite")
    for note in notes:
        click.echo(f"note  {note}")
    for problem in problems:
        click.echo(f"FAIL  {problem}")
    if problems:
        raise ConfigError(
            f"{config_file}: {len(problems)} problem{'s' * (len(problems) > 1)}; fix what is listed above"
        )
    hosts = ", ".join(course.config.hosts) or "none (folders can be graded, pushes cannot)"
    click.echo(f"ok    {config_file}: {', '.join(course.config.assignments)}; hosts: {hosts}")


@config_group.command()
@config_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def show(config_file: Path, as_json: bool) -> None:
    """Show every key with its value and its source.

    The source is the file and line, an environment variable, or the default.
    """
    from autograder import config

    rows = [(item.key, shown(item), item.source) for item in config.settings(config_file)]
    rows += _secrets(config.load(config_file))
    if as_json:
        click.echo(
            json.dumps({key: {"value": value, "source": source} for key, value, source in rows}, indent=2)
        )
        return
    click.echo(f"# {config_file}")
    for key, value, source in rows:
        click.echo(f"{f'{key} = {json.dumps(value, ensure_ascii=False)}':70}  # {source}")


def shown(setting: "Setting") -> Any:
    """Return the value of a key in a form that may be shown. A URL is returned without its password."""
    from autograder.ledger.database import mask

    if isinstance(setting.value, str) and "://" in setting.value:
        return mask(setting.value)
    return setting.value


def _secrets(config: "Config") -> list[tuple[str, str, str]]:
    """Return a row for each secret that says whether it is set, and where. No row holds a secret."""
    from autograder.config import secrets
    from autograder.hosts import KINDS

    wanted = [
        ("course secret", secrets.SECRET_VARIABLE, config.secret_file),
        ("staff token", secrets.STAFF_TOKEN_VARIABLE, config.service.staff_token_file),
        ("password for mail", secrets.SMTP_PASSWORD_VARIABLE, config.notices.smtp_password_file),
        ("webhook of notices", secrets.NOTICES_WEBHOOK_VARIABLE, config.notices.webhook_file),
    ]
    for name, host in config.hosts.items():
        wanted.append((f"token of {name}", secrets.of_host(secrets.TOKEN_VARIABLE, name), host.token_file))
        variable = secrets.of_host(secrets.APP_KEY_VARIABLE, name)
        wanted.append((f"key of the GitHub App of {name}", variable, host.app_key_file))
        if not KINDS[host.kind].is_folder:
            variable = secrets.of_host(secrets.WEBHOOK_SECRET_VARIABLE, name)
            wanted.append((f"webhook secret of {name}", variable, host.webhook_secret_file))
    rows = []
    for what, variable, file in wanted:
        if os.environ.get(variable):
            rows.append((what, "***", variable))
        elif file and config.path(file).is_file():
            rows.append((what, "***", str(config.path(file))))
        else:
            rows.append((what, "", f"{variable} is not set" + (f", no file {file}" if file else "")))
    return rows
