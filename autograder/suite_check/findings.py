"""What is known about a suite: facts that `run` measured, and what follows from them. Pure; `to_json` is the format of
docs/report-format.md, and both renderers read these classes."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

SCHEMA = 1
CAUGHT, SOMETIMES, SURVIVED, INVALID, FAULT, EQUIVALENT, UNTRIED = (
    "caught", "caught in some draws", "survived", "refused by the compiler", "no verdict", "equivalent", "not tried",
)  # fmt: skip
ESCAPED = (SURVIVED, SOMETIMES)
SHOWN_TEXTS = 5  # of a suite that have no translation
NEAR_LIMIT = 0.5
"""A case whose reference takes more than this part of its limit is reported."""
LOOSE = {"float64": 1e-6, "float32": 1e-2, "float16": 0.1, "bfloat16": 0.3}
"""A check that overlooks a relative error of this size in a whole reply is reported, by dtype."""

IMPORT = "import "
"""How the name of a cheat begins that only imports a package."""
HINTS = {
    "check": "call it with arguments that this check must refuse",
    "raise": "look at the type of the exception",
    "message": "look at what the message must name",
    "except": "give it an input that raises this exception inside",
    "condition": "add an input for which the two conditions differ",
    "comparison": "add an input for which the two comparisons differ",
    "edge": "add an input exactly at the edge of the comparison",
    "last minibatch": "let the batch size not divide the number of examples",
    "dtype": "compare dtypes, for inputs of every dtype that is allowed",
    "input changed": "let the probe return the inputs, and compare them with what was given",
    "in place": "let the probe return the argument itself after the call, also for a view of a larger array",
    "copy": "change the result, and compare the input with what it was",
    "detach": "give inputs that require a gradient; differentiate twice",
    "accumulate": "call it twice on the same object",
    "assignment": "call it with more than one step, and compare every element",
    "statement": "add an input for which this statement matters; call it twice on the same object",
    "order": "give steps whose order shows in the result",
    "axis": "let all dimensions differ, also with stacks of three and more dimensions",
    "transpose": "let all dimensions differ",
    "narrower": "give each type and range of values that the docstring allows",
    "argument": "give each argument a value that is not its default, and not 1",
    "off by one": "let all sizes differ, also 1 and values near the edges",
    "slice": "compare every element, also the first and the last",
    "leak": "call it many times, and compare the memory",
    "free": "call it many times; give it more than one minibatch",
    "memory": "place guards around its memory; give sizes just above a power of two",
    "return": "compare what is returned, also None",
    "operator": "give inputs whose values differ from 0 and 1 and from each other",
}
"""What could catch a mutant of each kind."""


@dataclass(frozen=True)
class Cell:
    """What one case did with one mutant, cheat or sample in a number of draws.

    Attributes:
        draws: how many.
        caught: in how many of them the case was not passed.
        verdict: of the first catch, else `passed`.
        message: of the first catch.
        seconds: the longest time.
    """

    draws: int
    caught: int
    verdict: str
    message: str = ""
    seconds: float = 0.0


@dataclass(frozen=True)
class Tried:
    """A mutant and its status.

    Attributes:
        id, path, function, kind, line, diff: see `mutant.Mutant`.
        promise: the sentence of a docstring that it breaks most likely; empty where none is near.
        status: see the constants above.
        nearest: the case that could catch it most likely, by what it meets and says.
        cells: by case; the short form has only those up to the first catch.
        note: why it is equivalent, what the compiler said, or why there is no verdict.
    """

    id: str
    path: str
    function: str
    kind: str
    line: int
    diff: str
    promise: str
    status: str
    nearest: str = ""
    cells: Mapping[str, Cell] = field(default_factory=dict)
    note: str = ""


@dataclass(frozen=True)
class CaseFindings:
    """One case.

    Attributes:
        name, function, purpose, points, timeout: as the suite has them.
        draws: how often the reference ran, `failed` of them not passed.
        failures: some of these: draw, verdict, message.
        slowest: the reference's longest time in the sandbox in seconds.
        slowest_loaded: the same while all processors were busy.
        met, caught: how many mutants it met and caught.
        alone: mutants that no other case catches (long form only).
        constant_inputs: arrays of floats that were the same in every draw.
        precision: dtype -> the smallest relative error of a whole reply that the case noticed; None: none of those
            tried.
        complaints: what is suspicious about its messages, each with an example.
        history: reports in the ledger, passed, and the longest time; None without a ledger.
    """

    name: str
    function: str
    purpose: str
    points: int
    timeout: float
    draws: int = 0
    failed: int = 0
    failures: Sequence[tuple[str, str, str]] = ()
    slowest: float = 0.0
    slowest_loaded: float = 0.0
    met: int = 0
    caught: int = 0
    alone: Sequence[str] = ()
    constant_inputs: Sequence[str] = ()
    precision: Mapping[str, float | None] = field(default_factory=dict)
    complaints: Sequence[tuple[str, str]] = ()
    history: Mapping[str, float] | None = None


@dataclass(frozen=True)
class Entry:
    """A cheat or a sample: the points it got in its first draw, by case; cases whose verdict depends on the draw."""

    name: str
    what: str
    points: int
    passed: Sequence[str]
    unsteady: Sequence[str]
    draws: int
    note: str = ""


@dataclass(frozen=True)
class Findings:
    """Everything. `unreached` are lines of solutions that no case runs, `untested` sentences of docstrings that neither
    a mutant nor a case's purpose touches, `since` what got worse since the run before, `untranslated` what the cases
    name without a translation into the course's language."""

    assignment: str
    form: str
    seed: str
    complete: bool
    seconds: float
    made: Mapping[str, int]
    declared: int
    stale: Sequence[str]
    mutants: Sequence[Tried]
    cases: Sequence[CaseFindings]
    cheats: Sequence[Entry] = ()
    samples: Sequence[Entry] = ()
    unreached: Mapping[str, Sequence[int]] = field(default_factory=dict)
    lines: Mapping[str, int] = field(default_factory=dict)
    untested: Sequence[Mapping[str, Any]] = ()
    since: Sequence[str] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)
    untranslated: Sequence[str] = ()

    def of(self, *statuses: str) -> list[Tried]:
        """Return the mutants with one of these statuses."""
        return [mutant for mutant in self.mutants if mutant.status in statuses]

    @property
    def kill_rate(self) -> float | None:
        """Caught mutants as a part of those that count: neither equivalent nor invalid; None without any."""
        caught, escaped = len(self.of(CAUGHT)), len(self.of(*ESCAPED))
        return caught / (caught + escaped) if caught + escaped else None

    def rate_of(self, path: str) -> tuple[int, int]:
        """Return how many mutants of one file were caught, and of how many."""
        own = [m for m in self.mutants if m.path == path and m.status in (CAUGHT, *ESCAPED)]
        return sum(m.status == CAUGHT for m in own), len(own)

    def to_json(self) -> dict[str, Any]:
        """Return all of it as plain data."""
        return {"schema": SCHEMA, **asdict(self), "kill_rate": self.kill_rate, "advice": advice(self)}


