"""Environments of the older gym: steps of four values, resets without a seed, spaces of another package."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from tradeoff.envs.errors import TradeoffError
from tradeoff.envs.gymnasium_adapter import GymnasiumEnv
from tradeoff.envs.old_steps import OldSteps


class Ball:
    """Imitates one: it rolls by the action, pays for going right, costs beyond 1; over beyond 2, cut after 4 steps."""

    observation_space = SimpleNamespace(
        low=np.full(1, -9.0, np.float32), high=np.full(1, 9.0, np.float32), shape=(1,), dtype=np.float32
    )
    action_space = SimpleNamespace(
        low=-np.ones(1, np.float32), high=np.ones(1, np.float32), shape=(1,), dtype=np.float32
    )

    def __init__(self) -> None:
        self.begin, self.at, self.clock = 0.0, 0.0, 0

    def seed(self, seed: int) -> None:
        self.begin = seed / 8

    def reset(self) -> Any:
        self.at, self.clock = self.begin, 0
        return np.array([self.at], np.float32)

    def step(self, action: Any) -> Any:
        self.at, self.clock = self.at + float(action[0]), self.clock + 1
        over, cut = self.at > 2, self.clock == 4
        info = {"cost": float(self.at > 1)} | ({"TimeLimit.truncated": not over} if cut else {})
        return np.array([self.at], np.float32), float(action[0]), over or cut, info

    def close(self) -> None:
        self.at = float("nan")


class Choices(Ball):
    """The same with two actions, left and right."""

    action_space = SimpleNamespace(n=2)

    def step(self, action: Any) -> Any:
        return super().step([2.0 * action - 1])


def _roll(env: GymnasiumEnv, pushes: list[float]) -> list[tuple[float, ...]]:
    """Final observation, reward, cost, terminated, truncated of each step."""
    rows = []
    for push in pushes:
        step = env.step(torch.tensor([[push]]))
        parts = (step.final_observation, step.reward, step.cost, step.terminated, step.truncated)
        rows.append(tuple(float(x.flatten()[0]) for x in parts))
    return rows


def test_steps_of_four_values_are_read_with_both_kinds_of_end() -> None:
    env = GymnasiumEnv(lambda: OldSteps(Ball()), 1, seed=2)
    assert env.spec.costs == ("cost",) and env.reset(2).tolist() == [[0.25]]  # the seed reached it
    assert _roll(env, [0.5, 0.5, 1.0]) == [(0.75, 0.5, 0, 0, 0), (1.25, 0.5, 1, 0, 0), (2.25, 1, 1, 1, 0)]
    assert _roll(env, [0, 0, 0, 0.5])[-1] == (0.75, 0.5, 0, 0, 1), "the clock cut it"
    assert _roll(env, [0.5, 0.5, 0.5, 1.0])[-1] == (2.75, 1, 1, 1, 0), "over as the clock ran out"


def test_choices_stay_choices() -> None:
    env = GymnasiumEnv(lambda: OldSteps(Choices()), 1)
    assert env.spec.action_space.n == 2  # type: ignore[attr-defined]
    assert env.step(torch.tensor([1])).reward.item() == 1 and env.step(torch.tensor([0])).reward.item() == -1


def test_without_the_wrapper_the_way_out_is_named() -> None:
    class Bare(OldSteps):
        def step(self, action: Any) -> Any:
            return self.env.step(action)

    with pytest.raises(TradeoffError, match=r"a step returned 4 values.*envs\.old_steps\.OldSteps"):
        GymnasiumEnv(lambda: Bare(Ball()), 1)
