"""`autograder.toml`: what is graded with what, for whom, until when, and within which limits.

One file beside `src/` and `hidden/`; every key has a sane default but the assignments themselves. A mistake
in it is reported with the file, the line, the key, and what is allowed there. docs/configuration.md lists the keys.

    schema       the tables and keys, what their values may be
    secrets      secrets: from a variable of the environment, or from a file
    reading      the file and the environment -> Config
"""

from autograder.config.reading import CONFIG_VARIABLE, FILE_NAME, Setting, find, load, parse, settings
from autograder.config.schema import (
    STATE_FOLDER,
    AssignmentConfig,
    BuildConfig,
    Config,
    FeedbackConfig,
    HostConfig,
    LedgerConfig,
    ReleaseConfig,
    SandboxConfig,
    ServiceConfig,
)
from autograder.config.secrets import SECRET_VARIABLE

__all__ = [
    "CONFIG_VARIABLE",
    "FILE_NAME",
    "SECRET_VARIABLE",
    "STATE_FOLDER",
    "AssignmentConfig",
    "BuildConfig",
    "Config",
    "FeedbackConfig",
    "HostConfig",
    "LedgerConfig",
    "ReleaseConfig",
    "SandboxConfig",
    "ServiceConfig",
    "Setting",
    "find",
    "load",
    "parse",
    "settings",
]
