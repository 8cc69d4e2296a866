"""Problems small enough to know by heart, and populations whose rows can be told apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces

from tests.engine.conftest import one_thread as one_thread  # a fixture here too
from tradeoff.engine import LearnerConfig, Population
from tradeoff.engine.normalisers import Moments
from tradeoff.envs import finite_arrays, make_tabular, register, register_gymnasium
from tradeoff.morl import CMORL

TREASURE = (0.7, 8.2, 11.5, 14.0, 15.1, 16.1, 19.6, 20.3, 22.4, 23.7)
CONCAVE = (1.0, 2.0, 3.0, 5.0, 8.0, 16.0, 24.0, 50.0, 74.0, 124.0)
MOVES = (1, 3, 5, 7, 8, 9, 13, 14, 17, 19)  # to each treasure of deep sea treasure, by the shortest way

TINY = CMORL(
    env="market", steps=1500, policies=3, evaluate_every=2, episodes=2, final_episodes=3, select=2, extension=0.7,
    extension_iterations=3,
    learner=LearnerConfig(
        rollout_steps=8, environments=4, epochs=1, minibatches=2, learning_rate=0.01, hidden=(4,), gamma=0.9
    ),
)  # fmt: skip
"""An iteration takes 3 x 4 x 8 = 96 steps in stage 1; in stage 2, from the sixth on, 128 with two policies chosen."""


def sea(treasure: Sequence[float], discount: float = 1.0) -> np.ndarray:
    """Exact returns [10, 2] of deep sea treasure: paid with the last of n moves, each of which costs 1."""
    n = np.array(MOVES)
    time = -n if discount == 1 else -(1 - discount**n) / (1 - discount)
    return np.stack([np.array(treasure) * discount ** (n - 1), time], 1)


def population(marks: Sequence[float]) -> Population:
    """One row per mark; every tensor of a row holds nothing but its mark."""
    mark = torch.tensor(marks, dtype=torch.float64)
    row = lambda width: Moments(mark.clone(), mark[:, None].repeat(1, width), mark[:, None].repeat(1, width))  # noqa: E731
    return Population(mark.float()[:, None, None].repeat(1, 2, 5), row(3), row(2))


def goods(steps: int, num_envs: int, **options: Any) -> Any:
    """Deals in a row, each of which pays (1, 0), (0, 1) or (0.92, 0.3), whatever was dealt before."""
    transition = np.zeros((steps + 1, 3, steps + 1))
    for s in range(steps + 1):
        transition[s, :, min(s + 1, steps)] = 1
    reward = np.tile([[1.0, 0.0], [0.0, 1.0], [0.92, 0.3]], (steps + 1, 1, 1))
    model = finite_arrays(transition, reward, terminal=np.arange(steps + 1) == steps, horizon=steps)
    return make_tabular(
        model, num_envs, id="goods", objectives=("left", "right"), discount=0.9, reference_point=(-1, -1), **options
    )


class Dice(gym.Env):
    """Three throws; all they show is paid to one side or the other. Nothing in it can be foreseen but by its seed."""

    observation_space = spaces.Box(0, 9, (1,), np.float32)
    action_space = spaces.Discrete(2)
    reward_space = spaces.Box(0, 9, (2,))

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.left, self.shown = 3, float(self.np_random.uniform(0, 9))
        return np.array([self.shown], np.float32), {}

    def step(self, action: Any) -> Any:
        paid = np.zeros(2, np.float32)
        paid[action] = self.shown
        self.left, self.shown = self.left - 1, float(self.np_random.uniform(0, 9))
        return np.array([self.shown], np.float32), paid, self.left == 0, False, {}


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environments of this file under their names, for one test."""
    monkeypatch.setattr("tradeoff.envs.registry._own", {})
    register("deal", partial(goods, 1))
    register("market", partial(goods, 2))
    register_gymnasium("dice", Dice)


def changed(config: Any, **changes: Any) -> Any:
    """A config with some of its fields, or of its learner's, replaced."""
    known = set(config.__dataclass_fields__)
    learner = replace(config.learner, **{k: v for k, v in changes.items() if k not in known})
    return replace(config, **({"learner": learner} | {k: v for k, v in changes.items() if k in known}))
