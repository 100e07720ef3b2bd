"""Regrades, from the staff's command to what the student reads; and pushes that come by a hook."""

import shutil
from dataclasses import replace

import pytest
from click.testing import CliRunner

from autograder.cli import main
from autograder.ledger import JobState
from autograder.report import SuiteFault
from autograder.service import serve
from autograder.service.intake import post_receive
from autograder.service.intake.reconciler import Reconciler
from autograder.service.intake.spool import Spool
from autograder.service.jobs import feedback_files
from autograder.service.jobs.pipeline import Pipeline
from autograder.service.staff import Staff
from tests.support.ledgers import problems
from tests.support.university import HALF, RIGHT, PretendedGraders, University, git, now


class Office:
    """Staff of a university, and a worker that runs a job when a test says so."""

    def __init__(self, university, parts, folder):
        self.university, self.parts, self.ledger = university, parts, parts.ledger
        self.staff = Staff(parts.ledger, parts.course, parts.intake, "tutor")
        self.graders = PretendedGraders()
        self.pipeline = Pipeline(
            parts.ledger, parts.course, self.graders, parts.intake, folder / "work", "host:0"
        )

    def push(self, work=RIGHT, **values):
        job = self.parts.intake.receive(self.university.push(work, **values), now()).job.id
        self.run(job)
        return job

    def run(self, job):
        self.pipeline.run(job)
        assert self.ledger.job(job).state is JobState.FINAL

    def regrade(self, **values):
        (choice,) = self.staff.choices("t")
        job = self.staff.regrade(choice, "a case was wrong", **values).id
        self.run(job)
        return job

    def now_graded_as(self, report):
        """Let the suite grade differently from now on."""
        self.graders.grade = report


@pytest.fixture
def office(folder):
    university = University(folder)
    with university.parts() as parts:
        office = Office(university, parts, folder)
        yield office
        assert problems(office.ledger) == []


def verify(office, expected, *arguments):
    arguments = arguments or (str(office.university.bare().path),)
    result = CliRunner().invoke(main, ["verify", *arguments, "--config", str(office.university.config_file)])
    assert result.exit_code == (0 if expected == "unchanged" else 1), result.output
    if "--all" not in arguments:
        assert result.output.startswith(f"{expected}: ")
    return result.output


def swapped(office):
    """A suite under which what was right is wrong, and the other way round."""
    grade = PretendedGraders().grade

    def other(assignment, folder, commit, draws):
        work = folder / "src" / "work.py"
        work.write_text(HALF if work.read_text() == RIGHT else RIGHT)
        return grade(assignment, folder, commit, draws)

    office.now_graded_as(other)


def test_a_higher_score_is_published(office):
    office.push(HALF)
    swapped(office)
    office.regrade()
    assert office.university.score() == 100
    assert (
        "This commit was graded again: a case was wrong. Before, it had 40 / 100 points."
        in office.university.text()
    )
    assert len(office.university.published()) == 2
    verify(office, "unchanged")


def test_a_lower_score_is_not_published_but_the_one_that_stands(office):
    office.push()
    swapped(office)
    job = office.regrade()
    assert office.ledger.report(job).report.points == 40
    assert office.university.score() == 100
    text = office.university.text()
    assert (
        "This commit was graded again: a case was wrong. Before, it had 100 / 100 points. "
        "The new result, 40 / 100 points, does not count. Your score is 100 / 100"
    ) in text
    assert "attempt 2: t, 100 of 100 points" in verify(office, "unchanged")


def test_a_lower_score_is_published_when_staff_say_so(office):
    office.push()
    swapped(office)
    office.regrade(allow_lower=True)
    assert office.university.score() == 40
    text = office.university.text()
    assert "graded again: a case was wrong. Before, it had 100 / 100 points." in text
    assert "does not count" not in text


def test_a_regrade_that_comes_after_a_newer_push_shows_the_newer_score(office):
    office.push(HALF)
    (choice,) = office.staff.choices("t")
    job = office.staff.regrade(choice, "a case was wrong").id
    office.push()
    office.run(job)
    assert office.university.score() == 100


def test_the_first_attempt_is_no_regrade_and_each_later_one_names_the_last(office):
    office.push(HALF)
    assert "graded again" not in office.university.text()
    swapped(office)
    office.regrade()
    office.regrade()
    assert "Before, it had 100 / 100 points." in office.university.text()


