"""Publishing feedback: one commit for each attempt, whatever the student or another publisher does to the branch."""

import os
import shutil
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from autograder.errors import GraderError
from autograder.git import feedback
from autograder.git.feedback import Identity, Published, publish
from autograder.git.process import GitHostError, GitLimits, RepositoryError
from autograder.git.remote import Credentials, Remote
from tests.support.githost import SRC, Bare, git, script, serving, trap, watched_git

FILES = {"score.md": b"# Score Summary\n", "score.json": b"{}\n"}
OTHER = {"score.md": b"# Score Summary\n\nbetter\n", "score.json": b"{}\n"}
WHEN = datetime(2026, 10, 12, 23, 59, tzinfo=timezone(timedelta(hours=2)))
BRANCH = "score-feedback"
TOKEN = "ghs_" + "s3cr3t" * 6


@pytest.fixture
def bare(tmp_path):
    repository = Bare(tmp_path / "host" / "ann" / "hw.git")
    repository.head = repository.commit(SRC)
    return repository


@pytest.fixture
def remote(tmp_path, bare):
    return Remote.at(tmp_path / "host", "ann", "hw")


def give_feedback(remote, commit, attempt=1, files=FILES, when=WHEN, **others):
    return publish(remote, graded_commit=commit, attempt=attempt, files=files, when=when, **others)


def commits(bare, branch=BRANCH):
    """Return the ids on the branch, newest first."""
    return bare.git("rev-list", "--first-parent", branch).split()


def names(bare, branch=BRANCH):
    return bare.git("ls-tree", "-r", "--name-only", branch).split("\n")


def graded(bare):
    """Return the graded commit and the attempt of each commit on the branch, the newest first."""
    pattern = "%(trailers:key=Graded-Commit,valueonly,separator=) %(trailers:key=Graded-Attempt,valueonly,separator=)"
    return [tuple(line.split()) for line in bare.git("log", f"--format={pattern}", BRANCH).splitlines()]


# what is published ---------------------------------------------------------------------------------------


def folders(bare):
    return {str(path.relative_to(bare.path)) for path in bare.path.rglob("*") if path.is_dir()}


def test_feedback_makes_no_folder_in_the_repository(remote, bare):
    """If the service has an account of its own, the account of the repository could not write to that folder."""
    bare.git("config", "core.logAllRefUpdates", "true")
    bare.git("config", "receive.unpackLimit", "1000")
    before = folders(bare)
    for attempt in (1, 2, 3):
        give_feedback(remote, bare.head, attempt)
    assert folders(bare) == before


def test_the_first_feedback_makes_the_branch(remote, bare):
    published = give_feedback(remote, bare.head)
    assert published == Published(bare.tip(BRANCH), changed=True)
    assert {name: bare.show(f"{BRANCH}:{name}") for name in names(bare)} == FILES
    assert bare.git("cat-file", "commit", BRANCH).split("\n") == [
        f"tree {bare.git('rev-parse', BRANCH + '^{tree}')}",
        "author autograder <autograder@localhost> 1791842340 +0000",
        "committer autograder <autograder@localhost> 1791842340 +0000",
        "",
        f"Feedback on {bare.head[:10]}",
        "",
        f"Graded-Commit: {bare.head}",
        "Graded-Attempt: 1",
    ]
    assert bare.tip("main") == bare.head
    bare.git("fsck", "--strict")


def test_each_feedback_is_one_commit_on_top_of_the_last(remote, bare):
    one = give_feedback(remote, bare.head)
    two = give_feedback(remote, "2" * 40, files=OTHER)
    again = give_feedback(remote, bare.head, attempt=2, files=OTHER)
    assert commits(bare) == [again.commit, two.commit, one.commit]
    assert graded(bare) == [(bare.head, "2"), ("2" * 40, "1"), (bare.head, "1")]
    assert bare.show(f"{BRANCH}:score.md") == OTHER["score.md"]


def test_feedback_that_is_there_is_not_published_again(remote, bare):
    one = give_feedback(remote, bare.head)
    assert give_feedback(remote, bare.head) == Published(one.commit, changed=False)
    give_feedback(remote, "2" * 40, files=OTHER)
    assert give_feedback(remote, bare.head) == Published(one.commit, changed=False)
    assert len(commits(bare)) == 2


