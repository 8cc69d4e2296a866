"""How far a point lies below the mixtures of a front."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.gradient_rules import forgone, upper_hull

FRONT = np.array([[0, 3.0], [1, 2.9], [2, 2], [2.5, 0.5], [3, 0], [1.5, 1.0]])


def test_only_corners_that_some_weights_prefer_are_left() -> None:
    """(2.5, .5) lies below the edge from (2, 2) to (3, 0), which passes (2.5, 1)."""
    assert upper_hull(FRONT).tolist() == [[0, 3], [1, 2.9], [2, 2], [3, 0]]


@pytest.mark.parametrize(
    ("point", "lost"),
    [
        ((2, 2), 0.0),  # a corner
        ((1.5, 2.45), 0.0),  # half-way between (1, 2.9) and (2, 2)
        ((0, 0), 2.0),  # (2, 2) is met along the diagonal
        ((2.5, 0.5), 0.5 / 3),  # s = 1 - 2 s - .5: the edge falls by 2 per unit
        ((2.9, -4), 0.1),  # the right end is a wall
        ((-4, 2.9), 0.1),  # and so is the upper one
    ],
)
def test_what_a_point_forgoes_along_the_diagonal(point: tuple[float, float], lost: float) -> None:
    assert forgone(np.array([point], dtype=float), FRONT) == pytest.approx([lost])
