"""`autograder notices`: show what staff were told, and try whether messages arrive."""

import json
from datetime import datetime, timezone
from pathlib import Path

import click

from autograder.cli.options import config_option
from autograder.errors import ConfigError, GraderError


@click.command()
@click.option("--test", "test", is_flag=True, help="Send a message that says that it is a test.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@config_option
def notices(test: bool, as_json: bool, config_file: Path) -> None:
    """Show what staff were told by mail or webhook.

    Lists what was told and has not ended. The table [notices] in autograder.toml says who is told.
    """
    from autograder import config
    from autograder.service import channels
    from autograder.service import notices as service

    settings = config.load(config_file)
    senders = channels.configured(settings)
    if not senders:
        raise ConfigError(
            f'{settings.where("notices")}: nobody is told: add mail_to = ["ADDRESS"] or webhook_file to [notices]'
        )
    if test:
        failed = 0
        for name, send in senders.items():
            try:
                send(service.test_message(settings, datetime.now(timezone.utc)))
                click.echo(f"ok    {name}: sent")
            except GraderError as error:
                failed += 1
                click.echo(f"FAIL  {name}: {error}")
        if failed:
            raise GraderError(f"{failed} of {len(senders)} messages could not be sent; correct [notices]")
        return
    told = service.recall(settings.state / service.FILE)
    if as_json:
        found = {
            name: {
                "told": list(told[name].lines.values()) if name in told else [],
                "failed": told[name].failed if name in told else "",
            }
            for name in senders
        }
        click.echo(json.dumps(found, indent=2, ensure_ascii=False))
        return
    for name in senders:
        one = told.get(name, service.Told())
        for line in one.lines.values():
            click.echo(f"{name:8} {line}")
        if one.failed:
            click.echo(f"{name:8} the last message could not be sent: {one.failed}")
        if not one.lines:
            click.echo(f"{name:8} nothing needs staff")
