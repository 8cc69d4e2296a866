"""After how many steps originals cut their episodes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import pytest
import torch

from tests.envs.test_adapter_trouble import Plain
from tradeoff.envs import make, register_gymnasium
from tradeoff.envs.gymnasium_adapter import GymnasiumEnv


def limited(*limits: int) -> Callable[[], Any]:
    def build() -> Any:
        env: Any = Plain()
        for limit in limits:
            env = gym.wrappers.FrameStackObservation(gym.wrappers.TimeLimit(env, limit), 1)
        return env

    return build


def test_the_horizon_is_that_of_the_shortest_clock_anywhere_among_the_wrappers() -> None:
    for limits, asked, horizon in (((4,), 9, 4), ((9,), 4, 4), ((4, 6), None, 4), ((6, 4), None, 4), ((), None, None)):
        env = GymnasiumEnv(limited(*limits), 1, max_episode_steps=asked)
        assert env.spec.horizon == horizon
        if horizon:
            ends = [bool(env.step(torch.zeros(1, dtype=torch.int64)).truncated) for _ in range(4)]
            assert ends == [False, False, False, True]
    register_gymnasium("limited", limited(7))
    assert make("limited").spec.horizon == 7


OWN = [("water-reservoir-v0", None, 100), ("water-reservoir-v0", 50, 50), ("water-reservoir-v0", 300, 100)]


@pytest.mark.parametrize(("id", "steps", "horizon"), [*OWN, ("fishwood-v0", None, 200)])
def test_originals_with_a_clock_of_their_own_say_so(id: str, steps: int | None, horizon: int) -> None:
    assert make(id, backend="gymnasium-sync", max_episode_steps=steps).spec.horizon == horizon
