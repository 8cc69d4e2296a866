"""Fruit tree: walk down a binary tree; each leaf bears six nutrients, and no leaf is dominated."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
from gymnasium import spaces

from tradeoff.envs.finite import FiniteEnv, Tables, explore
from tradeoff.envs.protocol import EnvSpec

NUTRIENTS = ("protein", "carbs", "fats", "vitamins", "minerals", "water")


@cache
def leaves(depth: int) -> tuple[tuple[float, ...], ...]:
    """Nutrients [2 ** depth, 6] of the leaves from left to right. Source: Yang, Sun and Narasimhan 2019.

    Raises: ValueError for a depth other than 5, 6 and 7.
    """
    known = json.loads(files("tradeoff.envs").joinpath("data/fruit_tree.json").read_text())
    if str(depth) not in known:
        raise ValueError(f"fruit-tree-v0 has depths {', '.join(known)}, got {depth}")
    return tuple(tuple(leaf) for leaf in known[str(depth)])


def tables(depth: int = 6) -> Tables:
    """States are (level, position in the level)."""
    fruits = leaves(depth)

    def dynamics(state: tuple[int, int], action: int) -> list[Any]:
        level, position = state[0] + 1, 2 * state[1] + action
        ripe = level == depth
        return [(1.0, (level, position), fruits[position] if ripe else (0.0,) * 6, ripe)]

    return explore([(0, 0)], 2, dynamics, lambda state: state)


def make(num_envs: int, depth: int = 6, **options: Any) -> FiniteEnv:
    """Reward: zero on the way, the leaf's nutrients at the end, after `depth` steps."""
    high = np.array([depth, 2**depth - 1])
    spec = EnvSpec(
        id="fruit-tree-v0", observation_space=spaces.Box(np.zeros(2, np.int32), high.astype(np.int32), dtype=np.int32),
        action_space=spaces.Discrete(2), objectives=NUTRIENTS, horizon=None, discount=0.99,
        reference_point=(0.0,) * 6,
    )  # fmt: skip
    return FiniteEnv(spec, tables(depth), num_envs, **options)


ENVIRONMENTS = {"fruit-tree-v0": make}
MODELS = {"fruit-tree-v0": lambda depth=6: tables(depth).model(0, None)}
