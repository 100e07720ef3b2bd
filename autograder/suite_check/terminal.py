"""The report for a terminal. A screen or two say what is known and what to do next. Pure."""

from collections.abc import Iterable, Sequence

from autograder.suite_check.findings import (
    CAUGHT,
    EQUIVALENT,
    ESCAPED,
    FAULT,
    INVALID,
    UNTRIED,
    Findings,
    Tried,
    advice,
    listed,
    worst,
)  # fmt: skip

SURVIVORS = 10


def render(findings: Findings) -> str:
    """Return the text of a report."""
    parts = [_head(findings), _files(findings), _cases(findings), _survivors(findings), _cheats(findings)]
    parts += [_coverage(findings), _list("Worse than in the run before", findings.since)]
    parts += [_list("Declared equivalent, but caught, or not found", findings.stale)]
    parts += [_list("What to do next", advice(findings)[:15]) or "Nothing to do: no finding.\n"]
    return "\n".join(part for part in parts if part)


def _head(findings: Findings) -> str:
    counts = [
        f"{len(findings.of(status))} {status}"
        for status in (CAUGHT, *ESCAPED, EQUIVALENT, INVALID, FAULT, UNTRIED)
        if findings.of(status)
    ]
    rate = findings.kill_rate
    state = "" if findings.complete else " (interrupted: what follows is what is known)"
    return (
        f"Suite of {findings.assignment}, {findings.form} form, seed {findings.seed}{state}\n"
        f"{sum(findings.made.values())} mutants can be made, {len(findings.mutants)} were chosen: "
        f"{', '.join(counts) or 'none tried'}\n"
        f"Kill rate {'unknown' if rate is None else f'{rate:.1%}'}; {findings.seconds:.0f} s\n"
    )


def _files(findings: Findings) -> str:
    rows = [("File", "Made", "Tried", "Caught", "Rate")]
    for path, made in findings.made.items():
        caught, tried = findings.rate_of(path)
        rows.append((path, str(made), str(tried), str(caught), f"{caught / tried:.0%}" if tried else "-"))
    return _table(rows)


def _cases(findings: Findings) -> str:
    whole = findings.form == "long"
    rows = [
        (
            "Case",
            "Reference",
            "Slowest",
            "Limit",
            "Caught",
            *(("Alone",) if whole else ()),
            "Precision",
            "Function",
        )
    ]
    for case in findings.cases:
        precision = ", ".join(
            f"{dtype} {'none' if noticed is None else f'{noticed:g}'}"
            for dtype, noticed in case.precision.items()
        )
        slowest = max(case.slowest, case.slowest_loaded)
        alone = (str(len(case.alone)),) if whole else ()
        rows.append(
            (
                case.name, f"{case.draws - case.failed}/{case.draws}", f"{slowest:.2f} s", f"{case.timeout:g} s",
                f"{case.caught}/{case.met}", *alone, precision or "-", case.function,
            )
        )  # fmt: skip
    text = _table(rows)
    notes = [
        f"{case.name}: {complaint}: {message.splitlines()[0] if message else message!r:.120}"
        for case in findings.cases
        for complaint, message in case.complaints
    ]
    history = [
        f"{case.name}: {case.history['passed']:.0f} of {case.history['reports']:.0f} submissions passed, "
        f"slowest {case.history['slowest']:.2f} s"
        for case in findings.cases
        if case.history
    ]
    return "\n".join(
        [text, *filter(None, [_list("Messages to look at", notes), _list("In the ledger", history)])]
    )


def _survivors(findings: Findings) -> str:
    chosen = worst(findings, SURVIVORS)
    if not chosen:
        return ""
    escaped = len(findings.of(*ESCAPED))
    more = f" (of {escaped}; all are in the JSON and HTML report)" if escaped > len(chosen) else ""
    return f"Survivors{more}\n" + "\n".join(_survivor(mutant) for mutant in chosen)


def _survivor(mutant: Tried) -> str:
    state = "" if mutant.status != ESCAPED[1] else ", caught in some draws only"
    diff = "\n".join(f"      {line}" for line in mutant.diff.split("\n") if line[:2] != "@@")
    promise = f"    docstring: {mutant.promise}\n" if mutant.promise else ""
    met = ", ".join(mutant.cells) or "none"
    where = f"  {mutant.path}:{mutant.line} {mutant.kind} in {mutant.function}{state}"
    return f"{where}\n{diff}\n{promise}    met: {met}\n    id: {mutant.id}\n"


def _cheats(findings: Findings) -> str:
    lines = []
    for entry in (*findings.cheats, *findings.samples):
        plural = "s" if entry.draws != 1 else ""
        what = f" ({entry.what})" if entry.what else ""
        passed = f": {listed(entry.passed, findings.cases)}" if entry.passed else ""
        unsteady = f"; depends on the draw: {', '.join(entry.unsteady)}" if entry.unsteady else ""
        note = f"; {entry.note}" if entry.note else ""
        points = f"{entry.points} points in {entry.draws} draw{plural}"
        lines.append(f"{entry.name}{what}: {points}{passed}{unsteady}{note}")
    return _list("Cheats and samples", lines)


def _coverage(findings: Findings) -> str:
    lines = []
    for path, count in findings.lines.items():
        missing = findings.unreached.get(path, ())
        shown = f": {', '.join(map(str, missing))}" if missing else ""
        lines.append(f"{path}: {count - len(missing)} of {count} statements of solutions are run{shown}")
    said = [f"{s['path']}:{s['line']} {s['function']}: {s['text']}" for s in findings.untested]
    return _list("Coverage of the reference", lines) + _list(
        "Sentences that no mutant and no case points to", said
    )


def _list(title: str, lines: Iterable[str]) -> str:
    shown = [f"  {line}" for line in lines]
    return "\n".join([title, *shown]) + "\n" if shown else ""


def _table(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
    return "\n".join(lines) + "\n"
