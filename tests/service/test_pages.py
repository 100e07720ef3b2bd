"""The pages for staff: what they show, that strangers' text stays text, and that long lists have several pages."""

import html
import re
from datetime import datetime, timedelta, timezone

import pytest
from msgspec.structs import replace
from starlette.testclient import TestClient

from autograder.ledger import (
    AdjustmentKind,
    Cutoffs,
    JobState,
    LedgerError,
    RepositoryName,
    ScorePolicy,
    Source,
)
from autograder.report import Report
from autograder.service.http import app as edge
from autograder.service.http import pages
from autograder.service.http.pages import MAX_TEXT, ON_FRONT, ON_PAGE, PUSHES, ago, inert, moment
from autograder.service.jobs.queue import QueueError
from autograder.service.metrics import Depth
from autograder.verdict import CaseResult, Verdict
from tests.support.ledgers import commit, current_scores, repository
from tests.support.webservice import ASSIGNMENTS, EXTENSIONS, HOSTS, TOKEN, URL, assignment, new_service

ANN = "/r/git.uni.example/dls/a0-ann"
NOW = datetime(2026, 9, 10, 13, tzinfo=timezone.utc)
COLUMNS = "student,assignment,closes,reason"


@pytest.fixture
def service(ledger, clock, tmp_path):
    return new_service(tmp_path, ledger, clock)


@pytest.fixture
def client(service):
    return staff(service)


def staff(service):
    client = TestClient(edge.create(service), base_url=URL, raise_server_exceptions=False)
    client.post("/login", data={"token": TOKEN})
    return client


@pytest.fixture
def staff_of(ledger, clock, tmp_path):
    """Return a function that logs staff in to a service whose assignment a0 has the given settings."""

    def log_in(**settings):
        a0 = assignment("git.uni.example", "dls/a0-*", **settings)
        return staff(new_service(tmp_path, ledger, clock, assignments=ASSIGNMENTS | {"a0": a0}))

    return log_in


def text_of(response):
    """Return what a reader sees, without markup."""
    assert response.status_code == 200, response.text
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", response.text)).split())


# the front page ------------------------------------------------------------------------------------------


def test_an_empty_course(client):
    text = text_of(client.get("/"))
    assert "Nothing is graded yet" in text
    assert "No job is waiting." in text
    assert "Needs staff" not in text


def test_the_front_page_shows_jobs_and_the_latest_scores(client, semester):
    semester.push("good")
    semester.grade("good", 80)
    semester.push("waits", "ben")
    semester.open("waits", "ben")
    semester.push("runs", "cy")
    semester.run("runs", "cy")
    semester.push("fails", "dee")
    job = semester.run("fails", "dee")
    semester.ledger.move(job.id, JobState.FAILED, reason="the git host did not respond")
    semester.push("dies", "eve")
    job = semester.run("dies", "eve")
    semester.ledger.move(job.id, JobState.DEAD, reason="there is no such repository")
    text = text_of(client.get("/"))
    order = [
        "1 waiting",
        "1 running",
        "1 will be retried",
        "1 needs staff",
        "Queue cpu : 3 waiting, the oldest for 12 s, 1 running.",
        "a0-eve",
        "there is no such repository",
        "a0-dee",
        "the git host did not respond",
        "a0-cy",
        "a0-ben",
        "a0-ann",
        "80 / 100",
    ]
    places = [text.find(part) for part in order]
    assert -1 not in places, order[places.index(-1)]
    assert places == sorted(places)


def test_problems_come_first(client, service):
    service.checks.append(lambda: ["the disk is full: delete something"])
    text = text_of(client.get("/"))
    assert text.index("the disk is full: delete something") < text.index("waiting")


def test_it_refreshes_itself_and_pauses(client):
    assert '<meta http-equiv="refresh" content="10">' in client.get("/").text
    paused = client.get("/?refresh=off")
    assert "refresh" not in paused.text.split("</head>")[0]
    assert '<a href="/">Resume</a>' in paused.text