def test_a_reason_stays_one_line_of_the_paragraph(office):
    office.push(HALF)
    swapped(office)
    (choice,) = office.staff.choices("t")
    job = office.staff.regrade(choice, "case 1:\n# the axis\n\n| was | wrong |.").id
    office.run(job)
    text = office.university.text()
    assert "graded again: case 1: # the axis  | was | wrong |. Before, it had 40 / 100 points." in text
    verify(office, "unchanged")


def test_a_preview_and_the_regrade_agree(office):
    office.push(HALF)
    swapped(office)
    (preview,) = office.staff.preview(office.staff.choices("t"), office.graders)
    assert (preview.before.points, preview.after.points) == (40, 100)
    assert [name for name, _, _ in preview.changed] == ["Task1 - Case1"]
    office.regrade()
    assert office.university.score() == preview.after.points


def regrade(office, *options):
    options = [*options, "--config", str(office.university.config_file)]
    return CliRunner().invoke(main, ["regrade", "-a", "t", *map(str, options)])


@pytest.mark.sandbox
def test_a_corrected_suite_is_tried_on_real_pushes_before_it_counts(office, tmp_path):
    office.push(HALF)  # 40 points: the case of arrays is wrong
    corrected = tmp_path / "corrected"
    shutil.copytree(office.university.course.folder / "hidden" / "t", corrected)
    score = corrected / "test_score.py"
    score.write_text(
        score.read_text().replace("assert_close(student(probes.double, x)", "assert_close(12 / 2", 1)
    )
    score.write_text(score.read_text().replace("ref(probes.double, x))", "6.0)", 1))
    before = office.ledger.history(office.university.repository())
    result = regrade(office, "--dry-run")
    assert "40 of 100, as before" in result.output
    result = regrade(office, "--dry-run", "--suite", corrected, "--jobs", "2")
    assert result.exit_code == 0, result.output
    assert "dls/t-ann  40 → 100 of 100; Task1 - Case1: wrong → passed" in result.output
    assert office.ledger.history(office.university.repository()) == before
    assert office.university.score() == 40


def test_another_suite_is_only_for_a_dry_run(office, tmp_path):
    result = regrade(office, "--suite", tmp_path, "--why", "x")
    assert result.exit_code == 2
    assert "--suite and --jobs need --dry-run" in result.output


def test_a_regrade_and_its_preview_repeat_the_draws_of_the_report(office):
    office.graders.suite_faults = (SuiteFault("Task1 - Case1", 0, "the reference fails"),)
    office.push(HALF)
    office.graders.suite_faults = ()
    (_,) = office.staff.preview(office.staff.choices("t"), office.graders)
    office.regrade()
    office.regrade()
    assert office.graders.draws == [{}, *[{"Task1 - Case1": 1}] * 3]


def test_what_a_student_edits_is_seen(office):
    office.push(HALF)
    verify(office, "unchanged")
    bare = office.university.bare()
    files = {name: bare.show(f"score-feedback:{name}") for name in ("score.md", "score.json")}
    bare.commit(
        {**files, "score.md": files["score.md"].replace(b"| 40 |", b"| 100 |")}, branch="score-feedback"
    )
    verify(office, "edited")


def sealed_files(office, student="ann"):
    bare = office.university.bare(student)
    return {name: bare.show(f"score-feedback:{name}") for name in ("score.md", "score.json")}


def test_the_sealed_files_of_a_classmate_are_seen(office, tmp_path):
    office.push(student="bob")
    office.push(HALF)
    office.university.bare().commit(sealed_files(office, "bob"), branch="score-feedback")
    output = verify(office, "of another repository")
    assert "git.uni.example/dls/t-bob, and was found in git.uni.example/dls/t-ann" in output
    # a clone is named by the address of its origin, and single files by --repo
    git(tmp_path, "clone", "--quiet", str(office.university.bare().path), "clone")
    verify(office, "of another repository", str(tmp_path / "clone"))
    (tmp_path / "score.json").write_bytes(sealed_files(office, "bob")["score.json"])
    name = str(office.university.repository())
    verify(office, "of another repository", str(tmp_path), "--repo", name)
    verify(office, "unchanged", str(tmp_path), "--repo", name.replace("ann", "bob"))


def test_older_feedback_that_a_student_put_back_is_seen(office):
    office.push(RIGHT)
    better = sealed_files(office)
    office.push(HALF)
    verify(office, "unchanged")
    office.university.bare().commit(better, branch="score-feedback")
    assert "the newest feedback is on" in verify(office, "not the newest")


