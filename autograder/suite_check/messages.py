"""Is a case's message fit for a student? One line, names what differs, shows no expected value. Heuristics: they point
at suspicious messages, and a reader decides."""

import re
from collections.abc import Iterable

MAX_CHARACTERS = 300
_NUMBER = r"[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?"
_EXPECTED_VALUE = re.compile(
    r"(?:expected|should be|instead of|must be|correct (?:value|answer) is|!=|==)"
    rf"\s*:?\s*(?:\[+\s*)?{_NUMBER}(?![\w(])",
    re.IGNORECASE,
)
_ARRAY = re.compile(rf"(?:array|tensor)\(|\[\s*{_NUMBER}(?:[,\s]+{_NUMBER}){{3,}}\s*\]")
_SHAPE_OR_COUNT = re.compile(r"\b(?:shape|dtype|keys|values|dimension|elements|version)\b")
_OPEN = ("the result is not what the task asks for", "assert ", "AssertionError")
_SUBJECT = re.compile(r"[A-Za-z_]\w*")


def complaints(message: str) -> list[str]:
    """Return what is suspicious about one message of a verdict `wrong`."""
    found = []
    if "\n" in message.strip():
        found.append("it has several lines; only the first 300 characters are shown, on one line")
    elif len(message) > MAX_CHARACTERS:
        found.append(f"it is longer than {MAX_CHARACTERS} characters and is cut")
    stated = _EXPECTED_VALUE.search(message)
    if stated is not None and not _SHAPE_OR_COUNT.search(message[: stated.start() + len("expected")]):
        found.append(f"it may show an expected value: {stated[0]!r}")
    if _ARRAY.search(message):
        found.append("it shows numbers of an array")
    if not message.strip() or message.strip().startswith(_OPEN) or not _SUBJECT.search(message):
        found.append("it does not say what differs: give `what=`, or a message of your own")
    elif re.match(r"the result(?:\[\d+\])? (?:differs|is|has)", message):
        found.append("it calls what differs `the result`: name the input with `what=`")
    return found


def of_cases(messages: Iterable[tuple[str, str]]) -> dict[str, list[tuple[str, str]]]:
    """Return case -> (complaint, one message) for messages (case, message), each complaint of a case once."""
    found: dict[str, dict[str, str]] = {}
    for case, message in messages:
        for complaint in complaints(message):
            found.setdefault(case, {}).setdefault(re.sub(r"'.*'", "", complaint), message)
    return {case: sorted(said.items()) for case, said in found.items()}