def test_the_front_page_shows_the_first_of_many(client, semester):
    for number in range(ON_FRONT + 3):
        semester.push(f"c{number}", f"s{number:02}")
        semester.open(f"c{number}", f"s{number:02}")
    text = client.get("/").text
    assert text.count("/r/git.uni.example/dls/a0-s") == ON_FRONT
    assert f'<a href="/jobs?state=queued">All {ON_FRONT + 3} →</a>' in text


def test_pages_load_nothing_from_elsewhere_and_no_script(client, semester):
    semester.push("one")
    job = semester.grade("one")
    for path in ("/", "/login", ANN, f"/jobs/{job.id}", "/jobs", "/r", "/grades", "/grades?a=a0"):
        text = client.get(path).text
        # a link to the git host of the repository, which a browser follows only when it is clicked
        text = re.sub(
            r'<a class="commit" href="https://git\.uni\.example/[^"]*" rel="noreferrer"', "<a", text
        )
        assert "<script" not in text
        assert not re.search(r"\son\w+=|style=|javascript:", text)
        assert not re.search(r'(src|href|action)="(?!/[^/]|/")', text), path


def test_a_page_that_cannot_be_read_gets_a_503(service, client, caplog, monkeypatch):
    def broken():
        raise LedgerError("the ledger sqlite:////srv/place is damaged")

    monkeypatch.setattr(service.ledger, "count_jobs", broken)
    response = client.get("/")
    assert response.status_code == 503
    assert "/srv/place" not in response.text
    assert "/srv/place" in caplog.text


# a repository --------------------------------------------------------------------------------------------


def test_the_front_page_is_there_when_the_queue_cannot_be_read(service, client, semester, monkeypatch):
    def away(*_arguments):
        raise QueueError("the queue sqlite:///jobs.sqlite: unable to open database file")

    semester.push("one")
    monkeypatch.setattr(service.queue, "entries", away)
    monkeypatch.setattr(service.queue, "check", away)
    response = client.get("/")
    assert response.status_code == 200
    assert "unable to open database file" in response.text
    assert "waiting" in response.text


def test_the_history_of_a_repository(client, semester):
    semester.push("first")
    semester.grade("first", 40)
    semester.push("second")
    job = semester.grade("second", 70)
    text = text_of(client.get(ANN))
    assert "a0: 70 / 100 counts, from " + commit("second")[:8] in text
    assert text.index(commit("second")[:8]) < text.rindex(commit("first")[:8])  # newest first
    assert "pushed by ann , main" in text
    assert "Task0 - Case2 0 / 30 ❌ wrong values differ: ‘1’ ≠ \\u202e2" in text
    assert "Total 70 / 100 🥺" in text
    assert '"numpy": "2.0"' in text
    assert "Published 2026-09-10 12:04:00 UTC on score-feedback as " + commit(job.id)[:12] in text
    assert text.count(" counts") == 2  # at the top, and at the push


def test_times_are_in_the_zone_of_the_course(staff_of, semester):
    semester.push("first")  # received at 12:01 UTC
    job = semester.grade("first", 40)
    for zone, shown in {
        "Europe/Berlin": "2026-09-10 14:01:00 UTC+02:00",
        "Asia/Shanghai": "2026-09-10 20:01:00 UTC+08:00",
        "America/St_Johns": "2026-09-10 09:31:00 UTC-02:30",
        "UTC": "2026-09-10 12:01:00 UTC",
    }.items():
        client = staff_of(zone=zone)
        assert f"received {shown} , pushed by" in text_of(client.get(ANN))
        offset = shown[shown.index(" UTC") :]
        assert f"{offset} " in text_of(client.get(f"/jobs/{job.id}"))
        assert f'{offset}">' in client.get("/").text  # where only `5 min ago` is seen, as the tooltip