def test_other_files_for_the_same_attempt_are_published(remote, bare):
    give_feedback(remote, bare.head)
    assert give_feedback(remote, bare.head, files=OTHER).changed
    assert bare.show(f"{BRANCH}:score.md") == OTHER["score.md"]


def test_a_repetition_makes_the_same_commit(tmp_path, remote, bare):
    shutil.copytree(bare.path, tmp_path / "host" / "copy.git")
    one, two = (
        give_feedback(remote, bare.head),
        give_feedback(Remote.at(tmp_path / "host", "", "copy"), bare.head),
    )
    assert one == two
    assert give_feedback(remote, "2" * 40, when=WHEN + timedelta(seconds=1)).commit != one.commit


def test_another_identity_and_branch(remote, bare):
    identity = Identity("Grader Bot", "bot@uni.example")
    published = give_feedback(remote, bare.head, identity=identity, branch="feedback/a1")
    assert published.commit == bare.tip("feedback/a1")
    assert bare.tip(BRANCH) is None
    assert not give_feedback(remote, bare.head, identity=identity, branch="feedback/a1").changed


def test_a_repository_with_sha256(tmp_path):
    git(tmp_path, "init", "--quiet", "--bare", "--object-format=sha256", "hw.git")
    bare = Bare(tmp_path / "hw.git")
    remote = Remote.at(tmp_path, "", "hw")
    commit = bare.commit(SRC)
    assert give_feedback(remote, commit) == Published(bare.tip(BRANCH), changed=True)
    assert not give_feedback(remote, commit).changed


@pytest.mark.parametrize(
    "changes",
    [
        {"graded_commit": "HEAD"},
        {"attempt": 0},
        {"files": {"../score.md": b""}},
        {"files": {"a/b": b""}},
        {"files": {".git": b""}},
        {"files": {"a\tb": b""}},
        {"when": datetime(2026, 1, 1)},
        {"branch": "--mirror"},
        {"signing_key": Path("relative")},
        {"signing_key": Path("/nonexistent/key")},
    ],
)
def test_what_cannot_be_published_is_refused_before_anything_is_pushed(remote, bare, changes):
    arguments = {"graded_commit": bare.head, "attempt": 1, "files": FILES, "when": WHEN} | changes
    with pytest.raises(GraderError):
        publish(remote, **arguments)
    assert bare.git("for-each-ref", "--format=%(refname)").split() == ["refs/heads/main"]


@pytest.mark.parametrize(("name", "email"), [("", "a@b"), ("a\nb", "a@b"), ("a", "<a@b>"), ("a.", "a@b")])
def test_an_identity_that_git_would_change_is_refused(name, email):
    with pytest.raises(GraderError, match="cannot be the author"):
        Identity(name, email)


# what students do to the branch --------------------------------------------------------------------------


def test_a_deleted_branch_is_made_again(remote, bare):
    give_feedback(remote, bare.head)
    bare.git("update-ref", "-d", f"refs/heads/{BRANCH}")
    assert give_feedback(remote, bare.head) == Published(bare.tip(BRANCH), changed=True)


def test_a_rewritten_branch_gets_feedback_on_top(remote, bare):
    give_feedback(remote, bare.head)
    theirs = bare.commit({"score.md": b"100 / 100", "src/virus.py": b""}, branch=BRANCH)
    published = give_feedback(remote, bare.head)
    assert published.changed
    assert commits(bare) == [published.commit, theirs]
    assert names(bare) == sorted(FILES)


