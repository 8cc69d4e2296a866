"""Constrained arms and linear systems against hand arithmetic, a linear program and direct search."""

import numpy as np
import pytest
from scipy.optimize import minimize

from tradeoff.evaluation import (
    InfeasibleLimits,
    InvalidProblem,
    Limit,
    LinearSystem,
    NoConvergence,
    Quadratic,
    constrained_bandit,
    constrained_lqr,
    constrained_optimum,
    finite_problem,
    lqr_cost,
    lqr_gain,
)


def test_three_arms_by_hand():
    # (cost, reward): (0, 0), (1, 2), (3, 4). Up to cost 1 each unit buys 2, from 1 to 3 it buys 1, then nothing.
    reward, cost = [0.0, 2.0, 4.0], [0.0, 1.0, 3.0]
    for limit, value, chances, price in [
        (0.0, 0.0, [1, 0, 0], 2.0),
        (0.5, 1.0, [0.5, 0.5, 0], 2.0),
        (1.0, 2.0, [0, 1, 0], 1.0),
        (2.0, 3.0, [0, 0.5, 0.5], 1.0),
        (3.0, 4.0, [0, 0, 1], 0.0),
        (9.0, 4.0, [0, 0, 1], 0.0),
    ]:
        found = constrained_bandit(reward, cost, limit)
        assert (found.value, found.multiplier) == pytest.approx((value, price), abs=1e-14)
        np.testing.assert_allclose(found.chances, chances, atol=1e-14)
    with pytest.raises(InfeasibleLimits, match="the cheapest costs 0"):
        constrained_bandit(reward, cost, -0.1)


@pytest.mark.parametrize("seed", range(10))
def test_arms_by_the_linear_program(seed):
    generator = np.random.default_rng(seed)
    reward, cost = generator.normal(size=(2, 7))
    limit = generator.uniform(cost.min(), cost.max())
    problem = finite_problem(np.ones((1, 7, 1)), np.stack([reward, cost], axis=1)[None], start=0, discount=0.0)
    wanted = constrained_optimum(problem, [1, 0], [Limit(1, limit)])
    found = constrained_bandit(reward, cost, limit)
    np.testing.assert_allclose([found.value, found.multiplier], [wanted.value, wanted.multipliers[0]], atol=1e-9)
    np.testing.assert_allclose(found.chances, wanted.policy[0], atol=1e-9)
    assert found.chances @ cost <= limit + 1e-12


def test_a_scalar_system_by_hand():
    # x' = x + u + e, u = -k x: E x^2 = 1 / (1 - (1-k)^2) = 1 / (k (2-k)), E u^2 = k / (2-k).
    # E u^2 <= 1/3 needs k <= 1/2, where E x^2 = 4/3. With objective x^2 + u^2: 5/3. Price: -dE(x^2 + u^2)/dE u^2 with
    # dE x^2/dk = -(2 - 2k) / (k (2-k))^2 = -16/9 and dE u^2/dk = 2 / (2-k)^2 = 8/9: 16/8 - 1 = 1.
    system = LinearSystem(np.eye(1), np.eye(1), np.eye(1))
    objective, effort = Quadratic(np.eye(1), np.eye(1)), Quadratic(np.zeros((1, 1)), np.eye(1))
    found = constrained_lqr(system, objective, effort, 1 / 3)
    np.testing.assert_allclose(found.gain, [[0.5]], atol=1e-12)
    np.testing.assert_allclose([found.cost, found.limited, found.multiplier], [5 / 3, 1 / 3, 1.0], atol=1e-10)
    # Unpriced, the golden ratio: value p = 1 + p - p^2 / (1 + p), so p = 1.618 and k = p / (1 + p) = 0.618.
    golden = (1 + np.sqrt(5)) / 2
    np.testing.assert_allclose(lqr_gain(system, objective), golden / (1 + golden), rtol=1e-12)
    free = constrained_lqr(system, objective, effort, 1.0)
    assert free.multiplier == 0.0 and free.cost == pytest.approx(golden, rel=1e-12)
    # E x^2 >= 1 whatever is done, and k = 1 attains it.
    with pytest.raises(InfeasibleLimits, match=r"at or below 0.99; the least attainable value is 1$"):
        constrained_lqr(system, objective, Quadratic(np.eye(1), np.zeros((1, 1))), 0.99)


