"""What we change at GitHub, Gitea and GitLab: each call may be repeated, and changes only what is missing."""

import pytest

from autograder.git.process import GitHostError
from autograder.hosts import KINDS
from autograder.hosts.api import LIMITED_SECONDS, Api, Limited, Pace, Refusal
from autograder.hosts.writes import Account, Branches, State, Status
from tests.support.apihost import Answer, ApiHost, serving

AWAY = ["github", "gitea", "gitlab"]
COMMIT = "a" * 40
GRADER = Account(1, "grader")


@pytest.fixture(params=AWAY)
def site(request, tmp_path):
    with serving(ApiHost(request.param, tmp_path)) as host:
        yield host


@pytest.fixture
def github(tmp_path):
    with serving(ApiHost("github", tmp_path)) as host:
        yield host


def api(site, **settings):
    return Api(site.kind, site.base, "t0ken", **settings)


def writes(site):
    return KINDS[site.kind].writes


def made(site, owner="cs", name="a1-ann"):
    writes(site).create(api(site), owner, name, "main")
    return site[f"{owner}/{name}"]


def test_a_repository_is_made_once_and_private(site):
    assert not writes(site).exists(api(site), "cs", "a1-ann")
    assert made(site).private
    assert writes(site).exists(api(site), "cs", "a1-ann")
    before = len(site.repositories)
    made(site)  # as if another run had been faster
    assert len(site.repositories) == before


def test_the_owner_may_be_the_account_of_the_token(tmp_path):
    for kind in ("github", "gitea"):
        with serving(ApiHost(kind, tmp_path / kind)) as site:
            assert made(site, "grader").private
            with pytest.raises(GitHostError, match="in which the token may make repositories"):
                made(site, "elsewhere")


def test_a_group_that_is_not_there(tmp_path):
    with serving(ApiHost("gitlab", tmp_path)) as site, pytest.raises(GitHostError, match="there is no group"):
        made(site, "elsewhere")


def test_one_account_may_write_and_the_others_are_named(site):
    repository = made(site)
    repository.writers["eve"] = 40 if site.kind == "gitlab" else "write"
    repository.writers["bob"] = 20 if site.kind == "gitlab" else "read"
    granted = writes(site).grant(api(site), "cs", "a1-ann", ["ann"])
    assert (granted.writers, granted.added, granted.invited, granted.others) == (
        ("ann",),
        ("ann",),
        (),
        ("eve",),
    )
    assert repository.writers["ann"] == (30 if site.kind == "gitlab" else "write")
    before = len(site.writes)
    again = writes(site).grant(api(site), "cs", "a1-ann", ["ann"])
    assert (again.added, len(site.writes)) == ((), before)
    team = writes(site).grant(api(site), "cs", "a1-ann", ["ann", "bob"])
    assert team.added == ("bob",), "who could read gets the right to write"


def test_an_account_that_is_not_there(site):
    made(site)
    with pytest.raises(GitHostError, match=r"does not exist|there is no account nobody"):
        writes(site).grant(api(site), "cs", "a1-ann", ["nobody"])


def test_github_invites(tmp_path):
    with serving(ApiHost("github", tmp_path, invites=True)) as site:
        made(site)
        granted = writes(site).grant(api(site), "cs", "a1-ann", ["ann"])
        assert (granted.writers, granted.added, granted.invited) == ((), ("ann",), ("ann",))
        before = len(site.writes)
        again = writes(site).grant(api(site), "cs", "a1-ann", ["ann"])
        assert (again.added, again.invited, len(site.writes)) == ((), ("ann",), before)


def test_the_branches_are_protected_once(site):
    repository = made(site)
    branches = Branches("main", "score-feedback", GRADER)
    assert writes(site).protect(api(site), "cs", "a1-ann", branches) == []
    first = [dict(rule) for rule in repository.rules]
    assert len(first) == 2
    before = len(site.writes)
    assert writes(site).protect(api(site), "cs", "a1-ann", branches) == []
    assert (repository.rules, len(site.writes)) == (first, before)


