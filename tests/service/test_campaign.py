"""Every push is accounted for while processes die at random; see `tests.support.campaign`.

The seed is shown when a test fails. AUTOGRADER_CAMPAIGN=200x20 sets the numbers of pushes and students.
"""

import os
import time

import pytest

from tests.support.campaign import SERVICE, Campaign
from tests.support.university import University


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_every_push_gets_feedback_once_or_is_superseded_whoever_dies(database, folder, request):
    pushes, students = (int(part) for part in os.environ.get("AUTOGRADER_CAMPAIGN", "40x8").split("x"))
    seed = int(os.environ.get("AUTOGRADER_CAMPAIGN_SEED", time.time()))
    url = "" if database == "sqlite" else request.getfixturevalue("postgresql_server").new_database()
    print(f"AUTOGRADER_CAMPAIGN_SEED={seed}")
    figures = Campaign(University(folder, service=SERVICE, url=url), seed).run(pushes, students)
    print(figures)
    assert figures["wrong"] == []
    assert figures["starts"] > 3  # something was harmed
