"""Batched MuJoCo bodies against mo-gymnasium's own: bit for bit, over full episodes."""

from __future__ import annotations

import copy

import mo_gymnasium
import numpy as np
import pytest
import torch

from tradeoff.envs import TradeoffError, make
from tradeoff.envs.mujoco_bodies import ENVIRONMENTS, Moment, walk_upright

COPIES = 3
NEVER_FALL = ("halfcheetah", "swimmer")


def actions(env, generator):
    space = env.spec.action_space
    if hasattr(space, "n"):
        return generator.integers(space.n, size=env.num_envs)
    return generator.uniform(-1.0, 1.0, (env.num_envs, *space.shape)).astype(np.float32)


def steps_for(id):
    """Enough for several episodes: those that end by the clock take 1000 steps, reachers 50."""
    return 1010 if any(name in id for name in NEVER_FALL) else 120 if "reacher" in id else 500


@pytest.mark.filterwarnings("ignore:.*out of date")
@pytest.mark.parametrize("id", list(ENVIRONMENTS))
def test_equals_the_original_in_every_number_and_flag(id):
    """Same seeds, same actions, episodes to their end and beyond: resets draw the same first states too."""
    env, generator = make(id, COPIES, seed=7), np.random.default_rng(0)
    originals = [mo_gymnasium.make(id) for _ in range(COPIES)]
    first = np.stack([original.reset(seed=7 + i)[0] for i, original in enumerate(originals)])
    np.testing.assert_array_equal(env.reset(7).numpy(), first)
    ends = 0
    for _ in range(steps_for(id)):
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


@pytest.mark.parametrize("id", [id for id in ENVIRONMENTS if id.endswith("v5")])
def test_a_saved_state_goes_on_bit_for_bit_in_a_new_environment(id):
    """Saved after 200 steps, then 200 more: clocks of 170 steps, so that both the physics and resets are part of it."""
    generator = np.random.default_rng(0)
    env = make(id, 3, seed=3, max_episode_steps=170)
    for _ in range(200):
        env.step(torch.from_numpy(actions(env, generator)))
    saved = copy.deepcopy(env.state_dict())
    script = [torch.from_numpy(actions(env, generator)) for _ in range(200)]
    went_on = [env.step(a) for a in script]
    other = make(id, 3, seed=99, max_episode_steps=170)
    other.load_state_dict(saved)
    resumed = [other.step(a) for a in script]
    for a, b in zip(went_on, resumed, strict=True):
        assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))
    assert sum(int((step.terminated | step.truncated).sum()) for step in went_on) >= 3


def test_a_state_of_another_size_is_refused():
    env, other = make("mo-hopper-v5", 3), make("mo-hopper-v5", 2)
    with pytest.raises(TradeoffError, match=r"state \(3, \d+\) does not fit mo-hopper-v5, which has \(2, "):
        other.load_state_dict(env.state_dict())


def test_a_body_stays_the_same_however_many_threads_take_turns():
    """20 bodies in chunks of two threads against one after another."""
    many, alone = make("mo-ant-v5", 20), make("mo-ant-v5", 20)
    alone.sim.pool, alone.sim.chunks = None, [range(20)]
    generator = np.random.default_rng(0)
    for _ in range(40):
        action = torch.from_numpy(actions(many, generator))
        assert all(torch.equal(x, y) for x, y in zip(many.step(action), alone.step(action), strict=True))
    assert sorted(i for chunk in many.sim.chunks for i in chunk) == list(range(20))


def test_seeds_may_be_given_one_by_one():
    """Seeds 5, 2, 9 start bodies as the original starts with each of them."""
    env = make("mo-hopper-v5", 3)
    wanted = [mo_gymnasium.make("mo-hopper-v5").reset(seed=s)[0] for s in (5, 2, 9)]
    np.testing.assert_array_equal(env.reset([5, 2, 9]).numpy(), np.stack(wanted))
    with pytest.raises(ValueError, match="2 seeds were given for 3 environments"):
        env.reset([1, 2])


@pytest.mark.parametrize(
    ("id", "action", "complaint"),
    [
        ("mo-hopper-v5", torch.zeros(2, 4), r"takes actions of shape \(2, 3\), got \(2, 4\)"),
        ("mo-reacher-v5", torch.tensor([0, 9]), r"action 9 of mo-reacher-v5 is outside of Discrete\(9\)"),
        ("mo-reacher-v5", torch.tensor([-1, 0]), r"action -1 of mo-reacher-v5 is outside of Discrete\(9\)"),
        ("mo-reacher-v5", torch.zeros(2), "takes int64 actions, got torch.float32"),
    ],
)
def test_wrong_actions_are_named(id, action, complaint):
    with pytest.raises(TradeoffError, match=complaint):
        make(id, 2).step(action)


def test_actions_in_double_precision_pay_as_the_original_in_single():
    action = torch.rand(64, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    double, single = make("mo-hopper-v5", 64).step(action), make("mo-hopper-v5", 64).step(action.float())
    assert torch.equal(double.reward, single.reward) and double.reward.dtype == torch.float32


def test_contacts_take_no_more_than_ten_off_a_humanoid():
    """Forces of 1000 and 10000 alone: 5e-7 * 1e6 = 0.5, 5e-7 * 1e8 = 50 cut to 10; at rest, upright: 5 each."""
    forces = np.zeros((2, 14, 6))
    forces[:, 3, 2] = 1e3, 1e4
    fields = {"ctrl": np.zeros((2, 17)), "cfrc_ext": forces}
    moment = Moment(np.zeros((2, 2)), np.zeros((2, 17), np.float32), np.zeros(2), np.ones(2), fields)
    assert walk_upright(moment).tolist() == [[4.5, 4.5], [-5.0, -5.0]]


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


def test_a_fall_in_the_last_step_is_an_end_and_no_cut():
    env = make("mo-hopper-v5", 1, seed=1)
    action = torch.ones(1, 3)
    fall = next(t for t in range(1, 1000) if env.step(action).terminated)
    env = make("mo-hopper-v5", 1, seed=1, max_episode_steps=fall)
    flags = [env.step(action) for _ in range(fall)]
    assert [int(step.terminated) for step in flags] == [0] * (fall - 1) + [1]
    assert sum(int(step.truncated) for step in flags) == 0


def test_a_horizon_below_one_is_refused():
    with pytest.raises(ValueError, match="max_episode_steps must be at least 1, got 0"):
        make("mo-halfcheetah-v5", 1, max_episode_steps=0)


def test_some_bodies_begin_anew_and_the_others_go_on():
    # Body 2, broken off after five steps, then stands where a single one with its seed stands at its second episode.
    env, single = make("mo-hopper-v5", 3), make("mo-hopper-v5", 1)
    env.reset([4, 5, 6]), single.reset([6])
    still = torch.zeros(3, 3)
    before = [env.step(still) for _ in range(5)][-1].observation
    after = env.restart(torch.tensor([False, False, True]))
    single.step(still[:1])
    assert torch.equal(after[:2], before[:2]) and torch.equal(after[2:], single.restart(torch.tensor([True])))
    assert env.clock.tolist() == [5, 5, 0]
