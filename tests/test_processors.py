"""How much work at a time the processors serve."""

import pytest

from autograder import processors


def test_the_processors_of_this_process_are_counted():
    assert processors.available() >= 1


@pytest.mark.parametrize(
    ("number", "available", "warning"),
    [
        (2, 2, ""),
        (1, 8, ""),
        (3, 2, "3 jobs at a time share 2 processors: each takes longer"),
        (2, 1, "2 jobs at a time share 1 processor: each takes longer"),
    ],
)
def test_more_work_than_processors_is_warned_about(monkeypatch, number, available, warning):
    monkeypatch.setattr(processors, "available", lambda: available)
    assert processors.too_many(number, "jobs") == warning
