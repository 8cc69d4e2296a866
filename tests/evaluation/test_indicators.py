"""Scores of a front by hand, against plain loops, and on problems with published values."""

import numpy as np
import pytest

from tradeoff.evaluation import (
    InvalidPoints,
    InvalidWeights,
    additive_epsilon,
    cardinality,
    conditioned_utility,
    convex_coverage,
    expected_utility,
    hypervolume,
    igd,
    igd_plus,
    maximum_utility_loss,
    pareto_front,
    simplex_energy,
    simplex_lattice,
    sparsity,
)

FRONT = [[0.0, 3.0], [1.0, 2.0], [4.0, 0.0]]


def test_utilities_by_hand():
    # Best of the front at (1, 0), (1/2, 1/2), (0, 1): 4, 2, 3, so the mean is 3. Weights need not be scaled.
    weights = [[1, 0], [5, 5], [0, 0.25]]
    assert expected_utility(FRONT, weights) == 3.0
    assert expected_utility(FRONT, [0.5, 0.5]) == 2.0
    # The steered policies earn 1 * 1, (0 + 3) / 2 and 0: mean 2.5 / 3.
    assert conditioned_utility([[1, 2], [0, 3], [4, 0]], weights) == 2.5 / 3
    # Against a front with (3, 3): 4, 3, 3 is the best there, so the regrets are 0, 1, 0.
    assert maximum_utility_loss(FRONT, [[4, 0], [3, 3]], weights) == 1.0
    assert maximum_utility_loss([[5, 5]], FRONT, weights) == -1.0  # ahead by 1, 3, 2


def test_distances_by_hand():
    # From (1, 1) to (1, 2): 1. From (3, 3): to (1, 2) sqrt 5, of which (3 - 1, 3 - 2) is all shortfall. From (4, -1): 1
    # to (4, 0), which is better, so no shortfall.
    wanted = [[1.0, 1.0], [3.0, 3.0], [4.0, -1.0]]
    np.testing.assert_allclose(igd(FRONT, wanted), (1.0 + np.sqrt(5.0) + 1.0) / 3, rtol=1e-14)
    np.testing.assert_allclose(igd_plus(FRONT, wanted), (0.0 + np.sqrt(5.0) + 0.0) / 3, rtol=1e-14)
    # (3, 3) lacks (3, 0), (2, 1) or (-1, 3), so 2 must be added to reach it; the others lack nothing.
    assert additive_epsilon(FRONT, wanted) == 2.0
    assert additive_epsilon(FRONT, [[-1.0, 2.0]]) == -1.0  # a set that is better by 1 throughout


def test_distances_equal_plain_loops():
    generator = np.random.default_rng(0)
    found, wanted = generator.normal(size=(20, 4)), generator.normal(size=(30, 4))
    gap = wanted[:, None] - found
    np.testing.assert_allclose(igd(found, wanted), np.sqrt((gap**2).sum(2)).min(1).mean(), rtol=1e-12)
    short = np.sqrt((gap.clip(min=0) ** 2).sum(2)).min(1).mean()
    np.testing.assert_allclose(igd_plus(found, wanted), short, rtol=1e-12)
    np.testing.assert_allclose(additive_epsilon(found, wanted), gap.max(2).min(1).max(), rtol=1e-12)


def test_sparsity_by_hand():
    # Gaps (1, 3) and (1, 2): (1 + 9 + 1 + 4) / 2 = 7.5. In shares of the ranges 4 and 3: (10 / 16 + 5 / 9) / 2.
    assert sparsity(FRONT) == 7.5
    np.testing.assert_allclose(sparsity(FRONT, normalise=True), (10 / 16 + 5 / 9) / 2, rtol=1e-14)
    assert sparsity(FRONT + FRONT + [[0.0, 0.0]]) == 7.5  # duplicates and dominated points change nothing
    assert np.isnan(sparsity(FRONT[:1] * 3))
    assert cardinality(FRONT + FRONT + [[0.0, 0.0]]) == 3


@pytest.mark.parametrize(
    ("discount", "utility", "gaps", "points"),
    [
        (1.0, 6.8223, 15.382, 10),
        (0.99, 5.6099, 12.619, 10),
        (0.98, 4.6831, 10.689, 10),
        (0.95, None, None, 6),
        (0.9, None, None, 3),
    ],
)
def test_deep_sea_treasure(treasure, discount, utility, gaps, points):
    front = pareto_front(**treasure, discount=discount)
    assert cardinality(front) == points
    if utility is not None:
        np.testing.assert_allclose(expected_utility(front, simplex_energy(2, 50)), utility, atol=6e-5)
        np.testing.assert_allclose(sparsity(front), gaps, atol=6e-4)


@pytest.mark.parametrize(("discount", "utility", "gaps"), [(1.0, 53.8508, 437.67), (0.99, 44.3564, 295.49)])
def test_concave_deep_sea_treasure(concave_treasure, discount, utility, gaps):
    front = pareto_front(**concave_treasure, discount=discount)
    np.testing.assert_allclose(expected_utility(front, simplex_energy(2, 50)), utility, atol=6e-5)
    np.testing.assert_allclose(sparsity(front), gaps, atol=6e-3)


def test_deep_sea_treasure_on_a_hundred_and_one_preferences(treasure):
    front = pareto_front(**treasure, discount=1.0)
    np.testing.assert_allclose(expected_utility(front, simplex_lattice(2, 100)), 6.7658, atol=6e-5)


@pytest.mark.parametrize(
    ("depth", "discount", "utility"),
    [(5, 1, 6.3075), (6, 1, 6.4608), (7, 1, 6.6066), (5, 0.99, 6.0589), (6, 0.99, 6.1441), (7, 0.99, 6.2199)],
)
def test_fruit_tree(fruit_tree, depth, discount, utility):
    front = pareto_front(**fruit_tree(depth), discount=discount)
    np.testing.assert_allclose(expected_utility(front, simplex_energy(6, 50)), utility, atol=6e-5)


def test_minecart_coverage_of_the_published_front():
    import mo_gymnasium

    env = mo_gymnasium.make("minecart-v0").unwrapped
    front, listed = (np.array(f(gamma=0.98)) for f in (env.pareto_front, env.convex_coverage_set))
    assert (cardinality(front), len(listed)) == (20, 10)
    np.testing.assert_allclose(hypervolume(listed, (-1, -1, -200)).value, 668.08, atol=0.006)
    # Two of the ten listed are corners of the hull that no preference without negative weights chooses.
    share = (front - front.min(axis=0)) / np.ptp(front, axis=0)
    chosen = np.unique((simplex_lattice(3, 400) @ share.T).argmax(axis=1))
    np.testing.assert_array_equal(np.flatnonzero(convex_coverage(front)), chosen)
    assert (convex_coverage(listed).sum(), len(chosen)) == (8, 8)


def test_bad_input_is_refused():
    with pytest.raises(InvalidPoints, match="3 returns for 2 weights"):
        conditioned_utility(FRONT, [[1, 0], [0, 1]])
    with pytest.raises(InvalidPoints, match="reference_front has 3 objectives; expected 2"):
        igd(FRONT, [[1, 2, 3]])
    with pytest.raises(InvalidPoints, match="front is empty"):
        expected_utility(np.empty((0, 2)), [1, 0])
    with pytest.raises(InvalidPoints, match=r"front\[0, 1\] is nan"):
        additive_epsilon([[1.0, np.nan]], FRONT)
    with pytest.raises(InvalidWeights, match="expected 2 numbers"):
        expected_utility(FRONT, [1, 0, 0])
