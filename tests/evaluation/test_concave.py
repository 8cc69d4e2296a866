"""Concave programs over occupancies against closed forms, exact gradient ascent and known optima."""

import cvxpy
import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from tradeoff.evaluation import (
    NoConvergence,
    NotConcave,
    best_policy,
    concave_optimum,
    exact_gradient,
    finite_problem,
    occupancy,
    policy_returns,
)

pytestmark = pytest.mark.usefixtures("one_thread")
PRECISE = {"maxiter": 5000, "ftol": 1e-15, "gtol": 1e-9}


def chain():
    """Four states in a row; action 0 goes left and action 1 right with chance 9/10, else the other way."""
    transition = np.zeros((4, 2, 4))
    for state in range(4):
        left, right = max(state - 1, 0), min(state + 1, 3)
        for action, (wanted, other) in enumerate([(left, right), (right, left)]):
            transition[state, action, wanted] += 0.9
            transition[state, action, other] += 0.1
    return {"transition": transition, "reward": np.zeros((4, 2, 1)), "start": 0}


def shares(*rewards):
    """One state and one step: the return is the mean reward under the chances of the actions."""
    return finite_problem(np.ones((1, len(rewards), 1)), np.array([rewards], dtype=float), start=0, discount=1.0)


def entropy(returns, taken):
    visits = cvxpy.sum(taken, axis=1)
    return cvxpy.sum(cvxpy.entr(visits))


def test_closed_forms():
    # Shares p and 1 - p pay p of one thing and 2 (1 - p) of another.
    problem = shares((1, 0), (0, 2))
    cases = [
        (lambda returns, taken: cvxpy.sum(cvxpy.log(returns)), np.log(0.5), 0.5),  # p = 1/2: log 1/2 + log 1
        (
            lambda returns, taken: cvxpy.sum(cvxpy.sqrt(returns)),
            np.sqrt(3),
            1 / 3,
        ),  # Cauchy: (1, sqrt 2) . (sqrt p, sqrt q)
        (lambda returns, taken: cvxpy.min(returns), 2 / 3, 2 / 3),  # p = 2 (1 - p)
        (lambda returns, taken: -cvxpy.sum(cvxpy.inv_pos(returns)), -((1 + np.sqrt(0.5)) ** 2), 2 - np.sqrt(2)),
        (lambda returns, taken: cvxpy.sum(cvxpy.entr(taken)), np.log(2), 0.5),
        (lambda returns, taken: returns[0] - returns[1], 1.0, 1.0),
    ]
    for utility, value, share in cases:
        found = concave_optimum(problem, utility, horizon=1)
        assert found.value == pytest.approx(value, abs=1e-6) and found.policy[0, 0, 0] == pytest.approx(share, abs=1e-3)
        assert value - 1e-9 <= found.bound <= value + 5e-6


def test_the_far_treasure(treasure):
    # sqrt(J1 + 1) + sqrt(101 + J2) at (23.7, -19): 4.9699 + 9.0554; at the nearest treasure (0.7, -1): 1.3038 + 10.
    problem = finite_problem(**treasure, discount=1.0)
    utility = lambda returns, taken: cvxpy.sum(cvxpy.sqrt(returns + np.array([1.0, 101.0])))  # noqa: E731
    found = concave_optimum(problem, utility)
    assert found.value == pytest.approx(np.sqrt(24.7) + np.sqrt(82.0), abs=1e-6)
    assert found.value == pytest.approx(14.0253, abs=1e-4) and found.bound - found.value <= 1.5e-5
    np.testing.assert_allclose(found.returns, [23.7, -19.0], atol=1e-4)
    down = np.tile([0.0, 1.0, 0.0, 0.0], (121, 1))
    assert found.gap(down) == pytest.approx(14.0253 - 11.3038, abs=1e-4)


def test_the_slippery_lake(frozen_lake):
    problem = finite_problem(**frozen_lake("8x8"), discount=0.99)
    found = concave_optimum(problem, lambda returns, taken: returns[0])
    assert found.value == pytest.approx(0.4146, abs=5e-5)
    assert found.bound == pytest.approx(best_policy(problem, [1.0]).value, abs=1e-6)
    uniform = np.full((64, 4), 0.25)
    assert found.gap(uniform) == pytest.approx(found.bound - policy_returns(problem, uniform)[0], abs=1e-12)


@pytest.mark.parametrize("criterion", [{}, {"horizon": 6}, {"average": True}], ids=str)
def test_entropy_of_a_chain_by_exact_ascent(criterion):
    problem = finite_problem(**chain(), discount=0.6)
    found = concave_optimum(problem, entropy, **criterion)

    def loss(logits):
        visits = occupancy(problem, torch.tensor(logits).softmax(-1).numpy(), **criterion).reshape(-1, 4, 2).sum((0, 2))
        return (visits * np.log(visits)).sum()

    def climb(returns, taken):
        return -(taken.sum(1) * taken.sum(1).log()).sum()

    shape = (6, 4, 2) if "horizon" in criterion else (4, 2)
    slope = lambda x: -exact_gradient(problem, x.reshape(shape), climb, **criterion).ravel()  # noqa: E731
    begin = np.random.default_rng(0).normal(size=np.prod(shape)) * 0.1
    result = minimize(lambda x: loss(x.reshape(shape)), begin, jac=slope, method="L-BFGS-B", options=PRECISE)
    assert found.value >= -result.fun - 1e-7 and found.bound >= -result.fun
    assert found.value == pytest.approx(-result.fun, abs=1e-5)
    assert 0.0 <= found.bound - found.value <= 2e-5
    if "average" in criterion:
        assert found.value == pytest.approx(np.log(4), abs=1e-6)  # left and right in turn visit all alike


