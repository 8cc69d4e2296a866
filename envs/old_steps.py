"""Environments of the older gym, whose steps return four values, as gymnasium wants them."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
from gymnasium import spaces


class OldSteps(gym.Env[Any, Any]):
    """An environment whose step returns observation, reward, done, info, and whose reset the observation alone.

    Done is a cut by the clock where info["TimeLimit.truncated"] says so, and else the end of the task.
    """

    def __init__(self, env: Any) -> None:
        """env: seeded by `env.seed`, where it has that; its spaces may be those of the older package."""
        self.env = env
        self.observation_space, self.action_space = _space(env.observation_space), _space(env.action_space)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """See gymnasium.Env.reset."""
        if seed is not None and hasattr(self.env, "seed"):
            self.env.seed(seed)
        return self.env.reset(), {}

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """See gymnasium.Env.step."""
        seen, reward, done, info = self.env.step(action)
        cut = bool(done and info.get("TimeLimit.truncated", False))
        return seen, reward, bool(done) and not cut, cut, info

    def close(self) -> None:
        """See gymnasium.Env.close."""
        self.env.close()


def _space(space: Any) -> spaces.Space[Any]:
    """The same space in gymnasium's words: a Discrete or a Box."""
    if isinstance(space, spaces.Space):
        return space
    if hasattr(space, "n"):
        return spaces.Discrete(int(space.n))
    return spaces.Box(space.low, space.high, dtype=space.dtype)
