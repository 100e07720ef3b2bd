"""Reads TOML that people wrote, and says on which line a mistake is."""

import re
import sys
from typing import Any

from autograder.errors import ConfigError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def decode(content: bytes, file: str) -> str:
    """Return the text of a TOML file. A byte order mark at its beginning is left out.

    Raises:
        ConfigError: the content is not UTF-8; the message has the line.
    """
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError(
            f"{file}:{line}: this is not text in UTF-8; save the file in that encoding"
        ) from None


def loads(text: str, file: str) -> dict[str, Any]:
    """Return the content of a TOML document.

    Raises:
        ConfigError: the text is not TOML; the message has the line.
    """
    try:
        found: dict[str, Any] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        place = re.search(r" \(at (?:line (\d+), column \d+|end of document)\)$", str(error))
        line = int(place[1]) if place and place[1] else max(1, len(text.splitlines()))
        message = str(error)[: place.start()] if place else str(error)
        if message.startswith("Cannot "):  # overwrite a value, declare a table twice, and the like
            message += "; a key or table may stand in the file only once: change the one that is there"
        raise ConfigError(f"{file}:{line}: not TOML: {message}") from None
    return found
