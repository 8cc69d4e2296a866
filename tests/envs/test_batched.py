"""The common part of batched environments on a task small enough to follow by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gymnasium import spaces

from tradeoff.envs import make
from tradeoff.envs.batched import BatchedEnv, Outcome
from tradeoff.envs.errors import TradeoffError
from tradeoff.envs.protocol import EnvSpec, VectorEnv

BOX = spaces.Box(-100, 100, (1,), np.float32)
SPEC = EnvSpec(
    id="walk", observation_space=BOX, action_space=spaces.Discrete(3), objectives=("way",), costs=("effort",), horizon=4
)


class Walk(BatchedEnv):
    """The place moves by the action and ends at 5; starts are drawn from 0 and 1."""

    start_draws = 1

    def start(self, uniform):
        return ((uniform[:, 0] >= 0.5).long(),)

    def transition(self, state, action, uniform):
        place = state[0] + action
        return Outcome((place,), place[:, None].float(), place >= 5, action[:, None].float())

    def observe(self, state):
        return state[0][:, None].float()


def walk(places, **options):
    env = Walk(SPEC, len(places), **options)
    env.state = (torch.tensor(places),)
    return env


def act(env, *actions):
    return env.step(torch.tensor(actions))


def test_is_a_vector_env():
    env = walk([0, 0])
    assert isinstance(env, VectorEnv) and env.num_envs == 2 and env.exact_state


def test_a_step_without_an_end():
    env = walk([0, 1])
    step = act(env, 1, 2)
    assert step.observation.tolist() == [[1.0], [3.0]] and step.final_observation is step.observation
    assert step.reward.tolist() == [[1.0], [3.0]] and step.cost.tolist() == [[1.0], [2.0]]
    assert env.clock.tolist() == [1, 1]


def test_ended_episodes_begin_anew_in_the_same_call_and_leave_neighbours_alone():
    env = walk([4, 0])
    act(env, 0, 1)
    step = act(env, 2, 1)  # 4 + 2 = 6 ends; the neighbour stands at 2
    assert step.terminated.tolist() == [True, False] and step.truncated.tolist() == [False, False]
    assert step.final_observation.tolist() == [[6.0], [2.0]] and step.reward.tolist() == [[6.0], [2.0]]
    assert step.observation[1].item() == 2.0 and step.observation[0].item() in (0.0, 1.0)
    assert env.clock.tolist() == [0, 2]
    assert env.random.count.tolist() == [2, 1]  # one draw per start


def test_truncation_at_the_horizon_but_never_of_what_ended():
    env = walk([0, 1])
    for _ in range(3):
        step = act(env, 0, 1)
        assert not (step.truncated | step.terminated).any()
    step = act(env, 0, 1)  # fourth step: one stands at 0, the other reaches 1 + 4 = 5
    assert step.terminated.tolist() == [False, True] and step.truncated.tolist() == [True, False]
    assert step.final_observation.tolist() == [[0.0], [5.0]] and env.clock.tolist() == [0, 0]


def test_another_horizon():
    env = walk([0], max_episode_steps=2)
    assert env.spec.horizon == 2
    assert [act(env, 0).truncated.item() for _ in range(4)] == [False, True, False, True]
    with pytest.raises(ValueError, match="at least 1, got 0"):
        walk([0], max_episode_steps=0)


def test_starts_are_drawn_fairly_and_anew_at_each_reset():
    env = Walk(SPEC, 2000)
    starts = torch.cat([env.reset() for _ in range(5)])
    assert abs(starts.mean().item() - 0.5) < 4 * 0.5 / 100  # 10,000 fair coins
    assert torch.equal(env.reset(seed=0), Walk(SPEC, 2000).observe(Walk(SPEC, 2000).state))


@pytest.mark.parametrize(
    ("action", "words"),
    [
        (torch.tensor([0, 3]), "action 3 of walk: it takes 0 to 2"),
        (torch.tensor([-1, 0]), "action -1 of walk"),
        (torch.tensor([1]), r"shape \(2,\), got \(1,\)"),
        (torch.tensor([[1], [1]]), r"shape \(2,\), got \(2, 1\)"),
        (torch.tensor([1.0, 1.0]), "int64"),
    ],
)
def test_actions_outside_the_space_are_refused_and_change_nothing(action, words):
    env = walk([0, 1])
    with pytest.raises(TradeoffError, match=words):
        env.step(action)
    assert env.state[0].tolist() == [0, 1] and env.clock.tolist() == [0, 0]


def test_continuous_actions_of_another_shape_are_refused():
    with pytest.raises(TradeoffError, match=r"shape \(2, 1\), got \(2,\)"):
        make("mo-mountaincarcontinuous-v0", 2).step(torch.zeros(2))


def random_steps(env, actions):
    return [env.step(a) for a in actions]


@pytest.mark.parametrize("id", ["resource-gathering-v0", "four-room-v0", "server-queues-v0", "fishwood-v0"])
def test_a_saved_environment_goes_on_bit_for_bit(id, tmp_path):
    env = make(id, 6, seed=3)
    actions = torch.randint(2, (120, 6), generator=torch.Generator().manual_seed(0))
    random_steps(env, actions[:50])
    torch.save(env.state_dict(), tmp_path / "state")
    expected = random_steps(env, actions[50:])
    other = make(id, 6, seed=99)
    other.load_state_dict(torch.load(tmp_path / "state", weights_only=True))
    for ours, theirs in zip(random_steps(other, actions[50:]), expected, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_a_saved_state_is_not_written_into_by_later_steps():
    env = make("server-queues-v0", 3)
    saved = env.state_dict()
    copy = [x.clone() for x in (*saved["state"], saved["clock"], saved["key"], saved["count"])]
    random_steps(env, torch.ones(20, 3, dtype=torch.int64))
    assert [x.tolist() for x in (*saved["state"], saved["clock"], saved["key"], saved["count"])] == [
        x.tolist() for x in copy
    ]


def test_a_state_of_another_size_is_refused():
    with pytest.raises(TradeoffError, match=r"\(3,\).*use the same num_envs"):
        make("deep-sea-treasure-v0", 4).load_state_dict(make("deep-sea-treasure-v0", 3).state_dict())


@pytest.mark.parametrize("id", ["resource-gathering-v0", "server-queues-v0", "fishwood-v0", "breakable-bottles-v0"])
def test_an_environment_does_not_depend_on_its_neighbours(id):
    many, alone = make(id, 8, seed=20), make(id, 1, seed=25)  # environment 5 of the first
    for action in torch.randint(2, (250, 8), generator=torch.Generator().manual_seed(1)):
        ours, theirs = many.step(action), alone.step(action[5:6])
        assert all(torch.equal(a[5:6], b) for a, b in zip(ours, theirs, strict=True))
