"""What commands open: the ledger of a configuration, and what staff need for changes."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from autograder.config import Config
    from autograder.course.course import Course
    from autograder.ledger import Ledger
    from autograder.service.staff import Staff

STATUS_SECONDS = 30.0  # for statuses of commits that are still to be sent


@contextlib.contextmanager
def opened_ledger(config_file: Path) -> "Iterator[tuple[Config, Ledger]]":
    """Open the ledger of a configuration, which must exist; return both."""
    from autograder import config
    from autograder.ledger import Ledger

    settings = config.load(config_file)
    with Ledger.open(settings.ledger_url(), folder=settings.path("."), create=False) as ledger:
        yield settings, ledger


@contextlib.contextmanager
def opened_course(config_file: Path) -> "Iterator[tuple[Course, Ledger]]":
    """Open the ledger of a course, which must exist; return both."""
    from autograder.course.course import Course

    with opened_ledger(config_file) as (settings, ledger):
        yield Course.of(settings), ledger


@contextlib.contextmanager
def opened_staff(config_file: Path, who: str) -> "Iterator[Staff]":
    """Open what staff need for changes, and close it in the end."""
    from autograder.course.course import Course
    from autograder.service.intake.intake import Intake
    from autograder.service.jobs.queue import Queue, prepare
    from autograder.service.jobs.statuses import Statuses
    from autograder.service.staff import Staff

    with opened_ledger(config_file) as (settings, ledger):
        course = Course.of(settings)
        prepare(course.jobs_url())
        queue = Queue(course.jobs_url())
        statuses = Statuses(ledger, course)
        try:
            yield Staff(ledger, course, Intake(ledger, course, queue, statuses=statuses), who)
        finally:
            statuses.close(STATUS_SECONDS)
            queue.close()
