"""Handing out: a repository for each student, complete, safe to repeat, and to which that student alone may write."""

import json
import os
import shutil
import subprocess
from datetime import datetime, timezone

import pytest
from click.testing import CliRunner

from autograder.cli import main
from autograder.config import load
from autograder.course.course import Course
from autograder.errors import ConfigError
from autograder.git.feedback import publish
from autograder.git.remote import Remote
from autograder.ledger import Ledger
from autograder.release import starter
from autograder.release.repository import create, pack
from autograder.service import handout
from autograder.service.intake.spool import Spool
from tests.support.githost import ENVIRONMENT, git
from tests.support.staff import SETTINGS, Staff, released

HOST = '{keys}\n[hosts."git.uni.example"]\nkind = "folder"\nbase = "../host"\n{host}\n'


class Place:
    """A course whose assignment `t` can be handed out, beside a folder of bare repositories."""

    def __init__(self, folder, *, host="", course="", roster=""):
        self.folder = folder
        (folder / "host").mkdir()
        settings = HOST.format(keys=SETTINGS, host=host) + course
        self.staff = Staff(folder / "course", settings=settings, repositories="dls/t-*")
        if roster:
            self.staff.write("roster.csv", roster)

    @property
    def config(self):
        return load(self.staff.config_file)

    @property
    def course(self):
        return Course.of(self.config)

    def ledger(self):
        return Ledger.open(self.config.ledger_url(), folder=self.config.path("."))

    def bare(self, student="ann"):
        return self.folder / "host" / "dls" / f"t-{student}.git"

    def hand_out(self, *students, everybody=False, proofs=None, jobs=2, dry_run=False, **settings):
        """Hand out; return the results by student. `proofs` gets each starter that had to be proven."""
        course = self.course
        whom = handout.recipients(course, "t", students, everybody=everybody)

        def prove(made, _folder):
            if proofs is not None:
                proofs.append(made)

        with self.ledger() as ledger:
            if proofs is None and not dry_run:
                made = released(self.staff, self.config, ledger)
            else:
                made = handout.release(self.config, ledger, "t", None if dry_run else prove)
            handing = handout.Handout(course, ledger, "t", made, dry_run=dry_run, **settings)
            results = {each.recipient.student: each for each in handing.run(whom, jobs)}
        self.notes = handing.notes
        return results

    def clone(self, student="ann", name="work"):
        git(self.folder, "clone", "--quiet", str(self.bare(student)), name)
        return self.folder / name


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


