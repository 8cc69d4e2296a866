"""Every batched environment against mo-gymnasium's own, step by step, over at least 10,000 steps.

Where the original draws random numbers, both sides are given the same draws.
"""

from __future__ import annotations

import mo_gymnasium
import numpy as np
import pytest
import torch

from envs import make
from envs.mountain_car import VARIANTS
from envs.seeding import normal

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

    def at(self, rows, width):
        self.drawn = self.numbers.random(width).tolist()
        return torch.tensor([self.drawn], dtype=torch.float64)

    def random(self):
        return self.drawn[0]

    def choice(self, values, size):
        return values[:size]  # replaced by our own start right after

    def integers(self, low, high, size):
        return np.full(size, low)

    def normal(self, mean, spread, size):
        return mean + spread * normal(torch.tensor(self.drawn, dtype=torch.float64)).numpy()


def as_numbers(observation):
    """The original's observation as our tensor shows it: dictionaries in their own order, counts as flags."""
    if isinstance(observation, dict):
        parts = [observation[k] for k in ("location", "bottles_carrying", "bottles_delivered")]
        return np.array([*parts, *(int(d > 0) for d in observation["bottles_dropped"])], dtype=float)
    return np.asarray(observation, dtype=float)


def follow(id, policy, tolerance=0.0, script=None, sync=None, steps=STEPS, **options):
    """Step ours and the original together; returns what happened, for checks that everything was visited."""
    ours, original = make(id, 1, **options), mo_gymnasium.make(id, **options)
    horizon = original.spec.max_episode_steps
    observation, _ = original.reset(seed=0)
    if script is not None:
        ours.random = script
        original.unwrapped._np_random = script
    if sync is not None:
        observation = sync(ours, original.unwrapped)
    log = {"ends": 0, "cuts": 0, "rewards": []}
    assert ours.spec.horizon in (horizon, getattr(original.unwrapped, "time_limit", 200), None)
    np.testing.assert_allclose(ours.observe(ours.state)[0], as_numbers(observation), atol=tolerance)
    for t in range(steps):
        action = policy(t, ours)
        step = ours.step(torch.as_tensor(action)[None])
        observation, reward, terminated, truncated, _ = original.step(action)
        if id == "fishwood-v0":
            terminated = False  # the original says both; the end of a clock is a truncation
        np.testing.assert_allclose(step.final_observation[0], as_numbers(observation), atol=tolerance, err_msg=f"step {t}")
        np.testing.assert_allclose(step.reward[0], reward, atol=tolerance, rtol=tolerance, err_msg=f"step {t}")
        truncated = truncated and not terminated
        assert (bool(step.terminated[0]), bool(step.truncated[0])) == (terminated, truncated), f"step {t}"
        log["rewards"].append(np.asarray(reward))
        if terminated or truncated:
            log["ends"] += terminated
            log["cuts"] += truncated
            observation, _ = original.reset()
            if script is not None:
                original.unwrapped._np_random = script
            if sync is not None:
                observation = sync(ours, original.unwrapped)
            np.testing.assert_allclose(step.observation[0], as_numbers(observation), atol=tolerance)
    log["rewards"] = np.array(log["rewards"])
    return log


def uniform_policy(actions, seed=1, weights=None):
    numbers = np.random.default_rng(seed)
    return lambda t, env: int(numbers.choice(actions, p=weights))


@pytest.mark.parametrize("id", ["deep-sea-treasure-v0", "deep-sea-treasure-concave-v0", "deep-sea-treasure-mirrored-v0"])
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


def test_water_reservoir_all_options():
    numbers = np.random.default_rng(0)

    def level(ours, original):
        original.state = ours.state[0].numpy().copy()
        return original.state

    for options in ({"nO": 4}, {"nO": 3, "penalize": True}, {"nO": 2, "normalized_action": True}):
        scale = 1 if "normalized_action" in options else 120
        policy = lambda t, env, scale=scale: (scale * numbers.random(1)).astype(np.float32)  # noqa: E731
        log = follow("water-reservoir-v0", policy, 1e-4, Script(1), level, steps=STEPS // 2, **options)
        assert log["cuts"] == STEPS // 200 and (log["rewards"] < 0).any(0).all()


@pytest.mark.parametrize("id", list(VARIANTS))
def test_mountain_car(id):
    """Pushing along the velocity climbs the hill, so both ends of an episode happen."""
    numbers = np.random.default_rng(0)

    def policy(t, env):
        return int(numbers.integers(3)) if numbers.random() < 0.3 else 2 if env.state[1] >= 0 else 0

    def place(ours, original):
        original.state = tuple(float(x) for x in ours.state)
        return np.array(original.state)

    log = follow(id, policy, tolerance=1e-6, sync=place)
    assert log["ends"] > 20


def test_continuous_mountain_car():
    numbers = np.random.default_rng(0)

    def policy(t, env):
        push = 1.0 if env.state[1] >= 0 else -1.0
        return np.array([push * numbers.uniform(0.3, 1.4)], dtype=np.float32)

    def place(ours, original):
        original.state = np.array([float(x) for x in ours.state], dtype=np.float32)
        return original.state

    log = follow("mo-mountaincarcontinuous-v0", policy, tolerance=1e-6, sync=place)
    assert log["ends"] > 20


class Drawn:
    """Stands in for a mine's distribution: the test's own normal numbers, shared with our side."""

    def __init__(self, mean, spread, script):
        self.mean, self.spread, self.script, self.args = mean, spread, script, (mean, spread)

    def rvs(self):
        z = normal(torch.tensor([self.script.drawn.pop(0)], dtype=torch.float64))
        return self.mean + self.spread * float(z)


@pytest.mark.parametrize("id", ["minecart-v0", "minecart-deterministic-v0"])
def test_minecart(id):
    """A driver that goes to mines, mines, and comes home, with noise: every rule is met."""
    numbers, script = np.random.default_rng(0), Script(8)
    goal = {"mine": 0, "dig": 0}

    def policy(t, env):
        x, y, speed, sine, cosine, *ore = env.observe(env.state)[0].tolist()
        if numbers.random() < 0.1:
            return int(numbers.integers(6))
        target = env.mines[goal["mine"] % 5].tolist() if sum(ore) < 0.9 else [0.0, 0.0]
        gap = np.array(target) - [x, y]
        if sum(ore) < 0.9 and np.hypot(*gap) < 0.13:
            goal["dig"] += 1
            goal["mine"] += goal["dig"] % 40 == 0
            return 0 if speed < 0.001 else 4
        turn = np.cross([cosine, sine, 0], [*gap, 0])[2]
        return (2 if turn > 0 else 1) if abs(turn) > 0.4 * np.hypot(*gap) or cosine * gap[0] + sine * gap[1] < 0 else 3

    def mines(ours, original):
        for mine in original.mines:
            mine.distributions = [d if isinstance(d, Drawn) else Drawn(*d.args, script) for d in mine.distributions]
        return original.get_state()

    log = follow(id, policy, tolerance=2e-6, script=script, sync=mines, steps=20_000)
    sold = log["rewards"][:, :2].sum(1)
    assert log["ends"] > 20 and (sold > 1.4).sum() > 3, (log["ends"], sold.max())
