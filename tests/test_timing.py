"""What the times of a race decide, and when they decide nothing."""

import pytest

from autograder.errors import BusyError
from autograder.testing import assert_fast
from autograder.timing import LENIENT, RaceResult, Timing, allowed

SEVEN = (0.1,) * 7


def result(*timings, give_up=10.0):
    return RaceResult(tuple(timings), give_up, "torch.softmax", "softmax")


def scaled(*ratios):
    return Timing((4, 5), tuple(ratio * 0.1 for ratio in ratios), SEVEN[: len(ratios)])


@pytest.mark.parametrize(
    ("ratios", "factor", "within"),
    [
        ((1.5,) * 7, 2, True),
        ((2.5,) * 7, 2, False),
        ((1.5, 1.6, 1.4, 1.5, 1.5, 9.0, 1.5), 2, True),  # one round was disturbed
        ((2.5, 2.6, 2.4, 2.5, 2.5, 2.5, 0.1), 2, False),
        ((1.9, 2.1, 1.9, 2.1, 2.0, 2.0, 2.0), 2, True),  # at the factor, and the rounds agree
        ((0.9, 3.1, 0.9, 3.1, 2.0, 2.0, 2.0), 4, True),  # they do not agree, but the factor is far away
        ((5.0, 9.0, 5.0, 9.0, 7.0, 7.0, 7.0), 4, False),
        ((0.0,) * 7, 2, True),
    ],
)
def test_the_rounds_decide(ratios, factor, within):
    assert result(scaled(*ratios)).is_within(factor) is within


@pytest.mark.parametrize(
    "timing",
    [
        scaled(0.9, 3.1, 0.9, 3.1, 2.0, 2.0, 2.0),
        Timing(1, (0.02,) * 7, (0.009,) * 7),
        Timing(1, (0.9,) * 7, (0.009,) * 7, gave_up=True),
        Timing(1, (1.02,) * 7, (1.005,) * 7, start=(1.0,) * 7),
        Timing(1, SEVEN, (0.0, 0.0, 0.0, 0.1, 0.1, 0.1, 0.1)),
    ],
    ids=["noise", "too short", "too short for a slow one", "too short without the start", "no time at all"],
)
def test_noise_and_short_times_are_no_verdict(timing):
    with pytest.raises(BusyError, match="grade again"):
        result(timing).is_within(2)


def test_load_that_slows_the_reference_down_as_well_costs_no_point():
    slow = (0.5, 0.6, 0.5, 0.6, 0.5, 0.6, 0.5)
    assert not result(Timing(1, slow, SEVEN, reference=(0.2,) * 7)).is_within(4)
    with pytest.raises(BusyError, match=r"the reference took up to 6\.00 times"):
        result(Timing(1, slow, SEVEN, reference=slow)).is_within(4)
    assert result(Timing(1, slow, SEVEN, reference=slow)).is_within(7)
    with pytest.raises(BusyError, match=r"the reference took up to 5\.00 times"):
        result(Timing(1, (9.0,), (0.1,), reference=(0.5,), gave_up=True)).is_within(4)


def test_what_both_do_before_they_work_does_not_count():
    timing = Timing("s", (1.3,) * 7, (1.1,) * 7, start=(1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 5.0))
    assert timing.ratio == pytest.approx(3.0)
    assert not result(timing).is_within(2)
    assert str(timing).startswith("s: 300.0 ms, the baseline 100.0 ms; 3.00 times (3.00 to 3.00 in 7 rounds)")


def test_a_size_that_is_too_slow_decides_although_another_is_undecided():
    noisy, slow = scaled(0.9, 3.1, 0.9, 3.1, 2.0, 2.0, 2.0), scaled(*[5.0] * 7)
    assert not result(noisy, slow).is_within(2)
    with pytest.raises(BusyError):
        result(noisy, scaled(*[1.0] * 7)).is_within(2)


def test_the_student_reads_for_which_size_the_code_is_too_slow():
    with pytest.raises(AssertionError) as raised:
        assert_fast(result(scaled(*[1.0] * 7), scaled(*[3.456] * 7)), factor=2)
    text = raised.value.args[0]
    assert text == "softmax takes 3.46 times as long as torch.softmax for (4, 5); at most 2 times are allowed"
    assert text.in_("zh-CN") != text
    slow = Timing((4, 5), (3.0,), (0.1,), gave_up=True)
    with pytest.raises(AssertionError, match="more than 10 times as long as"):
        assert_fast(result(slow), factor=2)


@pytest.mark.parametrize("factor", [0, -1, 11])
def test_a_factor_that_is_not_measured_is_the_suite_s_fault(factor):
    with pytest.raises(ValueError, match="give_up=10"):
        assert_fast(result(), factor=factor)


def test_a_call_may_take_much_longer_than_the_baseline_before_it_is_ended():
    assert allowed(10, baseline=1.5, start=1.0) == pytest.approx(1.0 + 20 * 0.5 + LENIENT)
    assert allowed(10, baseline=1.0, start=1.0) > 1.0 + LENIENT