def test_only_the_grader_writes_to_the_feedback(site):
    repository = made(site)
    writes(site).protect(api(site), "cs", "a1-ann", Branches("main", "score-feedback", GRADER))
    graded, feedback = repository.rules
    if site.kind == "github":
        assert graded["conditions"] == {"ref_name": {"include": ["refs/heads/main"], "exclude": []}}
        assert [rule["type"] for rule in graded["rules"]] == ["deletion", "non_fast_forward"]
        assert graded["bypass_actors"] == []
        assert {"type": "update"} in feedback["rules"]
        assert feedback["bypass_actors"] == [{"actor_type": "User", "actor_id": 1, "bypass_mode": "always"}]
    elif site.kind == "gitea":
        assert graded == {"rule_name": "main", "enable_push": True}
        assert feedback["push_whitelist_usernames"] == ["grader"]
    else:
        assert (graded["push_access_level"], feedback["push_access_level"]) == (30, 40)
        assert graded["allow_force_push"] is feedback["allow_force_push"] is False


def test_gitlab_s_own_protection_is_replaced(tmp_path):
    with serving(ApiHost("gitlab", tmp_path)) as site:
        repository = made(site)
        usual = {"name": "main", "push_access_level": 40, "allow_force_push": False}
        repository.rules.append(usual)
        writes(site).protect(api(site), "cs", "a1-ann", Branches("main", "score-feedback"))
        assert [(rule["name"], rule["push_access_level"]) for rule in repository.rules] == [
            ("main", 30),
            ("score-feedback", 40),
        ]


def test_a_github_app_may_write_to_the_feedback(github):
    repository = made(github)
    assert writes(github).protect(api(github), "cs", "a1-ann", Branches("main", "fb", app="4711")) == []
    assert repository.rules[1]["bypass_actors"][0]["actor_id"] == 4711
    repository.rules.clear()
    missing = writes(github).protect(api(github), "cs", "a1-ann", Branches("main", "fb", app="Iv1.abc"))
    assert "fb is not protected, since GitHub does not know who the grader is" in missing[0]
    assert len(repository.rules) == 1


def test_a_plan_without_rulesets_is_told(tmp_path):
    with serving(ApiHost("github", tmp_path, paid=False)) as site:
        made(site)
        (missing,) = writes(site).protect(api(site), "cs", "a1-ann", Branches("main", "fb", GRADER))
        assert "no branch is protected" in missing


URL = "https://grader.uni.example/webhook/github/github.com"


def test_the_webhook_is_made_once(site):
    repository = made(site)
    assert writes(site).add_webhook(api(site), "cs", "a1-ann", URL, "s3cret")
    assert not writes(site).add_webhook(api(site), "cs", "a1-ann", URL, "s3cret")
    (hook,) = repository.hooks
    assert (hook.get("token") or hook["config"]["secret"]) == "s3cret"
    assert (hook.get("url") or hook["config"]["url"]) == URL


def test_the_webhook_of_the_owner_is_enough(site):
    made(site)
    site.owner_hooks = [{"url": URL} if site.kind == "gitlab" else {"config": {"url": URL}}]
    assert not writes(site).add_webhook(api(site), "cs", "a1-ann", URL, "s3cret")
    site.owner_hooks = None  # the token may not see them
    assert writes(site).add_webhook(api(site), "cs", "a1-ann", URL, "s3cret")


@pytest.mark.parametrize("state", State)
def test_a_status_of_each_state(site, state):
    repository = made(site)
    writes(site).set_status(
        api(site), "cs", "a1-ann", Status(COMMIT, state, "85 / 100", "https://x.example/y")
    )
    (status,) = repository.statuses
    assert (status["commit"], status["description"]) == (COMMIT, "85 / 100")
    assert status["target_url"] == "https://x.example/y"
    assert "autograder" in (status.get("context"), status.get("name"))
    known = {
        "github": {"error", "failure", "pending", "success"},
        "gitea": {"error", "failure", "pending", "success", "warning"},
        "gitlab": {"pending", "running", "success", "failed", "canceled", "skipped"},
    }
    assert status["state"] in known[site.kind]


