"""Malformed webhooks and spool files; `python -m tests.support.malformed` does the same with ten thousand of each."""

from tests.support import malformed


def test_malformed_webhooks_and_spool_files_crash_nothing_and_are_all_counted(folder):
    statuses, files = malformed.run(folder, 300, seed=7)
    assert {400, 401, 422} <= set(statuses)
    assert min(files["taken"], files["set aside"]) > 10
