"""The post-receive hook: real pushes with git, and what is in the spool after them."""

import json
import os
import shutil
import subprocess
import tempfile
import time
from datetime import datetime, timezone
from pathlib import Path

import pytest
from click.testing import CliRunner

from autograder.cli import main
from autograder.config import load
from autograder.course.course import Course
from autograder.git.feedback import publish
from autograder.git.remote import Remote
from autograder.ledger import Ledger
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
        subprocess.run(["/bin/sh", hook], cwd=installed.path, env=ENVIRONMENT, input=listing, check=True)
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


# a hook in another repository ----------------------------------------------------------------------------


def pushed_to(path, folder):
    """Clone a repository, push a commit, and return the messages of git and the commit."""
    git(folder, "clone", "--quiet", str(path), "again")
    git(folder / "again", "commit", "--quiet", "--allow-empty", "-m", "again")
    return push(folder / "again", "+HEAD:main"), git(folder / "again", "rev-parse", "HEAD")


@pytest.mark.parametrize("act", [shutil.copytree, Path.rename], ids=["copied", "renamed"])
def test_a_copied_or_renamed_repository_reports_its_own_name(installed, checkout, spool, tmp_path, act):
    commit(checkout)
    push(checkout)
    drained(spool)
    other = installed.path.with_name("a0-bob.git")
    act(installed.path, other)
    message, head = pushed_to(other, tmp_path)
    ((pushed, _),) = drained(spool)
    assert (pushed.owner, pushed.name, pushed.commit) == ("cs", "a0-bob", head)
    assert "the push counts for cs/a0-bob," in message
    assert "not for cs/a0-ann" in message


def test_a_repository_outside_the_host_s_folder_is_not_taken_for_the_original(
    installed, checkout, spool, tmp_path
):
    commit(checkout)
    push(checkout)
    drained(spool)
    copy = tmp_path / "back up" / "a0-ann.git"
    shutil.copytree(installed.path, copy)
    message, _ = pushed_to(copy, tmp_path)
    assert "your push is safe, but it is not graded: this repository was copied or moved." in message
    assert f"please tell the course staff: autograder hook install {copy}" in message
    result = spool.drain(lambda *_: pytest.fail("it is a push of another repository"))
    ((_, reason),) = result.rejected
    assert f"the hook of cs/a0-ann ran in {copy}, a copied or moved repository" in reason


def test_a_name_that_follows_from_the_path_may_be_given_too(course, bare, config):
    given = post_receive.place(course, bare.path, host="files", owner="cs")
    assert given == post_receive.place(course, bare.path)
    assert autograder(config, "install", bare.path, "--host", "files", "--owner", "cs").exit_code == 0
    assert autograder(config, "check").exit_code == 0


def test_one_hook_may_serve_several_repositories(course, spool, tmp_path):
    for student in ("ann", "bob"):
        bare = Bare(tmp_path / "git" / "cs" / f"a0-{student}.git")
        bare.git("config", "core.hooksPath", str(tmp_path / "hooks"))
        post_receive.install(post_receive.place(course, bare.path), spool)
    for student in ("ann", "bob"):
        pushed_to(tmp_path / "git" / "cs" / f"a0-{student}.git", new(tmp_path / student))
        ((pushed, _),) = drained(spool)
        assert pushed.name == f"a0-{student}"
    assert post_receive.findings(course, spool) == []


def new(folder):
    folder.mkdir()
    return folder


@pytest.mark.parametrize("path", ["a0-ann.git", "cs/a0-ann"], ids=["no-owner", "no-git"])
def test_a_repository_where_the_service_would_not_find_it_gets_no_hook(course, tmp_path, path):
    bare = Bare(tmp_path / "git" / path)
    with pytest.raises(post_receive.HookError, match=r"is not at OWNER/NAME\.git in the folder"):
        post_receive.place(course, bare.path)


def test_staff_see_which_repositories_need_them(installed, config, spool, tmp_path):
    assert autograder(config, "check").output.startswith("ok ")
    shutil.copytree(installed.path, installed.path.with_name("a0-bob.git"))
    Bare(tmp_path / "git" / "cs" / "a0-eve.git")
    Bare(tmp_path / "git" / "cs" / "b9-nobody-grades-it.git")
    result = autograder(config, "check")
    assert result.exit_code == 1
    Ledger.open(load(config).ledger_url(), folder=tmp_path).close()
    status = CliRunner().invoke(main, ["status", "--config", str(config)]).output
    assert f"hook     the hook of {tmp_path}/git/cs/a0-bob.git was installed for another" in status
    first, second, last = result.output.splitlines()
    assert "a0-bob.git was installed for another repository or spool: autograder hook install" in first
    assert "a0-eve.git has no hook" in second
    assert "problems: 2;" in last
    for name in ("a0-bob.git", "a0-eve.git"):
        assert autograder(config, "install", tmp_path / "git" / "cs" / name).exit_code == 0
    assert autograder(config, "check").exit_code == 0


def test_a_copy_whose_name_no_repository_can_have_is_named(installed, course, spool):
    copy = installed.path.with_name("a0-ann (copy).git")
    shutil.copytree(installed.path, copy)
    (problem,) = post_receive.findings(course, spool)
    assert problem.startswith(f"{copy} cannot be graded: ")


# the end of grading --------------------------------------------------------------------------------------


