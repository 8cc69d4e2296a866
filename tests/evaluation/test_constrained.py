"""Linear programs over occupancies against known optima, grids of policies, value iteration and slackness."""

import time
from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from scipy.optimize import linprog

from tradeoff.evaluation import (
    InfeasibleLimits,
    Limit,
    NoConvergence,
    NoStationaryOptimum,
    best_policy,
    constrained_front,
    constrained_optimum,
    finite_problem,
    policy_returns,
)
from tradeoff.evaluation.flows import flows, least_cost


@pytest.fixture
def switch():
    """Reward for staying in 0, usage for going to 1 and staying there, neither for coming back."""
    transition, reward = np.zeros((2, 2, 2)), np.zeros((2, 2, 2))
    for state, action in np.ndindex(2, 2):
        transition[state, action, state ^ action] = 1.0
    reward[0, 0, 0] = reward[0, 1, 1] = reward[1, 0, 1] = 1.0
    return {"transition": transition, "reward": reward, "start": 0}


def corridor(size, slip=0.1):
    """Grid with a goal in the far corner, 1 per step lost; two costs, by cell, that ask for other ways."""
    states = size * size
    rough = np.random.default_rng(0).random((2, size, size)) ** 4
    transition, reward = np.zeros((states, 4, states)), np.zeros((states, 4, 3))
    for row, column in np.ndindex(size, size):
        here = row * size + column
        for action, (down, right) in enumerate([(-1, 0), (1, 0), (0, -1), (0, 1)]):
            there = min(max(row + down, 0), size - 1) * size + min(max(column + right, 0), size - 1)
            transition[here, action, there] += 1.0 - slip
            transition[here, action, here] += slip
        reward[here, :, 0] = -1.0
        reward[here, :, 1:] = rough[:, row, column]
    return {"transition": transition, "reward": reward, "start": 0, "terminal": np.arange(states) == states - 1}


def half_way(problem):
    """Limits half-way between the costs of the fastest policy and of the most careful one: they can be kept."""
    fast, careful = best_policy(problem, [1, -1e-4, -1e-4]), best_policy(problem, [1e-3, -1, -1])
    return [Limit(channel, (fast.returns[channel] + careful.returns[channel]) / 2) for channel in (1, 2)]


def check_optimality(problem, weights, limits, found, **criterion):
    """Feasible, slack or priced, and no policy is better at these prices: together, optimal."""
    signs = np.array([1.0 if limit.side == "<=" else -1.0 for limit in limits])
    channels, bounds = [limit.channel for limit in limits], np.array([limit.bound for limit in limits])
    excess = signs * (found.returns[channels] - bounds)
    assert (excess <= 1e-8).all() and (found.multipliers >= 0).all()
    np.testing.assert_allclose(found.multipliers * excess, 0.0, atol=1e-7)
    priced = np.array(weights, dtype=float)
    np.subtract.at(priced, channels, signs * found.multipliers)
    best = best_policy(problem, priced, **criterion).value + signs * found.multipliers @ bounds
    assert found.value == pytest.approx(best, abs=1e-7)
    np.testing.assert_allclose(policy_returns(problem, found.policy, **criterion), found.returns, atol=1e-12)


def test_two_states(two_state):
    # Published values are per step: a tenth of the discounted sums at discount 0.9.
    problem = finite_problem(**two_state, discount=0.9)
    found = constrained_optimum(problem, [1, 0], [Limit(1, 3.0)])
    assert found.value / 10 == pytest.approx(0.388788, abs=5e-7)
    np.testing.assert_allclose(found.multipliers, [0.801989], atol=5e-7)
    np.testing.assert_allclose(found.policy, [[0, 1], [0.875, 0.125]], atol=1e-9)
    np.testing.assert_array_equal(found.randomised, [False, True])
    assert found.stochastic
    check_optimality(problem, [1, 0], [Limit(1, 3.0)], found)
    free = constrained_optimum(problem, [1, 0], [])
    np.testing.assert_allclose(free.returns / 10, [0.83297, 0.85385], atol=5e-6)
    assert not free.stochastic and free.multipliers.shape == (0,)
    loose = constrained_optimum(problem, [1, 0], [(1, 9.0)])
    assert loose.value == pytest.approx(free.value) and loose.multipliers[0] == pytest.approx(0.0, abs=1e-9)


