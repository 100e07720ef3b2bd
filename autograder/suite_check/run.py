"""Running a suite check: the thin part that owns a suite server, temporary folders and the cache.

Theory of operation
-------------------
1. A traced and a watched run of the reference in the checking process: which lines each case runs, which inputs it
   draws, which dtypes it compares.
2. The reference in many draws: in the sandbox with one at a time (its times make the mutants' limits), with all
   processors, and with all processors busy; the rest in the checking process.
3. How small an error of a whole reply each case notices.
4. Mutants, each a folder of its own behind the wall, as many at a time as there are processors. What a time limit
   stopped runs once more alone, and that result counts.
5. Cheats, and the staff's samples.

What is known already comes from the cache, case by case. Ctrl-C ends the step that runs; what is known is reported.
"""

import contextlib
import importlib.util
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from autograder.config import Config
from autograder.errors import ConfigError, GraderError, SubmissionError
from autograder.grading import observation, plugin
from autograder.grading.grader import Grader
from autograder.grading.trial import FAULT, CaseFacts, Trial, TrialCase
from autograder.submission import digest, read_tree
from autograder.suite_check import assemble, cache, cheats, dependencies, equivalents, plan
from autograder.suite_check.findings import Findings, compared
from autograder.suite_check.mutant import Mutant
from autograder.suite_check.results import Results
from autograder.verdict import Verdict

PER_TRIAL = (
    10  # draws in one request: enough to share the cost of opening it, few enough to share the processors
)
WATCHED = 3  # draws whose inputs are compared
QUIET = 3
LOADED = 5
ERRORS = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8, 1e-9, 1e-10, 1e-11, 1e-12)

Progress = Callable[[str, int], contextlib.AbstractContextManager[Callable[[], None]]]
"""Called with a step's name and the number of its parts; what it enters is called after each part."""


@dataclass(frozen=True)
class Options:
    """What the command line chooses.

    Attributes:
        form: short or long.
        seed: of the draws and of the choice of mutants.
        only: a part of the mutants' ids, or a case's or its function's name.
        samples: a folder of checkouts of the staff's.
        jobs: how many trials at a time.
        sandbox: `auto`, `bwrap`, `docker` or `none`.
    """

    form: plan.Form = plan.SHORT
    seed: str = "0"
    only: str = ""
    samples: Path | None = None
    jobs: int = 1
    sandbox: str = "auto"


@dataclass(frozen=True)
class _Work:
    """One trial: of whom, with which files, and how; `tree` is the digest of the files."""

    subject: str
    files: Mapping[str, bytes] | None
    tree: str
    trial: Trial


@dataclass
class _State:
    """What a run knows so far."""

    cases: list[CaseFacts] = field(default_factory=list)
    digests: dict[str, str] = field(default_factory=dict)
    results: Results = field(default_factory=Results)


def check(
    config: Config, config_file: Path, assignment: str, options: Options, progress: Progress
) -> Findings:
    """Check one suite.

    Raises:
        ConfigError: there is no such assignment, no solution in its files, or nothing is called `options.only`.
        GraderError: the suite or the sandbox cannot start, or the reference fails outright.
    """
    grader = Grader(config, assignment, config_file=config_file, sandbox=options.sandbox)
    with (
        grader,
        cache.Cache(config.state) as kept,
        tempfile.TemporaryDirectory(prefix="autograder-suite-") as folder,
    ):
        run = _Run(config, assignment, options, grader, kept, Path(folder), progress)
        return run.check()


