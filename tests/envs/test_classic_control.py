"""Cart and links against gymnasium's own, step by step, from our starts."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
import torch

from tradeoff.envs import make

COPIES = 12


@pytest.mark.parametrize(("id", "least"), [("CartPole-v1", 100), ("Acrobot-v1", 8)])
def test_follows_the_original(id: str, least: int) -> None:
    ours, numbers, ends = make(id, COPIES, seed=5), np.random.default_rng(0), 0
    theirs = [gymnasium.make(id, disable_env_checker=True) for _ in range(COPIES)]
    begun, look = np.ones(COPIES, dtype=bool), ours.reset(5)
    for t in range(700):
        for copy, env in enumerate(theirs):  # together again after each step: rounding grows along a chaotic swing
            if begun[copy]:
                env.reset()
            env.unwrapped.state = ours.state[0][copy].numpy()  # type: ignore[attr-defined]
        action = numbers.integers(int(ours.spec.action_space.n), size=COPIES)  # type: ignore[attr-defined]
        if id == "Acrobot-v1":  # torque against the first link's speed swings it up
            action = np.where(numbers.random(COPIES) < 0.2, action, np.where(look[:, 4].numpy() > 0, 0, 2))
        step = ours.step(torch.as_tensor(action))
        answers = [env.step(a) for env, a in zip(theirs, action, strict=True)]
        observation, reward, terminated, truncated = (np.array(x) for x in list(zip(*answers, strict=True))[:4])
        np.testing.assert_allclose(step.final_observation, observation, atol=2e-6, rtol=0, err_msg=f"step {t}")
        np.testing.assert_array_equal(step.reward[:, 0], reward)
        np.testing.assert_array_equal(step.terminated, terminated)
        np.testing.assert_array_equal(step.truncated, truncated & ~terminated)
        begun, look = terminated | truncated, step.observation
        ends += int(terminated.sum())
    assert ends >= least


def test_starts_are_spread_as_the_originals() -> None:
    for id, width in (("CartPole-v1", 0.05), ("Acrobot-v1", 0.1)):
        state = make(id, 4096, seed=1).state[0]  # type: ignore[attr-defined]
        assert state.abs().max() <= width and abs(state.mean()) < 0.02 * width
        assert state.std().item() == pytest.approx(width / 3**0.5, rel=0.02)  # of a uniform number


def test_the_clock_stops_a_pole_that_stands() -> None:
    env = make("CartPole-v1", 1, seed=0, max_episode_steps=3)
    cuts = [env.step(torch.tensor([t % 2])).truncated.item() for t in range(6)]
    assert cuts == [False, False, True] * 2
