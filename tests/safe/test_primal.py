"""Switching and barriers by hand and by finite differences."""

from __future__ import annotations

from math import log, nan

import pytest
import torch

from tradeoff.engine.scalarizers import Linear
from tradeoff.safe.constraints import Constraint
from tradeoff.safe.primal import LogBarrier, Switch


def test_crpo_descends_the_worst_broken_cost_alone(bound, tensor) -> None:
    # Limits 1 and 10, tolerance 1/2, units 1 and 10. Violations in units: (0.5, -1): climbs; (0.6, 0.8): the second;
    # (2, 0.8): the first; nothing measured: climbs.
    rules = bound(Constraint(cost="a", limit=1.0), Constraint(cost="b", limit=10.0))
    base = Linear(tensor([3, 0, 0]).expand(4, 3))
    switch = Switch(base, rules, tolerance=0.5, unit=(1.0, 10.0))
    returns = tensor([5, 1.5, 0], [5, 1.6, 18], [5, 3, 18], [nan, nan, nan])
    assert switch.weights(returns).tolist() == [[3, 0, 0], [0, 0, -1], [0, -1, 0], [3, 0, 0]]


def test_crpo_climbs_a_reward_that_must_exceed_its_limit(bound, tensor) -> None:
    switch = Switch(Linear(tensor([0, -1])), bound(Constraint(cost="cost", limit=2.0, sense=">=")))
    assert switch.weights(tensor([9, 1])).tolist() == [[0, 1]]


def test_the_barriers_weights_are_the_gradient_of_its_formula(bound, tensor) -> None:
    # J_0 + (1 / 4) (log(3 - J_1) + log(J_2 - 1)) at (7, 1, 5): slopes 1, -1/(4 * 2), +1/(4 * 4).
    rules = bound(Constraint(cost="a", limit=3.0), Constraint(cost="b", limit=1.0, sense=">="))
    barrier = LogBarrier(Linear(tensor([1, 0, 0])), rules, sharpness=4.0, bound=10.0)
    at = [7.0, 1.0, 5.0]
    value = lambda j: j[0] + (log(3 - j[1]) + log(j[2] - 1)) / 4  # noqa: E731
    h = 1e-6
    slopes = [(value([x + h * (i == k) for k, x in enumerate(at)]) - value(at)) / h for i in range(3)]
    torch.testing.assert_close(barrier.weights(tensor(at)), tensor(slopes), atol=1e-5, rtol=0)


def test_a_broken_barrier_pulls_back_with_its_bound(bound, tensor) -> None:
    # t = 4, bound 10: the tangent begins at slack 1/40. Slack 1/8: price 2; 1/80 and -5: 10; unknown: 0.
    rules = bound(Constraint(cost="cost", limit=1.0))
    barrier = LogBarrier(Linear(tensor([1, 0]).expand(4, 2)), rules, sharpness=4.0, bound=10.0)
    returns = tensor([0, 0.875], [0, 1 - 1 / 80], [0, 6], [0, nan])
    torch.testing.assert_close(barrier.weights(returns)[:, 1], tensor(-2, -10, -10, 0))
    for wrong in ({"sharpness": 0.0}, {"bound": nan}):
        with pytest.raises(ValueError, match="positive"):
            LogBarrier(Linear(tensor([1, 0])), rules, **wrong)


def test_they_remember_what_their_base_remembers(bound, tensor) -> None:
    rules = bound(Constraint(cost="cost", limit=1.0))
    switch = Switch(Linear(tensor([1, 0])), rules)
    switch.load_state_dict(Switch(Linear(tensor([5, 0])), rules).state_dict())
    switch.update(tensor([0, 0]))
    assert switch.weights(tensor([0, 0])).tolist() == [[5, 0]]
