"""Hypervolume against closed forms, inclusion and exclusion, pymoo, published fronts and its own rule."""

from itertools import combinations, product

import numpy as np
import pytest

from tradeoff.evaluation import InvalidPoints, hypervolume, hypervolume_contributions, nondominated, pareto_front
from tradeoff.evaluation.hypervolume import _covering_counts, _exact, is_exact


def sphere(count, objectives, seed=0):
    points = np.abs(np.random.default_rng(seed).normal(size=(count, objectives)))
    return points / np.linalg.norm(points, axis=1, keepdims=True)


def staircase(count, objectives):
    """Points (i, count + 1 - i, 1, 1, ...): the volume is 1 + 2 + ... + count."""
    points = np.ones((count, objectives))
    points[:, 0] = np.arange(1, count + 1)
    points[:, 1] = np.arange(count, 0, -1)
    return points


def by_inclusion(points):
    """Union of boxes as the alternating sum over all subsets."""
    subsets = (c for size in range(1, len(points) + 1) for c in combinations(points, size))
    return sum((-1) ** (len(c) + 1) * np.prod(np.min(c, axis=0)) for c in subsets)


def test_two_boxes_by_hand():
    # Above (-1, -1): boxes 2 x 4 and 3 x 2 overlap in 2 x 2, so 8 + 6 - 4 = 10. The third point is below the reference.
    value = hypervolume([[1, 3], [2, 1], [5, -2]], [-1, -1])
    assert value == (10.0, 10.0, 10.0, "exact")
    assert float(value) == 10.0


def test_points_that_do_not_count_add_nothing():
    assert hypervolume(np.empty((0, 3)), [0, 0, 0]).value == 0.0
    assert hypervolume([[1, 0, 1]], [0, 0, 0]).value == 0.0  # on the reference in one objective
    assert hypervolume([[1, 2], [1, 2], [0.5, 1]], [0, 0]).value == 2.0  # a duplicate and a dominated point
    below = np.vstack([staircase(80, 7), staircase(80, 7) * [-1, -1, 2, 2, 2, 2, 2]])
    assert hypervolume(below, np.zeros(7)).value == 80 * 81 / 2


@pytest.mark.parametrize("objectives", range(1, 13))
def test_every_number_of_objectives_by_inclusion(objectives):
    points = sphere(8, objectives)
    np.testing.assert_allclose(hypervolume(points - 3.0, [-3.0] * objectives).value, by_inclusion(points), rtol=1e-12)


@pytest.mark.parametrize(("objectives", "count"), [(6, 200), (7, 80), (8, 60), (9, 40), (10, 30)])
def test_the_recursion_agrees_with_the_library(objectives, count):
    from pymoo.indicators.hv import HV

    points = sphere(count, objectives, seed=objectives)
    wanted = HV(ref_point=np.zeros(objectives))(-points)
    np.testing.assert_allclose(hypervolume(points, np.zeros(objectives)).value, wanted, rtol=1e-12)


def test_published_value_of_the_hard_case():
    # 9 objectives, 31 points on a staircase: 31 * 32 / 2 = 496, exactly, by the recursion.
    assert hypervolume(staircase(31, 9), np.zeros(9)) == (496.0, 496.0, 496.0, "exact")


def test_the_rule():
    assert [is_exact(m, 250) for m in (2, 4, 8, 9, 10)] == [True, True, True, True, False]
    assert is_exact(4, 10**6)
    assert not is_exact(5, 20001)
    assert (is_exact(13, 30), is_exact(13, 31)) == (True, False)
    # Only points that count are counted: 40 points, of which 39 are dominated.
    points = np.arange(1.0, 41.0)[:, None] * np.ones(13)
    assert hypervolume(points, np.zeros(13)) == (40.0**13, 40.0**13, 40.0**13, "exact")


def blocks(long, short, count):
    """The 2 ** count points with (long, short) or (short, long) in each of `count` pairs of objectives."""
    pairs = (((long, short), (short, long)),) * count
    return np.array([np.concatenate(pair) for pair in product(*pairs)])


def lognormal(count, objectives, seed):
    points = np.exp(np.random.default_rng(seed).normal(size=(count, objectives)))
    return points[nondominated(points)]


