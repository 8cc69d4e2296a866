"""The finite environments and four rooms against mo-gymnasium's own, step by step, over at least 10,000 steps.

Where the original draws random numbers, both sides are given the same draws.
"""

from __future__ import annotations

import mo_gymnasium
import numpy as np
import pytest
import torch

from tradeoff.envs import make

STEPS = 10_000


class Script:
    """Random numbers that the test hands to both sides; stands in for ours and for numpy's generator."""

    def __init__(self, width: int, seed: int = 0) -> None:
        self.numbers, self.width = np.random.default_rng(seed), width
        self.drawn: list[float] = []

    def uniform(self, width, where=None):
        row = self.numbers.random(width)
        if where is None:
            self.drawn = row.tolist()
        return torch.from_numpy(row).unsqueeze(0)

    def random(self):
        return self.drawn[0]


def as_numbers(observation):
    """The original's observation as our tensor shows it: dictionaries in their own order, counts as flags."""
    if isinstance(observation, dict):
        parts = [observation[k] for k in ("location", "bottles_carrying", "bottles_delivered")]
        return np.array([*parts, *(int(d > 0) for d in observation["bottles_dropped"])], dtype=float)
    return np.asarray(observation, dtype=float)


def follow(id, policy, tolerance=0.0, script=None, steps=STEPS, **options):
    """Step ours and the original together; returns what happened, for checks that everything was visited."""
    ours, original = make(id, 1, **options), mo_gymnasium.make(id, **options)
    horizon = original.spec.max_episode_steps
    observation, _ = original.reset(seed=0)
    if script is not None:
        ours.random = script
        original.unwrapped._np_random = script
    log, shown, wanted = {"ends": 0, "cuts": 0, "rewards": []}, [], []
    assert ours.spec.horizon == (200 if id == "fishwood-v0" else horizon)  # fishwood keeps its own clock
    np.testing.assert_allclose(ours.observe(ours.state)[0], as_numbers(observation), atol=tolerance)
    for t in range(steps):
        action = policy(t, ours)
        step = ours.step(torch.as_tensor(action)[None])
        observation, reward, terminated, truncated, _ = original.step(action)
        if id == "fishwood-v0":
            terminated = False  # the original says both; the end of a clock is a truncation
        shown.append([*step.final_observation[0].tolist(), *step.reward[0].tolist()])
        wanted.append([*as_numbers(observation), *reward])
        truncated = truncated and not terminated
        assert (bool(step.terminated[0]), bool(step.truncated[0])) == (terminated, truncated), f"step {t}"
        log["rewards"].append(np.asarray(reward))
        if terminated or truncated:
            log["ends"] += terminated
            log["cuts"] += truncated
            observation, _ = original.reset()
            if script is not None:
                original.unwrapped._np_random = script
            np.testing.assert_allclose(step.observation[0], as_numbers(observation), atol=tolerance)
    np.testing.assert_allclose(shown, wanted, atol=tolerance, rtol=tolerance)  # observations and rewards of every step
    log["rewards"] = np.array(log["rewards"])
    return log


def uniform_policy(actions, seed=1, weights=None):
    numbers = np.random.default_rng(seed)
    return lambda t, env: int(numbers.choice(actions, p=weights))


@pytest.mark.parametrize(
    "id", ["deep-sea-treasure-v0", "deep-sea-treasure-concave-v0", "deep-sea-treasure-mirrored-v0"]
)
def test_deep_sea_treasure(id):
    log = follow(id, uniform_policy(4, weights=[0.3, 0.1, 0.2, 0.4]), tolerance=1e-6)
    assert len(np.unique(log["rewards"][:, 0])) >= 4 and log["ends"] > 50


@pytest.mark.parametrize("depth", [5, 6, 7])
def test_fruit_tree(depth):
    log = follow("fruit-tree-v0", uniform_policy(2), tolerance=1e-6, depth=depth)
    assert log["ends"] == STEPS // depth
    assert len(np.unique(log["rewards"], axis=0)) == 2**depth + 1


def test_four_room():
    log = follow("four-room-v0", uniform_policy(4, weights=[0.2, 0.3, 0.3, 0.2]))
    assert log["rewards"].sum(0).min() > 20 and log["cuts"] > 30


def test_resource_gathering():
    log = follow("resource-gathering-v0", uniform_policy(4), script=Script(1))
    assert (log["rewards"][:, 0] < 0).sum() > 5 and log["rewards"][:, 1].sum() > 0


def test_breakable_bottles():
    """Mostly carry: to the source, pick twice, to the destination, with noise."""
    numbers = np.random.default_rng(0)

    def policy(t, env):
        cell, carried = env.observe(env.state)[0, :2].tolist()
        if numbers.random() < 0.3:
            return int(numbers.integers(3))
        return 1 if carried == 2 else 2 if cell == 0 else 0

    log = follow("breakable-bottles-v0", policy, script=Script(1))
    assert log["ends"] > 100 and (log["rewards"][:, 2] < 0).sum() > 20 and (log["rewards"][:, 1] == 50).sum() > 20


def test_fishwood():
    log = follow("fishwood-v0", uniform_policy(2), script=Script(1))
    fish, wood = log["rewards"].mean(0)
    # half of the time in each place: 0.05 and 0.45, standard errors 0.0022 and 0.005
    assert abs(fish - 0.05) < 0.01 and abs(wood - 0.45) < 0.02 and log["cuts"] == STEPS // 200
