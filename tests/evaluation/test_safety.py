"""Numbers for runs within limits, by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tradeoff.evaluation.checks import InvalidPoints
from tradeoff.evaluation.safety import cost_rate, curve, feasible_only


def test_a_curve_by_hand() -> None:
    # Ten evaluations; the last fifth is the last two. Over the limit by 4, 2, then under it, over by 6 at the 7th.
    steps = np.arange(1, 11) * 100.0
    excess = np.array([4.0, 2, -1, -1, -1, -1, 6, 0, -2, -4])
    found = curve(steps, np.arange(10.0), excess)
    assert found.strong_violation == pytest.approx((4 + 2 + 6) / 10), "what was saved elsewhere pays for nothing"
    assert found.oscillation == pytest.approx(1.0)  # of -2 and -4
    assert (found.first_feasible, found.lasting_feasible) == (300.0, 800.0)
    assert found.feasible_share == pytest.approx(0.7), "the limit itself may be reached"
    assert (found.average_return, found.average_excess) == (8.5, -3.0)


def test_the_last_fifth_is_rounded_to_whole_evaluations() -> None:
    # A fifth of 8 is 1.6, so two: of the returns 6 and 7. A fifth of 2 is at least one.
    assert curve(np.arange(8.0), np.arange(8.0), np.zeros(8)).average_return == 6.5
    assert curve([1.0, 2.0], [4.0, 5.0], [0.0, 0.0]).average_return == 5.0


def test_runs_that_are_never_or_not_at_last_feasible() -> None:
    never = curve([1.0, 2.0], [0.0, 0.0], [1.0, 2.0])
    assert math.isinf(never.first_feasible) and math.isinf(never.lasting_feasible)
    lost = curve([1.0, 2.0], [0.0, 0.0], [-1.0, 2.0])
    assert lost.first_feasible == 1.0 and math.isinf(lost.lasting_feasible)


def test_cost_rates_weigh_long_episodes() -> None:
    # 10 of cost in 100 steps and 10 in 900: 20 per 1000 steps, not the mean of .1 and .0111.
    assert cost_rate([10.0, 10.0], [100.0, 900.0]) == pytest.approx(0.02)
    with pytest.raises(InvalidPoints, match="lengths above 0"):
        cost_rate([1.0], [0.0])


def test_returns_count_only_within_the_limits() -> None:
    found = feasible_only(np.array([5.0, 6.0, 7.0]), np.array([[0.0, -1], [-1, 0.5], [-2, -2]]))
    assert found[0] == 5.0 and np.isnan(found[1]) and found[2] == 7.0


@pytest.mark.parametrize("bad", [([], [], []), ([1.0], [1.0, 2.0], [1.0]), ([1.0], [np.nan], [1.0])])
def test_bad_curves_are_refused(bad: tuple[list[float], ...]) -> None:
    with pytest.raises(InvalidPoints, match=r"curve"):
        curve(*bad)