def test_the_gap_is_never_less_than_the_distance(random_problem):
    problem = finite_problem(**random_problem(2), discount=0.9)
    low = np.array([best_policy(problem, -np.eye(2)[channel]).returns[channel] for channel in range(2)])
    utility = lambda returns, taken: cvxpy.sum(cvxpy.log(returns - low + 0.5))  # noqa: E731
    found = concave_optimum(problem, utility)
    generator, best = np.random.default_rng(3), -np.inf
    for _ in range(200):
        policy = generator.dirichlet(np.full(2, 0.3), size=3)
        value = np.log(policy_returns(problem, policy) - low + 0.5).sum()
        best = max(best, value)
        assert found.gap(policy) == pytest.approx(found.bound - value, abs=1e-12)
    assert best <= found.bound and best >= found.value - 0.1
    assert 0.0 <= found.gap(found.policy) <= 1e-5


def test_a_minimum_of_two_that_exclude_each_other():
    # Staying in 0 pays (1, 0), going to 1 and staying there (0, 1): 10 in all at discount 0.9, so at best 5 each.
    transition, reward = np.zeros((2, 2, 2)), np.zeros((2, 2, 2))
    for state, action in np.ndindex(2, 2):
        transition[state, action, state ^ action] = 1.0
    reward[0, 0, 0] = reward[0, 1, 1] = reward[1, 0, 1] = 1.0
    problem = finite_problem(transition, reward, start=0, discount=0.9)
    found = concave_optimum(problem, lambda returns, taken: cvxpy.min(returns))
    assert found.value == pytest.approx(5.0, abs=1e-5) and found.bound == pytest.approx(5.0, abs=1e-6)
    assert found.gap(np.eye(2)) == pytest.approx(5.0, abs=1e-5)  # always 0: (10, 0)


def test_what_has_ended_is_not_visited():
    # 0 ends or goes to 1, which ends: 1 + p visits. Nearest to 3/2 is p = 1/2; the terminal state counts for nothing.
    transition = np.eye(3)[[[2, 1], [2, 2], [2, 2]]]
    problem = finite_problem(transition, np.ones((3, 2, 1)), start=0, terminal=[False, False, True], discount=1.0)
    found = concave_optimum(problem, lambda returns, taken: -cvxpy.square(cvxpy.sum(taken) - 1.5))
    assert found.value == pytest.approx(0.0, abs=1e-6) and found.policy[0, 1] == pytest.approx(0.5, abs=1e-3)
    assert found.gap(np.tile([1.0, 0.0], (3, 1))) == pytest.approx(0.25, abs=1e-5)
    # Entropy of 1 - p, p, p/2, p/2, and of zeros, where its slope is infinite: best where 2 (1 - p) = e p^2.
    best = (np.sqrt(1 + 2 * np.e) - 1) / np.e
    parts = np.array([1 - best, best, best / 2, best / 2])
    found = concave_optimum(problem, lambda returns, taken: cvxpy.sum(cvxpy.entr(taken)))
    assert found.value == pytest.approx(-(parts * np.log(parts)).sum(), abs=1e-6)
    assert found.bound - found.value <= 3e-6 and found.policy[0, 1] == pytest.approx(best, abs=1e-3)


def test_outside_the_domain_the_gap_is_infinite():
    found = concave_optimum(shares((1, 0), (0, 2)), lambda returns, taken: cvxpy.sum(cvxpy.log(returns)), horizon=1)
    assert found.gap([[1.0, 0.0]]) == np.inf
    assert found.gap([[0.25, 0.75]]) == pytest.approx(np.log(0.5) - np.log(0.375), abs=1e-5)
    root = concave_optimum(shares((1, 0), (0, 2)), lambda returns, taken: cvxpy.sqrt(returns[0] - 0.75), horizon=1)
    assert root.gap([[0.5, 0.5]]) == np.inf and root.gap([[0.84, 0.16]]) == pytest.approx(0.2, abs=1e-5)


def test_utilities_that_are_not_concave_are_refused():
    problem = shares((1, 0), (0, 2))
    for utility, message in [
        (lambda returns, taken: cvxpy.sum(cvxpy.square(returns)), "is convex"),
        (lambda returns, taken: returns[0] * returns[1], "unknown curvature"),
        (lambda returns, taken: cvxpy.sqrt(returns), r"shape \(2,\); expected one number"),
        (lambda returns, taken: 3.0, "answers float"),
    ]:
        with pytest.raises(NotConcave, match=message):
            concave_optimum(problem, utility, horizon=1)
    assert concave_optimum(problem, lambda returns, taken: cvxpy.sum(returns), horizon=1).value == pytest.approx(2.0)


def test_programs_without_an_optimum_say_so():
    with pytest.raises(NoConvergence, match="is infeasible"):
        concave_optimum(shares((1, 0), (0, 2)), lambda returns, taken: cvxpy.log(returns[0] - 3), horizon=1)
    stay_or_end = finite_problem(
        np.eye(2)[[[0, 1], [1, 1]]], np.ones((2, 2, 1)), start=0, terminal=[False, True], discount=1.0
    )
    with pytest.raises(NoConvergence, match="no bound"):
        concave_optimum(stay_or_end, lambda returns, taken: cvxpy.sqrt(returns[0]))
    assert concave_optimum(stay_or_end, lambda returns, taken: -cvxpy.square(returns[0])).value == pytest.approx(-1.0)
