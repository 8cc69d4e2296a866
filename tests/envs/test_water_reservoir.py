"""The water reservoir against the original with the same inflows, and what is drawn against its distribution."""

from __future__ import annotations

import math

import mo_gymnasium
import numpy as np
import pytest
import torch

from tradeoff.envs.registry import make
from tradeoff.envs.seeding import Counters, normal
from tradeoff.envs.water_reservoir import FIRST

COPIES = 20


class Handed:
    """Stands in for the original's generator: hands out the inflow that ours is about to draw."""

    inflow = 0.0

    def normal(self, mean, spread, size):
        return mean + spread * np.full(size, self.inflow)

    def choice(self, values, size):
        return values[:size]  # the test sets the level afterwards

    def integers(self, low, high, size):
        return np.full(size, low)


def follow(steps, share, **options):
    """Ours and the originals with actions share [COPIES] of the level, noisy; returns rewards [steps, COPIES, m]."""
    ours, numbers, rewards = make("water-reservoir-v0", COPIES, seed=2, **options), np.random.default_rng(0), []
    originals = [mo_gymnasium.make("water-reservoir-v0", disable_env_checker=True, **options) for _ in range(COPIES)]

    def begin(copy):
        originals[copy].reset()
        originals[copy].unwrapped._np_random = Handed()
        originals[copy].unwrapped.state = ours.state[0][copy : copy + 1].numpy().copy()

    for copy in range(COPIES):
        begin(copy)
    level = ours.observe(ours.state).numpy()
    for t in range(1, steps + 1):
        action = (share * numbers.uniform(0.5, 1.5, COPIES)).astype(np.float32)[:, None]
        action = action.clip(0, 1) if "normalized_action" in options else action * level
        inflow = normal(Counters(ours.random.key, ours.random.count).uniform(1))[:, 0].tolist()
        for env, z in zip(originals, inflow, strict=True):
            env.unwrapped._np_random.inflow = z
        step, theirs = (
            ours.step(torch.from_numpy(action)),
            [env.step(a) for env, a in zip(originals, action, strict=True)],
        )
        observation, reward, terminated, truncated = (
            np.array(column) for column in list(zip(*theirs, strict=True))[:4]
        )
        np.testing.assert_allclose(step.final_observation, observation, atol=1e-6, rtol=1e-6)
        np.testing.assert_allclose(step.reward, reward, atol=1e-6, rtol=1e-6)
        assert not step.terminated.any() and not terminated.any()
        assert step.truncated.all() == truncated.all() == (t % 100 == 0)
        if t % 100 == 0:
            for copy in range(COPIES):
                begin(copy)
        level = step.observation.numpy()
        rewards.append(reward)
    return np.array(rewards)


@pytest.mark.parametrize("objectives", [2, 3, 4])
@pytest.mark.parametrize("penalize", [False, True])
def test_follows_the_original(objectives, penalize):
    rewards = follow(500, np.linspace(0.0, 1.2, COPIES), nO=objectives, penalize=penalize)  # 10,000 steps
    assert rewards.shape[2] == objectives
    assert (rewards.min((0, 1)) < -1).all() and ((rewards == 0).mean((0, 1)) > 0.01).all()


def test_follows_the_original_with_shares_and_a_given_start():
    start = {"initial_state": np.array([50.0], np.float32)}
    rewards = follow(500, np.linspace(0.0, 1.0, COPIES), nO=4, normalized_action=True, **start)
    assert (rewards.min((0, 1)) < -1).all()
    assert make("water-reservoir-v0", 3, initial_state=50.0).reset().tolist() == [[50.0]] * 3


def test_inflow_is_normal():
    # N(40, 10): standard errors of the sample's mean and standard deviation are 10 / sqrt(n) and about 10 / sqrt(2 n).
    # Level 0 releases nothing, so that the next level is the inflow. They are 1.7 and 0.8 here.
    n = 20_000
    env = make("water-reservoir-v0", n, seed=4)
    env.state = (torch.full_like(env.state[0], 100.0),)
    inflow = env.step(torch.zeros(n, 1)).final_observation[:, 0].double() - 100
    z_mean = float(inflow.mean() - 40) / (10 / math.sqrt(n))
    z_spread = float(inflow.std() - 10) / (10 / math.sqrt(2 * n))
    assert max(abs(z_mean), abs(z_spread)) < 3.5, (z_mean, z_spread)
    # The share below 30 is Phi(-1) = 0.158655.
    below = 0.5 * math.erfc(1 / math.sqrt(2))
    z_below = float((inflow < 30).double().mean() - below) / math.sqrt(below * (1 - below) / n)
    assert abs(z_below) < 3.5, z_below


def test_starts():
    # Ten levels, equally likely: chi-square with 9 degrees of freedom, 27.9 at the 0.1 % level. With the penalty the
    # whole numbers below 160: chi-square with 159 degrees, 220 at that level.
    n = 16_000
    level = make("water-reservoir-v0", n, seed=6).state[0]
    values, counts = np.unique(level.numpy(), return_counts=True)
    np.testing.assert_array_equal(values, np.sort(np.array(FIRST, np.float32)))
    np.testing.assert_array_equal(
        np.sort(mo_gymnasium.make("water-reservoir-v0").unwrapped.s_init), np.sort(np.array(FIRST, np.float32))
    )
    assert ((counts - n / 10) ** 2 / (n / 10)).sum() < 27.9
    values, counts = np.unique(
        make("water-reservoir-v0", n, seed=6, penalize=True).state[0].numpy(), return_counts=True
    )
    np.testing.assert_array_equal(values, np.arange(160))
    assert ((counts - n / 160) ** 2 / (n / 160)).sum() < 220


@pytest.mark.parametrize("objectives", [2, 3, 4])
def test_reference_point_lies_below_the_worst_policies(objectives):
    """Releasing all and releasing nothing, undiscounted: the worst of each objective stays above the reference."""
    worst = np.full(objectives, 0.0)
    for action in (0.0, 1e9):
        env = make("water-reservoir-v0", 200, nO=objectives)
        total = sum(env.step(torch.full((200, 1), action)).reward for _ in range(100))
        worst = np.minimum(worst, total.amin(0).numpy())
    assert (worst > np.array(env.spec.reference_point)).all() and (worst < -0).all()


def test_number_of_objectives_is_checked():
    with pytest.raises(ValueError, match="2, 3 or 4, got 5"):
        make("water-reservoir-v0", 1, nO=5)
