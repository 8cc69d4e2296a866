"""Deep sea treasure: a submarine trades treasure against time. Three maps."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from gymnasium import spaces

from tradeoff.envs.finite import FiniteEnv, Tables, explore
from tradeoff.envs.protocol import EnvSpec

CONVEX = {
    (1, 0): 0.7, (2, 1): 8.2, (3, 2): 11.5, (4, 3): 14.0, (4, 4): 15.1, (4, 5): 16.1, (7, 6): 19.6, (7, 7): 20.3,
    (9, 8): 22.4, (10, 9): 23.7,
}  # fmt: skip
"""Treasure by (row, column). Source: Yang, Sun and Narasimhan 2019, arXiv:1908.08342."""

CONCAVE = dict(zip(CONVEX, (1.0, 2.0, 3.0, 5.0, 8.0, 16.0, 24.0, 50.0, 74.0, 124.0), strict=True))
"""Source: Vamplew et al. 2011, Machine Learning 84."""

MIRRORED = {(row, column + 10): value for (row, column), value in CONCAVE.items()}
"""The concave map with an empty basin on its left, the start between them. Source: Felten et al. 2022."""

BASIN = (10, 10, 9, 8, 7, 4, 4, 4, 2, 2, 1)
"""Mirrored map: number of open cells at the left of each row."""

MOVES = ((-1, 0), (1, 0), (0, -1), (0, 1))  # up, down, left, right


def _open_cells(treasure: dict[tuple[int, int], float], columns: int, basin: tuple[int, ...]) -> set[tuple[int, int]]:
    floor = {column: row for row, column in treasure}
    right = {(row, column) for column, deep in floor.items() for row in range(deep + 1)}
    edge = {(row, columns - 1) for row in range(11)} if columns - 1 not in floor else set()
    left = {(row, column) for row, width in enumerate(basin) for column in range(width)}
    return right | edge | left


def tables(treasure: dict[tuple[int, int], float], columns: int = 11, basin: tuple[int, ...] = ()) -> Tables:
    """Tables of a map."""
    cells = _open_cells(treasure, columns, basin)

    def dynamics(state: tuple[int, int], action: int) -> list[Any]:
        moved = state[0] + MOVES[action][0], state[1] + MOVES[action][1]
        after = moved if moved in cells else state
        value = treasure.get(after, 0.0)
        return [(1.0, after, (value, -1.0), value > 0)]

    return explore([(0, 10 if basin else 0)], 4, dynamics, lambda state: state)


MAPS: dict[str, Callable[[], Tables]] = {
    "deep-sea-treasure-v0": partial(tables, CONVEX),
    "deep-sea-treasure-concave-v0": partial(tables, CONCAVE),
    "deep-sea-treasure-mirrored-v0": partial(tables, MIRRORED, 20, BASIN),
}


def spec(id: str) -> EnvSpec:
    """What is known before the run."""
    columns = 20 if "mirrored" in id else 11
    return EnvSpec(
        id=id, observation_space=spaces.Box(0, columns, (2,), np.int32), action_space=spaces.Discrete(4),
        objectives=("treasure", "time"), horizon=100, discount=0.99, reference_point=(0.0, -25.0),
    )  # fmt: skip


def make(id: str, num_envs: int, **options: Any) -> FiniteEnv:
    """Reward: the treasure of the cell entered, and -1 per step. Ends on a treasure."""
    return FiniteEnv(spec(id), MAPS[id](), num_envs, **options)


ENVIRONMENTS = {id: partial(make, id) for id in MAPS}
MODELS = {id: (lambda id=id: MAPS[id]().model(0, 100)) for id in MAPS}