def pushed(folder, *arguments):
    """Push as the student does; return the exit status and what git says."""
    done = subprocess.run(
        ["git", "push", *arguments], cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stderr


def commit(folder, text="mine = 1\n"):
    (folder / "src" / "work.py").write_text(text)
    git(folder, "commit", "--quiet", "--all", "-m", "work")
    return git(folder, "rev-parse", "HEAD")


def everything(folder):
    """Return the content of every file below a folder, but for the ledger's."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and "ledger" not in path.name
    }


def test_a_student_gets_a_repository_that_is_complete(place):
    done = place.hand_out("ann", "bob")
    assert [done[name].state for name in ("ann", "bob")] == ["made", "made"]
    assert not done["ann"].missing
    bare = place.bare("ann")
    assert git(bare, "rev-parse", "main") == done["ann"].commit == git(place.bare("bob"), "rev-parse", "main")
    assert git(bare, "symbolic-ref", "HEAD") == "refs/heads/main"
    assert (bare / "autograder-access").read_text() == "ann\n"
    assert git(bare, "config", "core.logAllRefUpdates") == "true"
    with place.ledger() as ledger:
        assert ledger.own_commits() == {done["ann"].commit: "starter of t"}
    before = len(list(Spool(place.course.spool()).folder.glob("*.json")))
    assert before == 0, "our own push is not reported"
    work = place.clone()
    assert (work / "src" / "work.py").is_file()
    commit(work)
    assert pushed(work)[0] == 0
    assert len(list(Spool(place.course.spool()).folder.glob("*.json"))) == 1


def test_a_second_run_changes_nothing(place):
    proofs = []
    place.hand_out("ann", proofs=proofs)
    work = place.clone()
    tip = commit(work)
    pushed(work)
    before = everything(place.folder / "host")
    done = place.hand_out("ann", "eve", proofs=proofs)
    assert (done["ann"].state, done["ann"].did) == ("unchanged", ())
    assert done["eve"].state == "made"
    assert git(place.bare(), "rev-parse", "main") == tip
    shutil.rmtree(place.bare("eve"))
    assert everything(place.folder / "host") == before
    assert len(proofs) == 1, "what is in the ledger was proven"


def test_what_is_missing_is_made(place):
    place.hand_out("ann")
    (place.bare() / "hooks" / "post-receive").unlink()
    (place.bare() / "autograder-access").unlink()
    done = place.hand_out("ann")
    assert (done["ann"].state, done["ann"].did) == ("completed", ("hook installed", "ann may write"))
    empty = place.bare("bob")
    git(place.folder, "init", "--quiet", "--bare", str(empty))
    assert place.hand_out("bob")["bob"].state == "made"


def test_git_protects_the_branches(place):
    place.hand_out("ann")
    work = place.clone()
    tip = commit(work)
    assert pushed(work)[0] == 0
    git(work, "commit", "--quiet", "--amend", "-m", "rewritten")
    status, text = pushed(work, "--force")
    assert status != 0
    assert "non-fast-forward" in text
    assert pushed(work, "origin", ":main")[0] != 0
    status, text = pushed(work, "origin", "HEAD:refs/heads/score-feedback")
    assert status != 0
    assert "hidden ref" in text
    feedback(place, tip)
    git(work, "fetch", "--quiet")
    assert git(work, "show", "origin/score-feedback:score.md") == "100"
    assert pushed(work, "origin", ":score-feedback")[0] != 0
    assert pushed(work, "origin", "HEAD:refs/heads/score-feedback/in-the-way")[0] != 0
    assert pushed(work, "origin", "HEAD:refs/heads/draft")[0] == 0
    feedback(place, tip, attempt=2)


def feedback(place, graded, attempt=1):
    remote = Remote.at(str(place.folder / "host"), "dls", "t-ann")
    done = publish(
        remote,
        graded_commit=graded,
        attempt=attempt,
        files={"score.md": b"100"},
        when=datetime(2026, 9, 1, tzinfo=timezone.utc),
    )
    assert done.changed


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to another account")
def test_a_repository_belongs_to_the_account_of_git(place):
    host = place.folder / "host"
    os.chown(host, 4711, 4712)
    place.hand_out("ann")
    found = {path.stat()[4:6] for path in [place.bare().parent, place.bare(), *place.bare().rglob("*")]}
    assert found == {(4711, 4712)}
    assert place.course.spool().stat()[4:6] == (4711, 4712)


def test_it_goes_on_after_a_repository_that_fails(place):
    place.bare("ann").parent.mkdir()
    place.bare("ann").write_text("in the way")
    done = place.hand_out("ann", "bob", jobs=1)
    assert done["ann"].state == "failed"
    assert "is not a bare repository; remove it" in done["ann"].error
    assert done["bob"].state == "made"
    assert place.bare("ann").read_text() == "in the way"


def test_a_dry_run_changes_nothing(place):
    place.hand_out("bob")
    before = everything(place.folder)
    done = place.hand_out("ann", "bob", dry_run=True)
    assert (done["ann"].state, done["bob"].state) == ("made", "unchanged")
    assert done["ann"].did[0].startswith("starter ")
    assert everything(place.folder) == before


def test_a_mended_starter_comes_to_all(place):
    place.hand_out("ann", "bob")
    work = place.clone("ann")
    tip = commit(work)
    assert pushed(work)[0] == 0
    place.staff.write("Dockerfile", "FROM mended\n")
    place.staff.write(
        "src/work.py", (place.staff.folder / "src/work.py").read_text().replace("twice x", "2 x")
    )
    planned = place.hand_out("ann", update=True, dry_run=True)["ann"]
    assert planned.did == ("would replace Dockerfile; left as the student has them: src/work.py",)
    assert git(place.bare("ann"), "rev-parse", "main") == tip
    done = place.hand_out("ann", "bob", "eve", update=True)
    assert [done[name].state for name in ("ann", "bob", "eve")] == ["updated", "updated", "made"]
    assert done["ann"].did == ("replaced Dockerfile; left as the student has them: src/work.py",)
    assert git(place.bare("ann"), "rev-parse", "main^") == tip
    assert git(place.bare("bob"), "show", "main:Dockerfile") == "FROM mended"
    assert "2 x" in git(place.bare("bob"), "show", "main:src/work.py")
    with place.ledger() as ledger:
        assert ledger.is_own(done["ann"].commit)
    again = place.hand_out("ann", "bob", "eve", update=True)
    assert {each.state for each in again.values()} == {"unchanged"}
    late = place.hand_out("ann")
    assert late["ann"].state == "unchanged", "without --update, what was handed out stays"


def test_a_repository_of_another_assignment_is_not_updated(place):
    place.hand_out("ann")
    other = starter.build(place.config, "u")
    with place.ledger() as ledger:
        folder = place.folder / "other"
        folder.mkdir()
        released = handout.Released(other, create(folder, other), b"")
        assert pack(folder, released.commit).startswith(b"PACK")
        handing = handout.Handout(place.course, ledger, "t", released, update=True)
        (done,) = handing.run(handout.recipients(place.course, "t", ["ann"]), 1)
    assert done.state == "failed"
    assert "dls/t-ann was handed out for t, not for u" in done.error


def test_the_graded_branch_may_have_another_name(place):
    text = place.staff.config_file.read_text()
    place.staff.config_file.write_text(
        text.replace('repositories = ["dls/t-*"]', 'repositories = ["dls/t-*"]\nbranch = "trunk"')
    )
    done = place.hand_out("ann")
    assert git(place.bare(), "symbolic-ref", "HEAD") == "refs/heads/trunk"
    assert git(place.bare(), "for-each-ref", "--format=%(refname)") == "refs/heads/trunk"
    place.staff.write("Dockerfile", "FROM mended\n")
    again = place.hand_out("ann", update=True)
    assert again["ann"].did == ("replaced Dockerfile",)
    assert git(place.bare(), "rev-parse", "trunk^") == done["ann"].commit


def test_a_mistake_in_the_roster_is_named(tmp_path):
    lines = ROSTER + "20260105,某人,..,,\n"
    place = Place(tmp_path, course='[course]\nroster = "roster.csv"\n', roster=lines)
    done = place.hand_out(everybody=True)
    assert {each.state for each in done.values()} == {"made"}
    assert "roster.csv:7:" in place.notes[0]


ROSTER = (
    "id,name,login,team,role\n"
    "20260101,王小明,xiaoming,,\n"
    "20260102,李雷,,,\n"
    "20260103,韩梅梅,meimei,dragons,\n"
    "20260104,张伟,zhangwei,dragons,\n"
    "90000001,助教,ta,,staff\n"
)


def test_the_roster_says_who_gets_one(tmp_path):
    place = Place(tmp_path, course='[course]\nroster = "roster.csv"\n', roster=ROSTER)
    done = place.hand_out(everybody=True)
    assert list(done) == ["xiaoming", "20260102", "dragons"]
    assert done["dragons"].recipient.people == ("20260103", "20260104")
    assert (place.bare("dragons") / "autograder-access").read_text() == "meimei\nzhangwei\n"
    assert (place.bare("20260102") / "autograder-access").read_text() == "20260102\n"
    assert not place.bare("ta").exists()
    place.staff.write(
        "roster.csv", ROSTER.replace("20260104,张伟,zhangwei,dragons", "20260104,张伟,zhangwei,")
    )
    done = place.hand_out("20260104", "meimei")
    assert [(each.recipient.student, each.state) for each in done.values()] == [
        ("zhangwei", "made"),
        ("dragons", "unchanged"),
    ]
    assert (place.bare("dragons") / "autograder-access").read_text() == "meimei\n", "who left may not write"
    with pytest.raises(ConfigError, match="nobody in"):
        place.hand_out("nobody")


@pytest.mark.parametrize(
    ("pattern", "student", "message"),
    [
        ("dls/t-*-*", "ann", "the first pattern must have one"),
        ("dls/t", "ann", "the first pattern must have one"),
        ("dls/t-?*", "ann", "the first pattern must have one"),
        ("dls/t-*", "a/b", "cannot be the name of a repository"),
        ("dls/t-*", "..", "cannot be the name of a repository"),
        ("dls/t-*", "ann.git", "cannot be the name of a repository"),
    ],
)
def test_a_name_that_cannot_be_a_repository_s(place, pattern, student, message):
    text = place.staff.config_file.read_text().replace("dls/t-*", pattern)
    place.staff.config_file.write_text(text)
    with pytest.raises(ConfigError, match=message):
        place.hand_out(student)
    assert list((place.folder / "host").iterdir()) == []


def test_everybody_needs_a_roster(place):
    with pytest.raises(ConfigError, match="there is no roster, so name the students"):
        place.hand_out(everybody=True)


def test_the_command(place, monkeypatch):
    monkeypatch.setattr("autograder.cli.release.prove", lambda *_: None)
    arguments = ["handout", "t", "ann", "bob", "--config", str(place.staff.config_file)]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    assert "] dls/t-ann: made: starter " in result.stdout
    assert "2 made" in result.stderr
    result = CliRunner().invoke(main, [*arguments, "--json"])
    rows = json.loads(result.stdout)
    assert [(row["student"], row["state"], row["logins"]) for row in rows] == [
        ("ann", "unchanged", ["ann"]),
        ("bob", "unchanged", ["bob"]),
    ]
    result = CliRunner().invoke(main, ["handout", "t", "--config", str(place.staff.config_file)])
    assert result.exit_code == 2
    assert "name the students, or give --all" in result.stderr
    shutil.rmtree(place.bare("ann"))
    place.bare("ann").write_text("in the way")
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 1
    assert "1 failed, 1 unchanged" in result.stderr