def test_after_uninstall_nothing_is_graded_and_nothing_is_reported(installed, config, checkout, spool):
    assert autograder(config, "uninstall", installed.path).exit_code == 2  # it has no --config
    result = CliRunner().invoke(main, ["hook", "uninstall", str(installed.path)])
    assert result.output == f"{installed.path}: removed; its pushes are not graded any more\n"
    commit(checkout)
    push(checkout)
    assert spool.waiting() == 0
    result = autograder(config, "run", installed.path)
    assert result.exit_code == 1
    assert "the grading of" in result.output
    assert "has ended; to begin it again: autograder hook install" in result.output
    assert autograder(config, "check").exit_code == 0
    assert autograder(config, "install", installed.path).exit_code == 0
    assert autograder(config, "run", installed.path).exit_code == 0
    assert spool.waiting() == 1


def test_uninstall_leaves_a_hook_that_serves_others(course, spool, tmp_path, config):
    for student in ("ann", "bob"):
        bare = Bare(tmp_path / "git" / "cs" / f"a0-{student}.git")
        bare.git("config", "core.hooksPath", str(tmp_path / "hooks"))
        post_receive.install(post_receive.place(course, bare.path), spool)
    result = CliRunner().invoke(main, ["hook", "uninstall", str(tmp_path / "git" / "cs" / "a0-ann.git")])
    assert "there was no hook of its own to remove; its pushes are not graded any more" in result.output
    assert (tmp_path / "hooks" / "post-receive").is_file()


# several repositories ------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["install", "run"])
def test_the_others_are_done_when_one_fails(command, config, spool, tmp_path):
    ann, bob = (Bare(tmp_path / "git" / "cs" / f"a0-{name}.git").path for name in ("ann", "bob"))
    odd = Bare(tmp_path / "git" / "cs" / "b0-odd.git").path
    file = tmp_path / "git" / "cs" / "x.git"
    file.touch()
    result = autograder(config, command, ann, file, tmp_path / "nothing.git", odd, bob)
    assert result.exit_code == 1
    assert f"{file}: failed: {file} is not a bare repository" in result.output
    assert "nothing.git is not a bare repository" in result.output
    assert f"{odd}: failed: no assignment grades pushes to files/cs/b0-odd" in result.output
    assert "3 of 5 repositories failed; see above" in result.output
    for path in (ann, bob):
        assert f"{path}: " in result.output
        assert (path / "hooks" / "post-receive").is_file() == (command == "install")


def test_uninstall_goes_on_after_one_that_fails(installed, tmp_path):
    result = CliRunner().invoke(main, ["hook", "uninstall", str(tmp_path / "x.git"), str(installed.path)])
    assert result.exit_code == 1
    assert "x.git is not a bare repository" in result.output
    assert f"{installed.path}: removed" in result.output


# accounts ------------------------------------------------------------------------------------------------


OTHER = 12001  # a user and group id that this machine need not know


class Account:
    """Another account of this machine, with a bare repository of its own and a clone of it."""

    def __init__(self, folder):
        self.folder = folder
        self.base, self.home = new(folder / "git"), new(folder / "home")
        for own in (self.base, self.home):
            os.chown(own, OTHER, OTHER)
        self.path, self.clone = self.base / "cs" / "a0-ann.git", self.home / "work"
        self.git(self.base, "init", "--quiet", "--bare", str(self.path))
        self.git(self.path, "config", "core.logAllRefUpdates", "true")
        self.git(self.home, "clone", "--quiet", str(self.path), "work")
        self.git(self.clone, "switch", "--quiet", "-c", "main")
        self.config = folder / "autograder.toml"
        self.config.write_text(SETTINGS)

    def git(self, folder, *arguments):
        command = ["setpriv", f"--reuid={OTHER}", f"--regid={OTHER}", "--clear-groups", "git", *arguments]
        environment = ENVIRONMENT | {"HOME": str(self.home)}
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def push(self):
        """Push a commit, and return it."""
        self.git(self.clone, "commit", "--quiet", "--allow-empty", "-m", "work")
        self.git(self.clone, "push", "--quiet", "origin", "main")
        return self.git(self.clone, "rev-parse", "HEAD")

    def findings(self):
        course = Course.of(load(self.config))
        return post_receive.findings(course, Spool(course.spool()))


@pytest.fixture
def account():
    if os.getuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("only root can run git under another account")
    with tempfile.TemporaryDirectory() as name:  # pytest closes its own folders to other accounts
        Path(name).chmod(0o755)
        yield Account(Path(name))


def test_feedback_of_another_account_never_makes_a_push_fail(account):
    """The fourth push or so failed: our feedback had made a folder of objects that the push must write to."""
    remote = Remote.at(account.base, "cs", "a0-ann")
    for _ in range(8):
        head = account.push()
        files = {"score.md": f"# {head}".encode(), "score.json": b"{}"}
        publish(remote, graded_commit=head, attempt=1, files=files, when=datetime.now(timezone.utc))
    folders = [folder for folder in account.path.rglob("*") if folder.is_dir()]
    assert [folder for folder in folders if folder.stat().st_uid != OTHER] == []


def test_a_repository_to_which_its_owner_cannot_write_is_found(account):
    path = account.path
    assert autograder(account.config, "install", path).exit_code == 0
    head = account.push()
    folder = path / "objects" / head[:2]
    os.chown(folder, 0, 0)
    (problem,) = account.findings()
    assert (
        f"1 folders in {path} belong to another account, such as objects/{head[:2]}, so pushes fail"
        in problem
    )
    assert f"chown -R --reference={path} {path}" in problem
    assert problem in autograder(account.config, "install", path).output
    subprocess.run(["chown", "-R", f"--reference={path}", path], check=True)
    assert account.findings() == []


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
    assert result.output == f"{bare.path}: removed; its pushes are not graded any more\n"
