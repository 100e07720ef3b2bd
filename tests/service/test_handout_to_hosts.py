"""Handing out on GitHub, Gitea and GitLab: their APIs, and git over http, both in this process."""

import re
from contextlib import ExitStack

import pytest

from autograder.config import load
from autograder.course.course import Course
from autograder.git.process import GitHostError
from autograder.hosts.api import Limited, Pace
from autograder.hosts.push import Push
from autograder.ledger import Ledger
from autograder.service import handout, serve
from autograder.service.jobs.pipeline import Pipeline
from tests.support import githost
from tests.support.apihost import Answer, ApiHost, serving
from tests.support.course import RIGHT
from tests.support.githost import git
from tests.support.staff import SETTINGS, Staff, released
from tests.support.university import PretendedGraders, now

TOKEN = "t0ken"
TABLES = """
{settings}
[hosts."git.uni.example"]
kind = "{kind}"
base = "{base}"
api = "{api}"
token_file = "token"
webhook_secret_file = "webhook-secret"

[service]
url = "https://grader.uni.example"
{course}
"""
ROSTER = (
    "id,name,login,team\n1,王小明,xiaoming,\n2,李雷,,\n3,韩梅梅,meimei,dragons\n4,张伟,zhangwei,dragons\n"
)


class Place:
    """A course whose assignment `t` is handed out on one host."""

    def __init__(self, folder, site, web, course=""):
        self.site, self.slept = site, []
        settings = TABLES.format(
            settings=SETTINGS, kind=site.kind, base=web.base, api=site.base, course=course
        )
        self.staff = Staff(folder / "course", settings=settings, repositories="cs/a1-*")
        self.staff.write("token", "t0ken\n")
        self.staff.write("webhook-secret", "0123456789abcdef0123456789abcdef\n")
        self.staff.write("roster.csv", ROSTER)

    def hand_out(self, *students, everybody=False, **settings):
        config = load(self.staff.config_file)
        course = Course.of(config)
        whom = handout.recipients(course, "t", students, everybody=everybody)
        with Ledger.open(config.ledger_url(), folder=config.path(".")) as ledger:
            given = released(self.staff, config, ledger)
            pace = Pace(0.0, sleep=self.slept.append)
            handing = handout.Handout(course, ledger, "t", given, pace=pace, **settings)
            results = {each.recipient.student: each for each in handing.run(whom, 2)}
            self.own = set(ledger.own_commits())
        self.notes = handing.notes
        return results


@pytest.fixture(params=["github", "gitea", "gitlab"])
def kind(request):
    return request.param


@pytest.fixture
def host(tmp_path):
    """A function that starts a host of a kind, and returns the place."""
    with ExitStack() as stack:

        def start(kind, course="", **settings):
            root = tmp_path / "host"
            root.mkdir()
            site = stack.enter_context(serving(ApiHost(kind, root, **settings)))
            web = stack.enter_context(githost.serving(root, password=TOKEN))
            return Place(tmp_path, site, web, course)

        yield start


def test_a_student_gets_a_repository_that_is_complete(host, kind):
    place = host(kind)
    done = place.hand_out("ann", "bob")
    assert [each.state for each in done.values()] == ["made", "made"], done
    repository = place.site["cs/a1-ann"]
    assert repository.bare.tip("main") == done["ann"].commit
    assert place.own == {done["ann"].commit}
    assert repository.private
    assert list(repository.writers) == ["ann"]
    assert list(place.site["cs/a1-bob"].writers) == ["bob"]
    assert len(repository.rules) == 2
    (hook,) = repository.hooks
    address = f"https://grader.uni.example/webhook/{kind}/git.uni.example"
    assert (hook.get("url") or hook["config"]["url"]) == address
    assert done["ann"].did[1:] == ("webhook made", "ann may write")
    last = [call for call in place.site.writes if "a1-ann" in call][-1]
    assert re.search("collaborators/ann|members$", last), "the right to write comes last"


def test_a_second_run_writes_nothing(host, kind):
    place = host(kind)
    place.hand_out("ann")
    before = len(place.site.writes)
    done = place.hand_out("ann")
    assert (done["ann"].state, done["ann"].did, done["ann"].missing) == ("unchanged", (), ())
    assert len(place.site.writes) == before


def test_an_interrupted_run_is_completed(host, kind):
    place = host(kind)
    full = 20
    for cut in (3, 6, 9):
        place.site.answers = [None] * cut + [Answer(500, {"message": "out of order"})] * full
        (failed,) = _one_at_least(place)
        assert failed.state == "failed"
        place.site.answers = []
        done = place.hand_out("ann")["ann"]
        assert done.state in ("made", "completed", "unchanged")
        repository = place.site["cs/a1-ann"]
        assert (len(repository.rules), len(repository.hooks), list(repository.writers)) == (2, 1, ["ann"])
        assert repository.bare.tip("main")
        place.site.repositories.clear()
        git(place.site.root, "init", "--quiet", "--bare", "elsewhere")
        for path in (place.site.root / "cs").iterdir():
            path.rename(place.site.root / f"old-{cut}")


def _one_at_least(place):
    try:
        return list(place.hand_out("ann").values())
    except GitHostError as error:  # the first calls ask whose the token is
        pytest.fail(f"nothing was tried: {error}")