class _Run:
    """One check, step by step."""

    def __init__(
        self, config: Config, name: str, options: Options, grader: Grader, kept: cache.Cache, folder: Path,
        progress: Progress,
    ) -> None:  # fmt: skip
        self.config, self.name, self.options, self.grader = config, name, options, grader
        self.cache, self.folder, self.progress = kept, folder, progress
        self.assignment = config.assignment(name)
        self.suite = config.path(self.assignment.suite)
        self.root = config.path(config.reference)
        self.reference = read_tree(self.root)
        self.tree = digest(self.reference)
        self.files = plan.own_files(self.assignment, self.reference)
        self.form, self.seed = options.form, options.seed
        self.state = _State()
        self.environment = ""

    def check(self) -> Findings:
        started = time.monotonic()
        if not self.files:
            raise ConfigError(
                f"no file of {self.name} holds a solution: assignments.{self.name}.release.files"
            )
        samples = self._read_samples()
        made = plan.all_mutants(self.files, self.reference)
        declared = equivalents.read(self.suite)
        only_case, only_mutant = self._start(made)
        mutants = plan.chosen(made, self.form, seed=self.seed, only=only_mutant, without=declared)
        complete = False
        with contextlib.suppress(KeyboardInterrupt):
            self._reference()
            self._precision()
            self._mutants(mutants)
            if not self.options.only:
                self._cheats()
                self._samples(samples)
            complete = True
        facts = assemble.Facts(
            assignment=self.name, form=self.form, seed=self.seed, complete=complete,
            seconds=time.monotonic() - started, files=self.files, made=made, chosen=mutants, declared=declared,
            cases=[case for case in self.state.cases if only_case in ("", case.name)],
            reference=self.reference, provenance=self.grader.provenance,
            untranslated=self.grader.untranslated,
        )  # fmt: skip
        return assemble.findings(facts, self.state.results, cheats=self._known_cheats())

    # steps ---------------------------------------------------------------------------------------------------

    def _start(self, made: Sequence[Mutant]) -> tuple[str, str]:
        """Survey the suite; return the one case and the part of mutants' ids that were asked for."""
        facts = self.grader.ready()
        code = [Path(str(module.__file__)).read_text("utf-8") for module in (plugin, observation)]
        code.append((Path(plugin.__file__).parents[1] / "testing.py").read_text("utf-8"))
        about = {key: facts[key] for key in ("versions", "sandbox", "device", "grader_version")}
        self.environment = cache.key(json.dumps(about, sort_keys=True), *code)
        with self.progress("survey", 2) as step:
            for trial in (
                Trial(draws=(self._draw("survey", 0),), here=True, trace=True),
                Trial(draws=tuple(self._draw("survey", i) for i in range(WATCHED)), here=True, watch=True),
            ):
                ((_, tried),) = self.grader.try_many([(0, self.root, trial)], jobs=1)
                if tried.fault is not None:
                    raise GraderError(tried.fault)
                self.state.cases = list(tried.cases)
                self.state.results.survey += tried.rows
                step()
        cases = self.state.cases
        texts = {path.name: path.read_text("utf-8-sig") for path in sorted(self.suite.glob("*.py"))}
        by_function = dependencies.case_digests(texts, {case.function for case in cases})
        self.state.digests = {case.name: by_function[case.function] for case in cases}
        only = self.options.only
        chosen = [case for case in cases if only in (case.name, case.function)]
        if chosen:
            self.state.cases = chosen
            return chosen[0].name, ""
        if only and not any(only in mutant.id for mutant in made):
            raise ConfigError(f"no mutant and no case is called {only!r}; see a report without --only")
        return "", only

    def _reference(self) -> None:
        draws = [self._draw("reference", i) for i in range(self.form.draws)]
        count = self.form.sandboxed
        self._execute("reference, quiet", self._reference_work("quiet", draws[:QUIET]), jobs=1)
        walled = self._reference_work("reference", draws[QUIET:count], before=QUIET)
        here = self._reference_work("here", draws[count:], before=count, here=True)
        self._execute("reference", [*walled, *here])
        loaded = [self._draw("loaded", i) for i in range(LOADED)]
        with _busy(self.options.jobs):
            self._execute("reference, under load", self._reference_work("loaded", loaded), keep=False)

    def _reference_work(
        self, subject: str, draws: Sequence[str], *, before: int = 0, here: bool = False
    ) -> list[_Work]:
        """Return the trials of some draws of the reference, of which `before` were made already."""
        size = max(1, min(PER_TRIAL, len(draws) // (2 * self.options.jobs)))
        work = []
        for start in range(0, len(draws), size):
            part = tuple(draws[start : start + size])
            names = plan.with_draws_left(self._seconds(), self.form, before + start)
            if names:
                work.append(_Work(subject, None, self.tree, Trial(draws=part, cases=names, here=here)))
        return work

    def _precision(self) -> None:
        """Find, for each case and dtype, the smallest error that it notices: down from 10 %, until it notices none."""
        results = self.state.results
        pending = [(case.name, dtype) for case in self.state.cases for dtype in results.dtypes(case.name)]
        with self.progress("precision", len(ERRORS)) as step:
            for error in ERRORS:
                work = []
                for dtype in sorted({dtype for _, dtype in pending}):
                    names = tuple(name for name, of in pending if of == dtype)
                    trial = Trial(
                        draws=(self._draw("precision", 0),), cases=names, here=True, scale=(dtype, error)
                    )
                    work.append(_Work(f"precision {dtype} {error:g}", None, self.tree, trial))
                self._execute("", work)
                pending = [
                    (name, dtype)
                    for name, dtype in pending
                    if results.escaped(f"precision {dtype} {error:g}", name) == 0
                ]
                step()

    def _mutants(self, mutants: Sequence[Mutant]) -> None:
        limits, lines = plan.time_limits(self.state.cases, self._seconds()), self.state.results.lines()
        work = []
        for mutant in mutants:
            files = {**self.reference, mutant.path: mutant.text.encode()}
            trial = Trial(
                draws=tuple(self._draw(mutant.id, i) for i in range(self.form.mutant_draws)),
                cases=plan.concerned(mutant, self.state.cases, lines, self._seconds(), self.form),
                stop=not self.form.whole,
                seconds=limits,
            )
            work.append(_Work(mutant.id, files, digest(files), trial))
        self._execute("mutants", work)
        self._stopped_again(work)

    def _seconds(self) -> dict[str, float]:
        """Return the reference's longest quiet time for each case."""
        return {case.name: self.state.results.slowest("quiet", case.name) for case in self.state.cases}

    def _stopped_again(self, work: Iterable[_Work]) -> None:
        """Run the cases that a time limit stopped once more, with nothing beside them: load must not catch a mutant."""
        again = []
        for one in work:
            stopped = set(self.state.results.stopped(one.subject))
            cases = one.trial.cases
            places = [place for place, name in enumerate(cases) if name in stopped]
            # Where the first case that catches ends a mutant, what follows a case that was stopped was never tried.
            cases = cases[min(places) :] if places and one.trial.stop else tuple(cases[p] for p in places)
            if cases:
                again.append(replace(one, trial=replace(one.trial, cases=cases)))
        self._execute("stopped by time, again", again, jobs=1)

    def _known_cheats(self) -> list[cheats.Cheat]:
        loaded = {"numpy", *self.assignment.preload}
        found = [name for name in cheats.PACKAGES if name not in loaded and importlib.util.find_spec(name)]
        return cheats.cheats(self.files, tuple(found))

    def _cheats(self) -> None:
        work = []
        for cheat in self._known_cheats():
            files = {**self.reference, **{path: text.encode() for path, text in cheat.files.items()}}
            one = self._tried(f"cheat:{cheat.name}", files, self.form.cheat_draws)
            if cheat.package:  # one case shows whether it can be imported; the import takes what it takes
                trial = replace(one.trial, draws=one.trial.draws[:1], cases=self._fastest(cheat.files))
            else:
                trial = replace(one.trial, seconds=plan.time_limits(self.state.cases, self._seconds()))
            work.append(replace(one, trial=trial))
        self._execute("cheats", work)

    def _fastest(self, paths: Iterable[str]) -> tuple[str, ...]:
        """Return the case that takes the least time of those that run a line of one of the files."""
        lines, seconds = self.state.results.lines(), self._seconds()
        running = [name for name in seconds if any(lines.get(name, {}).get(path) for path in paths)]
        return tuple(sorted(running or seconds, key=seconds.__getitem__)[:1])

    def _read_samples(self) -> Mapping[str, Mapping[str, bytes]]:
        """Return the files of each sample; record why a sample is refused as a whole.

        Raises:
            ConfigError: the folder of samples holds none.
            GraderError: a sample cannot be read.
        """
        if self.options.samples is None:
            return {}
        folders = [folder for folder in sorted(self.options.samples.iterdir()) if (folder / "src").is_dir()]
        if not folders:
            raise ConfigError(f"--samples: no folder in {self.options.samples} contains a folder src/")
        found = {}
        for folder in folders:
            try:
                found[f"sample:{folder.name}"] = read_tree(folder)
            except SubmissionError as refused:
                self.state.results.refuse(f"sample:{folder.name}", str(refused))
        return found

    def _samples(self, samples: Mapping[str, Mapping[str, bytes]]) -> None:
        work = [self._tried(subject, files, self.form.sample_draws) for subject, files in samples.items()]
        self._execute("samples", work)

    def _tried(self, subject: str, files: Mapping[str, bytes], count: int) -> _Work:
        draws = tuple(self._draw(subject, i) for i in range(count))
        return _Work(subject, files, digest(files), Trial(draws=draws))

    def _draw(self, subject: str, number: int) -> str:
        return f"{self.seed}:{subject}:{number}"

    # running -------------------------------------------------------------------------------------------------

    def _execute(self, step: str, work: Sequence[_Work], *, jobs: int = 0, keep: bool = True) -> None:
        """Run what is not known yet; record everything."""
        with self.progress(step, len(work)) if step else contextlib.nullcontext(lambda: None) as done:
            todo = self._unknown(work, done) if keep else list(work)
            for one, tried in self._try(todo, jobs or self.options.jobs):
                self.state.results.add(one.subject, tried.rows)
                if tried.fault is not None:
                    self.state.results.faults.setdefault(one.subject, tried.fault)
                if tried.build_failure is not None:
                    self.state.results.unbuilt[one.subject] = tried.build_failure
                elif keep:
                    self._keep(one, tried.rows)
                done()

    def _unknown(self, work: Iterable[_Work], done: Callable[[], None]) -> list[_Work]:
        """Record what the cache knows; return the trials with what is left of them."""
        todo = []
        for one in work:
            names = one.trial.cases or tuple(case.name for case in self.state.cases)
            keys = {(draw, name): self._key(one, draw, name) for draw in one.trial.draws for name in names}
            known = self.cache.get(keys.values())
            rows = [TrialCase(draw, name, **known[k]) for (draw, name), k in keys.items() if k in known]
            self.state.results.add(one.subject, rows)
            finished = one.trial.stop and any(row.verdict != Verdict.PASSED.value for row in rows)
            left = tuple(
                name for name in names if any(keys[draw, name] not in known for draw in one.trial.draws)
            )
            if finished or not left:
                done()
            else:
                todo.append(replace(one, trial=replace(one.trial, cases=left)))
        return todo

    def _keep(self, one: _Work, rows: Iterable[TrialCase]) -> None:
        """Keep results that time and load have no part in."""
        uncertain = (FAULT, Verdict.TIMEOUT.value)
        kept = {
            self._key(one, row.draw, row.name): {
                "verdict": row.verdict, "message": row.message, "seconds": row.seconds,
            }
            for row in rows
            if row.verdict not in uncertain
        }  # fmt: skip
        self.cache.put(kept)

    def _key(self, one: _Work, draw: str, name: str) -> str:
        how = json.dumps([one.trial.here, one.trial.scale])
        return cache.key(self.environment, one.tree, self.state.digests[name], name, draw, how)

    def _try(self, work: Sequence[_Work], jobs: int) -> Iterator[tuple[_Work, Any]]:
        def trials() -> Iterator[tuple[tuple[_Work, Path | None], Path, Trial]]:
            for number, one in enumerate(work):
                folder = None if one.files is None else self._folder(number, one.files)
                yield (one, folder), folder or self.root, one.trial

        for (one, folder), tried in self.grader.try_many(trials(), jobs=jobs):
            if folder is not None:
                shutil.rmtree(folder, ignore_errors=True)
            yield one, tried

    def _folder(self, number: int, files: Mapping[str, bytes]) -> Path:
        root = self.folder / str(number)
        for path, content in files.items():
            file = root / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        return root


@contextlib.contextmanager
def _busy(processors: int) -> Iterator[None]:
    """Keep processors busy."""
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(processors)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def with_earlier(state: Path, findings: Findings, *, keep: bool) -> Findings:
    """Return the findings with what got worse since the last run that was kept; keep these ones where `keep` says so.

    A folder that cannot be used costs the comparison, nothing else.
    """
    file = state / "suite-check" / f"{findings.assignment}.last.json"
    try:
        before: Mapping[str, Any] | None = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError):
        before = None
    noted = replace(findings, since=compared(before, findings))
    if keep:
        with contextlib.suppress(OSError):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(findings.to_json()), "utf-8")
    return noted
