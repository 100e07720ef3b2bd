"""Every push is accounted for while processes die at random; see `tests.support.campaign`.

The seed is shown when a test fails. AUTOGRADER_CAMPAIGN=200x20 sets the numbers of pushes and students.
"""

import os
import time

import pytest

from tests.support.campaign import Campaign, scene


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_branch_page_and_ledger_agree_whoever_dies(database, folder, request):
    pushes, students = (int(part) for part in os.environ.get("AUTOGRADER_CAMPAIGN", "25x5").split("x"))
    seed = int(os.environ.get("AUTOGRADER_CAMPAIGN_SEED", time.time()))
    url = "" if database == "sqlite" else request.getfixturevalue("postgresql_server").new_database()
    print(f"AUTOGRADER_CAMPAIGN_SEED={seed}")
    university = scene(folder, url, policy=["last", "best"][seed % 2])
    figures = Campaign(university, seed).run(pushes, students)
    print(figures)
    assert figures["wrong"] == []
    assert figures["starts"] > 3  # something was harmed
