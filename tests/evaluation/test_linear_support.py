"""Convex coverage sets against enumeration of stationary policies and against exact Pareto fronts."""

from itertools import product

import numpy as np
import pytest

from tradeoff.evaluation import NoConvergence, convex_coverage, convex_coverage_set, pareto_front, simplex_lattice


def stationary_policies(transition, reward, start, discount):
    """Exact returns of every deterministic stationary policy, each by one linear system."""
    states, actions, _ = reward.shape
    for policy in product(range(actions), repeat=states):
        rows = np.arange(states), np.array(policy)
        yield start @ np.linalg.solve(np.eye(states) - discount * transition[rows], reward[rows])


@pytest.mark.parametrize("objectives", [1, 2, 3, 4])
@pytest.mark.parametrize("seed", range(3))
def test_a_random_problem_by_enumeration(seed, objectives):
    generator = np.random.default_rng(seed)
    transition = generator.dirichlet(np.ones(4), size=(4, 3))
    reward, start = generator.normal(size=(4, 3, objectives)), generator.dirichlet(np.ones(4))
    every = np.array(list(stationary_policies(transition, reward, start, 0.8)))  # 81 policies
    wanted = every[convex_coverage(every, strict=True)]
    found = convex_coverage_set(transition, reward, start=start, discount=0.8, tolerance=1e-10)
    np.testing.assert_allclose(found, wanted[np.lexsort(wanted.T[::-1])], atol=1e-7)


@pytest.mark.parametrize(("discount", "count"), [(1.0, 9), (0.99, 10), (0.95, 6), (0.9, 3)])
def test_deep_sea_treasure(treasure, discount, count):
    # Undiscounted, (20.3, -14) lies on the line from (19.6, -13) to (22.4, -17), 0.7 for a step: 9 of 10 are corners.
    front = pareto_front(**treasure, discount=discount)
    found = convex_coverage_set(**treasure, discount=discount)
    assert len(found) == count
    np.testing.assert_allclose(found, front[convex_coverage(front, strict=True)], atol=1e-9)


def test_the_dented_treasure_shows_two_points_only(concave_treasure):
    # (1, -1) and (124, -19): from one to the other every other treasure lies below the line.
    np.testing.assert_allclose(convex_coverage_set(**concave_treasure, discount=1.0), [[1, -1], [124, -19]])


@pytest.mark.parametrize(("discount", "count"), [(1.0, 1), (0.99, 3), (0.9, 6)])
def test_resource_gathering(gathering, discount, count):
    front = pareto_front(**gathering, discount=discount)
    found = convex_coverage_set(**gathering, discount=discount)
    assert len(found) == count
    np.testing.assert_allclose(found, front[convex_coverage(front, strict=True)], atol=1e-7)


def test_six_objectives(fruit_tree):
    front = pareto_front(**fruit_tree(5), discount=0.99)
    found = convex_coverage_set(**fruit_tree(5), discount=0.99)
    np.testing.assert_allclose(found, front[convex_coverage(front, strict=True)], atol=1e-12)
    lattice = simplex_lattice(6, 8)
    np.testing.assert_allclose((lattice @ found.T).max(axis=1), (lattice @ front.T).max(axis=1), rtol=1e-12)


def test_a_horizon_counts_steps(treasure):
    found = convex_coverage_set(**treasure, discount=1.0, horizon=8)
    front = pareto_front(**treasure, discount=1.0, horizon=8)
    np.testing.assert_allclose(found, front[convex_coverage(front, strict=True)], atol=1e-12)
    np.testing.assert_allclose(found[-1], [15.1, -8.0])


def test_tied_and_flat_problems_do_not_break_it():
    # One state, one step: the coverage of whole-number rewards that lie on planes, lines and on each other.
    generator = np.random.default_rng(0)
    for objectives in (2, 3, 4, 5):
        for _ in range(10):
            reward = generator.integers(0, 3, size=(1, 12, objectives)).astype(float)
            reward[..., 0] = 4.0 - reward[..., 1:].sum(axis=2) if objectives < 5 else 1.0
            found = convex_coverage_set(np.ones((1, 12, 1)), reward, start=0, discount=1.0, horizon=1)
            wanted = reward[0][convex_coverage(reward[0], strict=True)]
            np.testing.assert_allclose(found, wanted[np.lexsort(wanted.T[::-1])], atol=1e-12)


def test_an_unending_problem_says_so():
    problem = {"transition": np.ones((1, 2, 1)), "reward": np.array([[[1.0, -1.0], [0.0, 0.0]]]), "start": 0}
    np.testing.assert_allclose(convex_coverage_set(**problem, discount=1.0, horizon=4), [[0, 0], [4, -4]])
    with pytest.raises(NoConvergence, match="give a horizon"):
        convex_coverage_set(**problem, discount=1.0, max_sweeps=20)
