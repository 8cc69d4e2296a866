"""The archive over many offers: any order, exact ties, who leaves when, and whose rows travel."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch

from tests.morl.conftest import CONCAVE, TREASURE, population, sea
from tradeoff.evaluation import hypervolume
from tradeoff.morl.archive import Archive


def offer(archive: Archive, points: np.ndarray) -> None:
    """Offer points whose policies are marked with their order of birth."""
    marks = np.arange(archive.offered, archive.offered + len(points))
    archive.offer(np.asarray(points, dtype=float), np.stack([marks, -marks], 1).astype(float), population(marks))


def line(x: list[float]) -> np.ndarray:
    """Points on a falling line: none dominates another, and both objectives give the same gaps."""
    return np.stack([np.array(x), -np.array(x)], 1)


@pytest.mark.parametrize(
    ("treasure", "volumes"),
    [
        # Rectangles above (0, -25): 0.7*24 + 7.5*22 + 3.3*20 + 2.5*18 + 1.1*17 + 1*16 + 3.5*12 + 0.7*11 + 2.1*8 + 1.3*6
        # = 401.8. A reference lower by 25 adds 25 * 23.7 = 592.5, one lower by 75 adds 1777.5.
        (TREASURE, {25: 401.8, 50: 994.3, 100: 2179.3}),
        # 1*24 + 1*22 + 1*20 + 2*18 + 3*17 + 8*16 + 8*12 + 26*11 + 24*8 + 50*6 = 1155; 25 * 124 = 3100, 75 * 124 = 9300.
        (CONCAVE, {25: 1155.0, 50: 4255.0, 100: 10455.0}),
    ],
)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_front_of_the_sea_survives_any_order(treasure: tuple[float, ...], volumes: dict, seed: int) -> None:
    front = sea(treasure)
    worse = np.concatenate([front - [0, 1], front - [0.1, 0], [[0.0, -100.0]]])  # later, poorer, never
    everything = np.concatenate([front, worse, front])
    archive = Archive(100)
    for part in np.array_split(np.random.default_rng(seed).permutation(everything), 5):
        offer(archive, part)
    assert sorted(map(tuple, archive.points)) == sorted(map(tuple, front))
    assert archive.offered == 41 and len(archive) == 10
    for depth, volume in volumes.items():
        assert hypervolume(archive.points, [0, -depth]).value == pytest.approx(volume, rel=1e-12)


def test_of_equal_points_the_older_stays() -> None:
    archive = Archive(10)
    offer(archive, line([0, 1]))
    offer(archive, line([1, 2, 2]))
    assert archive.members.tolist() == [0, 1, 3]


def test_the_most_crowded_leaves_and_the_rest_is_measured_again() -> None:
    # x of points on a line, and the gap between the neighbours of each (its crowding distance is 2 gap / 16):
    #   0    4    4.5   5    8    10    11.75   16
    #        4.5  1     3.5  5    3.75  6            4.5 leaves first; then the gap of 5 is 8 - 4
    #        5          4    5    3.75  6            10 leaves next (without measuring again: 5)
    #        5          4    6.75       8            then 5; that leaves 4 with 8, 8 with 7.75, 11.75 with 8
    x = [0, 4, 4.5, 5, 8, 10, 11.75, 16]
    kept = {}
    for capacity in (7, 6, 5, 4, 2):
        archive = Archive(capacity)
        offer(archive, line(x))
        kept[capacity] = archive.points[:, 0].tolist()
    assert kept[7] == [0, 4, 5, 8, 10, 11.75, 16]
    assert kept[6] == [0, 4, 5, 8, 11.75, 16]
    assert kept[5] == [0, 4, 8, 11.75, 16]
    assert kept[4] == [0, 4, 11.75, 16]
    assert kept[2] == [0, 16], "the extremes stay"


def test_policies_travel_with_their_points() -> None:
    # Birth order by point: 0 -> 0, 5 -> 1, 9 -> 2, then -1 -> 3, 5.5 -> 4, 7 -> 5. Of six the gaps are
    # 0: 6, 5: 5.5, 5.5: 2, 7: 3.5; 5.5 leaves.
    archive = Archive(5)
    offer(archive, line([0, 5, 9]))
    offer(archive, line([-1, 5.5, 7]))
    births = {0.0: 0, 5.0: 1, 9.0: 2, -1.0: 3, 7.0: 5}
    expected = [births[x] for x in archive.points[:, 0]]
    people = archive.population
    assert people is not None and len(people) == len(archive) == 5
    assert sorted(archive.points[:, 0]) == sorted(births)
    assert archive.members.tolist() == expected
    assert archive.preferences.tolist() == [[n, -n] for n in expected]
    for part in (people.theta[:, 0, 0], people.theta[:, 1, -1], people.observations.weight, people.returns.mean[:, 1]):
        assert part.tolist() == expected


def test_select_knows_policies_by_birth() -> None:
    # Gaps: 0 and 10 infinite, 1: 3, 3: 9. Rows in order of crowding: 0, 3, then 2, then 1.
    archive = Archive(10)
    offer(archive, line([20, 20, 20]))  # births 0 to 2, one of which stays ...
    offer(archive, line([0, 1, 3, 10]) + 20)  # ... until births 3 to 6 dominate it
    assert archive.members.tolist() == [3, 4, 5, 6]
    assert archive.select(3, set()).tolist() == [0, 3, 2]
    assert archive.select(2, {3}).tolist() == [3, 2]
    assert archive.select(9, {3, 5}).tolist() == [3, 1], "never more than there are"
    assert archive.select(1, {0, 1, 2}).tolist() == [0], "births, not rows"


def test_state_survives_a_file_and_goes_on() -> None:
    archive, copy = Archive(4), Archive(4)
    copy.load_state_dict(Archive(4).state_dict())
    assert len(copy) == 0 and copy.population is None
    offer(archive, line([0, 5, 9]))
    file = io.BytesIO()
    torch.save(archive.state_dict(), file)
    file.seek(0)
    copy.load_state_dict(torch.load(file, weights_only=True))
    for one in (archive, copy):
        offer(one, line([3, 4, -7]))
    assert copy.points.tolist() == archive.points.tolist() and copy.members.tolist() == archive.members.tolist()
    # 3 (gap 4) and 4 (gap 2) are the crowded ones of -7, 0, 3, 4, 5, 9; without 4 they are 3 (gap 5) and 5 (gap 6).
    assert copy.members.tolist() == [0, 1, 2, 5] and copy.offered == 6
    assert copy.population is not None and copy.population.theta[:, 0, 0].tolist() == [0, 1, 2, 5]
    assert copy.preferences.dtype == np.float64 and copy.members.dtype == np.int64
