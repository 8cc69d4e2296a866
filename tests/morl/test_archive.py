from __future__ import annotations

import numpy as np
import pytest
import torch

from tradeoff.engine.learner import Population
from tradeoff.engine.normalisers import Moments
from tradeoff.evaluation import hypervolume
from tradeoff.morl.archive import Archive

TIMES = (1, 3, 5, 7, 8, 9, 13, 14, 17, 19)
CONVEX = (0.7, 8.2, 11.5, 14.0, 15.1, 16.1, 19.6, 20.3, 22.4, 23.7)
CONCAVE = (1, 2, 3, 5, 8, 16, 24, 50, 74, 124)


def people(numbers):
    """Policies whose only parameter is their number."""
    column = torch.tensor(numbers, dtype=torch.float64).reshape(-1, 1)
    moments = (Moments(column[:, 0], column, column) for _ in range(2))
    return Population(column.unsqueeze(-1), *moments)


def offer(archive, points):
    points = np.array(points, dtype=float)
    first = archive.offered
    archive.offer(points, np.full_like(points, 0.5), people(range(first, first + len(points))))


@pytest.mark.parametrize(("treasure", "volumes"), [(CONVEX, (401.8, 994.3, 2179.3)), (CONCAVE, (1155, 4255, 10455))])
def test_the_ten_policies_of_deep_sea_treasure_give_the_published_hypervolumes(treasure, volumes):
    archive = Archive(100)
    for start in (0, 5):
        offer(archive, [(v, -t) for v, t in zip(treasure, TIMES, strict=True)][start : start + 5])
    found = [float(hypervolume(archive.points, (0, -depth))) for depth in (25, 50, 100)]
    np.testing.assert_allclose(found, volumes, rtol=1e-9)


def test_dominated_points_and_copies_leave_and_rows_stay_with_their_points():
    archive = Archive(10)
    offer(archive, [(1, 5), (2, 4), (0, 4)])
    offer(archive, [(2, 4), (3, 4), (5, 1)])
    assert archive.points.tolist() == [[1, 5], [3, 4], [5, 1]]
    assert archive.members.tolist() == [0, 4, 5]
    assert archive.population.theta.flatten().tolist() == [0, 4, 5]
    assert archive.population.returns.mean.flatten().tolist() == [0, 4, 5]


def test_the_most_crowded_leaves_and_extremes_stay():
    """On the line x + y = 10: gaps of 1 crowd 4, 5, 6; the one in the middle has the least distance (2 + 2) / 10."""
    archive = Archive(5)
    offer(archive, [(0, 10), (4, 6), (5, 5), (6, 4), (9, 1), (10, 0)])
    assert archive.points[:, 0].tolist() == [0, 4, 6, 9, 10]


def test_selection_takes_the_most_isolated_that_were_not_used():
    """Inner distances on x + y = 10 with x = 0, 1, 5, 10: x = 1 has 2 * 5 / 10, x = 5 has 2 * 9 / 10."""
    archive = Archive(10)
    offer(archive, [(0, 10), (1, 9), (5, 5), (10, 0)])
    assert set(archive.select(2, set()).tolist()) == {0, 3}
    assert archive.select(2, {0, 3}).tolist() == [2, 1]
    assert archive.select(9, {0, 1, 2, 3}).tolist() == []


def test_a_saved_archive_goes_on():
    archive, other = Archive(3), Archive(3)
    offer(archive, [(1, 5), (2, 4)])
    other.load_state_dict(archive.state_dict())
    for each in (archive, other):
        offer(each, [(3, 3), (4, 1)])
    assert other.points.tolist() == archive.points.tolist() and other.members.tolist() == archive.members.tolist()
    assert torch.equal(other.population.theta, archive.population.theta)