def test_a_commit_that_only_claims_to_be_ours_does_not_stop_us(remote, bare):
    message = f"x\n\nGraded-Commit: {bare.head}\nGraded-Attempt: 1\n"
    ours, theirs = bare.tree(), bare.git("rev-parse", "main^{tree}")
    for tree in (ours, theirs):
        bare.commit_tree(tree, branch=BRANCH, message=message)
        assert give_feedback(remote, bare.head).changed
        assert names(bare) == sorted(FILES)
    # with our files, and another name
    copied = bare.commit_tree(bare.git("rev-parse", f"{BRANCH}^{{tree}}"), branch=BRANCH, message=message)
    assert give_feedback(remote, bare.head).changed
    assert commits(bare)[1] == copied
    # with our name, and other files
    ours = bare.git("cat-file", "commit", BRANCH).replace(bare.git("rev-parse", f"{BRANCH}^{{tree}}"), theirs)
    assert "\nauthor autograder <autograder@localhost>" in ours
    forged = bare.git("hash-object", "-t", "commit", "-w", "--stdin", stdin=ours.encode() + b"\n")
    bare.git("update-ref", f"refs/heads/{BRANCH}", forged)
    assert names(bare) == sorted(SRC)
    assert give_feedback(remote, bare.head).changed
    assert bare.show(f"{BRANCH}:score.md") == FILES["score.md"]


def test_a_tag_of_the_branch_s_name_is_left_alone(remote, bare):
    bare.git("update-ref", f"refs/tags/{BRANCH}", bare.head)
    published = give_feedback(remote, bare.head)
    assert bare.git("rev-parse", f"refs/heads/{BRANCH}") == published.commit
    assert bare.git("rev-parse", f"refs/tags/{BRANCH}") == bare.head


def test_a_branch_below_ours_is_named(remote, bare):
    bare.git("update-ref", f"refs/heads/{BRANCH}/x", bare.head)
    with pytest.raises(RepositoryError, match="a branch below score-feedback/ prevents"):
        give_feedback(remote, bare.head)


def junk(bare):
    bare.git("config", "core.compression", "0")
    bare.git("config", "pack.window", "0")
    files = {f"{i // 100}/{i}": b"junk" for i in range(20_000)} | {"big": os.urandom(12 << 20)}
    return bare.commit(files, branch=BRANCH)


def test_junk_on_the_branch_is_not_even_fetched(remote, bare):
    theirs = junk(bare)
    published = give_feedback(remote, bare.head, limits=GitLimits(scratch_bytes=1 << 20))
    assert commits(bare) == [published.commit, theirs]
    assert names(bare) == sorted(FILES)


def test_junk_from_a_host_that_leaves_nothing_out_costs_the_branch_its_history(tmp_path, bare):
    junk(bare)
    with serving(tmp_path / "host") as site:
        remote = Remote.at(site.base, "ann", "hw")
        limits = GitLimits(scratch_bytes=4 << 20)
        published = give_feedback(remote, bare.head, limits=limits)
        assert published.changed
        assert not give_feedback(remote, bare.head, limits=limits).changed
    assert commits(bare) == [published.commit]
    assert names(bare) == sorted(FILES)


def test_a_commit_message_of_megabytes_is_not_ours(remote, bare):
    bare.commit_tree(bare.tree(), branch=BRANCH, message="x" * 100_000)
    assert give_feedback(remote, bare.head).changed
    assert names(bare) == sorted(FILES)


def test_hooks_and_settings_of_a_repository_on_this_machine_do_nothing(tmp_path, remote, bare):
    program = trap(tmp_path / "trap")
    for name in (
        "pre-receive",
        "update",
        "post-receive",
        "post-update",
        "reference-transaction",
        "proc-receive",
    ):
        shutil.copy(program, bare.path / "hooks" / name)
        shutil.copy(program, program.parent / name)
    bare.git("config", "core.hooksPath", str(program.parent))
    for key in ("core.alternateRefsCommand", "core.fsmonitor", "gpg.program", "gc.recentObjectsHook"):
        bare.git("config", key, str(program))
    bare.git("config", "receive.autogc", "true")
    bare.git("config", "gc.auto", "1")
    other = Bare(tmp_path / "other.git")
    (bare.path / "objects" / "info" / "alternates").write_text(f"{other.path}/objects\n")
    assert give_feedback(remote, bare.head).changed
    assert not (tmp_path / "trap" / "sprung").exists()


