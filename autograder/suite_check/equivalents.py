"""Mutants that staff declared equivalent: not wrong, or wrong in a way that the assignment does not forbid.

`equivalent.toml` beside the suite holds a table for each, and says why:

    [[mutant]]
    id = "src/linear.py:ManualLinear.backward:detach:1a2b3c4d"
    reason = "W never requires grad here: backward runs under torch.no_grad()"
"""

import re
from pathlib import Path

import msgspec

from autograder.config import toml
from autograder.errors import ConfigError

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
        text = toml.decode(file.read_bytes(), str(file))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ConfigError(f"{file}: {error}") from error
    tables = [number for number, line in enumerate(text.splitlines(), 1) if re.match(r"\s*\[\[", line)]

    def place(index: int) -> str:
        return f"{file}:{tables[index] if index < len(tables) else 1}"

    try:
        declared = msgspec.convert(toml.loads(text, str(file)), _File).mutant
    except msgspec.ValidationError as error:
        found = re.search(r"\$\.mutant\[(\d+)\]", str(error))
        raise ConfigError(f"{place(int(found[1]) if found else 0)}: {error}") from error
    reasons: dict[str, str] = {}
    for index, one in enumerate(declared):
        if not one.reason.strip():
            raise ConfigError(f"{place(index)}: {one.id} needs a reason")
        if one.id in reasons:
            raise ConfigError(f"{place(index)}: {one.id} is declared twice")
        reasons[one.id] = one.reason.strip()
    return reasons