@pytest.mark.parametrize(
    ("host", "base", "expected"),
    [
        ("git.uni.example", "https://git.uni.example", "https://git.uni.example/dls/a0-ann/commit/{}"),
        ("git.uni.example", "https://uni.example/git/", "https://uni.example/git/dls/a0-ann/commit/{}"),
        ("git.uni.example", "ssh://git@git.uni.example:2222", "https://git.uni.example/dls/a0-ann/commit/{}"),
        (
            "gitlab.uni.example",
            "https://gitlab.uni.example",
            "https://gitlab.uni.example/dls/a0-ann/-/commit/{}",
        ),
        ("folder", "bare", None),
        ("gone.example", None, None),
    ],
    ids=["gitea", "path", "ssh", "gitlab", "folder", "unknown"],
)
def test_a_commit_is_linked_to_its_host(ledger, clock, tmp_path, semester, host, base, expected):
    known = {name: replace(HOSTS[name], base=base) if name == host else each for name, each in HOSTS.items()}
    client = staff(new_service(tmp_path, ledger, clock, hosts=known))
    name = RepositoryName(host, "dls", "a0-ann")
    ledger.record_push(name, commit=commit("first"), ref="refs/heads/main", before="0" * 40)
    job = ledger.open_job(name, commit("first"), "a0").row
    for path in (f"/r/{name}", f"/jobs/{job.id}"):
        links = re.findall(r'href="(http[^"]+)"', client.get(path).text)
        assert links == ([expected.format(commit("first"))] if expected else [])


def test_the_best_push_counts_if_that_is_the_score_policy(staff_of, semester):
    semester.push("first")
    semester.grade("first", 90)
    semester.push("second")
    semester.grade("second", 70)
    assert "a0: 90 / 100 counts" in text_of(staff_of(policy="best").get(ANN))


def test_a_late_push_is_marked_and_does_not_count(staff_of, semester):
    semester.push("first")  # received at 12:01 UTC
    semester.grade("first", 40)
    semester.clock.after(minutes=5)
    semester.push("second")  # 12:08
    semester.grade("second", 70)
    text = text_of(staff_of(zone="UTC", closes="2026-09-10 12:02").get(ANN))
    assert "late by 6 minutes" in text
    assert "on time" in text
    assert "a0: 40 / 100 counts" in text


def test_what_counts_is_shown_with_its_reasons(staff_of, semester):
    semester.push("first")
    semester.grade("first", 90)
    name = repository()
    semester.ledger.add_adjustment(
        name, "a0", AdjustmentKind.POINTS, points=5, who="okafor", why="<b>typo</b>"
    )
    late = {"late_days_allowed": 2, "late_points_per_day": 10}
    client = staff_of(zone="UTC", closes="2026-09-09 23:59", **late)
    text = text_of(client.get(ANN))
    assert "a0: 85 / 100 counts" in text
    assert "Grading gave 90 / 100. It came 1 day late. This takes off 10 points." in text
    assert "The course staff added 5 points: <b>typo</b>." in text
    assert "Adjustment 1: points, by okafor" in text
    assert "late, accepted by 12 hours" in text
    semester.ledger.add_adjustment(name, "a0", AdjustmentKind.EXCUSE, who="okafor", why="ill")
    assert "a0: excused" in text_of(client.get(ANN))


def test_a_push_over_the_limit_says_when_it_is_graded(staff_of, semester):
    for word in ("first", "second", "third"):
        semester.push(word)
        semester.grade(word, 40) if word == "first" else semester.open(word)
    for job in semester.ledger.jobs(states=[JobState.QUEUED]):
        semester.ledger.move(job.id, JobState.RUNNING)
        semester.ledger.move(job.id, JobState.FINAL, reason="not graded: over the limit of pushes")
    text = text_of(staff_of(pushes_per_hour=1).get(ANN))
    assert "over the limit of pushes ; it is graded soon after 2026-09-10 13:01:00 UTC , if no newer" in text
    assert "over the limit of pushes ; a newer push came before it could be graded" in text


def test_an_extension_is_shown(staff_of, semester, tmp_path):
    (tmp_path / EXTENSIONS).write_text(f"{COLUMNS}\nann,a0,2026-09-10 13:00,ill\n")
    semester.push("first")
    semester.grade("first")
    client = staff_of(zone="UTC", closes="2026-09-10 11:00", extensions_file=EXTENSIONS)
    text = text_of(client.get(ANN))
    assert "on time, extended" in text
    assert "ill" not in text.replace("Repositories", "").replace("still", "")


