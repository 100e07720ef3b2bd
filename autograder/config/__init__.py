"""`autograder.toml`: the assignments of a course, with their suites, repositories, deadlines and limits.

The file lies beside `src/` and `hidden/`. The assignments are required; every other key has a default. A mistake is
reported with the file, the line, the key, and what is allowed there. docs/configuration.md lists the keys.

    schema    the tables and keys, their types and defaults
    secrets   secrets, from an environment variable or a file
    times     the times of an assignment
    toml      text -> tables; a mistake is reported with its line
    reading   the file and the environment -> `Config`
"""

from autograder.config.reading import Setting, find, load, parse, settings
from autograder.config.schema import (
    STATE_FOLDER,
    AssignmentConfig,
    Config,
    HostConfig,
    ReleaseConfig,
    SandboxConfig,
    ServiceConfig,
    StarterConfig,
)
from autograder.config.secrets import SECRET_VARIABLE

__all__ = [
    "SECRET_VARIABLE",
    "STATE_FOLDER",
    "AssignmentConfig",
    "Config",
    "HostConfig",
    "ReleaseConfig",
    "SandboxConfig",
    "ServiceConfig",
    "Setting",
    "StarterConfig",
    "find",
    "load",
    "parse",
    "settings",
]