def test_reward_that_is_its_own_cost():
    # One state, action 1 pays 1 and costs 1: within a cost of half the time the value is half, and each unit buys one.
    reward = np.array([[[0.0, 0.0], [1.0, 1.0]]])
    problem = finite_problem(np.ones((1, 2, 1)), reward, start=0, discount=0.9)
    found = constrained_optimum(problem, [1, 0], [Limit(1, 5.0)])
    np.testing.assert_allclose([found.value / 10, found.multipliers[0], found.policy[0, 1]], [0.5, 1.0, 0.5], atol=1e-9)
    found = constrained_optimum(problem, [1, 0], [Limit(1, 0.5)], average=True)
    np.testing.assert_allclose([found.value, found.multipliers[0], found.policy[0, 1]], [0.5, 1.0, 0.5], atol=1e-9)


def test_reward_and_usage_that_exclude_each_other(switch):
    # Every step pays a reward or a usage or neither: with half the usage at most half the reward, price 1.
    problem = finite_problem(**switch, discount=0.9)
    found = constrained_optimum(problem, [1, 0], [Limit(1, 5.0, ">=")])
    np.testing.assert_allclose([found.value / 10, found.multipliers[0]], [0.5, 1.0], atol=1e-9)
    assert found.stochastic
    for choice in product(range(2), repeat=2):  # no deterministic policy keeps the limit and earns anything
        reward, usage = policy_returns(problem, np.eye(2)[list(choice)])
        assert usage < 5.0 - 1e-9 or reward < 1e-9 or reward < 5.0
    by_step = finite_problem(**switch, discount=1.0)
    found = constrained_optimum(by_step, [1, 0], [Limit(1, 5.0, ">=")], horizon=10)
    np.testing.assert_allclose([found.value, found.multipliers[0]], [5.0, 1.0], atol=1e-9)
    check_optimality(by_step, [1, 0], [Limit(1, 5.0, ">=")], found, horizon=10)
    found = constrained_optimum(by_step, [1, 0], [Limit(1, 4.5, ">=")], horizon=10)
    assert found.policy.shape == (10, 2, 2) and found.value == pytest.approx(5.5) and found.stochastic
    # In the long run only staying forever loses nothing, and who stays with chance 1/2 cannot be stationary.
    with pytest.raises(NoStationaryOptimum, match="draw one of the policies at the start"):
        constrained_optimum(problem, [1, 0], [Limit(1, 0.5, ">=")], average=True)


@pytest.mark.parametrize("average", [False, True])
@pytest.mark.parametrize("seed", [1, 2, 5])
def test_a_grid_of_all_stationary_policies(random_problem, seed, average):
    arrays = random_problem(seed, states=2, channels=3)
    problem = finite_problem(**arrays, discount=0.8)
    fine = np.linspace(0.0, 1.0, 301)
    first = np.stack(np.meshgrid(fine, fine, indexing="ij"), axis=-1).reshape(-1, 2)
    policies = np.stack([first, 1.0 - first], axis=2)  # [n, S, A]
    chain = np.einsum("nsa,sat->nst", policies, arrays["transition"])
    pay = np.einsum("nsa,sam->nsm", policies, arrays["reward"])
    if average:
        share = chain[:, 1, 0] / (chain[:, 0, 1] + chain[:, 1, 0])  # of state 0
        returns = share[:, None] * pay[:, 0] + (1 - share[:, None]) * pay[:, 1]
    else:
        returns = np.einsum("s,nsm->nm", arrays["start"], np.linalg.solve(np.eye(2) - 0.8 * chain, pay))
    bounds = np.quantile(returns[:, 1], 0.4), np.quantile(returns[:, 2], 0.3)
    limits = [Limit(1, bounds[0]), Limit(2, bounds[1], ">=")]
    kept = (returns[:, 1] <= bounds[0]) & (returns[:, 2] >= bounds[1])
    found = constrained_optimum(problem, [1, 0, 0], limits, average=average)
    best = returns[kept, 0].max()
    assert -1e-9 <= found.value - best <= 0.01 * np.ptp(returns[:, 0])
    if not average:
        check_optimality(problem, [1, 0, 0], limits, found)