def test_a_push_that_was_late_and_counts_now_is_not_shown_as_both(staff_of, semester, tmp_path):
    (tmp_path / EXTENSIONS).write_text(f"{COLUMNS}\nann,a0,2026-09-10 13:00,ill\n")
    semester.push("first")
    job = semester.run("first")
    semester.ledger.move(job.id, JobState.FINAL, reason="not graded: late")
    client = staff_of(zone="UTC", closes="2026-09-10 11:00", extensions_file=EXTENSIONS)
    text = text_of(client.get(ANN))
    assert "on time, extended" in text
    assert (
        "not graded: late by the deadline of that time; it counts now, and a further attempt is graded"
        in text
    )


def test_the_front_page_names_a_mistake_in_the_extensions(semester, clock, tmp_path):
    (tmp_path / EXTENSIONS).write_text(f"{COLUMNS}\n2O23,a0,2026-09-10 13:00,ill\n")
    semester.push("first", student="2023")
    assignments = {
        "a0": assignment(
            "git.uni.example", "dls/a0-*", zone="UTC", closes="2026-09-10 11:00", extensions_file=EXTENSIONS
        )
    }
    page = staff(new_service(tmp_path, semester.ledger, clock, assignments=assignments)).get("/")
    assert "extensions.csv:2: student: no repository of '2O23' has pushed, but one of '2023' has" in text_of(
        page
    )


def test_a_removed_assignment_keeps_its_reports(semester, clock, tmp_path):
    semester.push("first")
    semester.grade("first", 40)
    client = staff(new_service(tmp_path, semester.ledger, clock, assignments={}))
    text = text_of(client.get(ANN))
    assert "40 / 100" in text
    assert "counts" not in text


def test_without_the_file_of_extensions_nobody_is_called_late(staff_of, semester, tmp_path):
    file = tmp_path / EXTENSIONS
    file.write_text(f"{COLUMNS}\n")
    client = staff_of(zone="UTC", closes="2026-09-10 11:00", extensions_file=EXTENSIONS)
    semester.push("first")
    semester.grade("first", 40)
    assert "late" in text_of(client.get(ANN))
    file.unlink()
    text = text_of(client.get(ANN))
    assert "late" not in text
    assert "no score counts" not in text
    assert "40 / 100" in text


def test_a_repository_without_a_report(client, semester):
    semester.push("first")
    assert "No job yet." in text_of(client.get(ANN))
    semester.open("first")
    assert "a0: no score counts yet" in text_of(client.get(ANN))


@pytest.mark.parametrize(
    "path",
    [
        "/r/git.uni.example/dls/a0-nobody",
        "/r/",
        "/r/x",
        "/r/a/b/c/",
        "/r/git.uni.example/../../etc/passwd",
        "/r/git.uni.example/dls/a0-ann%00",
        "/r/git.uni.example/dls/a0-ann%0d%0aX: y",
        "/r/" + "x/" * 500,
        "/jobs/",
        "/jobs/nothing",
        "/jobs/%00",
        "/jobs/" + "x" * 5000,
        "/jobs?state=nothing",
        "/nothing",
        "/static/",
    ],
    ids=range(15),
)
def test_what_is_not_there(client, semester, path):
    semester.push("first")
    response = client.get(path)
    assert response.status_code == 404
    assert "There is no such page, job or repository." in response.text


# a job ---------------------------------------------------------------------------------------------------


def test_the_life_of_a_job(client, semester):
    semester.push("one")
    job = semester.run("one")
    semester.ledger.move(job.id, JobState.FAILED, reason="the git host did not respond", worker="grader-1:0")
    semester.ledger.move(job.id, JobState.DEAD, reason="tried 5 times")
    text = text_of(client.get(f"/jobs/{job.id}"))
    parts = ["a0 at", "needs staff", "waiting", "running", "grader-1:0", "did not respond", "tried 5 times"]
    assert all(part in text for part in parts), text
    assert f"autograder jobs retry '{job.id}'" in text


def test_a_job_with_its_report(client, semester):
    semester.push("one")
    job = semester.grade("one", 80)
    text = text_of(client.get(f"/jobs/{job.id}"))
    assert "Report: 80 / 100" in text
    assert "autograder jobs retry" not in text
    assert "sha256" in text


