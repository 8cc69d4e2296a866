"""Which points matter: hand-made sets, brute force over pairs and over preferences, pymoo's crowding distance."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tradeoff.evaluation import InvalidPoints, convex_coverage, crowding_distance, nondominated, simplex_lattice

small_sets = st.integers(1, 4).flatmap(
    lambda m: arrays(np.float64, st.tuples(st.integers(1, 9), st.just(m)), elements=st.integers(-3, 3).map(float))
)


def dominates(one, other):
    return (one >= other).all() and (one > other).any()


@given(small_sets)
@settings(max_examples=200, deadline=None)
def test_nondominated_equals_the_definition(points):
    wanted = [not any(dominates(q, p) for q in points) for p in points]
    first = [not any((points[j] == p).all() for j in range(i)) for i, p in enumerate(points)]
    np.testing.assert_array_equal(nondominated(points, keep_duplicates=True), wanted)
    np.testing.assert_array_equal(nondominated(points), np.logical_and(wanted, first))


@given(small_sets)
@settings(max_examples=100, deadline=None)
def test_coverage_holds_the_best_of_every_preference(points):
    lattice = simplex_lattice(points.shape[1], 12)
    best = (lattice @ points.T).max(axis=1)
    for strict in (False, True):
        mask = convex_coverage(points, strict=strict)
        np.testing.assert_allclose((lattice @ points[mask].T).max(axis=1), best, atol=1e-8)
        assert not (mask & ~nondominated(points)).any()
    assert not (convex_coverage(points, strict=True) & ~convex_coverage(points)).any()


def test_coverage_of_a_dented_front():
    # (1, 1) lies under the line from (0, 3) to (3, 0): 1 + 1 < 3. (2, 1) lies on it: 2 + 1 = 3. (0, 0) is dominated.
    points = [[0, 3], [1, 1], [2, 1], [3, 0], [0, 0], [0, 3]]
    np.testing.assert_array_equal(convex_coverage(points), [True, False, True, True, False, False])
    np.testing.assert_array_equal(convex_coverage(points, strict=True), [True, False, False, True, False, False])


@pytest.mark.parametrize(
    ("points", "all_best", "corners"),
    [
        ([[2.0, 5.0, 1.0]], 1, 1),  # one point
        ([[1.0, 2.0, 3.0]] * 4, 1, 1),  # duplicates of one point
        ([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]], 3, 3),  # three points in three dimensions: no volume
        ([[0.0, 4.0], [1.0, 3.0], [2.0, 2.0], [4.0, 0.0]], 4, 2),  # on a line in the plane
        ([[0.0, 4.0, 7.0], [1.0, 3.0, 7.0], [4.0, 0.0, 7.0]], 3, 2),  # on a line in space
        ([[6, 0, 0], [0, 6, 0], [0, 0, 6], [2, 2, 2], [1, 1, 4]], 5, 3),  # on a plane: a budget of 6 shared out
        ([[1e9, 0.0, 0.0], [0.0, 1e-9, 0.0], [4e8, 4e-10, 0.0], [5e8, 6e-10, 0.0]], 3, 3),  # .4 + .4 < 1 < .5 + .6
    ],
)
def test_coverage_of_degenerate_sets(points, all_best, corners):
    assert convex_coverage(points).sum() == all_best
    assert convex_coverage(points, strict=True).sum() == corners


def test_coverage_by_programs_agrees_with_the_plane():
    # A third objective that is the sum of the others changes nothing, but takes the other road.
    points = np.random.default_rng(0).normal(size=(60, 2))
    summed = np.column_stack([points, points.sum(axis=1)])
    for strict in (False, True):
        mask = convex_coverage(points, strict=strict)
        np.testing.assert_array_equal(convex_coverage(summed, strict=strict), mask)
        flat = np.column_stack([np.full(60, 2.5), points])
        np.testing.assert_array_equal(convex_coverage(flat, strict=strict), mask)
    assert 2 < mask.sum() < nondominated(points).sum()


def test_coverage_of_points_that_differ_by_rounding():
    corners = np.eye(3).repeat(2, axis=0)
    corners[::2] += np.array([1e-13, -1e-13, 0.0])
    mask = convex_coverage(corners, strict=True)
    np.testing.assert_array_equal(mask.reshape(3, 2).sum(axis=1), [1, 1, 1])


def test_crowding_distance_by_hand():
    # Ranges 4 and 8. Point (1, 6): (3 - 0) / 4 + (8 - 2) / 8 = 1.5. Point (3, 2): (4 - 1) / 4 + (6 - 0) / 8 = 1.5.
    np.testing.assert_allclose(crowding_distance([[0, 8], [3, 2], [1, 6], [4, 0]]), [np.inf, 1.5, 1.5, np.inf])


def test_crowding_distance_equals_the_library():
    from pymoo.operators.survival.rank_and_crowding.metrics import calc_crowding_distance

    points = np.random.default_rng(1).normal(size=(30, 4))
    np.testing.assert_allclose(crowding_distance(points) / 4, calc_crowding_distance(points), rtol=1e-12)


def test_crowding_distance_without_a_range():
    # The second objective says nothing: (2 - 0) / 2 = 1 for the middle point. Without any range all are extremes.
    np.testing.assert_array_equal(crowding_distance([[0, 7], [1, 7], [2, 7]]), [np.inf, 1.0, np.inf])
    np.testing.assert_array_equal(crowding_distance([[3, 7], [3, 7], [3, 7]]), [np.inf] * 3)


@pytest.mark.parametrize("score", [nondominated, convex_coverage, crowding_distance])
def test_bad_points_are_refused(score):
    assert score(np.empty((0, 3))).shape == (0,)
    for bad in ([[1.0, np.nan]], [[np.inf, 1.0]], [1.0, 2.0], np.empty((3, 0))):
        with pytest.raises(InvalidPoints, match=r"points"):
            score(bad)
