"""Resource gathering: fetch gold and a diamond, come home, beware of two enemies."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces

from tradeoff.envs.deep_sea_treasure import MOVES
from tradeoff.envs.finite import FiniteEnv, Tables, explore
from tradeoff.envs.protocol import EnvSpec

HOME, GOLD, DIAMOND, ENEMIES = (4, 2), (0, 2), (1, 4), ((1, 2), (0, 3))
DEATH = 0.1  # probability that an enemy kills whoever enters, or stays on, its cell

SPEC = EnvSpec(
    id="resource-gathering-v0", observation_space=spaces.Box(0, 5, (4,), np.int32), action_space=spaces.Discrete(4),
    objectives=("death", "gold", "diamond"), horizon=100, discount=0.99, reference_point=(-1.0, -1.0, -1.0),
)  # fmt: skip

State = tuple[int, int, int, int]  # row, column, has gold, has diamond


def dynamics(state: State, action: int) -> list[Any]:
    """Moves that leave the 5 x 5 map stay put. Home ends the episode and pays what is carried."""
    row, column, gold, diamond = state
    cell = (row + MOVES[action][0], column + MOVES[action][1])
    cell = cell if 0 <= cell[0] < 5 and 0 <= cell[1] < 5 else (row, column)
    gold, diamond = int(gold or cell == GOLD), int(diamond or cell == DIAMOND)
    after = (*cell, gold, diamond)
    if cell == HOME:
        return [(1.0, after, (0.0, float(gold), float(diamond)), True)]
    if cell in ENEMIES:
        return [(DEATH, after, (-1.0, 0.0, 0.0), True), (1 - DEATH, after, (0.0, 0.0, 0.0), False)]
    return [(1.0, after, (0.0, 0.0, 0.0), False)]


def tables() -> Tables:
    """Every state that can be reached."""
    return explore([(*HOME, 0, 0)], 4, dynamics, lambda state: state)


def make(num_envs: int, **options: Any) -> FiniteEnv:
    """Reward: -1 for death, 1 for gold, 1 for the diamond, the last two on the return home."""
    return FiniteEnv(SPEC, tables(), num_envs, **options)


ENVIRONMENTS = {SPEC.id: make}
MODELS = {SPEC.id: lambda: tables().model(0, SPEC.horizon)}