def test_a_grid_world_with_two_costs():
    problem = finite_problem(**corridor(5), discount=0.95)
    free = constrained_optimum(problem, [1, 0, 0], [])
    assert free.value == pytest.approx(best_policy(problem, [1, 0, 0]).value, abs=1e-9)
    limits = half_way(problem)
    found = constrained_optimum(problem, [1, 0, 0], limits)
    check_optimality(problem, [1, 0, 0], limits, found)
    assert (found.multipliers > 1e-3).any() and 1 <= found.randomised.sum() <= 2
    undiscounted = finite_problem(**corridor(5), discount=1.0)
    limits = half_way(undiscounted)
    check_optimality(undiscounted, [1, 0, 0], limits, constrained_optimum(undiscounted, [1, 0, 0], limits))
    limits = [limit._replace(bound=0.9 * limit.bound) for limit in limits]
    horizon = constrained_optimum(problem, [1, 0, 0], limits, horizon=12)
    check_optimality(problem, [1, 0, 0], limits, horizon, horizon=12)


def test_multipliers_are_slopes_of_the_front(two_state):
    problem = finite_problem(**two_state, discount=0.9)
    bounds, front = constrained_front(problem, [1, 0], [Limit(1, 0.0)], 9)
    least = -best_policy(problem, [0, -1]).value
    np.testing.assert_allclose(bounds, np.linspace(least, 8.5385, 9), atol=5e-5)
    values = np.array([point.value for point in front])
    assert values[-1] == pytest.approx(best_policy(problem, [1, 0]).value, abs=1e-8)
    slopes, prices = np.diff(values) / np.diff(bounds), np.array([point.multipliers[0] for point in front])
    assert (prices[1:] <= slopes + 1e-7).all() and (slopes <= prices[:-1] + 1e-7).all() and slopes.min() > 0.1
    _, (below, at, above) = constrained_front(problem, [1, 0], [Limit(1, 0.0)], [2.99, 3.0, 3.01])
    assert at.multipliers[0] == pytest.approx((above.value - below.value) / 0.02, abs=1e-6)
    assert at.value / 10 == pytest.approx(0.388788, abs=5e-7)


def test_the_front_holds_the_other_limits():
    problem = finite_problem(**corridor(4), discount=0.95)
    bounds, front = constrained_front(problem, [1, 0, 0], [Limit(1, 0.0), Limit(2, 1.2)], 5)
    assert all(
        point.returns[2] <= 1.2 + 1e-8 and point.returns[1] <= b + 1e-8 for b, point in zip(bounds, front, strict=True)
    )
    assert front[-1].value == pytest.approx(constrained_optimum(problem, [1, 0, 0], [Limit(2, 1.2)]).value, abs=1e-8)
    assert np.all(np.diff([point.value for point in front]) >= -1e-8)


def test_limits_that_cannot_be_kept(two_state, switch):
    problem = finite_problem(**two_state, discount=0.9)
    least, most = -best_policy(problem, [0, -1]).value, best_policy(problem, [0, 1]).value
    with pytest.raises(InfeasibleLimits, match=rf"channel 1 <= 1e-05 \(least attainable value {least:.6g}\)") as error:
        constrained_optimum(problem, [1, 0], [Limit(0, 5.0), Limit(1, 1e-5)])
    np.testing.assert_allclose(error.value.attainable, [-best_policy(problem, [-1, 0]).value, least], atol=1e-9)
    with pytest.raises(InfeasibleLimits, match="most attainable") as error:
        constrained_optimum(problem, [1, 0], [Limit(1, most + 1e-4, ">=")])
    np.testing.assert_allclose(error.value.attainable, [most], rtol=1e-9)
    assert constrained_optimum(problem, [1, 0], [Limit(1, most - 1e-7, ">=")]).returns[1] == pytest.approx(most)
    apart = finite_problem(**switch, discount=0.9)
    with pytest.raises(InfeasibleLimits, match="each alone can be kept, not all at once"):
        constrained_optimum(apart, [1, 0], [Limit(0, 6.0, ">="), Limit(1, 6.0, ">=")])


def test_limits_over_a_horizon_that_cannot_be_kept(switch):
    # Ten steps pay ten in all: 6 and 6 cannot be had, 6 and 4 can.
    problem = finite_problem(**switch, discount=1.0)
    with pytest.raises(InfeasibleLimits, match="each alone can be kept, not all at once") as error:
        constrained_optimum(problem, [1, 0], [Limit(0, 6.0, ">="), Limit(1, 6.0, ">=")], horizon=10)
    np.testing.assert_allclose(error.value.attainable, [10.0, 10.0])
    kept = constrained_optimum(problem, [1, 0], [Limit(0, 6.0, ">="), Limit(1, 4.0, ">=")], horizon=10)
    np.testing.assert_allclose(kept.returns, [6.0, 4.0], atol=1e-9)


