"""`autograder ledger`: back up, restore and check the database of grades, and accept a new course secret.

The commands use the ledger that autograder.toml or AUTOGRADER_LEDGER_URL names. `--url` names another ledger. Everybody
who can list the processes of the machine can read a password in `--url`. On a shared machine, set the variable instead.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from autograder.cli.opened import opened_ledger
from autograder.cli.options import config_option, optional_config_option, who_option, why_option
from autograder.errors import ConfigError, GraderError

if TYPE_CHECKING:
    import sqlalchemy

_url = click.option(
    "--url",
    help="URL of the ledger: sqlite:///FILE or postgresql://… Default: the ledger in autograder.toml.",
)
_force = click.option("--force", is_flag=True, help="Replace the target if it exists already.")


@click.group()
def ledger() -> None:
    """Back up, restore and check the database of grades."""


@ledger.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@_url
@optional_config_option
@_force
def backup(file: Path, url: str | None, config_file: Path | None, force: bool) -> None:
    """Copy the ledger to FILE. The service may keep running."""
    from autograder.ledger import maintenance

    size = maintenance.backup(_chosen(url, config_file), file, force=force)
    click.echo(f"{file}: {size} bytes, verified")
    if url is None:
        _name_secret(config_file)


@ledger.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@_url
@optional_config_option
@_force
def restore(file: Path, url: str | None, config_file: Path | None, force: bool) -> None:
    """Restore the ledger from the backup FILE. Stop the service first."""
    from autograder.ledger import maintenance

    chosen = _chosen(url, config_file)
    aside = maintenance.restore(chosen, file, force=force)
    click.echo(f"{chosen.database} is restored from {file}")
    if aside:
        click.echo(f"the previous ledger is now {aside}")
    if url is None:
        _read_back(config_file)


@ledger.command()
@click.argument("commits", nargs=-1, metavar="[COMMIT]...")
@click.option(
    "--what", default="made by the staff", show_default=True, help="What the commits are, for people."
)
@_url
@optional_config_option
def own(commits: tuple[str, ...], what: str, url: str | None, config_file: Path | None) -> None:
    """Record commits that the staff made.

    They are not graded. COMMIT is a full id; without it, the recorded commits are listed. autograder release records
    its commits itself.
    """
    from autograder.ledger import Ledger

    chosen = _chosen(url, config_file)
    with Ledger.open(chosen.render_as_string(hide_password=False)) as opened:
        for commit in commits:
            new = opened.add_own_commit(commit, what)
            click.echo(f"{commit}: {'recorded' if new else 'was recorded before'}")
        if not commits:
            for commit, of in opened.own_commits().items():
                click.echo(f"{commit}  {of}")


@ledger.command()
@click.argument("file", required=False, type=click.Path(path_type=Path, exists=True, dir_okay=False))
@_url
@optional_config_option
def check(file: Path | None, url: str | None, config_file: Path | None) -> None:
    """Verify the ledger, a backup, or the archive of a course.

    Checks the database, the references between its rows, and whether every score is the sum of its cases. FILE is a
    backup, or an archive that autograder course archive wrote. Of an archive it also checks every file, and derives
    the gradebook again.
    """
    from autograder.ledger import maintenance
    from autograder.ledger.database import parse_url
    from autograder.term import archive

    if file is not None and url is not None:
        raise click.UsageError("give FILE or --url")
    if file is not None and archive.is_archive(file):
        found = archive.check(file)
    else:
        found = maintenance.check(parse_url(f"sqlite:///{file}") if file else _chosen(url, config_file))
    failed = 0
    for item in found:
        click.echo(f"{'ok  ' if item.ok else 'FAIL'}  {item.name}: {item.detail}")
        failed += not item.ok
    if failed:
        if file is not None:
            raise GraderError(f"{failed} checks failed; take another copy of {file}")
        raise GraderError(
            f"{failed} checks failed; keep a copy of the ledger as it is, then run: autograder ledger restore FILE"
        )


@ledger.command("accept-secret")
@config_option
@why_option
@who_option
def accept_secret(config_file: Path, why: str, who: str) -> None:
    """Accept a course secret that was changed on purpose.

    The secret of this machine counts from now on. Inputs of new submissions are drawn from it. Seals that were made
    with the old one are reported as made with another secret.
    """
    from autograder.service import belonging

    with opened_ledger(config_file) as (settings, opened):
        changed = belonging.accept_secret(settings, opened, who, why)
    click.echo("accepted" if changed else "this is the secret that the ledger knows; nothing was changed")


def _name_secret(config_file: Path | None) -> None:
    """Say which course secret belongs to a backup."""
    from autograder import config
    from autograder.grading import seal

    settings = config.load(config_file or config.find())
    kept = (
        f"the course secret is not in it: keep {settings.path(settings.secret_file)} or AUTOGRADER_SECRET too"
    )
    try:
        click.echo(f"{kept}; its seals have the key {seal.key_name(settings.secret(make=False))}")
    except ConfigError:
        click.echo(f"{kept}; this machine does not have it")


def _read_back(config_file: Path | None) -> None:
    """Put the files of hooks that were taken since the backup back into the spool, and say what comes next."""
    from autograder import config
    from autograder.course.course import Course
    from autograder.service.intake.spool import Spool

    course = Course.of(config.load(config_file or config.find()))
    given = Spool(course.spool()).give_back()
    click.echo(f"{given} files are back in the spool")
    click.echo(
        "start the service: it reads pushes that came after the backup from the spool, the hosts' records and the "
        "sealed feedback, and publishes again where a branch shows another score"
    )


def _chosen(url: str | None, config_file: Path | None) -> "sqlalchemy.URL":
    """Return the URL of the ledger. A relative path in `--url` starts from the current folder."""
    from autograder import config
    from autograder.ledger.database import parse_url

    if url is not None:
        return parse_url(url)
    settings = config.load(config_file or config.find())
    return parse_url(settings.ledger_url(), settings.path("."))