@pytest.mark.parametrize(
    ("front", "truth"),
    [
        (staircase(31, 13), 31 * 32 / 2),
        # A union of products is the product of the unions: per pair two unit areas that share the square short ** 2.
        (blocks(10.0, 0.1, 7), (2.0 - 0.1**2) ** 7),
        (blocks(4.0, 0.25, 7), (2.0 - 0.25**2) ** 7),
        (lognormal(31, 13, seed=0), _exact(lognormal(31, 13, seed=0))),
        (sphere(31, 13), _exact(sphere(31, 13))),
        (1.0 - 0.1 * sphere(40, 13) ** 2, _exact(1.0 - 0.1 * sphere(40, 13) ** 2)),  # nearly the whole box around
    ],
    ids=["staircase", "long blocks", "blocks", "lognormal", "sphere", "overlapping"],
)
def test_monte_carlo_interval_covers_the_truth(front, truth):
    found = [hypervolume(front, np.zeros(front.shape[1]), seed=seed) for seed in range(5)]
    assert {value.method for value in found} == {"monte-carlo"}
    assert all(0.0 < value.low <= value.value <= value.high for value in found)
    assert all(
        value.low <= truth <= value.high for value in found
    )  # the bound is wide: 1000 of 1000 runs, docs/protocol.md
    assert max(value.high - value.low for value in found) <= 0.02 * truth


def test_monte_carlo_doubts_what_hardly_varies():
    """Long boxes that hardly overlap: every place counts about the same, and the bound's own term remains.

    7 log(4 / .05) / (3 (2^17 - 1)) = 7.80e-5 of their sum, of which the largest weight is at least 0.99.
    """
    front = 1.0 + 1e6 * np.eye(31)
    found = hypervolume(front, np.zeros(31))
    assert found.method == "monte-carlo" and found.value - found.low > 0.99 * 7.80e-5 * 31e6


def test_monte_carlo_is_reproducible_and_widens_with_confidence():
    front, origin = staircase(31, 13), np.zeros(13)
    assert hypervolume(front, origin, seed=3) == hypervolume(front, origin, seed=3)
    wide, narrow = (hypervolume(front, origin, confidence=confidence) for confidence in (0.99, 0.5))
    assert wide.value == narrow.value and wide.low < narrow.low < narrow.high < wide.high
    for confidence in (0.0, 1.0, 95.0, np.nan):
        with pytest.raises(ValueError, match="confidence is"):
            hypervolume(front, origin, confidence=confidence)


def test_monte_carlo_interval_stays_between_largest_box_and_the_sum():
    # One box of volume 2 ** 13 and 39 of at most 4e-12, long in one objective: both bounds are known without a sample.
    front = np.vstack(
        [np.full(13, 2.0), *(short + long * np.eye(13) for short, long in ((0.1, 3), (0.05, 4), (0.02, 5)))]
    )
    value = hypervolume(front, np.zeros(13))
    assert value.method == "monte-carlo"
    assert 2.0**13 <= value.low <= value.value <= value.high <= np.prod(front, axis=1).sum()


def test_monte_carlo_of_volumes_beyond_the_range_of_floats():
    # Volumes of 1e-208 and 1e+208, and their square: 0 or infinity, as the product of the objectives is.
    for power in (-16, 16):
        value = hypervolume(staircase(31, 13) * 10.0**power, np.zeros(13))
        np.testing.assert_allclose(value.value / 10.0 ** (13 * power), 496.0, rtol=0.02)
    with np.errstate(over="ignore"):
        assert hypervolume(staircase(31, 13) * 1e32, np.zeros(13)).value == np.inf
    assert hypervolume(staircase(31, 13) * 1e-32, np.zeros(13)).value == 0.0


@pytest.mark.parametrize(("count", "objectives"), [(5, 3), (64, 2), (700, 4), (1100, 5)])
def test_covering_boxes_are_counted_as_by_comparison(count, objectives):
    generator = np.random.default_rng(count)
    front = generator.integers(1, 6, size=(count, objectives)) / 4.0
    places = generator.integers(0, 6, size=(300, objectives)) / 4.0  # many lie exactly on a side, which is inside
    wanted = (places[:, None] <= front[None]).all(axis=2).sum(axis=1)
    np.testing.assert_array_equal(_covering_counts(front, places), wanted)


def test_monte_carlo_has_no_units():
    scale = np.logspace(-6, 6, 13)
    plain, scaled = (hypervolume(staircase(31, 13) * s, np.zeros(13)) for s in (1.0, scale))
    np.testing.assert_allclose(np.array(scaled[:3]) / np.prod(scale), plain[:3], rtol=1e-9)


@pytest.mark.parametrize("objectives", [2, 3, 6, 9])
def test_contributions_are_what_leaving_out_costs(objectives):
    points = np.vstack([sphere(12, objectives), sphere(12, objectives)[:1] * 0.5])
    whole = hypervolume(points, np.zeros(objectives)).value
    wanted = [whole - hypervolume(np.delete(points, i, axis=0), np.zeros(objectives)).value for i in range(13)]
    np.testing.assert_allclose(hypervolume_contributions(points, np.zeros(objectives)), wanted, atol=1e-12)
    assert wanted[-1] == 0.0


