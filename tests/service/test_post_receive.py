"""The post-receive hook: real pushes with git, and what is in the spool after them."""

import json
import subprocess
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from autograder.cli import main
from autograder.config import load
from autograder.course.course import Course
from autograder.service.intake import post_receive
from autograder.service.intake.spool import Spool
from tests.support.githost import ENVIRONMENT, Bare, git

SETTINGS = """\
[hosts.files]
kind = "folder"
base = "git"

[service]
spool = "the spool/it's here"

[assignments.a0]
suite = "hidden/a0"
repositories = ["cs/a0-*"]
"""


@pytest.fixture
def config(tmp_path):
    file = tmp_path / "autograder.toml"
    file.write_text(SETTINGS)
    return file


@pytest.fixture
def course(config):
    return Course.of(load(config))


@pytest.fixture
def spool(course):
    return Spool(course.spool())


@pytest.fixture
def bare(tmp_path):
    return Bare(tmp_path / "git" / "cs" / "a0-ann.git")


@pytest.fixture
def checkout(tmp_path, bare):
    folder = tmp_path / "ann"
    git(tmp_path, "clone", "--quiet", str(bare.path), "ann")
    git(folder, "switch", "--quiet", "-c", "main")
    return folder


@pytest.fixture
def installed(bare, course, spool):
    post_receive.install(post_receive.place(course, bare.path), spool)
    return bare


def commit(checkout, *, branch="main"):
    git(checkout, "commit", "--quiet", "--allow-empty", "-m", "work")
    return git(checkout, "rev-parse", "HEAD")


