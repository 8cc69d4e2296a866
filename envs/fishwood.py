"""Fishwood: at each moment fish or chop wood; both are needed at once, which only the expected utility can say."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces

from tradeoff.envs.finite import FiniteEnv, Tables, explore
from tradeoff.envs.protocol import EnvSpec

FISH, WOOD = 0, 1

SPEC = EnvSpec(
    id="fishwood-v0", observation_space=spaces.Box(0, 1, (1,), np.int32), action_space=spaces.Discrete(2),
    objectives=("fish", "wood"), horizon=200, discount=0.99, reference_point=(0.0, 0.0),
)  # fmt: skip
"""The 200th step truncates; the original says terminated and truncated at once."""


def tables(fish: float = 0.1, wood: float = 0.9) -> Tables:
    """The reward is drawn in the place one is at, then one goes where the action says.

    Raises: ValueError for a probability outside [0, 1].
    """
    for name, chance in (("fishproba", fish), ("woodproba", wood)):
        if not 0 <= chance <= 1:
            raise ValueError(f"{name} must lie in [0, 1], got {chance}")

    def dynamics(place: int, action: int) -> list[Any]:
        luck = wood if place == WOOD else fish
        prize = (0.0, 1.0) if place == WOOD else (1.0, 0.0)
        return [(luck, action, prize, False), (1 - luck, action, (0.0, 0.0), False)]

    return explore([WOOD], 2, dynamics, lambda place: (place,))


def make(num_envs: int, fishproba: float = 0.1, woodproba: float = 0.9, **options: Any) -> FiniteEnv:
    """Probabilities of a catch, as the original names them."""
    return FiniteEnv(SPEC, tables(fishproba, woodproba), num_envs, **options)


ENVIRONMENTS = {SPEC.id: make}
MODELS = {SPEC.id: lambda fishproba=0.1, woodproba=0.9: tables(fishproba, woodproba).model(0, SPEC.horizon)}
