"""`autograder serve`, `worker` and `status`: run the grading service, and see how it goes."""

import json
from pathlib import Path

import click

from autograder.cli.options import config_option

QUEUES = ("cpu", "gpu")


_name = click.option("--name", default="", help="of this machine among the workers; default: its host name")


def _queues(_context: click.Context, _option: click.Parameter, value: str | None) -> tuple[str, ...]:
    if value is None:
        return ()
    names = tuple(dict.fromkeys(part.strip() for part in value.split(",")))
    if not set(names) <= set(QUEUES):
        raise click.BadParameter(f"allowed are {' and '.join(QUEUES)}, with a comma between them")
    return names


_queues_option = click.option(
    "--queues", callback=_queues, help="cpu, gpu or cpu,gpu: which to take jobs from; default: those in use"
)


def _say(line: str) -> None:
    click.echo(line)


@click.command()
@config_option
@click.option("--listen", default="", help="ADDRESS:PORT; default: [service] listen")
@_queues_option
@click.option(
    "--slots",
    type=click.IntRange(0, 256),
    default=1,
    show_default=True,
    help="jobs at a time; 0: take pushes, and let workers elsewhere grade them",
)
@_name
def serve(config_file: Path, listen: str, queues: tuple[str, ...], slots: int, name: str) -> None:
    """Take pushes, grade them and publish feedback.

    Runs the web, the reconciler and workers. Logs go to standard error.
    """
    from autograder.service import logs
    from autograder.service import serve as service

    logs.set_up()
    service.serve(config_file, say=_say, listen=listen, queues=queues, slots_wanted=slots, name=name)


@click.command()
@config_option
@_queues_option
@click.option(
    "--slots",
    type=click.IntRange(1, 256),
    default=1,
    show_default=True,
    help="jobs at a time; a process each",
)
@_name
@click.option("--child", is_flag=True, hidden=True)
def worker(config_file: Path, queues: tuple[str, ...], slots: int, name: str, child: bool) -> None:
    """Run further workers, on this machine or another one.

    Other machines need databases on PostgreSQL.
    """
    from autograder.service import logs
    from autograder.service import serve as service

    logs.set_up()
    service.work(config_file, say=_say, queues=queues, slots_wanted=slots, name=name, child=child)


@click.command()
@config_option
@click.option("--json", "as_json", is_flag=True, help="for programs")
def status(config_file: Path, as_json: bool) -> None:
    """Show jobs by state, workers, queues, and what needs staff."""
    from autograder.service import status as overview

    found = overview.look(config_file)
    if as_json:
        click.echo(json.dumps(found, ensure_ascii=False, indent=2))
    else:
        for line in overview.lines(found):
            click.echo(line)
