"""`autograder serve`, `worker` and `status`: run the grading service, and see how it goes."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from autograder.cli.options import config_option

if TYPE_CHECKING:
    from autograder.config.schema import QueueName


def _queues(_context: click.Context, _option: click.Parameter, value: str | None) -> "tuple[QueueName, ...]":
    from autograder.config.schema import QUEUES

    if value is None:
        return ()
    names = {part.strip() for part in value.split(",")}
    if not names <= set(QUEUES):
        raise click.BadParameter(f"allowed are {' and '.join(QUEUES)}, separated by a comma")
    return tuple(queue for queue in QUEUES if queue in names)


_queues_option = click.option(
    "--queues",
    callback=_queues,
    metavar="QUEUE[,QUEUE]",
    help="Take jobs from these queues: cpu, gpu or cpu,gpu. Default: those that assignments use.",
)
_name_option = click.option(
    "--name", default="", help="Name of this machine among those with workers. Default: its host name."
)


@click.command()
@config_option
@click.option("--listen", metavar="ADDRESS:PORT", default="", help="Default: `listen` in [service].")
@_queues_option
@click.option(
    "--workers",
    type=click.IntRange(0, 256),
    default=1,
    show_default=True,
    help="Number of jobs that run at a time. 0: only take pushes, workers elsewhere grade them.",
)
@_name_option
def serve(config_file: Path, listen: str, queues: "tuple[QueueName, ...]", workers: int, name: str) -> None:
    """Take pushes, grade them and publish feedback.

    Runs the web, the reconciler and workers. Logs go to standard error.
    """
    from autograder.service import logs
    from autograder.service import serve as service

    logs.set_up()
    service.run(
        config_file, say=click.echo, web=True, listen=listen, queues=queues, workers=workers, name=name
    )


@click.command()
@config_option
@_queues_option
@click.option(
    "--workers",
    type=click.IntRange(1, 256),
    default=1,
    show_default=True,
    help="Number of jobs that run at a time, each in a process of its own.",
)
@_name_option
@click.option("--child", is_flag=True, hidden=True)
def worker(config_file: Path, queues: "tuple[QueueName, ...]", workers: int, name: str, child: bool) -> None:
    """Run further workers, on this machine or another one.

    Other machines need databases on PostgreSQL.
    """
    from autograder.service import logs
    from autograder.service import serve as service

    def silent(_line: str) -> None:
        pass

    logs.set_up()
    service.run(
        config_file,
        say=silent if child else click.echo,
        web=False,
        queues=queues,
        workers=workers,
        name=name,
        child=child,
    )


@click.command()
@config_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def status(config_file: Path, as_json: bool) -> None:
    """Show jobs by state, workers, queues, and what needs staff."""
    from autograder.service import status as overview

    found = overview.look(config_file)
    if as_json:
        click.echo(json.dumps(found, ensure_ascii=False, indent=2))
    else:
        for line in overview.lines(found):
            click.echo(line)
