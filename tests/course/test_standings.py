"""What counts: lateness, budgets of late days, adjustments; for one repository, and for all at once."""

from datetime import datetime, timedelta, timezone

import pytest
import sqlalchemy as sa

from autograder.config import parse
from autograder.course.course import Course
from autograder.course.standing import Result, dependents, standing, standings
from autograder.ledger import AdjustmentKind, JobState, RepositoryName, Source
from tests.support.ledgers import commit, problems, report

POINTS, SET, EXCUSE, USE, UNDO = AdjustmentKind
HOST = '[hosts."git.uni.example"]\nkind = "gitea"\nbase = "https://git.uni.example"\n'
CLOSES = datetime(2026, 9, 15, 12, tzinfo=timezone.utc)


class Term:
    """A course with two assignments, or three, and what a test says that happened in it."""

    def __init__(self, ledger, folder):
        self.ledger, self.folder = ledger, folder
        self.course = None
        self.rules()

    def rules(self, a0="", a1="", course="", roster="", a2=None):
        """Set the keys of the assignments and of the course."""
        text = f"[course]\n{course}\n{HOST}"
        for name, keys, day in (("a0", a0, "09-15"), ("a1", a1, "09-25"), ("a2", a2, "10-05")):
            if keys is not None:
                text += (
                    f'[assignments.{name}]\nsuite = "{name}"\nrepositories = ["dls/{name}-*"]\nzone = "UTC"\n'
                )
                text += f'closes = "2026-{day} 11:59"\n{keys}\n'
        if roster:
            (self.folder / "roster.csv").write_text(roster)
        self.course = Course.of(parse(text, self.folder / "autograder.toml"))

    def grade(self, word, points, days=-1.0, student="ann", assignment="a0", source=Source.WEBHOOK):
        """Push a commit some days after the deadline, and grade it."""
        name, closes = repository(student, assignment), CLOSES + timedelta(days=10 * int(assignment[1:]))
        received = closes + timedelta(days=days)
        self.ledger.record_push(
            name, commit=commit(word), ref="refs/heads/main", received=received, source=source
        )
        job = self.ledger.open_job(name, commit(word), assignment).row
        self.ledger.move(job.id, JobState.RUNNING, worker="host:1")
        self.ledger.add_report(job.id, report(points, assignment=assignment))
        self.ledger.move(job.id, JobState.FINAL)

    def adjust(self, kind, student="ann", assignment="a0", **values):
        values = {"who": "okafor", "why": "her mail."} | values
        return self.ledger.add_adjustment(repository(student, assignment), assignment, kind, **values)

    def standing(self, student="ann", assignment="a0", **values):
        target = self.course.target(repository(student, assignment), "main")
        return standing(self.ledger, self.course, target, **values)

    def result(self, student="ann", assignment="a0"):
        """Return what counts, which is the same for the repository alone and among all of the assignment."""
        alone = self.standing(student, assignment)
        found = standings(self.ledger, self.course, assignment)
        assert found[alone.target.repository] == alone
        return alone.result


def repository(student="ann", assignment="a0"):
    return RepositoryName("git.uni.example", "dls", f"{assignment}-{student}")


@pytest.fixture
def term(ledger, tmp_path):
    yield Term(ledger, tmp_path)
    assert problems(ledger) == []


# without rules ---------------------------------------------------------------------------------------------


def test_without_rules_grading_decides(term):
    term.grade("one", 70)
    term.grade("two", 90, days=0.5)
    assert term.result() == Result(70, 70, 100)
    assert term.result().plain
    term.grade("three", 60, student="bob", days=-2)
    assert term.result("bob") == Result(60, 60, 100)


def test_nothing_counts_before_anything_is_graded(term):
    term.ledger.record_push(repository(), commit=commit("one"), ref="refs/heads/main", received=CLOSES)
    assert term.result() == Result()
    term.grade("one", 70, student="bob")
    assert term.result() == Result(max_points=100)


# late days -------------------------------------------------------------------------------------------------


