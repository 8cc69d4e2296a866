"""Environments of gymnasium whose actions are made several times, as policies that were trained so expect."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np

from tradeoff.envs.errors import BadValue
from tradeoff.envs.native import as_array


class ActionRepeat(gym.Env[Any, Any]):
    """One step makes `times` steps of the environment inside, or fewer where an episode ends on the way.

    It pays the sum of what they pay, and of what they report as info["cost"] or between reward and flags; whatever else
    it says is the last step's. `ActionRepeat(env, policy.repeat)` plays a policy as it was trained.
    Source: Mnih et al. 2015, Nature 518 (frame skipping).
    """

    def __init__(self, env: Any, times: int) -> None:
        """Raises: BadValue for fewer than one time."""
        if times < 1:
            raise BadValue(f"actions can be made once or more often, not {times} times")
        self.env, self.times = env, times
        self.observation_space, self.action_space = env.observation_space, env.action_space

    @property
    def unwrapped(self) -> Any:
        """The environment without any wrapper."""
        return self.env.unwrapped

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """See gymnasium.Env.reset."""
        return self.env.reset(seed=seed, options=options)

    def step(self, action: Any) -> Any:
        """See gymnasium.Env.step."""
        answers = [self.env.step(action)]
        while len(answers) < self.times and not (answers[-1][-3] or answers[-1][-2]):
            answers.append(self.env.step(action))
        seen, *_, terminated, truncated, info = answers[-1]
        parts = zip(*(answer[1:-3] for answer in answers), strict=True)
        paid = [np.sum([as_array(x) for x in part], axis=0) for part in parts]  # rewards may be lists
        if "cost" in info:
            info = {**info, "cost": np.sum([as_array(answer[-1].get("cost", 0.0)) for answer in answers], axis=0)}
        return seen, *paid, terminated, truncated, info

    def render(self) -> Any:
        """See gymnasium.Env.render."""
        return self.env.render()

    def close(self) -> None:
        """See gymnasium.Env.close."""
        self.env.close()
