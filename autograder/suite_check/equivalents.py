"""Mutants that staff declared equivalent: not wrong, or wrong in a way that the assignment does not forbid.

`equivalent.toml` beside the suite holds a table for each, and says why:

    [[mutant]]
    id = "src/linear.py:ManualLinear.backward:detach:1a2b3c4d"
    reason = "W never requires grad here: backward runs under torch.no_grad()"
"""

import sys
from pathlib import Path

import msgspec

from autograder.errors import ConfigError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FILE = "equivalent.toml"
MOST = 0.05
"""The part of an assignment's mutants that may be declared."""


class _Declared(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    id: str
    reason: str


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    mutant: tuple[_Declared, ...] = ()


def read(suite: Path) -> dict[str, str]:
    """Return the id of each declared mutant with the reason; nothing where the suite has no such file.

    Raises:
        ConfigError: the file is not what it must be, a reason is missing, or a mutant is declared twice.
    """
    file = suite / FILE
    try:
        declared = msgspec.convert(tomllib.loads(file.read_text("utf-8-sig")), _File).mutant
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:  # the errors of msgspec and tomllib are ValueErrors
        raise ConfigError(f"{file}: {error}") from error
    reasons: dict[str, str] = {}
    for one in declared:
        if not one.reason.strip():
            raise ConfigError(f"{file}: {one.id} needs a reason")
        if one.id in reasons:
            raise ConfigError(f"{file}: {one.id} is declared twice")
        reasons[one.id] = one.reason.strip()
    return reasons