def push(checkout, *refs, environment=None):
    """Push as a student does; return the messages of git."""
    done = subprocess.run(
        ["git", "push", "--quiet", "origin", *(refs or ["main"])],
        cwd=checkout,
        env=ENVIRONMENT | {"USER": "ann"} | (environment or {}),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


def drained(spool):
    found = []
    result = spool.drain(lambda push, received: found.append((push, received)))
    assert result.rejected == ()
    return found


def autograder(config, *arguments):
    return CliRunner().invoke(main, ["hook", *map(str, arguments), "--config", str(config)])


# what it does --------------------------------------------------------------------------------------------


def test_a_push_is_in_the_spool_when_it_returns(installed, checkout, spool):
    first = commit(checkout)
    before = int(time.time())
    assert push(checkout) == ""
    ((pushed, received),) = drained(spool)
    assert (pushed.host, pushed.owner, pushed.name) == ("files", "cs", "a0-ann")
    assert (pushed.commit, pushed.before, pushed.ref) == (first, "0" * 40, "refs/heads/main")
    assert pushed.sender == "ann"
    assert before <= received.timestamp() <= time.time()
    second = commit(checkout)
    push(checkout)
    ((pushed, _),) = drained(spool)
    assert (pushed.commit, pushed.before) == (second, first)


def test_several_branches_in_one_push(installed, checkout, spool):
    commit(checkout)
    git(checkout, "branch", "other")
    git(checkout, "tag", "v1")
    push(checkout, "main", "other", "v1")
    assert sorted(pushed.branch for pushed, _ in drained(spool)) == ["main", "other"]


def test_a_deleted_branch_is_no_push(installed, checkout, spool):
    commit(checkout)
    push(checkout, "main", "main:other")
    drained(spool)
    push(checkout, ":other")
    assert drained(spool) == []


@pytest.mark.parametrize("branch", ['a"b', "a'b", "$(touch x)", "a`b`", "ä", "x" * 200, "a;b", "a\\b"])
def test_an_odd_branch_does_no_harm(installed, checkout, spool, branch):
    head = commit(checkout)
    listing = f"{'0' * 40} {head} refs/heads/{branch}\n{'0' * 40} {head} refs/heads/main\n"
    done = subprocess.run(
        [installed.path / "hooks" / "post-receive"],
        cwd=installed.path,
        env=ENVIRONMENT,
        input=listing.encode(),
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert "main" in [pushed.branch for pushed, _ in drained(spool)]
    assert not (installed.path / "x").exists()


@pytest.mark.parametrize("pusher", ['a","received":1', "$(id)", "a b", "x" * 200])
def test_an_odd_user_is_left_out(installed, checkout, spool, pusher):
    commit(checkout)
    push(checkout, environment={"GL_USER": pusher})
    ((pushed, _),) = drained(spool)
    assert pushed.sender == ""


def test_two_pushes_at_once_are_two_files(installed, spool):
    listing = b"%s %s refs/heads/main\n" % (b"0" * 40, b"a" * 40)
    running = [
        subprocess.Popen(
            [installed.path / "hooks" / "post-receive"],
            cwd=installed.path,
            env=ENVIRONMENT,
            stdin=subprocess.PIPE,
        )
        for _ in range(8)
    ]
    for process in running:
        process.communicate(listing)
    assert spool.waiting() == 8


def test_it_never_overwrites_what_waits(installed, spool, tmp_path):
    """Two hooks may have the same process id, in two containers with one spool."""
    text = (
        (installed.path / "hooks" / "post-receive").read_text().replace("$$", "7").replace("$(date +%s)", "1")
    )
    hook = tmp_path / "same-name"
    hook.write_text(text)
    for letter in (b"a", b"b", b"c"):
        listing = b"%s %s refs/heads/main\n" % (b"0" * 40, letter * 40)
        subprocess.run(["/bin/sh", hook], cwd=tmp_path, env=ENVIRONMENT, input=listing, check=True)
    assert sorted(pushed.commit[0] for pushed, _ in drained(spool)) == ["a", "b", "c"]


@pytest.mark.parametrize("trouble", ["missing", "file"])
def test_a_push_succeeds_without_a_spool_and_says_what_happened(installed, checkout, spool, trouble):
    spool.folder.rmdir()
    if trouble == "file":
        spool.folder.write_text("")
    head = commit(checkout)
    message = push(checkout)
    assert "your push is safe" in message
    assert "tell the course staff" in message
    assert installed.tip("main") == head


def test_a_full_disk_leaves_nothing_half_written(installed, spool):
    listing = b"%s %s refs/heads/main\n" % (b"0" * 40, b"a" * 40)
    hook = installed.path / "hooks" / "post-receive"
    hook.write_text(hook.read_text().replace('>>"$draft"', ">/dev/full"))
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full")
    done = subprocess.run(
        [hook], cwd=installed.path, env=ENVIRONMENT, input=listing, capture_output=True, check=False
    )
    assert done.returncode == 0
    assert b"was not told" in done.stderr
    assert all(line.startswith(b"autograder: ") for line in done.stderr.splitlines()), done.stderr
    assert list(spool.folder.iterdir()) == []


def test_the_hook_needs_nothing_of_the_grader(installed):
    text = (installed.path / "hooks" / "post-receive").read_text()
    assert text.startswith("#!/bin/sh\n")
    assert "python" not in text
    assert "@" not in text.replace("[!A-Za-z0-9._@-]", "")


# how it gets there ---------------------------------------------------------------------------------------


def test_a_repository_is_named_by_its_path(course, bare):
    assert str(post_receive.place(course, bare.path).repository) == "files/cs/a0-ann"


def test_a_repository_elsewhere_needs_its_host_and_owner(course, tmp_path, config):
    other = Bare(tmp_path / "other" / "a0-bo.git")
    with pytest.raises(post_receive.HookError, match="pass --host and --owner"):
        post_receive.place(course, other.path)
    assert (
        str(post_receive.place(course, other.path, host="files", owner="cs").repository) == "files/cs/a0-bo"
    )
    result = autograder(config, "install", other.path, "--host", "fiels", "--owner", "cs")
    assert result.exit_code == 1
    assert "no host fiels" in result.output


def test_a_repository_that_nobody_grades_gets_no_hook(course, tmp_path):
    other = Bare(tmp_path / "git" / "cs" / "b0-bo.git")
    with pytest.raises(post_receive.HookError, match="no assignment grades pushes to files/cs/b0-bo"):
        post_receive.place(course, other.path)


def test_a_checkout_gets_no_hook(course, checkout):
    with pytest.raises(post_receive.HookError, match="not a bare repository"):
        post_receive.place(course, checkout)


def test_installing_again_changes_nothing(course, installed, spool):
    at = post_receive.place(course, installed.path)
    assert post_receive.install(at, spool) is False
    assert post_receive.install(at, Spool(spool.folder / "moved")) is True
    assert [path.name for path in (installed.path / "hooks").iterdir() if path.name[0] == "."] == []


@pytest.fixture
def other_hook(bare, tmp_path):
    hook = bare.path / "hooks" / "post-receive"
    hook.write_text(f"#!/bin/sh\ncat > '{tmp_path}/seen'\necho theirs\nexit 3\n")
    hook.chmod(0o755)
    return hook


def test_another_hook_is_kept(course, bare, spool, other_hook):
    text = other_hook.read_text()
    with pytest.raises(post_receive.HookError, match=r"--chain keeps it as post-receive\.local"):
        post_receive.install(post_receive.place(course, bare.path), spool)
    assert other_hook.read_text() == text


def test_another_hook_runs_after_ours_and_comes_back(course, bare, checkout, spool, other_hook, tmp_path):
    text = other_hook.read_text()
    post_receive.install(post_receive.place(course, bare.path), spool, chain=True)
    head = commit(checkout)
    assert "theirs" in push(checkout)
    assert (tmp_path / "seen").read_text() == f"{'0' * 40} {head} refs/heads/main\n"
    assert len(drained(spool)) == 1
    assert post_receive.uninstall(bare.path) is True
    assert other_hook.read_text() == text
    assert post_receive.uninstall(bare.path) is False
    assert other_hook.read_text() == text


def test_without_our_hook_nothing_comes(installed, checkout, spool):
    assert post_receive.uninstall(installed.path) is True
    commit(checkout)
    push(checkout)
    assert spool.waiting() == 0


def test_git_s_own_setting_of_the_folder_is_followed(course, bare, checkout, spool, tmp_path):
    bare.git("config", "core.hooksPath", str(tmp_path / "hooks"))
    post_receive.install(post_receive.place(course, bare.path), spool)
    assert (tmp_path / "hooks" / "post-receive").is_file()
    commit(checkout)
    push(checkout)
    assert len(drained(spool)) == 1


def test_what_was_pushed_before_the_hook_can_be_handed_over(bare, checkout, config, spool):
    head = commit(checkout)
    push(checkout, "main", "main:other")
    result = autograder(config, "run", bare.path)
    assert result.exit_code == 0, result.output
    assert head in result.output
    ((pushed, _),) = drained(spool)
    assert (pushed.commit, pushed.before, pushed.branch) == (head, "", "main")


def test_the_commands(bare, config, checkout, spool):
    result = autograder(config, "install", bare.path)
    assert result.exit_code == 0, result.output
    assert result.output == f"{bare.path}: installed, as files/cs/a0-ann\n"
    assert "is up to date" in autograder(config, "install", bare.path).output
    commit(checkout)
    push(checkout)
    (file,) = (path for path in spool.folder.iterdir() if path.suffix == ".json")
    assert json.loads(file.read_text())["format"] == 1
    assert file.stat().st_mode & 0o007 == 0
    result = CliRunner().invoke(main, ["hook", "uninstall", str(bare.path)])
    assert result.output == f"{bare.path}: removed\n"
