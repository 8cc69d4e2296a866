"""Sets of preferences: counts by binomials, published spread, evenness, and what is refused."""

from math import comb

import numpy as np
import pytest

from tradeoff.evaluation import InvalidWeights, check_weights, simplex_energy, simplex_lattice, simplex_uniform


@pytest.mark.parametrize(("objectives", "partitions", "count"), [(3, 10, 66), (4, 10, 286), (2, 100, 101), (9, 2, 45)])
def test_lattice_loses_nothing(objectives, partitions, count):
    weights = simplex_lattice(objectives, partitions)
    assert weights.shape == (count, objectives) == (comb(partitions + objectives - 1, objectives - 1), objectives)
    assert len(np.unique(weights, axis=0)) == count
    np.testing.assert_array_equal(np.rint(weights * partitions).sum(axis=1), partitions)
    np.testing.assert_allclose(weights * partitions, np.rint(weights * partitions), atol=1e-12)


def test_small_lattices():
    np.testing.assert_array_equal(simplex_lattice(2, 2), [[0, 1], [0.5, 0.5], [1, 0]])
    np.testing.assert_array_equal(simplex_lattice(1, 5), [[1]])


def test_energy_spreads_and_is_remembered():
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    weights = simplex_energy(3, 30, seed=1)
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002
    np.testing.assert_allclose(weights.sum(axis=1), 1.0, atol=1e-15)
    assert weights.shape == (30, 3) and (weights >= 0).all()
    gaps = np.linalg.norm(weights[:, None] - weights, axis=2) + 2 * np.eye(30)
    assert gaps.min() > 0.15  # 30 random ones come within about 0.02
    weights[:] = 0.0
    assert simplex_energy(3, 30, seed=1).sum() == pytest.approx(30.0)
    assert np.abs(simplex_energy(3, 30, seed=2) - simplex_energy(3, 30, seed=1)).max() > 1e-3
    np.testing.assert_array_equal(simplex_energy(1, 2), [[1], [1]])


def test_uniform_is_even():
    # On the whole simplex each of m entries has mean 1 / m and variance (m - 1) / (m^2 (m + 1)): 2 / 36 for m = 3.
    weights = simplex_uniform(3, 40_000, seed=0)
    np.testing.assert_allclose(weights.mean(axis=0), 1 / 3, atol=0.005)
    np.testing.assert_allclose(weights.var(axis=0), 2 / 36, atol=0.001)
    np.testing.assert_array_equal(simplex_uniform(3, 5, seed=0), simplex_uniform(3, 5, seed=0))


def test_weights_are_scaled_to_one():
    np.testing.assert_array_equal(check_weights([2, 6], 2), [0.25, 0.75])
    np.testing.assert_array_equal(check_weights([[1, 1], [0, 3]], 2), [[0.5, 0.5], [0, 1]])
    np.testing.assert_allclose(check_weights([1e308, 1e308, 2e-320], 3), [0.5, 0.5, 0.0])
    np.testing.assert_allclose(check_weights([2e-320, 2e-320], 2), [0.5, 0.5])


@pytest.mark.parametrize(
    "bad", [[1], [1, 0, 0], [-1, 2], [0, 0], [np.nan, 1], [np.inf, 1], ["x", 1], [[1, 0], [0, 0]], 1]
)
def test_bad_weights_are_refused(bad):
    with pytest.raises(InvalidWeights, match="weights"):
        check_weights(bad, 2)
    assert issubclass(InvalidWeights, ValueError)


def test_bad_sizes_are_refused():
    for call in (
        lambda: simplex_lattice(0, 3),
        lambda: simplex_energy(2, 0),
        lambda: simplex_uniform(-1, 3, 0),
        lambda: simplex_lattice(3, 1.5),
        lambda: simplex_uniform(2, np.nan, 0),
    ):
        with pytest.raises(InvalidWeights, match="at least 1"):
            call()
    with pytest.raises(InvalidWeights, match="at least 3, or use simplex_uniform"):
        simplex_energy(3, 2)
    np.testing.assert_array_equal(simplex_energy(3, 3), np.eye(3)[::-1])