def test_a_late_push_counts_with_its_penalty(term):
    term.rules("late_days_allowed = 3\nlate_points_per_day = 10")
    term.grade("one", 70)
    term.grade("two", 95, days=1.5)
    result = term.result()
    assert (result.points, result.graded, result.late_days, result.penalty) == (75, 95, 2, 20)
    assert result.late == timedelta(
        days=1.5, minutes=1
    )  # the minute of the deadline counts as well, as it is shown
    assert result.why == ("It came 2 days late. This takes off 20 points.",)
    term.grade("three", 100, days=3.5)  # too late
    assert term.standing().score.commit == commit("two")
    assert [judged.counts for judged in term.standing().pushes] == [True, True, False]


def test_the_last_push_counts_even_if_its_penalty_makes_it_worse(term):
    term.rules("late_days_allowed = 3\nlate_points_per_day = 10")
    term.grade("one", 90)
    term.grade("two", 95, days=1.5)
    assert term.result().points == 75


def test_the_best_push_is_the_best_after_penalties(term):
    term.rules('policy = "best"\nlate_days_allowed = 3\nlate_points_per_day = 10')
    term.grade("one", 80)
    term.grade("two", 95, days=1.5)
    assert (term.result().points, term.result().late_days) == (80, 0)
    term.grade("three", 100, days=1.6)
    assert (term.result().points, term.standing().score.commit) == (
        80,
        commit("one"),
    )  # equal, and no day is used
    term.rules('policy = "best"\nlate_days_allowed = 3\nlate_percent_per_day = 5.0')
    assert (term.result().points, term.result().penalty) == (90, 10)


def test_a_push_that_was_found_costs_nothing_until_its_time_is_known(term):
    term.rules("late_days_allowed = 3\nlate_points_per_day = 10")
    term.grade("one", 95, days=1.5, source=Source.UNKNOWN)
    assert (term.result().points, term.result().late_days) == (95, 0)
    (judged,) = term.standing().pushes
    term.ledger.set_received(
        judged.push.id, CLOSES + timedelta(days=0.5), source=Source.STAFF, who="x", why="y"
    )
    assert (term.result().points, term.result().late_days) == (85, 1)


def test_late_days_begin_after_an_extension(term):
    (term.folder / "extensions.csv").write_text("student,assignment,closes\nann,a0,2026-09-17 11:59\n")
    term.rules('late_days_allowed = 1\nlate_points_per_day = 10\nextensions_file = "extensions.csv"')
    term.grade("one", 95, days=2.5)
    assert (term.result().points, term.result().late_days) == (85, 1)


def test_a_mistake_in_the_extensions_leaves_a_late_score_open(term):
    extensions = term.folder / "extensions.csv"
    extensions.write_text("student,assignment,closes\nann,a0,tomorrow\n")
    term.rules('late_days_allowed = 3\nlate_points_per_day = 10\nextensions_file = "extensions.csv"')
    term.grade("one", 95)
    assert (term.standing().open, term.result().points) == ("", 95)
    term.grade("two", 99, days=0.5)
    assert "closes: not a time" in term.standing().open
    assert term.result().points is None
    extensions.write_text("student,assignment,closes\nann,a0,2026-09-20 12:00\n")
    assert (term.standing().open, term.result().points) == ("", 99)


# the budget ------------------------------------------------------------------------------------------------

PRICED = "late_days_allowed = 3\nlate_points_per_day = 10"


def test_the_budget_is_used_in_the_order_of_the_deadlines(term):
    term.rules(PRICED, PRICED, course="late_days = 3")
    term.grade("two", 90, days=1.5, assignment="a1")
    assert (term.result(assignment="a1").points, term.result(assignment="a1").free_days) == (90, 2)
    assert term.result(assignment="a1").why == (
        "It came 2 days late. 2 days are taken from your late days: 1 of 3 are left.",
    )
    term.grade("one", 80, days=1.5)  # recorded later, and its deadline came first
    assert (term.result().points, term.result().free_days) == (80, 2)
    result = term.result(assignment="a1")
    assert (result.points, result.free_days, result.penalty) == (80, 1, 10)
    assert result.why == (
        "It came 2 days late. 1 day is taken from your late days: 0 of 3 are left. The other days take off 10 points.",
    )


def test_a_budget_that_nothing_can_use_is_a_note(term):
    term.rules(course="late_days = 2")
    assert "late_days: has no effect: no assignment accepts late pushes" in "".join(term.course.notes())
    term.rules(PRICED, course="late_days = 2")
    assert "late_days" not in "".join(term.course.notes())


