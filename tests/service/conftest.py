"""What tests of the service share: a desk."""

import pytest

from tests.support.desk import Desk
from tests.support.ledgers import problems
from tests.support.university import University


@pytest.fixture
def desk(folder, request):
    """A desk; tests give further keys of the assignment by indirect parametrization."""
    university = University(folder, assignment=getattr(request, "param", ""))
    with university.parts() as parts:
        desk = Desk(university, parts, folder / "work")
        yield desk
        assert problems(desk.ledger) == []
