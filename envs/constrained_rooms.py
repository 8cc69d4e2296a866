"""What the constrained four rooms can pay and cost, by enumeration: their table of moves would have 600,000 states."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from tradeoff.envs.finite import Array, FiniteModel
from tradeoff.envs.four_room import MAZE, SHAPES, SIZE, SPEC, START, FourRoom

HORIZON = SPEC.horizon or 0
KINDS = np.array([int(MAZE[row][column]) - 1 for row, column in SHAPES])
SETS = 1 << len(SHAPES)


def first_times(horizon: int) -> NDArray[np.int64]:
    """The least steps to every cell with every set of collected shapes [cells, SETS]; -1 beyond the horizon."""
    rooms = FourRoom(1)
    after, bit = rooms.after.numpy().reshape(-1, 4), rooms.bit.numpy()
    times = np.full(SIZE * SIZE * SETS, -1)
    front = np.array([(START[0] * SIZE + START[1]) * SETS])
    times[front] = 0
    for step in range(1, horizon + 1):
        cell, held = np.divmod(front[front // SETS != rooms.goal], SETS)
        reached = after[cell]
        front = np.unique(reached * SETS + (held[:, None] | bit[reached]))
        front = front[times[front] < 0]
        times[front] = step
    return times.reshape(-1, SETS)


def trips(horizon: int = HORIZON) -> Array:
    """Blue, green, red and steps [n, 4] of one fastest episode for every set of shapes.

    Slower episodes with the same shapes cost more for nothing. Those that never reach the goal last for the horizon.
    """
    times = first_times(horizon)
    held = np.arange(SETS)[:, None] >> np.arange(len(SHAPES)) & 1
    counts = np.stack([held[:, kind == KINDS].sum(1) for kind in range(3)], 1)
    home = times[FourRoom(1).goal]
    done, away = home >= 0, (times >= 0).any(0)
    arrived = np.column_stack([counts[done] + 1, home[done]])
    return np.concatenate([arrived, np.column_stack([counts[away], np.full(away.sum(), horizon)])]).astype(float)


@cache
def normal_form(horizon: int = HORIZON) -> FiniteModel:
    """The constrained four rooms as one choice among trips: green and red paid, blue and time charged.

    Nothing happens by chance there, so a policy within limits on undiscounted sums is a mixture of trips, and any
    mixture of trips is a policy: both have the same best value and prices.
    """
    found = np.unique(trips(horizon), axis=0)
    gain = found * [-1.0, 1.0, 1.0, -1.0]  # blue and time are kept low
    best = found[~np.array([_beaten(gain, row) for row in gain])]
    transition = np.zeros((2, len(best), 2))
    transition[..., 1] = 1.0
    paid = np.stack([best, np.zeros_like(best)])
    start, over = np.array([1.0, 0.0]), np.array([False, True])
    return FiniteModel(transition, paid[..., 1:3], paid[..., [0, 3]], start, over, horizon)


def _beaten(gain: Array, row: Array) -> bool:
    return bool(((gain >= row).all(1) & (gain > row).any(1)).any())


NORMAL_FORMS = {"safe-four-room-v0": normal_form}
