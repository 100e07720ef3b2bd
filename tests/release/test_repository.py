"""A starter as a commit, and the update of a repository that a student has worked in."""

import dataclasses

import pytest

from autograder import config
from autograder.errors import GraderError
from autograder.release import repository, starter
from tests.support.githost import Bare, git, trap
from tests.support.staff import Staff


@pytest.fixture
def made(tmp_path):
    return starter.build(config.load(Staff(tmp_path / "staff").config_file), "t")


@pytest.fixture
def handed_out(made, tmp_path):
    """A folder with the starter, as a student has it."""
    folder = tmp_path / "out"
    folder.mkdir()
    repository.create(folder, made)
    return folder


def changed(made, **files):
    """Return the starter with other files; None removes one."""
    new = made.files | {path.replace("__", "/"): content for path, content in files.items()}
    return dataclasses.replace(made, files={path: text for path, text in new.items() if text is not None})


def work(folder, **files):
    """Commit as the student does."""
    for path, text in files.items():
        (folder / path.replace("__", "/")).write_text(text)
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "-m", "work")
    return git(folder, "rev-parse", "HEAD")


def test_the_same_files_make_the_same_commit(made, handed_out, tmp_path):
    again = tmp_path / "again"
    again.mkdir()
    assert repository.create(again, made) == git(handed_out, "rev-parse", "main")


def test_it_is_one_clean_commit_by_nobody_in_particular(made, handed_out):
    assert git(handed_out, "log", "--format=%an <%ae> %at %cn %ct") == (
        "autograder <autograder@localhost> 1767225600 autograder 1767225600"
    )
    assert git(handed_out, "status", "--porcelain") == ""
    assert git(handed_out, "fsck", "--strict") == ""
    assert set(git(handed_out, "ls-files").splitlines()) == set(made.files)
    assert git(handed_out, "ls-files", "--stage", "test_script.sh").startswith("100755")
    assert sorted(path.name for path in (handed_out / ".git").iterdir()) == [
        "HEAD", "config", "index", "objects", "refs",
    ]  # fmt: skip


def test_an_update_replaces_ours_and_leaves_the_student_s_work(made, handed_out):
    tip = work(handed_out, **{"src/work.py": "mine = 1\n", "test_script.sh": "changed\n"})
    new = changed(
        made, **{"src/work.py": b"fixed = 1\n", "Dockerfile": b"FROM new\n", "test_script.sh": b"new\n"}
    )
    done = repository.update(handed_out, new)
    assert done.replaced == ("Dockerfile", "test_script.sh")
    assert done.kept == ("src/work.py",)
    assert git(handed_out, "rev-parse", "main^") == tip
    assert git(handed_out, "rev-parse", "main") == done.commit
    assert git(handed_out, "diff", "--name-only", "main^", "main").split() == ["Dockerfile", "test_script.sh"]
    assert (handed_out / "src/work.py").read_text() == "mine = 1\n"
    assert (handed_out / "Dockerfile").read_text() == "FROM new\n"
    assert git(handed_out, "status", "--porcelain") == ""


def test_a_file_that_the_student_has_not_touched_is_updated(made, handed_out):
    work(handed_out, **{"src/mine.py": "x = 1\n"})
    done = repository.update(handed_out, changed(made, **{"src/work.py": b"fixed = 1\n"}))
    assert (done.replaced, done.kept) == (("src/work.py",), ())
    assert (handed_out / "src/work.py").read_text() == "fixed = 1\n"


def test_a_second_update_compares_with_the_first(made, handed_out):
    repository.update(handed_out, changed(made, **{"src/work.py": b"fixed = 1\n"}))
    done = repository.update(handed_out, changed(made, **{"src/work.py": b"fixed = 2\n"}))
    assert done.replaced == ("src/work.py",)
    assert git(handed_out, "rev-list", "--count", "main") == "3"


def test_nothing_is_committed_when_all_is_as_it_should_be(made, handed_out):
    tip = work(handed_out, **{"src/work.py": "mine = 1\n"})
    assert repository.update(handed_out, made) == repository.Update(None, (), ("src/work.py",))
    assert git(handed_out, "rev-parse", "main") == tip


def test_a_file_of_ours_that_is_no_longer_released_goes(made, handed_out):
    done = repository.update(handed_out, changed(made, **{"run_docker.sh": None}))
    assert done.replaced == ("run_docker.sh",)
    assert not (handed_out / "run_docker.sh").exists()


def test_a_file_of_theirs_that_they_removed_stays_away(made, handed_out):
    git(handed_out, "rm", "--quiet", "src/work.py")
    work(handed_out)
    assert repository.update(handed_out, made).kept == ("src/work.py",)


def test_an_update_does_not_make_the_student_s_work_ours(made, handed_out):
    work(handed_out, **{"src/work.py": "mine = 1\n"})
    repository.update(handed_out, changed(made, Dockerfile=b"FROM new\n"))
    done = repository.update(
        handed_out, changed(made, **{"src/work.py": b"fixed = 1\n", "Dockerfile": b"FROM x\n"})
    )
    assert (done.replaced, done.kept) == (("Dockerfile",), ("src/work.py",))
    assert (handed_out / "src/work.py").read_text() == "mine = 1\n"


