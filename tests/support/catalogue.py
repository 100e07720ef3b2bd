"""The message catalogues and the sentences in the code.

`python -m tests.support.catalogue` adds the sentences of `tell` and `tell_count` that a catalogue lacks, without a
translation, and removes those that no code uses any more. Then write the translations into the file.
"""

import ast
import io
import string
import sys
from pathlib import Path

from babel.messages import Catalog
from babel.messages.pofile import read_po, write_po

from autograder import language

ROOT = Path(__file__).resolve().parents[2]
KEYWORDS = {"tell": 1, "tell_count": 2}  # how many of the arguments are sentences
OTHERS = tuple(each for each in language.LANGUAGES if each != language.ENGLISH)
HEADER = r"""msgid ""
msgstr ""
"Language: {folder}\n"
"Content-Type: text/plain; charset=utf-8\n"
"Plural-Forms: nplurals=1; plural=0;\n"

"""


def calls(folder=ROOT / "autograder"):
    """Yield each call of `tell` and `tell_count` below `folder`: where it is, and the arguments that are sentences."""
    for path in sorted(folder.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in KEYWORDS:
                yield f"{path}:{node.lineno}", node.args[: KEYWORDS[node.func.id]]


def sentences(folder=ROOT / "autograder"):
    """Return the ids of all messages in the Python files below `folder`: texts, and pairs of texts."""
    found = set()
    for _, arguments in calls(folder):
        texts = tuple(each.value for each in arguments if isinstance(each, ast.Constant))
        if len(texts) == len(arguments):
            found.add(texts[0] if len(texts) == 1 else texts)
    return found


def read(name):
    """Return our own catalogue of a language."""
    with language.catalogue_file(name).open("rb") as file:
        return read_po(file, locale=language.folder_of(name), abort_invalid=True)


def names(text):
    """Return the names of the values in a sentence."""
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


def updated(name):
    """Return the text of a catalogue with exactly the sentences of the code, in alphabetical order."""
    old = {
        message.id if isinstance(message.id, str) else tuple(message.id): message.string
        for message in read(name)
    }
    new = Catalog(locale=language.folder_of(name), fuzzy=False, project="autograder", header_comment="#")
    for message in sentences():
        new.add(message, old.get(message) or None)
    text = io.BytesIO()
    write_po(text, new, width=118, sort_output=True, omit_header=True)
    return HEADER.format(folder=language.folder_of(name)) + text.getvalue().decode()


if __name__ == "__main__":
    for each in OTHERS:
        language.catalogue_file(each).write_text(updated(each), encoding="utf-8")
        lacking = [
            m.id
            for m in read(each)
            if m.id and not all([m.string] if isinstance(m.string, str) else m.string)
        ]
        print(f"{language.catalogue_file(each)}: {len(lacking)} sentences without a translation")
        for one in lacking:
            print(f"  {one}")
    sys.exit()