def test_a_status_may_be_set_again(site):
    made(site)
    for _ in range(2):
        writes(site).set_status(api(site), "cs", "a1-ann", Status(COMMIT, State.PENDING, "waits"))


def test_a_text_is_one_short_line():
    line = Status(COMMIT, State.GRADED, "a\nb\u202e" + "x" * 300).line
    assert line.startswith("a b")
    assert (len(line), "\u202e" in line) == (140, False)


# calls that fail, and hosts that want fewer of them --------------------------------------------------------


def test_what_the_host_says_is_passed_on(github):
    with pytest.raises(Refusal, match=r"POST /orgs/cs/repos: status 401 \(Bad credentials\)") as caught:
        writes(github).create(Api("github", github.base, "wrong"), "cs", "a1-ann", "main")
    assert caught.value.status == 401


class Clock:
    """A clock that only sleeping moves."""

    def __init__(self):
        self.now, self.slept, self.said = 1000.0, [], []

    def sleep(self, seconds):
        self.slept.append(round(seconds, 3))
        self.now += seconds

    def pace(self, between=0.0):
        return Pace(between, self.said.append, self.sleep, lambda: self.now)


def limited(status, headers):
    return Answer(status, {"message": "slow down"}, headers)


@pytest.mark.parametrize(
    ("answer", "seconds"),
    [
        (limited(429, {"Retry-After": "7"}), 7.0),
        (limited(403, {"Retry-After": "30"}), 30.0),
        (
            limited(
                403,
                {
                    "x-ratelimit-remaining": "0",
                    "x-ratelimit-reset": "1790000100",
                    "Date": "Mon, 21 Sep 2026 14:13:20 GMT",
                },
            ),
            101.0,
        ),
        (limited(429, {"RateLimit-Remaining": "0", "RateLimit-Reset": "1"}), 1.0),
        (limited(429, {}), LIMITED_SECONDS),
    ],
)
def test_a_rate_limit_is_obeyed(github, answer, seconds):
    clock = Clock()
    github.answers = [answer]
    assert KINDS["github"].writes.account(api(github, pace=clock.pace())).login == "grader"
    assert clock.slept == [seconds]
    assert clock.said == [f"github: /user: the host wants fewer requests; waiting {seconds:.0f} s"]
    github.answers = [answer]
    with pytest.raises(Limited) as caught:
        KINDS["github"].writes.account(api(github))
    assert caught.value.seconds == seconds


def test_a_refusal_is_no_rate_limit(github):
    clock = Clock()
    github.answers = [limited(403, {"x-ratelimit-remaining": "4000"})]
    with pytest.raises(Refusal):
        KINDS["github"].writes.account(api(github, pace=clock.pace()))
    assert clock.slept == []


def test_a_host_that_wants_none_for_a_day_ends_the_command(github):
    github.answers = [limited(429, {"Retry-After": "86400"})]
    with pytest.raises(Limited):
        KINDS["github"].writes.account(api(github, pace=Clock().pace()))


def test_a_host_that_fails_for_a_moment(github):
    clock = Clock()
    github.answers = [Answer(502), Answer(503)]
    assert KINDS["github"].writes.account(api(github, pace=clock.pace())).login == "grader"
    assert clock.slept == [0.5, 1.0]
    github.answers = [Answer(502)] * 6
    with pytest.raises(Refusal, match="status 502"):
        KINDS["github"].writes.account(api(github, pace=clock.pace()))


def test_changes_keep_their_distance(github):
    clock = Clock()
    pace = clock.pace(1.0)
    made(github)
    for state in (State.PENDING, State.GRADED, State.GRADED):
        writes(github).set_status(api(github, pace=pace), "cs", "a1-ann", Status(COMMIT, state, "x"))
        writes(github).exists(api(github, pace=pace), "cs", "a1-ann")
    assert clock.slept == [1.0, 1.0], "reading waits for nothing"
