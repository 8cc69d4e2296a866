"""Dual rules by hand, their identities, and the scalarizer around them."""

from __future__ import annotations

from math import inf, nan

import pytest
import torch

from tradeoff.engine.scalarizers import Linear
from tradeoff.engine.updates import SGD
from tradeoff.envs.errors import NumericalTrouble
from tradeoff.safe.constraints import BadLimit, Constraint
from tradeoff.safe.duals import PID, Lagrangian, OptimisticAscent, augmented, projected_ascent
from tradeoff.safe.measuring import SafetyWarning
from tradeoff.safe.optimism import Optimistic, OptimisticWeights


def _multipliers(rule, violations):
    """Multiplier after each violation of one policy and one constraint."""
    state, found = rule.init(1, 1), []
    for v in violations:
        state = rule.step(state, torch.tensor([[v]]).double())
        found.append(state["multiplier"].item())
    return found


def test_ascent_is_projected_and_bounded() -> None:
    # rate 1/2, bound 2: 0 + 1, 1 + 2 -> cut at 2, 2 - 1, 1 - 4 -> 0.
    assert _multipliers(projected_ascent(0.5, bound=2.0), [2, 4, -2, -8]) == [1, 2, 1, 0]


def test_optimistic_ascent_goes_on_as_before() -> None:
    # rate 1/2: v = 2 (the past is itself): 1; then 2 * 4 - 2 = 6: 4; then 2 * (-1) - 4 = -6: 1; 2 * (-4) + 1 = -7: 0.
    assert _multipliers(OptimisticAscent(rate=0.5), [2, 4, -1, -4]) == [1, 4, 1, 0]


def test_pid_price_by_hand(tensor) -> None:
    # kp 1/2, ki 1/4, kd 2, delay 2, start 1. Prices before each step: multiplier + v / 2 + 2 max(0, v - v two ago).
    # v = 4: 1 + 2 = 3 (no past), I = 2. v = 2: 2 + 1 = 3, I = 2.5. v = 6: 2.5 + 3 + 2 * 2 = 9.5, I = 4.
    # v = -2: 4 - 1 + 0 = 3 (costs fall), I = 3.5.
    rule = PID(kp=0.5, ki=0.25, kd=2.0, delay=2, start=1.0)
    state, prices = rule.init(1, 1), []
    for v in (4, 2, 6, -2):
        prices.append(rule.price(state, tensor([v])).item())
        state = rule.step(state, tensor([v]))
    assert prices == [3, 3, 9.5, 3] and state["multiplier"].item() == 3.5


def test_pid_smooths_what_its_proportional_part_sees(tensor) -> None:
    # smooth 3/4, kp 1: 4, then 3/4 * 4 + 1/4 * 8 = 5.
    rule = PID(kp=1.0, ki=0.0, smooth=0.75)
    state = rule.step(rule.init(1, 1), tensor([4]))
    assert rule.price(rule.init(1, 1), tensor([4])).item() == 4 and rule.price(state, tensor([8])).item() == 5


def test_pid_with_two_gains_at_zero_is_dual_ascent() -> None:
    # The same three numbers as plain ascent worked out by hand: [0.1 * v] summed and cut at zero.
    violations = torch.randn(50, generator=torch.Generator().manual_seed(0)).double().tolist()
    by_hand, value = [], 0.0
    for v in violations:
        value = max(0.0, value + 0.1 * v)
        by_hand.append(value)
    assert _multipliers(PID(kp=0.0, ki=0.1, kd=0.0), violations) == by_hand


def test_the_augmented_price_is_the_rectified_multiplier(tensor) -> None:
    # max(0, 2 + 10 v) for multiplier 2: v = 0.1 -> 3, v = -0.1 -> 1, v = -1 -> 0. The multiplier moves by the rate 1.
    rule = augmented(10.0, 1.0, start=2.0)
    state = rule.init(1, 1)
    assert [rule.price(state, tensor([v])).item() for v in (0.1, -0.1, -1)] == [3, 1, 0]
    assert rule.step(state, tensor([0.5]))["multiplier"].item() == 2.5
    assert augmented(10.0).ki == 10.0


def test_rates_per_cost_and_policies_move_apart(bound, tensor) -> None:
    # Two policies, two costs, limits 1 and 1, rates 1 and 1/2.
    rules = bound(Constraint(cost="a", limit=1.0), Constraint(cost="b", limit=1.0))
    dual = Lagrangian(Linear(tensor([1, 0, 0], [2, 0, 0])), rules, projected_ascent((1.0, 0.5)), 2)
    dual.update(tensor([9, 3, 3], [9, 1, 2]))
    assert dual.multiplier.tolist() == [[2, 1], [0, 0.5]]
    assert dual.weights(tensor([9, 3, 3], [9, 1, 2])).tolist() == [[1, -2, -1], [2, 0, -0.5]]


