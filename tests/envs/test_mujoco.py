"""Batched MuJoCo bodies against mo-gymnasium's own: bit for bit, over full episodes."""

from __future__ import annotations

import mo_gymnasium
import numpy as np
import pytest
import torch

from envs import make
from envs.mujoco_bodies import ENVIRONMENTS

COPIES = 3


def actions(env, generator):
    space = env.spec.action_space
    if hasattr(space, "n"):
        return generator.integers(space.n, size=env.num_envs)
    return generator.uniform(-1.0, 1.0, (env.num_envs, *space.shape)).astype(np.float32)


@pytest.mark.parametrize("id", list(ENVIRONMENTS))
def test_equals_the_original_in_every_number_and_flag(id):
    """Same seeds, same actions, episodes to their end and beyond: resets draw the same first states too."""
    env, generator = make(id, COPIES, seed=7), np.random.default_rng(0)
    originals = [mo_gymnasium.make(id) for _ in range(COPIES)]
    first = np.stack([original.reset(seed=7 + i)[0] for i, original in enumerate(originals)])
    np.testing.assert_array_equal(env.reset(7).numpy(), first)
    ends = 0
    for _ in range(1010 if env.spec.horizon == 1000 else 120):
        action = actions(env, generator)
        step = env.step(torch.from_numpy(action))
        for i, original in enumerate(originals):
            seen, reward, terminated, truncated, _ = original.step(action[i])
            np.testing.assert_array_equal(step.final_observation[i].numpy(), seen)
            np.testing.assert_array_equal(step.reward[i].numpy(), reward)
            assert (bool(step.terminated[i]), bool(step.truncated[i])) == (terminated, truncated and not terminated)
            if terminated or truncated:
                ends += 1
                np.testing.assert_array_equal(step.observation[i].numpy(), original.reset()[0])
    assert ends >= COPIES


@pytest.mark.parametrize("id", ["mo-hopper-v5", "mo-ant-v5"])
def test_a_saved_state_goes_on_bit_for_bit_in_a_new_environment(id):
    generator = np.random.default_rng(0)
    env = make(id, 5, seed=3)
    for _ in range(60):
        env.step(torch.from_numpy(actions(env, generator)))
    saved = env.state_dict()
    script = [torch.from_numpy(actions(env, generator)) for _ in range(60)]
    went_on = [env.step(a) for a in script]
    other = make(id, 5, seed=99)
    other.load_state_dict(saved)
    resumed = [other.step(a) for a in script]
    for a, b in zip(went_on, resumed, strict=True):
        assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))
    assert any(step.terminated.any() for step in went_on)  # resets, and their generators, were part of it


def test_bodies_do_not_depend_on_their_neighbours():
    generator = np.random.default_rng(0)
    many, one = make("mo-hopper-2obj-v5", 9, seed=0), make("mo-hopper-2obj-v5", 1, seed=4)
    for _ in range(80):
        action = torch.from_numpy(actions(many, generator))
        a, b = many.step(action), one.step(action[4:5])
        assert torch.equal(a.observation[4], b.observation[0]) and torch.equal(a.reward[4], b.reward[0])


def test_what_a_step_returned_is_not_overwritten_by_the_next():
    env = make("mo-halfcheetah-v5", 2)
    action = torch.zeros(2, 6)
    kept = env.step(action)
    copies = [x.clone() for x in kept]
    env.step(action + 1)
    assert all(torch.equal(x, y) for x, y in zip(kept, copies, strict=True))


def test_the_horizon_can_be_changed():
    env = make("mo-halfcheetah-v5", 1, max_episode_steps=7)
    flags = [bool(env.step(torch.zeros(1, 6)).truncated) for _ in range(15)]
    assert [i for i, flag in enumerate(flags) if flag] == [6, 13]
