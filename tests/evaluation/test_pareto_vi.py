"""Exact fronts against enumeration of all policies, closed forms and published values."""

from itertools import pairwise, product

import numpy as np
import pytest
from scipy import sparse

from tradeoff.evaluation import InvalidProblem, NoConvergence, nondominated, pareto_front

TIMES = np.array([1, 3, 5, 7, 8, 9, 13, 14, 17, 19])
VALUES = np.array([0.7, 8.2, 11.5, 14.0, 15.1, 16.1, 19.6, 20.3, 22.4, 23.7])


def random_problem(seed, states=2, actions=2, objectives=2):
    generator = np.random.default_rng(seed)
    return {
        "transition": generator.dirichlet(np.ones(states), size=(states, actions)),
        "reward": generator.normal(size=(states, actions, objectives)),
        "start": generator.dirichlet(np.ones(states)),
    }


def all_policies(problem, discount, horizon):
    """Returns of every deterministic policy that sees its whole history, one number per history and action."""
    states, actions, objectives = problem["reward"].shape
    histories = [h for length in range(1, horizon + 1) for h in product(range(states), repeat=length)]
    for choice in product(range(actions), repeat=len(histories)):
        total = np.zeros(objectives)
        act = dict(zip(histories, choice, strict=True))
        for history in histories:
            steps = list(pairwise(history))
            chance = problem["start"][history[0]] * np.prod(
                [problem["transition"][s, act[history[: i + 1]], t] for i, (s, t) in enumerate(steps)]
            )
            total += chance * discount ** len(steps) * problem["reward"][history[-1], act[history]]
        yield total


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("discount", "objectives"), [(1.0, 2), (0.7, 3)])
def test_a_random_problem_by_enumeration(seed, discount, objectives):
    problem = random_problem(seed, objectives=objectives)  # 2 + 4 histories: 64 policies
    every = np.array(list(all_policies(problem, discount, horizon=2)))
    assert len(every) == 64
    wanted = every[nondominated(every)]
    found = pareto_front(**problem, discount=discount, horizon=2)
    np.testing.assert_allclose(found, wanted[np.lexsort(wanted.T[::-1])], atol=1e-12)


@pytest.mark.parametrize("discount", [1.0, 0.99, 0.98, 0.95, 0.9])
def test_deep_sea_treasure_closed_form(treasure, discount):
    # The prize is paid with the last of t steps, every step costs 1: (v g^(t-1), -(1 + g + ... + g^(t-1))).
    cost = np.array([sum(discount**k for k in range(t)) for t in TIMES])
    every = np.column_stack([VALUES * discount ** (TIMES - 1), -cost])
    wanted = every[nondominated(every)]
    found = pareto_front(**treasure, discount=discount)
    np.testing.assert_allclose(found, wanted[np.argsort(wanted[:, 0])], atol=1e-9)
    assert len(found) == {1.0: 10, 0.99: 10, 0.98: 10, 0.95: 6, 0.9: 3}[discount]


def test_a_horizon_cuts_the_far_treasures_off(treasure):
    # In 8 steps the treasures 8 or fewer steps away, and nothing else that is not dominated.
    found = pareto_front(**treasure, discount=1.0, horizon=8)
    np.testing.assert_allclose(found, np.column_stack([VALUES, -TIMES])[:5], atol=1e-12)


@pytest.mark.parametrize(
    ("discount", "wanted"),
    [
        (1.0, [(0, 1, 1)]),
        (0.99, [(0, 0, 0.91352), (0, 0.84294, 0.84294), (0, 0.89534, 0)]),
        (
            0.9,
            [
                (-0.14005, 0.38742, 0),
                (-0.09189, 0.25419, 0.25419),
                (-0.05314, 0.22877, 0.22877),
                (-0.05314, 0.34868, 0),
                (-0.04783, 0.20589, 0.20589),
                (-0.02824, 0.18530, 0.18530),
                (0, 0, 0.38742),
                (0, 0.16677, 0.16677),
                (0, 0.31381, 0),
            ],
        ),
    ],
)
def test_resource_gathering(gathering, discount, wanted):
    found = pareto_front(**gathering, discount=discount)
    assert found.shape == (len(wanted), 3)
    np.testing.assert_allclose(found, wanted, atol=6e-6)
    # The road of 18 steps that avoids both enemies, and the shortest ones to either prize and back.
    for road in [(0, discount**17, discount**17), (0, 0, discount**9), (0, discount**11, 0)]:
        assert (found >= np.array(road) - 1e-9).all(axis=1).any()


