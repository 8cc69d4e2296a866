"""Policies speak the spaces of their environment, whatever these are, in training, in files and when they act."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces

from tradeoff import recommended
from tradeoff.engine.run import RunConfig
from tradeoff.envs import register_gymnasium
from tradeoff.envs.native import NativeSpaces

Space = spaces.Space[Any]
SEEN: dict[str, Space] = {
    "discrete": spaces.Discrete(3),
    "discrete from 1": spaces.Discrete(3, start=1),
    "several choices": spaces.MultiDiscrete([2, 3], start=[1, 4]),
    "choices in rows": spaces.MultiDiscrete([[2, 3], [4, 5]], start=[[0, 1], [2, -3]]),
    "flags": spaces.MultiBinary(3),
    "flags in rows": spaces.MultiBinary([2, 3]),
    "numbers": spaces.Box(-1, 1, (3,)),
    "a number": spaces.Box(-np.inf, np.inf, (), np.float64),
    "half precision": spaces.Box(-1, 1, (2, 2), np.float16),
    "small whole numbers": spaces.Box(-5, 7, (2, 2), np.int16),
    "large whole numbers": spaces.Box(0, 10**6, (2,), np.uint32),
    "image": spaces.Box(0, 255, (6, 5, 3), np.uint8),
    "dictionary": spaces.Dict(
        {"place": spaces.Box(0, 9, (2,), np.float64), "lit": spaces.Discrete(2, start=5), "on": spaces.MultiBinary(2)}
    ),
    "tuple": spaces.Tuple([spaces.Box(-1, 1, (2, 1)), spaces.MultiDiscrete([2, 3], start=[1, 4])]),
    "nested": spaces.Dict(
        {
            "camera": spaces.Box(0, 255, (3, 3), np.uint8),
            "rest": spaces.Tuple([spaces.Discrete(4), spaces.Dict({"speed": spaces.Box(-1, 1, (), np.float32)})]),
        }
    ),
}
ACTED: dict[str, Space] = {
    "discrete": spaces.Discrete(3),
    "discrete from 1": spaces.Discrete(3, start=1),
    "discrete from -2 in 32 bits": spaces.Discrete(3, start=-2, dtype=np.int32),
    "several choices": spaces.MultiDiscrete([2, 3], start=[1, 4]),
    "choices in rows": spaces.MultiDiscrete([[2, 3], [4, 5]], start=[[0, 1], [2, -3]]),
    "flags": spaces.MultiBinary(3),
    "flags in rows": spaces.MultiBinary([2, 3]),
    "numbers": spaces.Box(-1, 1, (2,)),
    "bounds between single precisions": spaces.Box(0.1, 0.3, (4, 1), np.float64),
    "half precision": spaces.Box(-1, 3, (2, 2), np.float16),
    "a number": spaces.Box(-2, 2, (), np.float32),
    "whole numbers": spaces.Box(0, 255, (2,), np.uint8),
    "whole numbers without bounds": spaces.Box(-(2**31), 2**31 - 1, (2,), np.int32),
    "bounded on one side": spaces.Box(0, np.inf, (2,), np.float64),
}


class Parrot(gym.Env[Any, Any]):
    """Shows random elements of one space, takes only elements of the other, and ends after 5 steps."""

    def __init__(self, seen: Space, acted: Space) -> None:
        both = NativeSpaces.from_state(
            NativeSpaces(seen, acted).state_dict()
        )  # spaces of its own, with their own seeds
        self.observation_space, self.action_space = both.observation, both.action

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        self.clock = 0
        if seed is not None:
            self.observation_space.seed(seed)
        return self.observation_space.sample(), {}

    def step(self, action: Any) -> tuple[Any, ...]:
        assert self.action_space.contains(action), f"{action!r} is not in {self.action_space}"
        self.clock += 1
        paid = [float(np.sum(action)) / 100, -float(self.clock)]
        return self.observation_space.sample(), paid, False, self.clock == 5, {"cost": 1.0}


def stacked(space: Space, several: list[Any]) -> Any:
    """Elements of a space as one, every array with their number in front."""
    if isinstance(space, spaces.Dict):
        return {key: stacked(child, [x[key] for x in several]) for key, child in space.spaces.items()}
    if isinstance(space, spaces.Tuple):
        return tuple(stacked(child, [x[i] for x in several]) for i, child in enumerate(space.spaces))
    return np.stack(several)


def config_for(method: str, env: str) -> RunConfig:
    config = recommended(method, env, steps=40, seed=1)
    learner = replace(config.learner, environments=2, rollout_steps=5, epochs=1, minibatches=1, hidden=(4,))
    return replace(config, learner=learner, policies=2, evaluate_every=2, episodes=1, final_episodes=2)


def speaks(policy: Any, seen: Space, acted: Space) -> None:
    """A policy answers elements of the action space, the same ones for one observation as for several."""
    seen.seed(3)
    several = [seen.sample() for _ in range(4)]
    actions = policy(stacked(seen, several))
    assert len(actions) == 4
    for observation, action in zip(several, actions, strict=True):
        alone = policy(observation)
        assert acted.contains(alone) and np.asarray(alone).dtype == acted.dtype
        np.testing.assert_allclose(np.asarray(alone, float), np.asarray(action, float), rtol=1e-3, atol=1e-3)
        assert acted.contains(policy(observation, deterministic=False))


PAIRS = [*((name, "numbers") for name in SEEN), *(("numbers", name) for name in ACTED if name != "numbers")]


@pytest.mark.parametrize(("seen", "acted"), PAIRS)
def test_training_evaluation_files_and_policies_speak_the_spaces(seen: str, acted: str, tmp_path: Path) -> None:
    shows, takes = SEEN[seen], ACTED[acted]
    register_gymnasium("parrot", lambda: Parrot(shows, takes), objectives=("sum", "time"))
    found = config_for("weighted-sum" if seen == "nested" else "ppo", "parrot").run()
    found.save(tmp_path)
    again = type(found).load(tmp_path)
    native = again.model.native
    assert (native.observation, native.action) == (shows, takes)
    for result in (found, again):
        speaks(result.policy(0), shows, takes)
    shows.seed(0)
    one = shows.sample()
    assert np.array_equal(found.policy(0)(one), again.policy(0)(one)), "the same bits from the file"