def test_each_student_has_a_budget_of_his_own(term):
    term.rules(PRICED, PRICED, course="late_days = 2")
    term.grade("one", 80, days=1.5)
    term.grade("one", 80, days=0.5, student="Bob")
    for student, points in (("ann", 70), ("bob", 80)):
        term.grade("two", 90, days=1.5, assignment="a1", student=student)
        assert term.result(student, "a1").points == points


def test_an_excuse_gives_the_late_days_back(term):
    term.rules(PRICED, PRICED, course="late_days = 2")
    term.grade("one", 80, days=1.5)
    term.grade("two", 90, days=1.5, assignment="a1")
    assert term.result(assignment="a1").points == 70
    excuse = term.adjust(EXCUSE)
    assert term.result(assignment="a1").points == 90
    term.adjust(UNDO, undoes=excuse.id)
    assert term.result(assignment="a1").points == 70


def test_late_days_without_a_price_end_with_the_budget(term):
    rule = "late_days_allowed = 3"
    term.rules(rule, rule, course="late_days = 3")
    term.grade("one", 80, days=1.5)
    term.grade("two", 60, assignment="a1")
    term.grade("three", 90, days=0.5, assignment="a1")
    assert (term.result(assignment="a1").points, term.result(assignment="a1").free_days) == (90, 1)
    term.grade("four", 99, days=1.5, assignment="a1")  # it would need two days
    assert term.result(assignment="a1").points == 90
    assert [each.no_days_left for each in term.standing(assignment="a1").pushes] == [False, False, True]
    term.adjust(USE, assignment="a1", commit=commit("four"))
    assert (term.result(assignment="a1").points, term.result(assignment="a1").penalty) == (99, 0)


def test_a_team_takes_late_days_from_all_its_members(term):
    roster = "id,login,team:a1\n1,ann,red\n2,bob,red\n3,eve,\n"
    term.rules(PRICED, PRICED, 'late_days = 2\nroster = "roster.csv"', roster)
    term.grade("one", 80, days=0.5)
    term.grade("two", 90, days=1.5, assignment="a1", student="red")
    result = term.result("red", "a1")
    assert (result.points, result.free_days) == (80, 1)  # ann has one day left
    assert term.course.whose(term.standing("red", "a1").target) == ("id:1", "id:2")


def test_a_repository_that_does_not_count_takes_no_late_days(term):
    roster = "id,login,team:a0\n1,ann,red\n2,bob,\n3,eve,red\n"
    term.rules(PRICED, PRICED, 'late_days = 2\nroster = "roster.csv"', roster)
    term.grade("alone", 80, days=1.5)  # ann's own, and the team's counts
    term.grade("together", 80, days=0.5, student="red")
    term.grade("by id", 80, days=1.5, student="2")  # bob's, who has one with his login, too
    term.grade("by login", 80, days=0.5, student="bob")
    for student in ("ann", "bob", "eve"):
        term.grade("two", 90, days=1.5, assignment="a1", student=student)
        assert (term.result(student, "a1").free_days, term.result(student, "a1").penalty) == (1, 10)


def test_the_days_of_those_who_were_in_a_team_with_a_member_matter(term):
    roster = "id,login,team:a1\n1,ann,red\n2,bob,red\n3,eve,\n"
    term.rules(PRICED, PRICED, 'late_days = 2\nroster = "roster.csv"', roster, a2=PRICED)
    term.grade("two", 90, days=1.5, assignment="a1", student="red")
    term.grade("three", 70, days=1.5, assignment="a2", student="bob")
    assert [term.result("red", "a1").free_days, term.result("bob", "a2").free_days] == [2, 0]
    term.grade("one", 80, days=1.5)  # so ann has no days left, and the team has none
    assert [term.result("red", "a1").free_days, term.result("bob", "a2").free_days] == [0, 2]
    found = dependents(term.ledger, term.course, term.standing().target)
    assert [target.repository.name for target in found] == ["a1-red", "a2-bob"]


# adjustments -----------------------------------------------------------------------------------------------


def test_points_are_added_and_taken_off(term):
    term.grade("one", 70)
    first = term.adjust(POINTS, points=5)
    second = term.adjust(POINTS, points=-2, why="style")
    result = term.result()
    assert (result.points, result.graded, result.adjustments) == (73, 70, (first, second))
    assert result.why == (
        "The course staff added 5 points: her mail.",
        "The course staff took off 2 points: style.",
    )
    assert result.why[0].in_("zh-CN") == "课程组加了 5 分：her mail。"
    term.adjust(UNDO, undoes=first.id)
    assert (term.result().points, term.result().adjustments) == (68, (second,))
    term.adjust(POINTS, points=-100)
    assert term.result().points == 0