@pytest.mark.parametrize("depth", [5, 6, 7])
def test_every_fruit_is_on_the_front(fruit_tree, depth):
    from mo_gymnasium.envs.fruit_tree.fruit_tree import FRUITS

    found = pareto_front(**fruit_tree(depth), discount=0.99)
    leaves = np.array(FRUITS[str(depth)]) * 0.99 ** (depth - 1)
    np.testing.assert_allclose(found, leaves[np.lexsort(leaves.T[::-1])], atol=1e-12)


def test_rounding_does_not_split_points():
    # Two roads of ten tenths against one step of one: equal but for rounding, so one point, not two.
    transition, reward = np.zeros((12, 2, 12)), np.zeros((12, 2, 2))
    for state in range(11):
        transition[state, :, state + 1] = 1.0
    reward[1:11] = (0.1, -0.1)
    transition[0, 1] = np.eye(12)[11]
    reward[0, 1] = (1.0, -1.0)
    assert sum([0.1] * 10) != 1.0
    arguments = {"transition": transition, "reward": reward, "start": 0, "terminal": np.arange(12) == 11}
    np.testing.assert_allclose(pareto_front(**arguments, discount=1.0), [[1.0, -1.0]], atol=1e-12)


def test_forms_of_the_same_problem():
    problem = random_problem(5, states=3, objectives=2)
    wanted = pareto_front(**problem, discount=0.5, horizon=2)
    rows = sparse.csr_array(problem["transition"].reshape(6, 3))
    found = pareto_front(rows, problem["reward"], start=problem["start"], discount=0.5, horizon=2)
    np.testing.assert_allclose(found, wanted, atol=1e-12)
    # A reward by next state whose mean is the same: add noise that the transition averages to zero.
    noise = np.random.default_rng(0).normal(size=(3, 2, 3, 2))
    noise -= np.einsum("sat,satm->sam", problem["transition"], noise)[:, :, None]
    spread = {**problem, "reward": problem["reward"][:, :, None] + noise}
    np.testing.assert_allclose(pareto_front(**spread, discount=0.5, horizon=2), wanted, atol=1e-12)
    one = pareto_front(problem["transition"], problem["reward"], start=np.eye(3)[2], discount=0.5, horizon=2)
    other = pareto_front(problem["transition"], problem["reward"], start=2, discount=0.5, horizon=2)
    np.testing.assert_array_equal(one, other)


def test_an_unending_problem_says_so():
    # One state that pays (1, -1) for staying and (0, 0) for nothing, undiscounted: the front never stops growing.
    problem = {"transition": np.ones((1, 2, 1)), "reward": np.array([[[1.0, -1.0], [0.0, 0.0]]]), "start": 0}
    assert len(pareto_front(**problem, discount=1.0, horizon=4)) == 5  # stay 0 to 4 times
    with pytest.raises(NoConvergence, match="give a horizon"):
        pareto_front(**problem, discount=1.0, max_sweeps=20)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"transition": np.ones((2, 2, 3))}, "transition has shape"),
        ({"transition": np.full((2, 2, 2), 0.4)}, r"transition\[0, 0\] is no distribution \(sum 0.8,"),
        ({"transition": np.tile([1.5, -0.5], (2, 2, 1))}, r"transition\[0, 0\] is no distribution"),
        ({"reward": np.ones((2, 2))}, "reward has shape"),
        ({"reward": np.full((2, 2, 2), np.nan)}, "NaN"),
        ({"start": 2}, "start is 2"),
        ({"start": [0.5, 0.4]}, "start has shape"),
        ({"terminal": [True]}, "terminal has shape"),
        ({"discount": 1.5}, "discount is 1.5"),
    ],
)
def test_bad_arrays_are_refused(change, message):
    with pytest.raises(InvalidProblem, match=message):
        pareto_front(**{**random_problem(0), "discount": 0.9, **change})
    np.testing.assert_allclose(pareto_front(**random_problem(0), discount=0.0).shape[1], 2)