def test_a_report_with_titles_and_extra_credit(client, semester):
    semester.push("one")
    job = semester.run("one")
    cases = (
        CaseResult("Task0 - Case1", Verdict.WRONG, 30, 100, "no"),
        CaseResult("Task0 - Case2", Verdict.PASSED, 5, 0),
    )
    facts = {"titles": {"Task0 - Case1": {"en": "A layer <b>"}}, "extra": {"Task0 - Case2": 5}}
    semester.ledger.add_report(job.id, Report("a0", cases, facts))
    semester.ledger.move(job.id, JobState.FINAL)
    response = client.get(f"/jobs/{job.id}")
    text = text_of(response)
    assert "<bdi>Task0 - Case1</bdi>: <bdi>A layer &lt;b&gt;</bdi>" in response.text
    assert "30 / 100" in text
    assert "Task0 - Case2 5 / +5" in text
    assert "Total 35 / 100" in text


def test_more_than_a_case_is_worth_is_no_report(semester):
    semester.push("one")
    job = semester.run("one")
    cases = (CaseResult("Task0 - Case1", Verdict.PASSED, 6, 0),)
    with pytest.raises(LedgerError, match="Task0 - Case1 has 6 of 5 points"):
        semester.ledger.add_report(job.id, Report("a0", cases, {"extra": {"Task0 - Case1": 5}}))


def test_links_lead_somewhere(client, semester):
    semester.push("one")
    semester.grade("one", 80)
    semester.push("two", "ben")
    semester.open("two", "ben")
    seen, todo = set(), ["/"]
    while todo:
        path = todo.pop()
        if path in seen:
            continue
        seen.add(path)
        response = client.get(path)
        assert response.status_code == 200, path
        if "html" in response.headers["content-type"]:
            links = [link.replace("&amp;", "&") for link in re.findall(r'href="([^"]*)"', response.text)]
            todo += [link for link in links if not link.startswith("https://git.uni.example/dls/a0-")]
    assert len(seen) > 10


# long lists ----------------------------------------------------------------------------------------------


def test_many_jobs_have_several_pages(client, semester):
    for number in range(ON_PAGE + 1):
        semester.push(f"c{number}", f"s{number:02}")
        semester.open(f"c{number}", f"s{number:02}")
    first = client.get("/jobs?state=queued").text
    second = client.get("/jobs?state=queued&page=2").text
    assert first.count("/r/git.uni.example") == ON_PAGE
    assert second.count("/r/git.uni.example") == 1
    assert 'href="/jobs?page=2&amp;state=queued"' in first
    assert 'rel="next"' not in second
    assert 'rel="prev"' in second


def test_many_pushes_have_several_pages(client, semester):
    for number in range(PUSHES + 1):
        semester.push(f"c{number}")
        semester.open(f"c{number}")
    first, second = client.get(ANN).text, client.get(f"{ANN}?page=2").text
    assert first.count('<article class="push">') == PUSHES
    assert second.count('<article class="push">') == 1
    assert commit("c0")[:8] in second
    assert commit("c0")[:8] not in first
    assert commit("c1")[:8] in first


def test_the_score_that_counts_may_be_on_another_page(client, semester):
    semester.push("good")
    semester.grade("good", 70)
    for number in range(PUSHES):
        semester.push(f"c{number}")
    assert "70" in text_of(client.get(f"{ANN}?page=2"))


@pytest.mark.parametrize("page", ["0", "-1", "x", "1e3", "999999", "99999999999999999999", "１", ""])
def test_odd_page_numbers(client, semester, page):
    semester.push("one")
    for path in ("/jobs", "/r", ANN):
        assert client.get(path, params={"page": page}).status_code == 200


def test_search(client, semester):
    for student in ("ann", "Anna", "ben", "a_n"):
        semester.push("one", student)
    names = lambda query: re.findall(r"</span><wbr>([^<]*)<", client.get("/r", params={"q": query}).text)  # noqa: E731
    assert len(names("")) == 4
    assert sorted(names("ANN")) == ["a0-Anna", "a0-ann"]
    assert names("a_n") == ["a0-a_n"]  # no pattern of SQL
    assert names("%") == []
    assert names("\0") == []
    assert "No repository has <bdi>&lt;b&gt;</bdi> in its name." in client.get("/r?q=<b>").text