def test_after_a_new_history_nothing_of_theirs_is_touched(made, tmp_path):
    folder = tmp_path / "template"
    folder.mkdir()
    repository.create(folder, made)
    git(folder, "update-ref", "-d", "refs/heads/main")
    work(folder)  # a root commit of the student's own
    new = changed(made, **{"src/work.py": b"fixed = 1\n", "Dockerfile": b"FROM new\n"})
    done = repository.update(folder, new)
    assert (done.replaced, done.kept) == (("Dockerfile",), ("src/work.py",))


def test_a_bare_repository_is_updated(made, handed_out, tmp_path):
    bare = Bare(tmp_path / "bare.git")
    git(handed_out, "push", "--quiet", str(bare.path), "main")
    done = repository.update(bare.path, changed(made, Dockerfile=b"FROM new\n"))
    assert bare.tip("main") == done.commit
    assert bare.show("main:Dockerfile") == b"FROM new\n"


def test_an_update_makes_no_folder_in_a_bare_repository(made, handed_out, tmp_path):
    """Staff update repositories of other accounts, which could not write to that folder in the next push."""
    bare = Bare(tmp_path / "ann.git")
    git(handed_out, "push", "--quiet", str(bare.path), "main")
    bare.git("config", "core.logAllRefUpdates", "true")
    before = {path for path in bare.path.rglob("*") if path.is_dir()}
    done = repository.update(bare.path, changed(made, Dockerfile=b"FROM new\n", new__deep__file=b"x\n"))
    assert bare.tip("main") == done.commit
    assert {path for path in bare.path.rglob("*") if path.is_dir()} == before
    assert bare.git("fsck", "--strict") == ""
    assert bare.git("show", "main:Dockerfile") == "FROM new"


def test_another_branch_that_is_checked_out_stays_as_it_is(made, handed_out):
    git(handed_out, "switch", "--quiet", "-c", "mine")
    repository.update(handed_out, changed(made, Dockerfile=b"FROM new\n"))
    assert (handed_out / "Dockerfile").read_text() == "FROM scratch\n"
    assert git(handed_out, "show", "main:Dockerfile") == "FROM new"


@pytest.mark.parametrize("stage", [False, True], ids=["working-tree", "index"])
def test_uncommitted_changes_are_not_overwritten(made, handed_out, stage):
    (handed_out / "Dockerfile").write_text("FROM mine\n")
    if stage:
        git(handed_out, "add", "Dockerfile")
        (handed_out / "Dockerfile").write_text("FROM scratch\n")
    with pytest.raises(GraderError, match="Dockerfile has changes that are not committed"):
        repository.update(handed_out, changed(made, Dockerfile=b"FROM new\n"))
    assert git(handed_out, "rev-list", "--count", "main") == "1"


def test_nothing_of_the_student_s_repository_runs(made, handed_out, tmp_path):
    program = trap(tmp_path)
    work(handed_out, **{".gitattributes": "* filter=x diff=x\n"})
    for key in ("core.fsmonitor", "filter.x.clean", "filter.x.smudge", "filter.x.process", "core.sshCommand"):
        git(handed_out, "config", key, str(program))
    git(handed_out, "config", "core.hooksPath", str(tmp_path / "hooks"))
    for hook in ("post-commit", "reference-transaction", "post-index-change", "pre-commit", "post-update"):
        (tmp_path / "hooks").mkdir(exist_ok=True)
        (tmp_path / "hooks" / hook).symlink_to(program)
    assert repository.update(handed_out, changed(made, Dockerfile=b"FROM new\n")).commit
    assert not (tmp_path / "sprung").exists()


def test_a_link_is_not_followed(made, handed_out, tmp_path):
    outside = tmp_path / "outside"
    (outside / "workflows").mkdir(parents=True)
    git(handed_out, "rm", "-r", "--quiet", ".github")
    (handed_out / ".github").symlink_to(outside)
    work(handed_out)
    with pytest.raises(GraderError, match="is a symbolic link"):
        repository.update(handed_out, made)
    assert not any((outside / "workflows").iterdir())


@pytest.mark.parametrize("kind", ["folder", "empty"])
def test_what_was_never_handed_out_is_refused(made, tmp_path, kind):
    folder = tmp_path / "x"
    folder.mkdir()
    if kind == "empty":
        git(folder, "init", "--quiet")
    with pytest.raises(
        GraderError, match="is not a git repository" if kind == "folder" else "has no branch main"
    ):
        repository.update(folder, made)


def test_another_assignments_repository_is_refused(made, handed_out):
    before = git(handed_out, "rev-parse", "main")
    other = dataclasses.replace(made, assignment="other")
    with pytest.raises(GraderError, match="handed out for t, not for other; nothing was changed"):
        repository.update(handed_out, other)
    assert git(handed_out, "rev-parse", "main") == before