def test_without_a_price_the_weights_are_those_of_the_base_bit_for_bit(bound) -> None:
    rules = bound(Constraint(cost="cost", limit=1.0))
    base = torch.tensor([[0.1, 0.0]])
    weights = Lagrangian(Linear(base), rules, projected_ascent(), 1).weights(torch.tensor([[3.0, 7.0]]))
    assert torch.equal(weights, base) and weights.dtype == base.dtype


def test_what_was_not_measured_moves_nothing(bound, tensor) -> None:
    rules = bound(Constraint(cost="a", limit=1.0), Constraint(cost="b", limit=1.0))
    dual = Lagrangian(Linear(tensor([1, 0, 0])), rules, OptimisticAscent(rate=1.0, start=0.5), 1)
    dual.update(tensor([1, nan, 3]))
    assert dual.multiplier.tolist() == [[0.5, 2.5]]
    assert dual.weights(tensor([nan, nan, nan])).tolist() == [[1, -0.5, -2.5]]
    dual.update(tensor([1, 2, 1]))  # a: first seen, 0.5 + 1; b: 2 * 0 - 2
    assert dual.multiplier.tolist() == [[1.5, 0.5]]


def test_a_multiplier_at_its_bound_is_told_and_an_infinite_one_stops_the_run(bound, tensor) -> None:
    rules = bound(Constraint(cost="cost", limit=1.0))
    dual = Lagrangian(Linear(tensor([1, 0])), rules, projected_ascent(1.0, bound=3.0), 1)
    with pytest.warns(SafetyWarning, match="cost <= 1 has reached its bound 3"):
        dual.update(tensor([0, 9]))
    assert dual.multiplier.item() == 3
    loose = Lagrangian(Linear(tensor([1, 0])), rules, projected_ascent(1.0, bound=inf), 1)
    with pytest.raises(NumericalTrouble, match="cost <= 1 is inf"):
        loose.update(tensor([0, inf]))


def test_numbers_of_gains_and_limits_must_fit(bound, tensor) -> None:
    rules = bound(Constraint(cost="cost", limit=(1.0, 2.0)))
    with pytest.raises(BadLimit, match="2 limits"):
        Lagrangian(Linear(tensor([1, 0])), rules, projected_ascent(), 1)
    with pytest.raises(ValueError, match="2 gains for 1"):
        Lagrangian(Linear(tensor([1, 0], [1, 0])), rules, projected_ascent(start=(1.0, 2.0)), 2)
    two = bound(Constraint(cost="a", limit=1.0), Constraint(cost="b", limit=1.0))
    three = (1.0, 2.0, 0.5)
    for rule in (PID(kp=three), PID(ki=three), PID(kd=three), OptimisticAscent(rate=three),
                 OptimisticAscent(strength=three), augmented(three, 1.0)):  # fmt: skip
        with pytest.raises(ValueError, match=r"3 gains for 2 constraints \(1, 2, 0.5\); give one, or one each"):
            Lagrangian(Linear(tensor([1, 0, 0])), two, rule, 1)
    for wrong in ({"kp": -1.0}, {"ki": nan}, {"delay": 0}, {"smooth": 1.0}, {"bound": 0.0}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            PID(**wrong)


@pytest.mark.parametrize("rule", [PID(kp=1.0, kd=1.0, delay=2, smooth=0.5), OptimisticAscent()])
def test_a_resumed_dual_goes_on_exactly(bound, tensor, rule) -> None:
    rules = bound(Constraint(cost="cost", limit=1.0))
    build = lambda: OptimisticWeights(Lagrangian(Linear(tensor([1, 0])), rules, rule, 1))  # noqa: E731
    seen = [tensor([0, v]) for v in (2, 5, 3, 4, 1.5)]
    first, second = build(), build()
    for x in seen[:3]:
        first.update(x)
    second.load_state_dict(first.state_dict())
    for x in seen[3:]:
        assert torch.equal(first.weights(x), second.weights(x)) and first.weights(x)[0, 1] < 0
        first.update(x)
        second.update(x)


def test_an_optimistic_update_extrapolates_its_gradients() -> None:
    # rate 1: 0 + 3; then 2 * 5 - 3 = 7: 10; then 2 * 1 - 5 = -3: 7.
    update, theta = Optimistic(SGD(1.0)), torch.zeros(1, 1, 1)
    state, seen = update.init(theta), []
    for g in (3.0, 5.0, 1.0):
        update.step(theta, torch.full((1, 1, 1), g), state)
        seen.append(theta.item())
    assert seen == [3, 10, 7]


def test_optimistic_weights_are_two_new_less_one_old(bound, tensor) -> None:
    # Limit 1, rate 1, cost 3: prices 0, 2, 4; weights -0, then 2 * -2 + 0 = -4, then 2 * -4 + 2 = -6.
    dual = Lagrangian(Linear(tensor([1, 0])), bound(Constraint(cost="cost", limit=1.0)), projected_ascent(1.0), 1)
    ahead, seen = OptimisticWeights(dual), []
    for _ in range(3):
        seen.append(ahead.weights(tensor([0, 3])).tolist()[0])
        ahead.update(tensor([0, 3]))
    assert seen == [[1, 0], [1, -4], [1, -6]]