def test_a_working_tree_that_a_repository_on_this_machine_claims_is_left_alone(tmp_path, remote, bare):
    program = trap(tmp_path / "trap")
    (tmp_path / "tree").mkdir()
    bare.git("symbolic-ref", "HEAD", f"refs/heads/{BRANCH}")
    bare.git("config", "core.bare", "false")
    bare.git("config", "core.worktree", str(tmp_path / "tree"))
    bare.git("config", "receive.denyCurrentBranch", "updateInstead")
    bare.git("config", "filter.evil.smudge", str(program))
    (bare.path / "info" / "attributes").write_text("* filter=evil\n")
    assert give_feedback(remote, bare.head).changed
    assert give_feedback(remote, bare.head, attempt=2).changed
    assert list((tmp_path / "tree").iterdir()) == []
    assert not (tmp_path / "trap" / "sprung").exists()


@pytest.mark.parametrize(
    "link",
    [f"logs/refs/heads/{BRANCH}", "logs/refs", f"refs/heads/{BRANCH}", "refs/heads", "objects"],
    ids=["log", "logs", "branch", "heads", "objects"],
)
def test_links_in_a_repository_on_this_machine_are_not_written_through(tmp_path, remote, bare, link):
    other = Bare(tmp_path / "other.git")
    other.commit(SRC, branch=BRANCH)
    for folder in ("refs", "logs/refs"):
        (other.path / folder / "heads").mkdir(parents=True, exist_ok=True)
    (other.path / "logs" / "refs" / "heads" / BRANCH).write_text("theirs\n")
    before = {path: path.read_bytes() for path in other.path.rglob("*") if path.is_file()}
    place = bare.path / link
    if place.is_dir():
        place.rename(bare.path / "aside")
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(other.path / link)
    with pytest.raises(RepositoryError, match=f"{link} is a link"):
        give_feedback(remote, bare.head)
    assert {path: path.read_bytes() for path in other.path.rglob("*") if path.is_file()} == before


# two at once ---------------------------------------------------------------------------------------------


def test_two_publishers_of_the_same_feedback_make_one_commit(remote, bare):
    barrier = threading.Barrier(4)

    def run(_):
        barrier.wait()
        return give_feedback(remote, bare.head)

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(run, range(4)))
    assert {result.commit for result in results} == {bare.tip(BRANCH)}
    assert len(commits(bare)) == 1