def test_contributions_by_hand():
    # Above (0, 0): (1, 3) alone covers 1 x 2, (2, 1) alone 1 x 1; equal points share, so neither is missed.
    np.testing.assert_allclose(hypervolume_contributions([[1, 3], [2, 1], [-1, 9]], [0, 0]), [2.0, 1.0, 0.0])
    np.testing.assert_allclose(hypervolume_contributions([[1, 3], [1, 3]], [0, 0]), [0.0, 0.0])


def test_contributions_beyond_the_rule():
    # The recursion is exact at any size, only slow; a share p of 2 ** 17 draws scatters by sqrt(p (1 - p) / 2 ** 17).
    points = sphere(36, 13, seed=1) + 1.0
    loss = hypervolume_contributions(points, np.zeros(13))
    for index in range(3):
        volume = np.prod(points[index])
        share = 1.0 - _exact(np.minimum(np.delete(points, index, axis=0), points[index])) / volume
        assert 0.0 < abs(loss[index] / volume - share) < 4 * np.sqrt(share * (1 - share) / 2**17)


@pytest.mark.parametrize(
    ("discount", "references"),
    [
        (1.0, {-25: 401.80, -50: 994.30, -19: 259.60, -100: 2179.3}),
        (0.99, {-25: 360.40, -50: 854.85, -19: 241.73}),
        (0.98, {-25: 319.75, -50: 731.61, -19: 220.90}),
    ],
)
def test_deep_sea_treasure(treasure, discount, references):
    front = pareto_front(**treasure, discount=discount)
    for reference, value in references.items():
        np.testing.assert_allclose(hypervolume(front, (0, reference)).value, value, atol=0.006)


@pytest.mark.parametrize(
    ("discount", "references"),
    [
        (1.0, {-25: 1155.0, -50: 4255.0, -19: 411.0, -100: 10455.0}),
        (0.99, {-25: 1101.38, -50: 3688.38, -19: 480.51}),
    ],
)
def test_concave_deep_sea_treasure(concave_treasure, discount, references):
    front = pareto_front(**concave_treasure, discount=discount)
    for reference, value in references.items():
        np.testing.assert_allclose(hypervolume(front, (0, reference)).value, value, atol=0.006)


@pytest.mark.parametrize(
    ("depth", "discount", "at_zero", "below"),
    [
        (5, 1.0, 8808.42, 44346.9),
        (6, 1.0, 12575.87, 58271.3),
        (7, 1.0, 17665.28, 75470.7),
        (5, 0.99, 6920.58, 36816.0),
        (6, 0.99, 9302.38, 46034.8),
        (7, 0.99, 12302.34, 56718.7),
    ],
)
def test_fruit_tree(fruit_tree, depth, discount, at_zero, below):
    front = pareto_front(**fruit_tree(depth), discount=discount)
    np.testing.assert_allclose(hypervolume(front, [0] * 6).value, at_zero, atol=0.006)
    np.testing.assert_allclose(hypervolume(front, [-1] * 6).value, below, atol=0.06)


@pytest.mark.parametrize(
    ("name", "reference", "values"),
    [
        ("minecart-v0", (-1, -1, -200), {0.98: 668.18, 0.99: 763.52, 1.0: 879.70}),
        ("minecart-v0", (0, 0, -200), {0.98: 100.32, 0.99: 135.25, 1.0: 181.88}),
        ("minecart-deterministic-v0", (-1, -1, -200), {0.98: 723.05, 0.99: 823.79, 1.0: 944.93}),
    ],
)
def test_minecart_published_front(name, reference, values):
    import mo_gymnasium

    env = mo_gymnasium.make(name).unwrapped
    for discount, value in values.items():
        front = np.array(env.pareto_front(gamma=discount))
        np.testing.assert_allclose(hypervolume(front, reference).value, value, atol=0.006)


def test_bad_input_is_refused():
    for points, reference in [
        ([[1.0, np.nan]], [0, 0]),
        ([[1.0, 2.0]], [0, np.inf]),
        ([[1.0, 2.0]], [0]),
        ([1.0], [0]),
    ]:
        with pytest.raises(InvalidPoints, match=r"points|reference"):
            hypervolume(points, reference)
        with pytest.raises(InvalidPoints, match=r"points|reference"):
            hypervolume_contributions(points, reference)
