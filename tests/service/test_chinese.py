"""What students of a Chinese course read: no sentence of score.md is left in English, whatever became of the push."""

import re
from datetime import datetime, timezone

import pytest

from autograder.ledger import JobState
from autograder.report import Report, translated
from autograder.service.staff import Staff
from tests.support.desk import Desk
from tests.support.university import HALF, PretendedGraders, University

TIMES = """
opens = "2026-09-01 08:00"
closes = "2026-09-15 23:59"
zone = "UTC"
grace_minutes = 30
{more}

[feedback]
language = "{language}"
"""
SAME_IN_BOTH = {"Task", "Case", "Total", "UTC", "src", "link"}


class ChineseGraders(PretendedGraders):
    """Compose the messages of a submission that is refused in both languages, as the grader does."""

    def refused(self, assignment, error, commit):
        report = super().refused(assignment, error, commit)
        report.cases[0].__dict__["message"] = error.text
        messages = translated(report.cases[:1], ["zh-CN"])
        return Report(assignment, report.cases[:1], {"commit": commit, "messages": messages})


def moment(text):
    return datetime.fromisoformat(text).replace(tzinfo=timezone.utc)


@pytest.fixture
def desk(folder, request):
    more, language = getattr(request, "param", ("", "zh-CN"))
    university = University(folder, assignment=TIMES.format(more=more, language=language))
    with university.parts() as parts:
        desk = Desk(university, parts, folder / "work")
        desk.graders = desk.pipeline.graders = ChineseGraders()
        desk.staff = Staff(parts.ledger, parts.course, parts.intake, "tutor")
        yield desk


def words(text):
    """Return the English words outside of commits and of the file's own names."""
    return set(re.findall(r"[A-Za-z]{3,}", re.sub(r"`[0-9a-f]{10}`|<br>", "", text))) - SAME_IN_BOTH


def read(desk, *pushes):
    """Take and run pushes; return score.md after the last one."""
    for work, received in pushes:
        job = desk.push(*work, received=moment(received))
        assert desk.run(job) is JobState.FINAL
    return desk.university.text()


@pytest.mark.parametrize(
    ("pushes", "said"),
    [
        ([((), "2026-09-10 12:00")], "未超过截止时间"),
        ([((), "2026-09-16 00:10")], "宽限期内"),
        ([((), "2026-08-01 12:00")], "目前还没有成绩"),
        ([((), "2026-09-20 12:00")], "目前还没有成绩"),
        ([((HALF,), "2026-09-10 12:00"), ((), "2026-09-20 12:00")], "你的成绩是 40 / 100，来自提交"),
        ([((), "2026-09-10 12:00"), ((HALF,), "2026-09-11 12:00")], "更早的一次推送得分更高"),
    ],
    ids=["in time", "in grace", "early", "late", "late after one in time", "worse"],
)
def test_every_note_is_chinese(desk, pushes, said):
    text = read(desk, *pushes)
    assert said in text
    assert text.startswith("# 评分结果\n")
    assert words(text) == set()


@pytest.mark.parametrize(
    ("desk", "said"),
    [
        (("late_days_allowed = 9\nlate_points_per_day = 7", "zh-CN"), "迟交"),
        (('policy = "best"', "zh-CN"), "来自提交"),
    ],
    indirect=["desk"],
    ids=["late days", "best"],
)
def test_every_rule_is_explained_in_chinese(desk, said):
    later = "2026-09-18 12:00" if said == "迟交" else "2026-09-15 12:05"
    text = read(desk, ((), "2026-09-15 12:00"), ((HALF,), later))
    assert said in text
    assert words(text) == set()


def test_a_refusal_is_chinese(desk):
    bare = desk.university.bare()
    push = desk.university.reported(bare.odd(("120000", b"link", bare.blob(b"/etc/passwd"))))
    assert desk.run(desk.take(push, moment("2026-09-10 12:00"))) is JobState.FINAL
    text = desk.university.text()
    assert "| Task1 - Case1 | 0 | ❓ | `src/link 是符号链接；请直接提交文件本身` |" in text
    assert words(text) == set()


def test_a_regrade_is_explained_in_chinese_with_the_reason_as_staff_wrote_it(desk):
    read(desk, ((HALF,), "2026-09-10 12:00"))
    (choice,) = desk.staff.choices("t")
    assert desk.run(desk.staff.regrade(choice, "第一题的测试有误").id) is JobState.FINAL
    text = desk.university.text()
    assert "这次提交已重新评分：第一题的测试有误。此前得分为 40 / 100。" in text
    assert words(text) == set()


@pytest.mark.parametrize("desk", [("", "both")], indirect=True)
def test_both_languages_say_the_same_one_after_the_other(desk):
    text = read(desk, ((HALF,), "2026-09-10 12:00"))
    heading, english, chinese, table = text.split("\n\n", 3)
    assert heading == "# Score Summary 评分结果"
    assert "in time for the deadline, Tue 15 Sep 2026, 23:59 UTC." in english
    assert chinese.endswith("未超过截止时间 2026 年 9 月 15 日（周二）23:59 UTC。")
    assert table.splitlines()[-1] == "| Total | 40 | 🥺 | |"
