"""What the docstrings of a solution promise, sentence by sentence, and which mutants put which sentence to the test.

The link is made by words, so it is a pointer for a reader, not a proof: a mutant points to that sentence of its
function's docstring which shares most words with its changed lines and with its kind.
"""

import ast
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from autograder.suite_check.mutant import Mutant
from autograder.suite_check.python_source import PythonSource

KIND_WORDS = {
    "last minibatch": "last minibatch smaller divide batch mean rest",
    "in place": "in place changed updated not",
    "input changed": "not changed",
    "copy": "copy writable new own",
    "dtype": "dtype float32 float64 kept type",
    "detach": "require grad graph leaf constant autograd",
    "check": "raises ValueError must",
    "raise": "raises ValueError RuntimeError TypeError error",
    "message": "message names",
    "except": "raises ValueError error",
    "accumulate": "accumulate replaced replacing added",
    "assignment": "accumulate replaced",
    "order": "order shuffling first last",
    "axis": "axis axes dimension row sum mean",
    "transpose": "transpose swapped axes shape",
    "reduction": "sum mean averaged",
    "min/max": "largest smallest max",
    "narrower": "any path integer float type",
    "argument": "default step size",
    "return": "return returns none",
    "leak": "memory",
    "free": "memory",
    "memory": "memory",
}
_WORD = re.compile(r"[A-Za-z_][A-Za-z_0-9]*")


@dataclass(frozen=True)
class Sentence:
    """One sentence of a docstring: where it stands, and what it says in one line."""

    path: str
    function: str
    line: int
    text: str


def sentences(path: str, text: str) -> list[Sentence]:
    """Return the sentences of the docstrings of all functions that hold a solution, in the order of the file."""
    source = PythonSource(path, text)
    found = []
    for node, name in source.names.items():
        if isinstance(node, ast.ClassDef) or not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        inside = any(
            node.lineno < region.end and region.begin < (node.end_lineno or 0) for region in source.regions
        )
        document = ast.get_docstring(node, clean=False)
        if inside and document:
            first = node.body[0].lineno
            found += [Sentence(path, name, first + offset, said) for offset, said in _split(document)]
    return sorted(found, key=lambda sentence: sentence.line)


def _split(document: str) -> list[tuple[int, str]]:
    """Return (line from the docstring's first, sentence): paragraphs and entries, cut at full stops."""
    blocks: list[tuple[int, list[str]]] = []
    previous_indent = 0
    for number, line in enumerate(document.split("\n")):
        stripped = line.strip()
        indent = len(line) - len(line.lstrip())
        entry = re.match(r"[\w, ]{1,30}: ", stripped) is not None
        if not stripped or re.fullmatch(r"(?:Args|Returns|Raises|Attributes):", stripped):
            blocks.append((number, []))
            previous_indent = 99
        elif not blocks or not blocks[-1][1] or (entry and indent <= previous_indent):
            blocks.append((number, [stripped]))
            previous_indent = min(indent, previous_indent) if entry else -1
        else:
            blocks[-1][1].append(stripped)
    found = []
    for number, lines in blocks:
        parts = re.split(r"(?<=[.!?]) (?=[A-Z`(])", " ".join(lines))
        found += [(number, said) for said in parts if _WORD.search(said)]
    return found


def promise_of(mutant: Mutant, known: Sequence[Sentence]) -> Sentence | None:
    """Return the sentence that a mutant breaks most likely: of its function, else of the file, else None."""
    same_file = [s for s in known if s.path == mutant.path]
    public = [s for s in same_file if not s.function.rpartition(".")[2].startswith("_")]
    own = [s for s in public if s.function == mutant.function]
    candidates = own or public or same_file
    lines = "\n".join(line for line in mutant.diff.split("\n") if line[:1] in "+-")
    changed, kind = _words(lines), _words(KIND_WORDS.get(mutant.kind, mutant.kind))

    def likeness(sentence: Sentence) -> float:
        said = _words(sentence.text)
        return float((len(changed & said) + 3 * len(kind & said)) / (3 + len(said)) ** 0.5)

    best = max(candidates, key=likeness, default=None)
    return best if best is not None and (likeness(best) > 0 or own) else None


def nearest_case(mutant: Mutant, promise: Sentence | None, purposes: Mapping[str, str]) -> str:
    """Return the case whose purpose shares most words with a mutant; the first one where none shares any."""
    words = _words(f"{mutant.diff} {mutant.function} {KIND_WORDS.get(mutant.kind, mutant.kind)}")
    words |= _words(promise.text) if promise is not None else set()

    def likeness(name: str) -> float:
        said = _words(purposes[name])
        return float(len(words & said) / (3 + len(said)) ** 0.5)

    return max(purposes, key=likeness, default="")


def untouched(
    known: Iterable[Sentence], mutants: Iterable[Mutant], cases: Mapping[str, str]
) -> list[Sentence]:
    """Return the sentences that no mutant points to and of which no case's purpose shares two telling words.

    Args:
        known: all sentences.
        mutants: all mutants that were tried.
        cases: name -> purpose.
    """
    known = list(known)
    pointed = {promise_of(mutant, known) for mutant in mutants}
    said = [_words(purpose) for purpose in cases.values()]
    return [
        s for s in known if s not in pointed and not any(len(_words(s.text) & words) >= 2 for words in said)
    ]


_STOP_WORDS = """
    the a an of and or is are to in for it its with that this not be as by on at return self if where which any each
    one from has have than then so also must may was does do no
"""
_STOP = frozenset(_STOP_WORDS.split())


def _words(text: str) -> set[str]:
    found = {word.lower() for word in _WORD.findall(text)}
    return {word for word in found if word not in _STOP and len(word) > 1}
