"""Environments at the top of a module, as processes that begin anew need them."""

# ruff: noqa: NPY002

from __future__ import annotations

import random
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces


class Gambler(gym.Env[Any, Any]):
    """Draws from every generator that a process shares, when it is built, reset and stepped; never ends."""

    observation_space, action_space = spaces.Box(-9, 9, (4,), np.float64), spaces.Discrete(2)

    def __init__(self) -> None:
        self.luck = np.random.rand()

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        return self._seen(), {}

    def step(self, action: Any) -> tuple[Any, ...]:
        return self._seen(), float(action), False, False, {}

    def _seen(self) -> Any:
        return np.array([self.luck, np.random.rand(), random.random(), float(torch.rand(()))])


def waste(before: Any, action: Any, after: Any, info: dict[str, Any]) -> float:
    """A cost."""
    return 0.5 * float(action)