def test_feedback_that_the_ledger_does_not_know_is_seen(office):
    office.push()
    job = office.ledger.jobs()[0]
    files = feedback_files.not_graded("t", job.commit, "Graded.", None)
    forged = feedback_files.sealed(
        files,
        replace(job, attempt=7),
        office.university.config().secret(),
        office.ledger.pushes(job.repository)[0],
    )
    office.university.bare().commit(forged, branch="score-feedback")
    verify(office, "not in the ledger")


def test_all_repositories_are_verified_at_once(office):
    for student in ("ann", "bob", "cai", "dan"):
        office.push(student=student)
    assert verify(office, "unchanged", "--all").endswith("4 unchanged, 0 not\n")
    office.university.bare("bob").commit(sealed_files(office, "ann"), branch="score-feedback")
    office.university.bare("cai").git("update-ref", "-d", "refs/heads/score-feedback")
    lines = verify(office, "", "--all").splitlines()
    assert len(lines) == 4
    assert lines[0].startswith("git.uni.example/dls/t-bob: of another repository: ")
    assert lines[1] == "git.uni.example/dls/t-cai: the branch score-feedback was deleted"
    assert lines[2] == "2 unchanged, 2 not"


def test_without_the_course_secret_nothing_is_verified_and_no_secret_is_made(office):
    office.push()
    secret = office.university.config().path(office.university.config().secret_file)
    secret.unlink()
    arguments = ["verify", str(office.university.bare().path), "--config", str(office.university.config_file)]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2
    assert "copy the file" in result.output
    assert not secret.exists()


def test_a_push_that_a_hook_handed_over_is_taken_once(office, tmp_path):
    """The spool is what `serve` drains."""
    bare = office.university.bare()
    spool = Spool(office.parts.course.spool())
    post_receive.install(post_receive.place(office.parts.course, bare.path), spool)
    git(tmp_path, "clone", "--quiet", str(bare.path), "ann")
    checkout = tmp_path / "ann"
    (checkout / "src").mkdir()
    (checkout / "src" / "work.py").write_text(RIGHT)
    git(checkout, "switch", "--quiet", "-c", "main")
    git(checkout, "add", "src")
    git(checkout, "commit", "--quiet", "-m", "work")
    git(checkout, "push", "--quiet", "origin", "main")
    drain = serve._drain(spool, office.parts.intake)
    assert (drain(), drain()) == (1, 0)
    post_receive.hand_over(post_receive.place(office.parts.course, bare.path), office.parts.course, spool)
    assert drain() == 1
    (job,) = office.ledger.jobs()
    assert len(office.ledger.pushes(office.university.repository())) == 1
    office.run(job.id)
    assert office.university.score() == 100
    assert spool.waiting() == 0  # the service's push to score-feedback runs no hook


def test_after_uninstall_a_push_is_not_graded_even_if_it_is_found(office):
    office.push(HALF)
    bare = office.university.bare()
    assert CliRunner().invoke(main, ["hook", "uninstall", str(bare.path)]).exit_code == 0
    later = office.university.push(RIGHT)
    assert office.parts.intake.receive(later, now()).result == "ignored"
    target = office.parts.course.target(office.university.repository(), "main")
    heads = []
    scan = Reconciler(
        office.ledger,
        office.parts.queue,
        office.parts.intake,
        tips=lambda _: heads.append(1) or (later.commit, None),
    )
    assert scan.look() is False
    office.parts.intake.notice(target, later.commit)
    (job,) = office.ledger.jobs()
    assert office.university.score() == 40
    assert heads == []
    spool = Spool(office.parts.course.spool())
    post_receive.install(post_receive.place(office.parts.course, bare.path), spool)
    assert scan.look() is True
    assert [each.commit for each in office.ledger.jobs()] == [job.commit, later.commit]


def test_the_scan_tells_staff_once_what_a_repository_needs(office, caplog):
    office.push(HALF)
    bare = office.university.bare()
    spool = Spool(office.parts.course.spool())
    scan = Reconciler(
        office.ledger,
        office.parts.queue,
        office.parts.intake,
        tips=serve._tips(office.parts.course),
        check=serve._check(office.parts.course, spool),
    )
    with caplog.at_level("ERROR"):
        scan.look()
        scan.look()
    (line,) = [record for record in caplog.records if record.getMessage() == "a repository needs staff"]
    assert f"{bare.path} has no hook, so its pushes are found late" in line.reason