def test_a_mended_starter_goes_to_the_branch(host, kind):
    place = host(kind)
    place.hand_out("ann")
    place.staff.write("Dockerfile", "FROM mended\n")
    done = place.hand_out("ann", update=True)["ann"]
    assert (done.state, done.did) == ("updated", ("replaced Dockerfile",))
    bare = place.site["cs/a1-ann"].bare
    assert bare.show("main:Dockerfile") == b"FROM mended\n"
    assert place.own >= {done.commit}


def test_teams_and_who_has_no_login(host, kind):
    place = host(kind, '[course]\nroster = "roster.csv"')
    done = place.hand_out(everybody=True)
    assert list(done) == ["xiaoming", "2", "dragons"]
    assert list(place.site["cs/a1-dragons"].writers) == ["meimei", "zhangwei"]
    assert done["2"].state == "made"
    assert place.site["cs/a1-2"].writers == {}
    (missing,) = done["2"].missing
    assert "2 has no login at git.uni.example" in missing


def test_one_unknown_account_does_not_stop_the_others(host, kind):
    place = host(kind)
    done = place.hand_out("nobody", "ann")
    assert done["nobody"].state == "failed"
    assert re.search("does not exist|no account", done["nobody"].error)
    assert done["ann"].state == "made"


def test_a_wrong_token_ends_it_before_anything_is_made(host, kind):
    place = host(kind)
    place.staff.write("token", "wrong\n")
    with pytest.raises(GitHostError, match="status 401"):
        place.hand_out("ann")
    assert place.site.writes == []


def test_an_invitation_that_waits_is_named(host):
    place = host("github", invites=True)
    done = place.hand_out("ann")["ann"]
    assert "ann is invited" in done.did
    assert done.missing == ("ann must accept the invitation",)
    again = place.hand_out("ann")["ann"]
    assert (again.state, again.missing) == ("unchanged", ("ann must accept the invitation",))


def test_a_rate_limit_delays_all_and_loses_nothing(host, kind):
    place = host(kind)
    place.site.answers = [None] * 4 + [Answer(429, {"message": "slow"}, {"Retry-After": "12"})]
    done = place.hand_out("ann", "bob")
    assert {each.state for each in done.values()} == {"made"}
    assert 11 < max(place.slept) <= 12


def test_without_a_public_address_there_is_no_webhook(host):
    place = host("gitea")
    text = place.staff.config_file.read_text().replace("https://grader.uni.example", "http://127.0.0.1:8700")
    place.staff.config_file.write_text(text)
    assert place.hand_out("ann")["ann"].state == "made"
    assert place.site["cs/a1-ann"].hooks == []
    assert "which no git host can reach" in place.notes[0]


def test_the_administrator_s_token_makes_repositories(host):
    place = host("gitea")
    place.staff.write("token", "t0ken-of-the-service\n")
    with pytest.raises(GitHostError):
        place.hand_out("ann")
    place.staff.write("admin-token", "t0ken\n")
    text = place.staff.config_file.read_text().replace(
        'token_file = "token"', 'token_file = "token"\nadmin_token_file = "admin-token"'
    )
    place.staff.config_file.write_text(text)
    with pytest.raises(GitHostError, match="status 401"):  # whose the service's token is, the host must say
        place.hand_out("ann")
    place.staff.write("token", "t0ken\n")
    assert place.hand_out("ann")["ann"].state == "made"
    assert issubclass(Limited, GitHostError)


def test_a_dry_run_only_reads(host, kind):
    place = host(kind)
    place.hand_out("ann")
    place.staff.write("Dockerfile", "FROM mended\n")
    before = len(place.site.writes)
    done = place.hand_out("ann", "bob", dry_run=True, update=True)
    assert [done[name].state for name in ("ann", "bob")] == ["updated", "made"]
    assert done["ann"].did == ("would replace Dockerfile",)
    assert len(place.site.writes) == before
    assert "cs/a1-bob" not in place.site.repositories


def test_a_service_that_pushes_with_an_ssh_key_has_no_account_that_could_be_protected(host, kind):
    place = host(kind)
    text = place.staff.config_file.read_text()
    place.staff.config_file.write_text(text.replace("token_file", "admin_token_file"))
    done = place.hand_out("ann")["ann"]
    assert done.state == "made"
    assert ("score-feedback is not protected" in " ".join(done.missing)) == (kind != "gitlab")
    assert place.site["cs/a1-ann"].rules


@pytest.mark.service
def test_from_the_hand_out_to_the_status_of_a_push(host, kind, tmp_path):
    place = host(kind)
    place.hand_out("ann")
    bare = place.site["cs/a1-ann"].bare
    before = bare.tip("main")
    commit = bare.commit({"src/__init__.py": b"", "src/work.py": RIGHT.encode()}, parent=before)
    with serve.parts(place.staff.config_file) as parts:
        push = Push(
            "git.uni.example", "cs", "a1-ann", "refs/heads/main", "main", commit, before, "ann", "1", "0" * 64
        )
        job = parts.intake.receive(push, now()).job
        worker = Pipeline(
            parts.ledger,
            parts.course,
            PretendedGraders(),
            parts.intake,
            tmp_path / "work",
            "host:0",
            statuses=parts.intake.statuses,
        )
        worker.run(job.id)
    # `parts` sends what is due before it ends
    statuses = place.site["cs/a1-ann"].statuses
    assert {each["commit"] for each in statuses} == {commit}
    assert statuses[-1]["state"] == "success"
    assert statuses[-1]["description"] == "100 / 100"
    assert statuses[-1]["target_url"].endswith("score-feedback/score.md")
    assert b"100" in bare.show("score-feedback:score.md")
