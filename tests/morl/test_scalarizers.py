"""From utilities to the engine's weights; the two criteria are kept apart; orders of importance."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.morl.conftest import goods
from tradeoff.engine import Linear
from tradeoff.evaluation import Limit, constrained_optimum, finite_problem
from tradeoff.morl import utilities as u
from tradeoff.morl.criteria import ESR, SER, WrongCriterion, accrued
from tradeoff.morl.orderings import chebyshev, max_min
from tradeoff.morl.scalarizers import Lexicographic, SERScalarizer, TrackedIdeal, UtilityWarning, most_important_unmet

NAN = torch.nan


def test_the_linear_one_is_the_engines_bit_for_bit() -> None:
    weights = torch.rand(5, 3, generator=torch.Generator().manual_seed(0))
    returns = torch.randn(5, 3)
    returns[2] = NAN
    ours, theirs = SERScalarizer(SER(u.linear(weights)), 3), Linear(weights)
    assert torch.equal(ours.weights(returns), theirs.weights(returns)) and ours.weights(returns).dtype == weights.dtype
    assert ours.weights(torch.zeros(5, 4))[:, 3].tolist() == [0] * 5, "a cost has no weight"


def test_weights_are_slopes_and_neutral_before_anything_is_known() -> None:
    # sqrt: 1 / (2 sqrt(J)). No estimate: equal weights (2 sqrt halved).
    returns = torch.tensor([[4.0, 1.0, 7.0], [NAN, 1.0, 7.0]])
    rule = SERScalarizer(SER(u.square_root()), 2)
    assert rule.weights(returns).tolist() == [[0.25, 0.5, 0], [0.5, 0.5, 0]]
    assert SERScalarizer(SER(u.by_autograd(lambda x: x.amin(-1))), 2).weights(returns[1:]).tolist() == [[0.5, 0.5, 0]]


def test_returns_below_the_floor_are_projected_and_said_once_or_stop_the_run() -> None:
    # log with floor 1 / 4: slopes 1 / max(J, 1/4).
    rule = SERScalarizer(SER(u.proportional_fair()), 2, floor=[0.25, 0.0])
    low = torch.tensor([[-3.0, 2.0]])
    assert rule.weights(low).tolist() == [[4, 0.5]]
    with pytest.warns(UtilityWarning, match=r"objective 0 of policy 0 was estimated at -3, below the floor") as said:
        rule.update(low)
        rule.update(low)
    assert len(said) == 1
    with pytest.raises(u.OutsideDomain, match="J \\+ shift > 0"):
        SERScalarizer(SER(u.proportional_fair()), 2).weights(low)


def test_the_wrong_criterion_is_refused_with_an_explanation() -> None:
    with pytest.raises(WrongCriterion, match="return of each episode"):
        SERScalarizer(ESR(u.square_root()), 2)  # type: ignore[arg-type]
    with pytest.raises(WrongCriterion, match="mean over episodes"):
        accrued(goods(1, 2), SER(u.square_root()))  # type: ignore[arg-type]
    for build in (lambda: SERScalarizer(u.square_root(), 2), lambda: accrued(goods(1, 2), u.square_root())):
        with pytest.raises(WrongCriterion, match=r"SER\(u\)|ESR\(u\)"):
            build()
    assert accrued(goods(1, 2), ESR(u.square_root())).num_envs == 2


def test_policies_may_have_expected_utilities_of_their_own() -> None:
    # Policy 0 counts left, policy 1 counts right three times; environments 0 and 1 belong to policy 0.
    env = accrued(goods(1, 4), ESR(u.linear([[1.0, 0.0], [0.0, 3.0]])), policies=2)
    env.reset(0)
    assert env.step(torch.tensor([0, 1, 0, 1])).reward[:, 0].tolist() == [1, 0, 0, 3]


def test_the_ideal_follows_what_was_seen_and_is_saved() -> None:
    # Start (0, 0); seen (3, 1) and (2, 5): ideal (3, 5) + margin 1/2. At (3, 1): gaps .5, 4.5: the second is worst.
    rule = TrackedIdeal(SER(chebyshev([1.0, 1.0], [0.0, 0.0])), 2, margin=0.5)
    returns = torch.tensor([[3.0, 1.0, 9.0], [2.0, 5.0, 9.0]])
    before = rule.weights(returns)
    assert torch.equal(before, rule.weights(returns)), "asking moves nothing"
    rule.update(returns)
    rule.update(torch.full((2, 3), NAN))
    assert rule.utility.parameters["reference"].tolist() == [3.5, 5.5]
    assert rule.weights(returns).tolist() == [[0, 1, 0], [1, 0, 0]]
    other = TrackedIdeal(SER(chebyshev([1.0, 1.0], [0.0, 0.0])), 2)
    other.load_state_dict(rule.state_dict())
    assert torch.equal(other.weights(returns), rule.weights(returns))
    with pytest.raises(ValueError, match="no reference point"):
        TrackedIdeal(SER(u.linear([1.0])), 1)


def test_the_first_unmet_threshold_is_climbed() -> None:
    # Order 2, 0, 1; thresholds (1, 1, 1). Second row: all met but the last is always climbed.
    returns = torch.tensor([[0.0, 9.0, 2.0], [5.0, 0.0, 2.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    order, ones = torch.tensor([2, 0, 1]), torch.ones(4, 3)
    ones[3, 2] = -1.0
    assert most_important_unmet(returns, order, ones, 2).tolist() == [0, 1, 2, 0]
    assert most_important_unmet(returns, order, ones, 0).tolist() == [2] * 4


ARMS = np.array([[1.0, 0.0], [0.0, 1.0], [0.7, 0.6]])


@pytest.mark.parametrize("slack", [0.1, 0.5])
def test_lexicographic_order_reaches_the_optimum_of_two_linear_programs(slack: float) -> None:
    """Softmax over three arms, exact gradients: first J_0, then J_1 with J_0 within the slack of its best."""
    problem = finite_problem(
        np.broadcast_to([[[0, 1.0]] * 3, [[0, 1.0]] * 3], (2, 3, 2)), np.stack([ARMS, ARMS]), start=0, discount=1.0,
        terminal=[False, True],
    )  # fmt: skip
    best = constrained_optimum(problem, [0.0, 1.0], [Limit(0, 1.0 - slack, ">=")]).returns
    arms = torch.tensor(ARMS)
    logits = torch.zeros(1, 3, dtype=torch.float64, requires_grad=True)
    rule = Lexicographic([0, 1], [slack, 0.0], turns=1500, memory=0.5)
    for turn in range(6000):
        if turn == 2000:  # half way, in another object
            state, rule = rule.state_dict(), Lexicographic([0, 1], [slack, 0.0], turns=1500, memory=0.5)
            rule.load_state_dict(state)
        returns = logits.softmax(-1) @ arms
        weights = rule.weights(returns.detach())
        (gradient,) = torch.autograd.grad((weights * returns).sum(), logits)
        rule.update(returns.detach())
        logits = (logits + 0.1 * gradient).detach().requires_grad_()
    np.testing.assert_allclose(returns.detach()[0], best, atol=0.03)


def test_lexicographic_stages_by_hand() -> None:
    # One turn per stage, no smoothing: level 4 of objective 1 becomes its target, slack 1 lets it fall to 3.
    rule = Lexicographic([1, 0], [0.0, 1.0], turns=1, memory=0.0)
    at = lambda *x: torch.tensor([[*x, 0.0]])  # noqa: E731  with a cost
    assert rule.weights(at(0.0, 4.0)).tolist() == [[0, 1, 0]]
    rule.update(at(0.0, 4.0))
    assert rule.target.tolist() == [[-torch.inf, 4]]
    assert rule.weights(at(0.0, 3.5)).tolist() == [[1, 0, 0]] and rule.weights(at(0.0, 2.5)).tolist() == [[0, 1, 0]]
    smooth = Lexicographic([1, 0], 0.0, turns=2, memory=0.75)
    smooth.update(at(0.0, 4.0))
    smooth.update(at(0.0, 8.0))
    assert smooth.target[0, 1] == 0.75 * 4 + 0.25 * 8
    assert Lexicographic([1, 0], 0.0, turns=1).weights(torch.full((1, 2), NAN)).tolist() == [[0, 1]]
    for wrong in (
        lambda: Lexicographic([0, 2], 0.0, 1),
        lambda: Lexicographic([0], 0.0, 0),
        lambda: Lexicographic([0], -1.0, 1),
    ):
        with pytest.raises(ValueError, match=r"order|turns|slack"):
            wrong()


def test_max_min_puts_all_weight_on_the_worst() -> None:
    assert SERScalarizer(SER(max_min()), 3).weights(torch.tensor([[3.0, 1.0, 2.0]])).tolist() == [[0, 1, 0]]
