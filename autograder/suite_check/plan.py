"""What to try: the assignment's own files, their mutants, the choice of the short form, and which cases each mutant can
concern. Pure."""

import fnmatch
import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from autograder.config import AssignmentConfig
from autograder.grading.trial import CaseFacts
from autograder.release import markers
from autograder.suite_check.cpp_mutants import cpp_mutants
from autograder.suite_check.mutant import MODULE, Mutant
from autograder.suite_check.python_mutants import python_mutants
from autograder.suite_check.python_source import immutable_classes

CPP = (".cpp", ".hpp", ".cu", ".cuh")
PATIENCE = 10.0
"""A mutant gets this many times the reference's time for a case."""
LEAST_DRAWS = 50
LEAST_SECONDS = 1.0
"""But not less: a case of 20 ms would be stopped by a moment of load."""


@dataclass(frozen=True)
class Form:
    """How thorough a run is.

    Attributes:
        name: short or long.
        draws: of the reference, for each case.
        seconds: after so much time of the reference's code a case gets no further draws, but at least `LEAST_DRAWS`.
        sandboxed: how many of these draws run in the sandbox; the others run in the checking process.
        mutant_draws: for each mutant; in the short form the first case that catches it ends it.
        cheat_draws: for each cheat.
        sample_draws: for each sample of the staff.
    """

    name: str
    draws: int
    seconds: float
    sandboxed: int
    mutant_draws: int
    cheat_draws: int
    sample_draws: int

    @property
    def whole(self) -> bool:
        """Whether every mutant meets every case, instead of one mutant of each kind and function the first that
        catches it."""
        return self.name == "long"


SHORT = Form("short", draws=200, seconds=30.0, sandboxed=12, mutant_draws=3, cheat_draws=2, sample_draws=10)
LONG = Form(
    "long", draws=200, seconds=math.inf, sandboxed=200, mutant_draws=2, cheat_draws=50, sample_draws=50
)


def own_files(assignment: AssignmentConfig, reference: Mapping[str, bytes]) -> dict[str, str]:
    """Return path -> text of the files with solutions that belong to an assignment.

    Those are the files of its release; without a release, all files that the course does not put in place itself.
    """
    patterns = assignment.release.files if assignment.release else ("src/*",)
    found = {}
    for path in sorted(reference):
        chosen = any(fnmatch.fnmatchcase(path, pattern) for pattern in patterns)
        given = any(fnmatch.fnmatchcase(path, pattern) for pattern in assignment.given)
        if chosen and not given and path.endswith((".py", *CPP)):
            text = reference[path].decode()
            if markers.regions(text, path):
                found[path] = text
    return found


def all_mutants(files: Mapping[str, str], reference: Mapping[str, bytes]) -> list[Mutant]:
    """Return every mutant of the solutions in `files`, in their order; `reference` holds the classes they work with."""
    immutable = immutable_classes(text.decode() for path, text in reference.items() if path.endswith(".py"))
    made = []
    for path, text in files.items():
        made += cpp_mutants(path, text) if path.endswith(CPP) else python_mutants(path, text, immutable)
    return made


def chosen(
    made: Iterable[Mutant], form: Form, *, seed: str, only: str, without: Iterable[str]
) -> list[Mutant]:
    """Return the mutants to try: all, or one of each kind and function, which one depends on the seed.

    Args:
        made: all mutants.
        form: short or long.
        seed: any text.
        only: keep the mutants whose id contains this text.
        without: ids that the short form leaves out.
    """
    left_out = set() if form.whole else set(without)
    fitting = [mutant for mutant in made if only in mutant.id and mutant.id not in left_out]
    if form.whole:
        return fitting
    best: dict[tuple[str, str, str], Mutant] = {}
    for mutant in fitting:
        known = best.get(mutant.group)
        if known is None or _rank(seed, mutant) < _rank(seed, known):
            best[mutant.group] = mutant
    return list(best.values())


def _rank(seed: str, mutant: Mutant) -> str:
    return hashlib.sha256(f"{seed}\0{mutant.id}".encode()).hexdigest()


Lines = Mapping[str, Mapping[str, Sequence[int]]]
"""Case -> path -> numbers of the lines of the reference that ran."""


def concerned(
    mutant: Mutant, cases: Sequence[CaseFacts], lines: Lines, seconds: Mapping[str, float], form: Form
) -> tuple[str, ...]:
    """Return the cases that a mutant can change, the fastest first.

    A case that runs no line of the changed file cannot notice, unless the change is made at import. The short form
    leaves out the cases that never enter the changed function, too. Which lines of C++ a case runs is not known, so a
    mutant of a C++ file meets every case that needs the build.
    """
    names = [case.name for case in cases]
    if mutant.path.endswith(CPP):
        found = [case.name for case in cases if case.needs_build]
    elif mutant.function == MODULE:
        found = names
    else:
        found = [name for name in names if lines.get(name, {}).get(mutant.path)]
        first, last = mutant.span
        inside = [name for name in found if any(first < n <= last for n in lines[name][mutant.path])]
        if inside and not form.whole:
            found = inside
    return tuple(sorted(found or names, key=lambda name: seconds.get(name, 0.0)))


def with_draws_left(seconds: Mapping[str, float], form: Form, before: int) -> tuple[str, ...]:
    """Return the cases that get more than `before` draws of the reference.

    Args:
        seconds: the reference's time in one draw, by the case's name.
        form: short or long.
        before: draws that were made.
    """
    return tuple(name for name, one in seconds.items() if before < LEAST_DRAWS or before * one < form.seconds)


def time_limits(cases: Iterable[CaseFacts], slowest: Mapping[str, float]) -> dict[str, float]:
    """Return a mutant's time limit for each case: ten times the reference's time, at least `LEAST_SECONDS`,
    at most the case's own limit."""
    return {
        case.name: min(case.timeout, max(LEAST_SECONDS, PATIENCE * slowest.get(case.name, case.timeout)))
        for case in cases
    }
