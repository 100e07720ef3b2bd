"""`autograder ledger`: back up, restore and check the database of grades.

The ledger is the one of autograder.toml, or of AUTOGRADER_LEDGER_URL. `--url` names another; a password in it can
be seen by whoever lists processes, so on a shared machine use the variable.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from autograder.cli.options import optional_config_option
from autograder.errors import GraderError

if TYPE_CHECKING:
    import sqlalchemy

_url = click.option("--url", help="sqlite:///FILE or postgresql://…; default: what autograder.toml says")
_force = click.option("--force", is_flag=True, help="replace what is there")


@click.group()
def ledger() -> None:
    """Back up, restore and check the database of grades."""


@ledger.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@_url
@optional_config_option
@_force
def backup(file: Path, url: str | None, config_file: Path | None, force: bool) -> None:
    """Copy the ledger to FILE while the service goes on."""
    from autograder.ledger import maintenance

    size = maintenance.backup(_chosen(url, config_file), file, force=force)
    click.echo(f"{file}: {size} bytes, verified")


@ledger.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@_url
@optional_config_option
@_force
def restore(file: Path, url: str | None, config_file: Path | None, force: bool) -> None:
    """Make the ledger what the backup FILE holds. Stop the service first."""
    from autograder.ledger import maintenance

    chosen = _chosen(url, config_file)
    aside = maintenance.restore(chosen, file, force=force)
    click.echo(f"{chosen.database} is restored from {file}")
    if aside:
        click.echo(f"what was there is now {aside}")


@ledger.command()
@_url
@optional_config_option
def check(url: str | None, config_file: Path | None) -> None:
    """Verify the ledger: the file, its references, and that every score is the sum of its cases."""
    from autograder.ledger import maintenance

    failed = 0
    for item in maintenance.check(_chosen(url, config_file)):
        click.echo(f"{'ok  ' if item.ok else 'FAIL'}  {item.name}: {item.detail}")
        failed += not item.ok
    if failed:
        raise GraderError(
            f"{failed} checks failed; keep a copy of the ledger as it is, then autograder ledger restore FILE"
        )


def _chosen(url: str | None, config_file: Path | None) -> "sqlalchemy.URL":
    """Return the URL to work on; on the command line a relative file is relative to the current folder."""
    from autograder import config
    from autograder.ledger.database import parse_url

    if url is not None:
        return parse_url(url)
    settings = config.load(config_file or config.find())
    return parse_url(settings.ledger_url(), settings.path("."))