def test_publishers_of_different_feedback_all_succeed_once(remote, bare):
    barrier = threading.Barrier(4)

    def run(number):
        barrier.wait()
        return give_feedback(remote, str(number // 2) * 40, files={"score.md": b"%d" % (number // 2)})

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(run, range(4)))
    assert sorted(graded(bare)) == [("0" * 40, "1"), ("1" * 40, "1")]


@pytest.fixture
def meddling(tmp_path, monkeypatch):
    """Make `git` run a shell command before its first pushes; return how to set it up and the count."""

    def make(command, times=1):
        folder = tmp_path / "bin"
        real = shutil.which("git")
        script(
            folder,
            "git",
            f'#!/bin/sh\ncase " $* " in *" push "*)\n'
            f"  echo x >> {folder}/pushes\n"
            f"  [ $(wc -l < {folder}/pushes) -gt {times} ] || ({command.replace('GIT', real)}) >/dev/null 2>&1;;\n"
            f'esac\nexec {real} "$@"\n',
        )
        monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
        return lambda: (folder / "pushes").read_text().count("x")

    return make


def test_a_branch_that_moves_while_we_publish_is_read_again(remote, bare, meddling):
    theirs = bare.commit({"score.md": b"theirs"}, branch="other")
    pushes = meddling(f"GIT -C {bare.path} update-ref refs/heads/{BRANCH} {theirs}")
    published = give_feedback(remote, bare.head)
    assert pushes() == 2
    assert commits(bare) == [published.commit, theirs]


def test_a_branch_that_vanishes_while_we_publish_is_made_again(remote, bare, meddling):
    bare.commit({"score.md": b"theirs"}, branch=BRANCH)
    pushes = meddling(f"GIT -C {bare.path} update-ref -d refs/heads/{BRANCH}")
    published = give_feedback(remote, bare.head)
    assert pushes() == 2
    assert commits(bare) == [published.commit]


def test_a_branch_that_never_stands_still_is_worth_another_try_later(remote, bare, meddling, monkeypatch):
    monkeypatch.setattr(feedback, "TRIES", 3)
    monkeypatch.setattr(feedback.time, "sleep", lambda seconds: None)
    pushes = meddling(
        f"GIT -C {bare.path} -c user.name=a -c user.email=b commit-tree -m $$ main^{{tree}} | "
        f"xargs GIT -C {bare.path} update-ref refs/heads/{BRANCH}",
        times=9,
    )
    with pytest.raises(GitHostError, match=r"was refused: .*stale info"):
        give_feedback(remote, bare.head)
    assert pushes() == 3


def test_a_push_whose_response_was_lost_is_not_repeated(tmp_path, remote, bare, monkeypatch):
    real = shutil.which("git")
    script(
        tmp_path / "bin",
        "git",
        f'#!/bin/sh\ncase " $* " in *" push "*) {real} "$@" >/dev/null 2>&1; exit 128;; esac\nexec {real} "$@"\n',
    )
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    with pytest.raises(GitHostError, match="git push failed; try again"):
        give_feedback(remote, bare.head)
    (commit,) = commits(bare)
    assert give_feedback(remote, bare.head) == Published(commit, changed=False)


# hosts ---------------------------------------------------------------------------------------------------


def test_by_http_with_a_token_that_appears_nowhere(tmp_path, bare, monkeypatch, capfd):
    watched_git(tmp_path / "bin")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    with serving(tmp_path / "host", password=TOKEN) as site:
        remote = Remote.at(site.base, "ann", "hw")
        credentials = Credentials(token=TOKEN)
        published = give_feedback(remote, bare.head, credentials=credentials)
        assert not give_feedback(remote, bare.head, credentials=credentials).changed
        assert give_feedback(remote, "2" * 40, credentials=credentials).changed
        with pytest.raises(GitHostError, match="refuses our credentials"):
            give_feedback(remote, "3" * 40, credentials=Credentials(token=TOKEN[1:]))
    assert commits(bare)[-1] == published.commit
    seen = (tmp_path / "bin" / "git.log").read_text() + (tmp_path / "bin" / "trace.log").read_text()
    assert "push" in seen
    assert TOKEN not in seen + "".join(capfd.readouterr())


def test_a_protected_branch_is_reported_to_staff_at_once(tmp_path, bare):
    script(bare.path / "hooks", "pre-receive", "#!/bin/sh\necho protected >&2\nexit 1\n")
    with serving(tmp_path / "host") as site:
        with pytest.raises(GitHostError, match=r"declined.*branch's protection"):
            give_feedback(Remote.at(site.base, "ann", "hw"), bare.head)
        pushes = [path for method, path, _ in site.requests if method == "POST" and "receive-pack" in path]
    assert len(pushes) == 1


def test_a_repository_that_is_gone(tmp_path):
    with pytest.raises(RepositoryError, match="no such repository"):
        give_feedback(Remote.at(tmp_path, "", "gone"), "1" * 40)


# signatures ----------------------------------------------------------------------------------------------


@pytest.fixture
def key(tmp_path):
    if shutil.which("ssh-keygen") is None:
        pytest.skip("there is no ssh-keygen here")
    path = tmp_path / "signing key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)
    public = path.with_name("signing key.pub").read_text()
    (tmp_path / "allowed").write_text(f"autograder@localhost {public}")
    return path


def test_signed_feedback_can_be_verified_and_repeated(tmp_path, remote, bare, key):
    published = give_feedback(remote, bare.head, signing_key=key)
    assert not give_feedback(remote, bare.head, signing_key=key).changed
    check = ("-c", f"gpg.ssh.allowedSignersFile={tmp_path / 'allowed'}", "verify-commit", BRANCH)
    bare.git("config", "gpg.format", "ssh")
    bare.git(*check)
    bare.git("update-ref", "-d", f"refs/heads/{BRANCH}")
    assert give_feedback(remote, bare.head, signing_key=key).commit == published.commit
    unsigned = give_feedback(remote, "2" * 40)
    with pytest.raises(AssertionError):
        bare.git(*check)
    assert unsigned.changed


def test_a_key_that_cannot_sign_is_our_fault(tmp_path, remote, bare):
    (tmp_path / "key").write_text("no key")
    with pytest.raises(GraderError, match="commit-tree failed"):
        give_feedback(remote, bare.head, signing_key=tmp_path / "key")
    assert bare.tip(BRANCH) is None
