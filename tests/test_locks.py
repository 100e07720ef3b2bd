"""Lock files: nobody but their owner can open them, whoever made them."""

import stat

from autograder.locks import open_lock


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_a_lock_file_is_private_from_the_beginning(tmp_path):
    with open_lock(tmp_path / "lock"):
        assert mode(tmp_path / "lock") == 0o600


def test_the_mode_of_an_older_file_is_corrected_and_its_content_stays(tmp_path):
    path = tmp_path / "lock"
    path.write_bytes(b"kept")
    path.chmod(0o644)
    with open_lock(path):
        assert mode(path) == 0o600
    assert path.read_bytes() == b"kept"