# text of strangers ---------------------------------------------------------------------------------------

NASTY = "<img src=x onerror=alert(1)> \"'><script>alert(2)</script> \u202eevil\u2066 \x1b[31m\x07 &lt; \u2028 שלום"


ROSTER = "id,name,login,section,team:a1\n1,王小明,ann,1班,\n2,<b>Bo</b>,bo,2班,red\n3,Cy,cy,2班,red\n"


@pytest.fixture
def grades(ledger, clock, tmp_path):
    """A client of a service with a roster."""
    (tmp_path / "roster.csv").write_text(ROSTER)
    return staff(new_service(tmp_path, ledger, clock, roster="roster.csv"))


def test_the_grades_of_the_class(grades, semester):
    semester.push("good")
    semester.grade("good", 80)
    semester.push("strange", "eve")
    semester.grade("strange", 10, "eve")
    text = text_of(grades.get("/grades"))
    rows = [
        "王小明 1 1班 80 / 100 no push no push 80.00",
        "<b>Bo</b> 2 2班 red no push no push no push",
        "Cy 3 2班 red no push no push no push",
        "eve not in the roster 10 / 100 no push no push 10.00",
        "4 of 4 students.",
    ]
    places = [text.find(row) for row in rows]
    assert -1 not in places, (text, rows[places.index(-1)])
    assert places == sorted(places)
    assert f'href="{ANN}"' in grades.get("/grades").text


def test_the_grades_of_one_assignment_say_how_they_came_about(grades, semester):
    semester.push("good", source=Source.HOST)
    semester.grade("good", 80)
    semester.ledger.add_adjustment(
        repository("ann"), "a0", AdjustmentKind.POINTS, points=5, who="okafor", why="a <typo>"
    )
    page = grades.get("/grades", params={"a": "a0"})
    text = text_of(page)
    assert "王小明 1 1班 85 / 100 * 80" in text
    assert f"added 5 (a <typo>) {commit('good')[:8]}" in text
    assert "the host's record" in text
    assert 'title="The course staff added 5 points: a &lt;typo&gt;."' in page.text
    assert grades.get("/grades", params={"a": "a9"}).status_code == 404


def test_the_grades_follow_the_ledger_and_the_roster(grades, semester, tmp_path):
    assert "no push" in text_of(grades.get("/grades"))
    semester.push("good")
    assert "王小明 1 1班 waiting" in text_of(grades.get("/grades"))
    semester.grade("good", 80)
    assert "王小明 1 1班 80 / 100" in text_of(grades.get("/grades"))
    (tmp_path / "roster.csv").write_text("id,name,login\n1,Anna,ann\n1,Anna,ann\n")
    text = text_of(grades.get("/grades"))
    assert "Anna 1" in text
    assert "roster.csv:3: id 1 is also in line 2; correct one of them" in text


@pytest.mark.parametrize("part", ["小明", "1班"])
def test_grades_can_be_searched(grades, part):
    text = text_of(grades.get("/grades", params={"q": part, "a": "a0"}))
    assert "1 of 3 students" in text
    assert "Nobody has nobody in their name" in text_of(grades.get("/grades", params={"q": "nobody"}))


def test_grades_can_be_downloaded(grades, semester):
    semester.push("good")
    semester.grade("good", 80)
    response = grades.get("/grades.csv", params={"a": "a0"})
    assert response.headers["content-disposition"] == 'attachment; filename="grades-a0.csv"'
    header, first, *_ = response.text.splitlines()
    assert header.startswith("\ufeffid,name,")
    assert first.startswith("1,王小明,ann,,1班,,80,100,80,counts,80,")
    assert grades.get("/grades.csv", params={"a": "a9"}).status_code == 404


def test_the_page_of_a_repository_says_whose_it_is(grades, semester):
    semester.push("good")
    assert "a0-ann 王小明 ( 1 )" in text_of(grades.get(ANN))


def test_grades_before_anybody_pushed(client):
    assert "There are no students yet" in text_of(client.get("/grades"))