def test_the_average_after_a_choice_at_the_start():
    # From 0 one action leads to 1, which pays 1 forever, the other to 2, which pays 2 and costs 1 forever.
    transition = np.zeros((3, 2, 3))
    transition[0, 0, 1] = transition[0, 1, 2] = transition[1, :, 1] = transition[2, :, 2] = 1.0
    reward = np.array([[[0, 0], [0, 0]], [[1, 0], [1, 0]], [[2, 1], [2, 1]]], dtype=float)
    problem = finite_problem(transition, reward, start=0, discount=1.0)
    found = constrained_optimum(problem, [1, 0], [Limit(1, 0.25)], average=True)
    np.testing.assert_allclose([found.value, found.multipliers[0]], [1.25, 1.0], atol=1e-9)
    np.testing.assert_allclose(found.policy[0], [0.75, 0.25], atol=1e-9)


def test_a_trap_that_nothing_leads_to_is_not_counted():
    # 0 stays at a price of 1 or ends; 2 would pay 1 forever.
    transition = np.eye(3)[[[0, 1], [1, 1], [2, 2]]]
    reward = np.array([[[-1.0], [0.0]], [[0.0], [0.0]], [[1.0], [1.0]]])
    problem = finite_problem(transition, reward, start=0, terminal=[False, True, False], discount=1.0)
    assert constrained_optimum(problem, [1.0], []).value == pytest.approx(0.0, abs=1e-12)
    found = constrained_optimum(problem, [1.0], [Limit(0, -2.0)])
    assert found.value == pytest.approx(-2.0)  # two steps on average before the end: stays with chance 2/3
    np.testing.assert_allclose(found.policy, [[2 / 3, 1 / 3], [0.5, 0.5], [0.5, 0.5]], atol=1e-9)


def test_bad_input_is_refused(two_state):
    problem = finite_problem(**two_state, discount=0.9)
    for limit, message in [
        ((2, 1.0), "channels 0 to 1"),
        ((1, np.nan), "finite bound"),
        ((1, 1.0, "<"), "expected '<='"),
    ]:
        with pytest.raises(ValueError, match=message):
            constrained_optimum(problem, [1, 0], [limit])
    with pytest.raises(ValueError, match="exclude each other"):
        constrained_optimum(problem, [1, 0], [], horizon=3, average=True)
    with pytest.raises(NoConvergence, match="no policy ends every episode"):
        constrained_optimum(finite_problem(**two_state, discount=1.0), [1, 0], [Limit(1, 1.0)])
    stay_or_end = finite_problem(
        np.eye(2)[[[0, 1], [1, 1]]], np.ones((2, 2, 1)), start=0, terminal=[False, True], discount=1.0
    )
    with pytest.raises(NoConvergence, match="no bound"):
        constrained_optimum(stay_or_end, [1], [])
    assert constrained_optimum(stay_or_end, [-1], []).value == pytest.approx(-1.0)
    assert constrained_optimum(problem, [0, 0], []).value == 0.0


@pytest.mark.parametrize("seed", range(4))
def test_a_horizon_is_the_time_indexed_program(random_problem, seed):
    # The same optimum and prices by the linear program with a variable for each step, state and action.
    problem = finite_problem(**random_problem(seed, channels=3), discount=0.9)
    careful = best_policy(problem, [0, -1, -1], horizon=5).returns
    free = best_policy(problem, [1, 0, 0], horizon=5).returns
    limits = [Limit(channel, 0.7 * careful[channel] + 0.3 * free[channel]) for channel in (1, 2)]
    found = constrained_optimum(problem, [1, 0, 0], limits, horizon=5)
    space = flows(problem, horizon=5)
    whole = least_cost(space, -space.reward[:, 0], space.reward[:, 1:].T, np.array([limit.bound for limit in limits]))
    assert found.value == pytest.approx(-whole.fun, abs=1e-9)
    np.testing.assert_allclose(found.multipliers, -whole.duals[len(space.source) :], atol=1e-8)
    assert found.multipliers.max() > 0.01 and found.stochastic
    check_optimality(problem, [1, 0, 0], limits, found, horizon=5)


