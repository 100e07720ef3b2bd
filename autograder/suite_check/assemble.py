"""From the results of a run to its findings. Pure."""

import ast
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from autograder.grading.trial import CaseFacts
from autograder.suite_check import messages, promises
from autograder.suite_check.cheats import Cheat
from autograder.suite_check.findings import (
    CAUGHT,
    EQUIVALENT,
    FAULT,
    INVALID,
    CaseFindings,
    Entry,
    Findings,
    Tried,
    status_of,
)  # fmt: skip
from autograder.suite_check.mutant import Mutant
from autograder.suite_check.plan import Form
from autograder.suite_check.python_source import PythonSource
from autograder.suite_check.results import PASSED, Results
from autograder.verdict import Verdict

REFERENCE = ("quiet", "reference", "here", "loaded")
"""The subjects under which draws of the reference are recorded."""


@dataclass(frozen=True)
class Facts:
    """What a run started from."""

    assignment: str
    form: Form
    seed: str
    complete: bool
    seconds: float
    files: Mapping[str, str]
    made: Sequence[Mutant]
    chosen: Sequence[Mutant]
    declared: Mapping[str, str]
    cases: Sequence[CaseFacts]
    reference: Mapping[str, bytes]
    provenance: Mapping[str, Any]
    untranslated: Sequence[str] = ()


def findings(facts: Facts, results: Results, *, cheats: Sequence[Cheat]) -> Findings:
    """Return what is known, also after half a run."""
    sentences = [
        sentence
        for path, text in facts.files.items()
        if path.endswith(".py")
        for sentence in promises.sentences(path, text)
    ]
    tried = [_tried(mutant, facts, results, sentences) for mutant in facts.chosen]
    complaints = _complaints(tried)
    made = {path: sum(mutant.path == path for mutant in facts.made) for path in facts.files}
    known = {mutant.id for mutant in facts.made}
    wrongly = [m.id for m in tried if m.id in facts.declared and m.status == CAUGHT]
    purposes = {case.name: case.purpose for case in facts.cases}
    reached, lines = _coverage(facts, results)
    return Findings(
        assignment=facts.assignment,
        form=facts.form.name,
        seed=facts.seed,
        complete=facts.complete,
        seconds=round(facts.seconds, 1),
        made=made,
        declared=len(set(facts.declared) & known),
        stale=[*sorted(set(facts.declared) - known), *(f"{name} (is caught)" for name in wrongly)],
        mutants=tried,
        cases=[_case(case, facts, results, tried, complaints.get(case.name, [])) for case in facts.cases],
        cheats=[e for c in cheats if (e := _entry(f"cheat:{c.name}", c.name, c.what, facts, results))],
        samples=_samples(facts, results),
        unreached=reached,
        lines=lines,
        untested=[asdict(s) for s in promises.untouched(sentences, facts.made, purposes)],
        provenance=facts.provenance,
        untranslated=facts.untranslated,
    )


def _tried(mutant: Mutant, facts: Facts, results: Results, known: Sequence[promises.Sentence]) -> Tried:
    cells, note = results.cells(mutant.id), results.fault_of(mutant.id)
    status = status_of(cells, bool(note))
    if mutant.id in results.unbuilt:
        status, note, cells = INVALID, results.unbuilt[mutant.id], {}
    elif mutant.id in facts.declared and status != CAUGHT:
        status, note = EQUIVALENT, facts.declared[mutant.id]
    promise = promises.promise_of(mutant, known)
    meets = {case.name: case.purpose for case in facts.cases if case.name in cells}
    nearest = promises.nearest_case(mutant, promise, meets)
    said = "" if promise is None else f"{promise.text} ({promise.path}:{promise.line})"
    return Tried(
        mutant.id, mutant.path, mutant.function, mutant.kind, mutant.line, mutant.diff, said, status, nearest, cells,
        note if status in (INVALID, EQUIVALENT, FAULT) else "",
    )  # fmt: skip