def status_of(cells: Mapping[str, Cell], faults: int) -> str:
    """Return a mutant's status from its cells. It is `CAUGHT` if at least one case catches it in every draw."""
    if any(cell.caught == cell.draws for cell in cells.values()):
        return CAUGHT
    if any(cell.caught for cell in cells.values()):
        return SOMETIMES
    if faults:
        return FAULT
    return SURVIVED if cells else UNTRIED


def listed(names: Sequence[str], cases: Sequence[CaseFindings]) -> str:
    """Return the names of some of the cases, for a sentence."""
    return "every case" if len(names) == len(cases) > 1 else ", ".join(names)


def worst(findings: Findings, count: int = 10) -> list[Tried]:
    """Return survivors worth reading first: one of each kind and function before the second of any, and mistakes that
    students make before those that only a machine makes."""
    likely = ("check", "input changed", "last minibatch", "in place", "dtype", "accumulate", "statement", "axis",
              "detach", "raise", "message", "narrower", "leak", "free")  # fmt: skip
    seen: dict[tuple[str, str, str], int] = {}
    ranked = []
    for mutant in findings.of(*ESCAPED):
        group = (mutant.path, mutant.function, mutant.kind)
        seen[group] = seen.get(group, 0) + 1
        order = likely.index(mutant.kind) if mutant.kind in likely else len(likely)
        ranked.append((seen[group], order, mutant))
    return [mutant for _, _, mutant in sorted(ranked, key=lambda entry: entry[:2])[:count]]