def test_the_newest_set_wins_over_points(term):
    term.rules(PRICED)
    term.grade("one", 70, days=0.5)
    term.adjust(SET, points=80)
    second = term.adjust(SET, points=85, why="oral exam")
    term.adjust(POINTS, points=5)
    result = term.result()
    assert (result.points, result.graded, result.penalty, result.late_days) == (85, 70, 0, 1)
    assert result.why == ("It came 1 day late.", "The course staff set the score to 85 points: oral exam.")
    term.adjust(UNDO, undoes=second.id)
    assert term.result().points == 80


def test_a_student_without_a_push_can_be_adjusted(term):
    term.grade("one", 70, student="bob")
    term.adjust(SET, points=40)
    assert (term.result().points, term.result().graded, term.result().max_points) == (40, None, 100)
    term.adjust(POINTS, "eve", points=3)
    assert term.result("eve").points == 3


def test_an_excuse_leaves_no_points(term):
    term.grade("one", 70)
    term.adjust(SET, points=80)
    excuse = term.adjust(EXCUSE)
    result = term.result()
    assert (result.points, result.graded, result.excused) == (None, 70, True)
    assert result.why == ("The course staff excused you from this assignment: her mail.",)
    term.adjust(UNDO, undoes=excuse.id)
    assert (term.result().points, term.result().excused) == (80, False)


def test_staff_choose_the_commit(term):
    term.grade("one", 90)
    term.grade("two", 70)
    term.grade("three", 95, days=4)
    use = term.adjust(USE, commit=commit("one"))
    stands = term.standing()
    assert (stands.score.commit, stands.chosen, stands.result.points) == (commit("one"), [commit("one")], 90)
    assert term.result().why == (f"The course staff chose commit `{commit('one')[:10]}`: her mail.",)
    late = term.adjust(USE, commit=commit("three"))  # the newest choice holds, also after the deadline
    stands = term.standing()
    assert (stands.result.points, stands.chosen, stands.result.late_days) == (95, [commit("three")], 0)
    assert stands.pushes[-1].counts
    for each in (late, use):
        term.adjust(UNDO, undoes=each.id)
    assert term.standing().score.commit == commit("two")
    assert term.result().plain


def test_a_chosen_commit_without_a_report_gives_nothing_yet(term):
    term.grade("one", 90)
    term.ledger.record_push(
        repository(), commit=commit("two"), ref="refs/heads/main", received=CLOSES + timedelta(days=3)
    )
    term.adjust(USE, commit=commit("two"))
    stands = term.standing()
    assert (stands.score, stands.result.points, stands.chosen) == (None, None, [commit("two")])


def test_what_an_adjustment_would_do(term):
    term.grade("one", 70)
    planned = term.adjust(POINTS, "bob", points=5)
    mine = type(planned)(**{**vars(planned), "repository": repository(), "id": 0})
    assert term.standing(adjusted=[mine]).result.points == 75
    assert term.result().points == 70


# all at once -----------------------------------------------------------------------------------------------


def test_the_number_of_queries_does_not_depend_on_the_number_of_repositories(term):
    term.rules(PRICED, PRICED, course="late_days = 3")
    numbers = []
    for first, students in ((0, 2), (2, 6)):
        for number in range(first, students):
            term.grade("one", 70, student=f"s{number}", days=0.5)
            term.grade(f"two{number}", 80, student=f"s{number}", assignment="a1", days=number % 3 - 0.5)
            term.adjust(POINTS, f"s{number}", "a1", points=1)
        statements = []

        def count(_connection, _cursor, statement, *_rest, into=statements):
            into.append(statement)

        sa.event.listen(sa.Engine, "before_cursor_execute", count)
        try:
            assert len(standings(term.ledger, term.course, "a1")) == students
        finally:
            sa.event.remove(sa.Engine, "before_cursor_execute", count)
        numbers.append(len([each for each in statements if each.startswith("SELECT")]))
    assert numbers[0] == numbers[1] <= 15