@pytest.mark.parametrize("criterion", [{}, {"horizon": 8}, {"average": True}], ids=["discounted", "horizon", "average"])
@pytest.mark.parametrize("units", [(1e4, 1.0), (1e6, 1.0), (1e-9, 1.0), (1.0, 1e-8), (1.0, 1e8), (1e6, 1e-8)])
def test_units_of_reward_and_cost_change_nothing_but_the_numbers(random_problem, units, criterion):
    # The same problem with rewards and costs in other units: the same policy, price times reward unit over cost unit.
    for seed in range(4):
        arrays = random_problem(seed, states=6, actions=3)
        plain = finite_problem(**arrays, discount=0.95)
        careful, free = (constrained_optimum(plain, w, [], **criterion).returns[1] for w in ([0, -1], [1, 0]))
        limit = 0.6 * careful + 0.4 * free
        wanted = constrained_optimum(plain, [1, 0], [Limit(1, limit)], **criterion)
        scaled = finite_problem(**arrays | {"reward": arrays["reward"] * units}, discount=0.95)
        found = constrained_optimum(scaled, [1, 0], [Limit(1, limit * units[1])], **criterion)
        np.testing.assert_allclose(found.returns / units, wanted.returns, atol=1e-9)
        np.testing.assert_allclose(found.multipliers * units[1] / units[0], wanted.multipliers, rtol=1e-7)
        if not criterion:
            assert found.value == pytest.approx(-dense_program(arrays, 0.95, limit, units[0]).fun, rel=1e-6)


def dense_program(arrays, discount, limit, unit):
    """The occupancy program written out, costs in their usual unit, solved by scipy's default settings."""
    states, actions, _ = arrays["reward"].shape
    after = arrays["transition"].reshape(states * actions, states)
    balance = np.repeat(np.eye(states), actions, axis=0) - discount * after
    pay = arrays["reward"].reshape(states * actions, 2)
    return linprog(-pay[:, 0] * unit, A_eq=balance.T, b_eq=arrays["start"], A_ub=pay[None, :, 1], b_ub=[limit])


def test_a_front_without_a_limit_is_refused(two_state):
    with pytest.raises(ValueError, match="limits holds none; give the one whose bound is swept first"):
        constrained_front(finite_problem(**two_state, discount=0.9), [1.0, 0.0], [])


def test_fronts_and_infeasible_limits_in_small_units(two_state):
    plain = finite_problem(**two_state, discount=0.9)
    small = finite_problem(**two_state | {"reward": two_state["reward"] * [1e6, 1e-9]}, discount=0.9)
    bounds, front = constrained_front(plain, [1, 0], [Limit(1, 0.0)], 5)
    tiny, scaled = constrained_front(small, [1, 0], [Limit(1, 0.0)], 5)
    np.testing.assert_allclose(tiny / 1e-9, bounds, rtol=1e-9)
    np.testing.assert_allclose([p.value / 1e6 for p in scaled], [p.value for p in front], rtol=1e-9)
    with pytest.raises(InfeasibleLimits, match="relax what lies beyond") as error:
        constrained_optimum(small, [1, 0], [Limit(1, 0.5 * tiny[0])])
    np.testing.assert_allclose(error.value.attainable, tiny[:1], rtol=1e-9)


def test_penalties_far_beyond_all_other_rewards_leave_the_rest_exact(random_problem):
    # A third action that costs 1e9 everywhere is never worth it: the optimum is that of the other two.
    arrays = random_problem(3, states=5, actions=2)
    forbidden = np.full((5, 1, 2), [-1e9, 0.0])
    wider = {
        "transition": np.concatenate([arrays["transition"], arrays["transition"][:, :1]], axis=1),
        "reward": np.concatenate([arrays["reward"], forbidden], axis=1),
        "start": arrays["start"],
    }
    careful, free = (best_policy(finite_problem(**arrays, discount=0.9), w).returns[1] for w in ([0, -1], [1, 0]))
    limits = [Limit(1, (careful + free) / 2)]
    wanted, found = (constrained_optimum(finite_problem(**a, discount=0.9), [1, 0], limits) for a in (arrays, wider))
    assert found.value == pytest.approx(wanted.value, rel=1e-6)


