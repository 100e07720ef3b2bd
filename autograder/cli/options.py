"""Options that several commands have."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click


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
"""The same for commands that can do without: None where the option is not given."""
