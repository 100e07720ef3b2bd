"""Late rules: what a late day costs, and how many late days a student may use over all assignments for nothing.

The functions are pure. `course.deadline` says how many days late a push is and whether it is accepted;
`course.standing` says how many days of the budget are left. Nothing of this is stored.
"""

from dataclasses import dataclass
from fractions import Fraction

from autograder.language import Text, join, tell_count


@dataclass(frozen=True)
class LateRule:
    """What the late days of an assignment cost.

    Attributes:
        points_per_day: each late day takes off so many points.
        percent_per_day: each late day takes off so many percent of the points that grading gave.
        budget: so many late days of a student, over all assignments, cost nothing.
    """

    points_per_day: int = 0
    percent_per_day: float = 0.0
    budget: int = 0

    def cost(self, points: int, days: int, left: int) -> "Cost | None":
        """Return what late days cost.

        Args:
            points: what grading gave.
            days: how many days late the commit came.
            left: how many days of the budget are left.

        Returns:
            None: too few days are left, and the assignment has no price for further ones. The push does not count.
        """
        if not days:
            return Cost(left=left)
        free = min(days, left)
        paid = days - free
        has_price = bool(self.points_per_day or self.percent_per_day)
        if paid and self.budget and not has_price:
            return None
        percent = Fraction(str(self.percent_per_day)) * paid / 100
        penalty = self.points_per_day * paid + int(points * percent)  # rounded down, for the student
        return Cost(days, free, min(penalty, max(points, 0)), left - free)


@dataclass(frozen=True)
class Cost:
    """What the late days of one commit cost.

    Attributes:
        days: how many days late it came.
        free: so many of them are taken from the student's budget.
        penalty: the points that the others take off.
        left: how many days of the budget are left afterwards.
    """

    days: int = 0
    free: int = 0
    penalty: int = 0
    left: int = 0


def sentence(cost: Cost, rule: LateRule) -> Text:
    """Return the sentences for students about the late days of the commit that counts."""
    parts = [tell_count("It came {n} day late.", "It came {n} days late.", n=cost.days)]
    if cost.free:
        parts.append(
            tell_count(
                "{n} day is taken from your late days: {left} of {budget} are left.",
                "{n} days are taken from your late days: {left} of {budget} are left.",
                n=cost.free,
                left=cost.left,
                budget=rule.budget,
            )
        )
    if cost.penalty:
        parts.append(
            tell_count("This takes off {n} point.", "This takes off {n} points.", n=cost.penalty)
            if not cost.free
            else tell_count(
                "The other days take off {n} point.", "The other days take off {n} points.", n=cost.penalty
            )
        )
    return join(parts)