def test_text_of_strangers_stays_text(client, semester):
    semester.push("one", sender=NASTY[:150])
    job = semester.run("one")
    cases = (CaseResult("Task0 - <b>Case1</b>", Verdict.ERROR, 0, 100, NASTY),)
    nasty = {"<b>": NASTY, "list": [NASTY, 1, None], "</pre><script>": {"x": NASTY}}
    semester.ledger.add_report(job.id, Report("a0", cases, nasty))
    semester.ledger.add_feedback(job.id, commit=commit("f"), branch="<i>branch</i>\u202e")
    semester.ledger.move(job.id, JobState.FAILED, reason=NASTY, worker=NASTY)
    for path in ("/", "/jobs?state=failed", ANN, f"/jobs/{job.id}"):
        text = client.get(path).text
        for bad in ("<img", "<script", "<b>Case1", "<i>", "\u202e", "\u2066", "\x1b", "\x07", "\u2028"):
            assert bad not in text, (path, bad)
        assert "alert(1)" in text
        assert "\\u202e" in text
        assert "שלום" in text


def test_text_is_isolated_from_the_text_around_it():
    assert inert("a<b\u202e\nc") == "<bdi>a&lt;b\\u202e c</bdi>"
    assert len(inert("x" * 10_000)) <= MAX_TEXT + len("<bdi></bdi>")


def test_the_name_of_a_host_may_not_be_markup(client):
    assert client.get("/r/<b>/x/y").status_code == 404
    assert "<b>" not in client.get("/r/<b>/x/y").text


# times ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("delta", "expected"),
    [
        (timedelta(seconds=-5), "0 s ago"),
        (timedelta(seconds=59), "59 s ago"),
        (timedelta(seconds=60), "1 min ago"),
        (timedelta(hours=5, minutes=59), "5 h ago"),
        (timedelta(days=40), "40 d ago"),
    ],
)
def test_how_long_ago(delta, expected):
    shown = ago(NOW - delta, NOW)
    assert f">{expected}</time>" in shown
    assert f"{NOW - delta:%Y-%m-%d %H:%M:%S} UTC" in shown


def test_no_time_is_a_dash():
    assert ago(None, NOW) == moment(None) == "–"


# what the pages read from the ledger ---------------------------------------------------------------------


def test_pages_of_the_ledger_follow_each_other(ledger, semester):
    for number in range(5):
        semester.push(f"c{number}")
        semester.grade(f"c{number}", 10 * number)
    whole = ledger.history(repository())
    parts = [ledger.history(repository(), limit=2, offset=offset) for offset in (0, 2, 4)]
    assert [push for part in reversed(parts) for push in part.pushes] == list(whole.pushes)
    assert [job for part in reversed(parts) for job in part.jobs] == list(whole.jobs)
    assert [row.points for row in ledger.results(limit=3)] == [40, 30, 20]
    assert [row.points for row in ledger.results(limit=3, offset=3)] == [10, 0]
    assert ledger.results(limit=1)[0].job == whole.jobs[-1].job
    assert ledger.job_history(whole.jobs[2].job.id) == whole.jobs[2]
    jobs = ledger.jobs()
    assert ledger.jobs(limit=2, offset=2) == jobs[2:4]
    assert ledger.jobs(offset=4) == jobs[4:]


def test_one_current_score_agrees_with_all(ledger, semester):
    semester.push("one")
    semester.grade("one", 30)
    semester.push("two", "ben")
    semester.grade("two", 60, "ben")
    everything = current_scores(ledger, "a0", ScorePolicy.LAST, Cutoffs())
    one = current_scores(ledger, "a0", ScorePolicy.LAST, Cutoffs(), repository=RepositoryName.parse(ANN[3:]))
    assert one == everything[:1]


def test_depths_are_shown_for_every_queue(service, client):
    service.queue.depths = {"gpu": Depth(2, 0, 3.4)}
    text = text_of(client.get("/"))
    assert "Queue cpu : 0 waiting, 0 running." in text
    assert "Queue gpu : 2 waiting, the oldest for 3 s, 0 running." in text


def test_every_state_has_words():
    assert set(pages.STATES) == set(JobState)