def advice(findings: Findings) -> list[str]:
    """Return what to do next, most urgent first: one sentence each."""
    said = []
    for case in findings.cases:
        if case.failed:
            said.append(
                f"{case.name} ({case.function}): the reference fails {case.failed} of {case.draws} draws; fix the "
                f"check or the draw, because right solutions lose {case.points} points: {case.failures[0][2]}"
            )
        slowest = max(case.slowest, case.slowest_loaded)
        if slowest > NEAR_LIMIT * case.timeout:
            said.append(
                f"{case.name}: the reference takes {slowest:.2f} s of {case.timeout:g} s; raise the limit"
            )
    for mutant in findings.of(FAULT):
        said.append(f"the check cannot judge {mutant.id}: {mutant.note}")
    for entry in (*findings.cheats, *findings.samples):
        if entry.unsteady:
            said.append(f"{entry.name}: the verdict of {', '.join(entry.unsteady)} depends on the draw")
    for cheat in findings.cheats:
        if cheat.points and not cheat.name.startswith(IMPORT):
            said.append(
                f"the cheat {cheat.name!r} gets {cheat.points} points: {listed(cheat.passed, findings.cases)}"
            )
    for mutant in worst(findings):
        promise = f"; the docstring says: {mutant.promise}" if mutant.promise else ""
        state = "is caught in some draws only" if mutant.status == SOMETIMES else "survives"
        nearest = f"{mutant.nearest}: " if mutant.nearest else "no case meets it: "
        hint = HINTS.get(mutant.kind, HINTS["operator"])
        said.append(f"{mutant.path}:{mutant.line} ({mutant.kind}) {state}; {nearest}{hint}{promise}")
    for case in findings.cases:
        if case.constant_inputs:
            said.append(
                f"{case.name}: the same in every draw: {', '.join(case.constant_inputs[:4])}; draw it from rng"
            )
        for dtype, noticed in case.precision.items():
            if noticed is None or noticed > LOOSE.get(dtype, 1.0):
                size = "any relative error that was tried" if noticed is None else f"errors below {noticed:g}"
                said.append(
                    f"{case.name}: overlooks {size} in {dtype}; tighten its tolerance, or compare the values"
                )
        if findings.form == "long" and case.met and not case.caught:
            said.append(f"{case.name} catches no mutant; give it a purpose, or its points to another case")
    free = [
        cheat.name.removeprefix(IMPORT)
        for cheat in findings.cheats
        if cheat.name.startswith(IMPORT) and cheat.points
    ]
    if free:
        said.append(f"solutions can import {', '.join(free)}, which the assignment does not: is that meant?")
    if findings.untranslated:
        said.append(
            f"{len(findings.untranslated)} texts of the suite have no translation; add them to its zh_CN.po: "
            + "; ".join(findings.untranslated[:SHOWN_TEXTS])
        )
    if findings.declared > 0.05 * max(1, sum(findings.made.values())):
        said.append(
            f"{findings.declared} mutants are declared equivalent, more than 5 %; have them read again"
        )
    return said


def compared(before: Mapping[str, Any] | None, after: Findings) -> list[str]:
    """Return what got worse since an earlier run of the same form and seed, whose JSON is `before`."""
    if not before or before.get("schema") != SCHEMA:
        return []
    said = []
    cases = {case.function: case for case in after.cases}
    for old in before["cases"]:
        case = cases.get(old["function"])
        if case is None:
            said.append(f"the case {old['function']} is gone: {old['purpose']}")
            continue
        for dtype, noticed in old["precision"].items():
            now = case.precision.get(dtype)
            if noticed is not None and (now is None or now > noticed):
                size = "none that was tried" if now is None else f"{now:g}"
                said.append(f"{case.name}: the smallest error noticed in {dtype} was {noticed:g}, now {size}")
        constant = sorted(set(case.constant_inputs) - set(old["constant_inputs"]))
        if constant:
            said.append(f"{case.name}: now the same in every draw: {', '.join(constant[:4])}")
    same = before["form"] == after.form and before["seed"] == after.seed
    caught = {m["id"] for m in before["mutants"] if m["status"] == CAUGHT} if same else set()
    said += [f"survives now: {m.id}" for m in after.of(*ESCAPED) if m.id in caught]
    return said
