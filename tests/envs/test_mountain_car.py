"""The mountain cars against their originals, and what they start with against its distribution."""

from __future__ import annotations

import math

import mo_gymnasium
import numpy as np
import pytest
import torch

from tradeoff.envs.mountain_car import ENVIRONMENTS, VARIANTS
from tradeoff.envs.registry import make

COPIES = 20


def follow(id, steps, policy):
    """Step ours and the originals from our starts; returns rewards [steps, COPIES, m], ends and cuts."""
    ours = make(id, COPIES, seed=3)
    originals = [mo_gymnasium.make(id, disable_env_checker=True) for _ in range(COPIES)]

    def place(copy):
        originals[copy].reset()
        originals[copy].unwrapped.state = np.array([float(part[copy]) for part in ours.state])

    look, rewards, ends, cuts = ours.observe(ours.state), [], 0, 0
    for copy in range(COPIES):
        place(copy)
    for t in range(steps):
        action = policy(t, look.numpy())
        step, theirs = (
            ours.step(torch.as_tensor(action)),
            [env.step(a) for env, a in zip(originals, action, strict=True)],
        )
        observation, reward, terminated, truncated = (
            np.array(column) for column in list(zip(*theirs, strict=True))[:4]
        )
        np.testing.assert_allclose(step.final_observation, observation, atol=1.2e-7, rtol=0)  # a last bit of float32
        np.testing.assert_allclose(step.reward, reward, atol=1e-6, rtol=0)
        np.testing.assert_array_equal(step.terminated, terminated)
        np.testing.assert_array_equal(step.truncated, truncated & ~terminated)
        for copy in np.flatnonzero(terminated | truncated):
            place(copy)
        look, ends, cuts = step.observation, ends + terminated.sum(), cuts + (truncated & ~terminated).sum()
        rewards.append(reward)
    return np.array(rewards), ends, cuts


@pytest.mark.parametrize("id", list(VARIANTS))
def test_follows_the_original(id):
    numbers = np.random.default_rng(0)

    def policy(t, look):
        """Half of the copies climb by pushing along the velocity, with noise; the others move at random."""
        climb = np.where(look[:, 1] >= 0, 2, 0)
        noise = numbers.random(COPIES) < np.where(np.arange(COPIES) % 2 == 0, 0.2, 1.0)
        return np.where(noise, numbers.integers(3, size=COPIES), climb)

    rewards, ends, cuts = follow(id, 620, policy)  # 12,400 steps
    assert ends > 20 and cuts > 20
    assert (rewards.min((0, 1)) < rewards.max((0, 1))).all(), "an objective never moved"


def test_continuous_follows_the_original():
    numbers = np.random.default_rng(0)
    strength = np.linspace(0.2, 1.6, COPIES)  # a third of them beyond the bounds, the weakest too weak to climb

    def policy(t, look):
        push = np.where(look[:, 1] >= 0, 1.0, -1.0) * strength * numbers.uniform(0.5, 1.0, COPIES)
        return push[:, None].astype(np.float32)

    rewards, ends, cuts = follow("mo-mountaincarcontinuous-v0", 1100, policy)  # 22,000 steps
    assert ends > 50 and cuts >= 1 and rewards[..., 1].min() < -2.0


@pytest.mark.parametrize("left", [-1.2, -1.16])
def test_the_left_end_stops_the_car(left):
    # Velocity -0.05, pushed left by 0.001 (continuous 0.0015), pulled right by at most 0.0025: at least 0.048 to the
    # left. From the end the car stays and stands; from 0.04 away it gets there and stands as well.
    for id in ENVIRONMENTS:
        env = make(id, 1)
        env.state = (torch.full_like(env.state[0], left), torch.full_like(env.state[1], -0.05))
        action = torch.tensor([[-1.0]]) if id == "mo-mountaincarcontinuous-v0" else torch.tensor([0])
        step = env.step(action)
        np.testing.assert_array_equal(step.final_observation, np.array([[-1.2, 0.0]], np.float32))


@pytest.mark.parametrize("id", list(ENVIRONMENTS))
def test_starts_are_uniform(id):
    # U(-0.6, -0.4): mean -0.5, variance 0.2^2 / 12, fourth central moment 0.2^4 / 80. Standard errors of the sample's
    # mean and variance: sqrt(variance / n), sqrt((fourth - variance^2) / n). They are 0.2 and -1.7 here.
    n, variance = 20_000, 0.2**2 / 12
    env = make(id, n, seed=11)
    place, speed = env.state
    z_mean = float(place.mean() + 0.5) / math.sqrt(variance / n)
    z_variance = float((place + 0.5).square().mean() - variance) / math.sqrt((0.2**4 / 80 - variance**2) / n)
    assert max(abs(z_mean), abs(z_variance)) < 3.5, (z_mean, z_variance)
    assert -0.6 <= float(place.min()) < -0.599 and -0.401 < float(place.max()) < -0.4 and not speed.any()


def test_what_is_known_before_the_run():
    for id, names in (*VARIANTS.items(), ("mo-mountaincarcontinuous-v0", ("time", "fuel"))):
        ours, original = make(id, 1).spec, mo_gymnasium.make(id)
        assert (ours.horizon, ours.objectives, ours.discount) == (original.spec.max_episode_steps, names, 0.99)
        assert ours.observation_space == original.observation_space and ours.action_space == original.action_space
        assert len(names) == original.unwrapped.reward_space.shape[0] == len(ours.reference_point)
