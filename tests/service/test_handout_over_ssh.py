"""From the roster to the feedback over ssh: a real sshd, students' keys, a folder of bare repositories."""

import os
import subprocess

import pytest

from autograder.config import load
from autograder.course.course import Course
from autograder.hosts import folder
from autograder.ledger import Ledger
from autograder.service import handout, serve
from autograder.service.intake.spool import Spool
from autograder.service.jobs.pipeline import Pipeline
from tests.support import sshd
from tests.support.course import RIGHT
from tests.support.githost import ENVIRONMENT
from tests.support.staff import SETTINGS, Staff, released
from tests.support.university import PretendedGraders

HOST = """
[course]
roster = "roster.csv"

[hosts."git.uni.example"]
kind = "folder"
base = "../git"
student_keys = "keys"
authorized_keys_file = "../home/.ssh/authorized_keys"
"""
ROSTER = (
    "id,name,login,team\n20260101,王小明,xiaoming,\n20260102,李雷,lilei,\n20260103,韩梅梅,meimei,dragons\n"
)


class Place:
    """A course, its repositories, and an sshd through which students reach them."""

    def __init__(self, folder, server):
        self.folder, self.server = folder, server
        (folder / "git").mkdir()
        self.staff = Staff(folder / "course", settings=SETTINGS + HOST, repositories="dls/t-*")
        self.staff.write("roster.csv", ROSTER)

    def hand_out(self, *students, everybody=False):
        config = load(self.staff.config_file)
        course = Course.of(config)
        whom = handout.recipients(course, "t", students, everybody=everybody)
        with Ledger.open(config.ledger_url(), folder=config.path(".")) as ledger:
            handing = handout.Handout(course, ledger, "t", released(self.staff, config, ledger))
            return {each.recipient.student: each for each in handing.run(whom, 2)}

    def git(self, login, *arguments, cwd=None):
        """Run git as a student; return the exit status and what it says."""
        variables = ENVIRONMENT | {"GIT_SSH_COMMAND": self.server.command(login)}
        done = subprocess.run(
            ["git", *arguments],
            cwd=cwd or self.folder,
            env=variables,
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    def clone(self, login, name, to):
        return self.git(
            login, "clone", "--quiet", f"{self.server.base}/dls/{name}.git", str(self.folder / to)
        )

    def grade(self):
        """Take what the hooks reported, and grade it."""
        with serve.parts(self.staff.config_file) as parts:
            Spool(parts.course.spool()).drain(parts.intake.receive)
            worker = Pipeline(
                parts.ledger, parts.course, PretendedGraders(), parts.intake, self.folder / "work", "host:0"
            )
            while entries := parts.queue.entries():
                for entry in entries:
                    worker.run(entry.job)
                    parts.queue.cancel(entry.job)


@pytest.fixture
def place(tmp_path):
    authorized_keys = tmp_path / "home" / ".ssh" / "authorized_keys"
    (tmp_path / "home").mkdir()
    with sshd.serving(tmp_path / "sshd", authorized_keys) as server:
        yield Place(tmp_path, server)


@pytest.mark.service
@sshd.needs_sshd
def test_a_student_s_way_over_ssh(place):
    for login in ("xiaoming", "lilei"):
        place.server.key(login, place.staff.folder / "keys")
    done = place.hand_out(everybody=True)
    assert [each.state for each in done.values()] == ["made"] * 3
    missing = place.staff.folder / "keys" / "meimei.pub"
    assert done["dragons"].missing == (f"meimei has no ssh key: put it at {missing}, and run this again",)

    assert place.clone("xiaoming", "t-xiaoming", "mine") == (0, "")
    work = place.folder / "mine"
    (work / "src" / "work.py").write_text(RIGHT)
    assert place.git("xiaoming", "commit", "--quiet", "-am", "work", cwd=work)[0] == 0
    assert place.git("xiaoming", "push", "--quiet", cwd=work) == (0, "")
    place.grade()
    assert place.git("xiaoming", "fetch", "--quiet", cwd=work) == (0, "")
    status, text = place.git("xiaoming", "show", "origin/score-feedback:score.md", cwd=work)
    assert status == 0
    assert "100" in text

    place.git("xiaoming", "commit", "--quiet", "--amend", "-m", "rewritten", cwd=work)
    status, text = place.git("xiaoming", "push", "--force", cwd=work)
    assert (status != 0, "non-fast-forward" in text) == (True, True)
    status, text = place.git("xiaoming", "push", "origin", "HEAD:score-feedback", cwd=work)
    assert (status != 0, "hidden ref" in text) == (True, True)

    # another student's key opens nothing of this one's, and no key opens a shell
    status, text = place.clone("lilei", "t-xiaoming", "stolen")
    assert (status != 0, "there is no repository of this name to which lilei has access" in text) == (
        True,
        True,
    )
    assert place.clone("lilei", "t-lilei", "his")[0] == 0
    for command in (["id"], ["sh", "-c", "id"], []):
        status, text = place.server.run("lilei", *command)
        assert status != 0
        assert "uid=" not in text
        assert "autograder: " in text

    # a student who enrols late hands in a key, and the same command lets in that student
    place.server.key("meimei", place.staff.folder / "keys")
    assert place.clone("meimei", "t-dragons", "team")[0] != 0
    again = place.hand_out("20260103")
    assert (again["dragons"].state, again["dragons"].missing) == ("unchanged", ())
    assert place.clone("meimei", "t-dragons", "team") == (0, "")
    assert place.git("xiaoming", "fetch", cwd=work)[0] == 0, "the other keys still open what they opened"


@pytest.mark.service
@sshd.needs_sshd
def test_what_a_student_may_try_with_a_key(place, monkeypatch):
    monkeypatch.setattr(folder, "MAX_PUSH", "100k")
    for login in ("xiaoming", "lilei"):
        place.server.key(login, place.staff.folder / "keys")
    place.hand_out("20260101", "20260102")
    place.clone("xiaoming", "t-xiaoming", "mine")
    work, bare = place.folder / "mine", place.folder / "git" / "dls" / "t-xiaoming.git"
    before = {path.name for path in bare.iterdir()}

    def pushed(*arguments):
        status, text = place.git("xiaoming", "push", *arguments, cwd=work)
        return status == 0, text

    for ref in ("score-feedback", "refs/heads/score-feedback/in-the-way", "refs/heads/../../hooks/x"):
        assert not pushed("origin", f"HEAD:{ref}")[0], ref
    for ref in ("main", "score-feedback"):
        assert not pushed("origin", f":{ref}")[0], ref
    assert "does not support push options" in pushed("-o", "ci.skip", "origin", "HEAD:main")[1]

    # branches whose names are those of our files become files below refs/, and no repository
    inner = ("autograder-access", "HEAD", "objects/a", "refs/a", "hooks/post-receive")
    assert pushed("origin", *(f"HEAD:refs/heads/x.git/{name}" for name in inner))[0]
    assert place.clone("lilei", "t-xiaoming.git/refs/heads/x", "stolen")[0] != 0
    assert {path.name for path in bare.iterdir()} == before | {"logs"}

    # a huge pack is refused, and leaves nothing
    (work / "huge").write_bytes(os.urandom(200_000))
    place.git("xiaoming", "add", "huge", cwd=work)
    place.git("xiaoming", "commit", "--quiet", "-m", "huge", cwd=work)
    done, text = pushed("origin", "HEAD:main")
    assert not done
    assert "exceeds maximum allowed size" in text
    assert sum(path.stat().st_size for path in bare.rglob("*") if path.is_file()) < 200_000
    place.git("xiaoming", "reset", "--quiet", "--hard", "HEAD~1", cwd=work)

    for command in (["-s", "127.0.0.1", "sftp"], ["-W", "127.0.0.1:22", "127.0.0.1"]):
        arguments = [*place.server.command("xiaoming").split(), *command]
        refused = subprocess.run(arguments, input="", capture_output=True, text=True, timeout=60, check=False)
        assert refused.returncode != 0, command

    # the hook reports who pushed: all of them have one account
    (work / "src" / "work.py").write_text(RIGHT)
    place.git("xiaoming", "commit", "--quiet", "-am", "work", cwd=work)
    assert pushed("origin", "HEAD:main")[0]
    with serve.parts(place.staff.config_file) as parts:
        Spool(parts.course.spool()).drain(parts.intake.receive)
        (push,) = parts.ledger.pushes(parts.course.repository_of("t", "xiaoming"))
        assert push.sender == "xiaoming"