def test_an_answer_that_is_not_optimal_is_refused(two_state, monkeypatch):
    def wrong(*arguments, **options):
        result = linprog(*arguments, **options)
        result.x = result.x * 0.9
        return result

    monkeypatch.setattr("scipy.optimize.linprog", wrong)
    with pytest.raises(NoConvergence, match="misses its bound"):
        constrained_optimum(finite_problem(**two_state, discount=0.9), [1, 0], [Limit(1, 3.0)])


def rare_transitions(seed, kind):
    """Four states, two actions; `coupled`: two pairs of states that are left once in 1e9 to 1e13 steps; `lazy`: every
    state is; `skewed`: probabilities of all sizes down to 1e-100."""
    generator = np.random.default_rng(seed)
    if kind == "skewed":
        transition = generator.dirichlet(np.full(4, 0.02), size=(4, 2))
        transition[transition < 1e-100] = 0.0
    else:
        rare = 10.0 ** -generator.uniform(9, 13, size=(4, 2, 4))
        pair = np.arange(4) % 2 if kind == "coupled" else np.arange(4)
        apart = pair[:, None, None] != pair[None, None]
        transition = generator.random((4, 2, 4)) * np.where(apart, rare, 1.0)
    transition /= transition.sum(axis=2, keepdims=True)
    return {
        "transition": transition,
        "reward": generator.normal(size=(4, 2, 2)),
        "start": generator.dirichlet(np.ones(4)),
    }


def average_by_elimination(transition, reward, start):
    """Long-run average of a chain in fractions: (1 - g) sum of g^t r_t at a discount g nearer to 1 than any float."""
    left = Fraction(1, 10**320)  # 1 - g
    size = len(reward)
    rows = [[Fraction(p) for p in row] for row in transition]
    rows = [[p / sum(row) for p in row] for row in rows]
    system = [[(1 if i == j else 0) - (1 - left) * rows[i][j] for j in range(size)] for i in range(size)]
    system = [[*row, left * Fraction(r)] for row, r in zip(system, reward, strict=True)]
    for column in range(size):
        pivot = next(i for i in range(column, size) if system[i][column])
        system[column], system[pivot] = system[pivot], system[column]
        for i in range(size):
            if i != column:
                factor = system[i][column] / system[column][column]
                system[i] = [x - factor * y for x, y in zip(system[i], system[column], strict=True)]
    return float(sum(Fraction(s) * system[i][size] / system[i][i] for i, s in enumerate(start)))


@pytest.mark.parametrize("kind", ["coupled", "lazy", "skewed"])
def test_averages_with_rare_transitions_by_enumeration_of_policies(kind):
    for seed in range(3):
        arrays = rare_transitions(seed, kind)
        problem = finite_problem(**arrays, discount=1.0)
        chosen = [list(actions) for actions in product(range(2), repeat=4)]
        values = np.array([
            [
                average_by_elimination(
                    arrays["transition"][range(4), actions].tolist(),
                    arrays["reward"][range(4), actions, channel].tolist(),
                    arrays["start"].tolist(),
                )
                for channel in range(2)
            ]
            for actions in chosen
        ])  # fmt: skip
        exact = [policy_returns(problem, np.eye(2)[actions], average=True) for actions in chosen]
        np.testing.assert_allclose(exact, values, rtol=1e-9, atol=1e-12)
        found = constrained_optimum(problem, [1, 0], [], average=True)
        assert found.value == pytest.approx(values[:, 0].max(), rel=1e-9)
        limit = (values[values[:, 0].argmax(), 1] + values[:, 1].min()) / 2
        # Occupancies of all policies are mixtures of those of deterministic ones, so this small program is exact.
        mixed = linprog(-values[:, 0], A_ub=values[:, 1][None], b_ub=[limit], A_eq=np.ones((1, 16)), b_eq=[1])
        found = constrained_optimum(problem, [1, 0], [Limit(1, limit)], average=True)
        assert found.value == pytest.approx(-mixed.fun, rel=1e-7, abs=1e-9)
        assert found.returns[1] <= limit + 1e-9
        np.testing.assert_allclose(found.multipliers, -mixed.ineqlin.marginals, rtol=1e-5, atol=1e-9)


@pytest.mark.slow
def test_2500_states_in_seconds():
    problem = finite_problem(**corridor(50), discount=0.99)
    limits = half_way(problem)
    begin = time.perf_counter()
    found = constrained_optimum(problem, [1, 0, 0], limits)
    assert time.perf_counter() - begin < 60.0  # about 5 s on one free core
    check_optimality(problem, [1, 0, 0], limits, found)