def test_a_discounted_sum_by_hand():
    # x' = x / 2 + e with variance 1, nothing done, discount 1/3, E x_0^2 = 4: E x_t^2 = 4/3 + (8/3) / 4^t,
    # sum of 3^-t E x_t^2 = (4/3) (3/2) + (8/3) / (1 - 1/12) = 2 + 32/11 = 54/11.
    system = LinearSystem(np.eye(1) / 2, np.eye(1), np.eye(1), start=4 * np.eye(1), discount=1 / 3)
    assert lqr_cost(system, [[0.0]], Quadratic(np.eye(1), np.eye(1))) == pytest.approx(54 / 11, rel=1e-13)


@pytest.mark.parametrize("discount", [1.0, 0.9])
def test_a_plane_by_direct_search(discount):
    generator = np.random.default_rng(1)
    system = LinearSystem(
        np.array([[1.0, 0.2], [0.0, 1.0]]), generator.normal(size=(2, 2)), np.diag([0.1, 0.3]), np.eye(2), discount
    )
    objective = Quadratic(np.diag([1.0, 0.1]), 0.5 * np.eye(2))
    limited = Quadratic(np.array([[0.1, 0.0], [0.0, 2.0]]), np.diag([0.0, 0.2]))
    free = lqr_cost(system, lqr_gain(system, objective), limited)
    least = lqr_cost(system, lqr_gain(system, Quadratic(limited.state, limited.control + 1e-9 * np.eye(2))), limited)
    limit = 0.4 * free + 0.6 * least
    found = constrained_lqr(system, objective, limited, limit)
    assert found.limited == pytest.approx(limit, abs=1e-9) and found.multiplier > 0.01
    search = minimize(
        lambda k: lqr_cost(system, k.reshape(2, 2), objective),
        found.gain.ravel() + 0.02,
        constraints={"type": "ineq", "fun": lambda k: limit - lqr_cost(system, k.reshape(2, 2), limited)},
        method="SLSQP",
        options={"ftol": 1e-14, "maxiter": 500},
    )
    assert search.success and found.cost == pytest.approx(search.fun, abs=1e-6)
    # The price is what a little relief saves.
    relief = (
        constrained_lqr(system, objective, limited, limit + 1e-5),
        constrained_lqr(system, objective, limited, limit - 1e-5),
    )
    assert (relief[1].cost - relief[0].cost) / 2e-5 == pytest.approx(found.multiplier, rel=1e-4)


def test_bad_input_is_refused():
    with pytest.raises(InvalidProblem, match=r"noise has shape \(2, 2\)"):
        LinearSystem(np.eye(1), np.eye(1), np.eye(2))
    with pytest.raises(InvalidProblem, match="needs start"):
        LinearSystem(np.eye(1), np.eye(1), np.eye(1), discount=0.9)
    with pytest.raises(InvalidProblem, match=r"discount is 1\.5"):
        LinearSystem(np.eye(1), np.eye(1), np.eye(1), discount=1.5)
    system = LinearSystem(2 * np.eye(1), np.eye(1), np.eye(1))
    with pytest.raises(NoConvergence, match=r"grows the state by 1\.5 per step"):
        lqr_cost(system, [[0.5]], Quadratic(np.eye(1), np.eye(1)))
    with pytest.raises(NoConvergence, match="Riccati"):
        lqr_gain(LinearSystem(2 * np.eye(1), np.zeros((1, 1)), np.eye(1)), Quadratic(np.eye(1), np.eye(1)))
    assert lqr_cost(system, [[2.0]], Quadratic(np.eye(1), np.eye(1))) == pytest.approx(5.0)  # x = e: E x^2 + 4 E x^2