def _case(
    case: CaseFacts,
    facts: Facts,
    results: Results,
    tried: Sequence[Tried],
    complaints: Sequence[tuple[str, str]],
) -> CaseFindings:
    rows = [row for subject in REFERENCE for row in results.of(subject, case.name)]
    failed = [row for row in rows if row.verdict != PASSED]
    met = [mutant for mutant in tried if case.name in mutant.cells]
    caught = [mutant for mutant in met if mutant.cells[case.name].caught]
    alone = [m.id for m in caught if sum(bool(cell.caught) for cell in m.cells.values()) == 1]
    return CaseFindings(
        name=case.name,
        function=case.function,
        purpose=case.purpose,
        points=case.points,
        timeout=case.timeout,
        draws=len(rows),
        failed=len(failed),
        failures=[(row.draw, row.verdict, row.message) for row in failed[:3]],
        slowest=max(results.slowest("quiet", case.name), results.slowest("reference", case.name)),
        slowest_loaded=results.slowest("loaded", case.name),
        met=len(met),
        caught=len(caught),
        alone=alone if facts.form.whole else [],
        constant_inputs=results.constant_inputs(case.name),
        precision={dtype: _noticed(case.name, dtype, results) for dtype in results.dtypes(case.name)},
        complaints=complaints,
    )


def _noticed(case: str, dtype: str, results: Results) -> float | None:
    """Return the smallest error that a case noticed."""
    subjects = [subject for subject in results.rows if subject.startswith(f"precision {dtype} ")]
    errors = [
        float(s.rpartition(" ")[2]) for s in subjects if results.of(s, case) and not results.escaped(s, case)
    ]
    return min(errors, default=None)


def _complaints(tried: Sequence[Tried]) -> dict[str, list[tuple[str, str]]]:
    wrong = [
        (name, cell.message)
        for mutant in tried
        for name, cell in mutant.cells.items()
        if cell.verdict == Verdict.WRONG.value
    ]
    return messages.of_cases(wrong)


def _entry(subject: str, name: str, what: str, facts: Facts, results: Results) -> Entry | None:
    cells = results.cells(subject)
    fault = results.fault_of(subject)
    if not cells and not fault:
        return None
    passed = [case for case in facts.cases if case.name in cells and cells[case.name].caught == 0]
    unsteady = [name for name, cell in cells.items() if 0 < cell.caught < cell.draws]
    draws = max((cell.draws for cell in cells.values()), default=0)
    points = sum(
        case.points if case in passed else results.part_of(subject, case.name) for case in facts.cases
    )
    return Entry(name, what, points, [case.name for case in passed], unsteady, draws, fault)


def _samples(facts: Facts, results: Results) -> list[Entry]:
    found = []
    for subject in sorted(results.rows):
        kind, _, name = subject.partition(":")
        if kind == "sample" and (entry := _entry(subject, name, "", facts, results)):
            found.append(entry)
    return found


def _coverage(facts: Facts, results: Results) -> tuple[dict[str, list[int]], dict[str, int]]:
    """Return the lines of solutions that no case ran, and how many statements there are, for each Python file."""
    unreached: dict[str, list[int]] = {}
    counts: dict[str, int] = {}
    for path, text in facts.files.items():
        if not path.endswith(".py"):
            continue
        ran = {line for lines in results.lines().values() for line in lines.get(path, ())}
        source = PythonSource(path, text)
        simple = [
            node
            for node in source.solution_nodes()
            if isinstance(node, ast.stmt) and node in source.functions
        ]
        simple = [node for node in simple if not isinstance(node, (ast.FunctionDef, ast.Pass, ast.Try))]
        counts[path] = len(simple)
        missing = [node.lineno for node in simple if not ran.intersection(_own_lines(node))]
        if missing:
            unreached[path] = sorted(set(missing))
    return unreached, counts


def _own_lines(node: ast.stmt) -> range:
    """Return the lines of a statement without those of the statements in it."""
    inner = [child.lineno for child in ast.iter_child_nodes(node) if isinstance(child, ast.stmt)]
    inner += [child.lineno for child in ast.iter_child_nodes(node) if isinstance(child, ast.ExceptHandler)]
    last = min(inner) - 1 if inner else (node.end_lineno or node.lineno)
    return range(node.lineno, max(node.lineno, last) + 1)
