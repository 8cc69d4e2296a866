"""Actions that are made several times in a row, worked out step by step."""

from __future__ import annotations

import gymnasium as gym
import mo_gymnasium
import numpy as np
import pytest
import torch

from tradeoff.envs import ActionRepeat, make
from tradeoff.envs.clocks import clock_of
from tradeoff.envs.errors import TradeoffError
from tradeoff.envs.gymnasium_adapter import GymnasiumEnv
from tradeoff.envs.repeated import Repeated
from tradeoff.envs.tabular import finite_arrays, make_tabular


def _line(horizon: int = 4):
    """Cells 0 to 4 in a row: action 1 moves on, pays 1 + cell and costs 1; action 0 stays and pays 1 / 4. 4 ends."""
    transition, paid = np.zeros((5, 2, 5)), np.zeros((5, 2, 2))
    for s in range(5):
        transition[s, 0, s] = transition[s, 1, min(s + 1, 4)] = 1
        paid[s] = [[0.25, 0], [1 + s, 1]]
    terminal = np.arange(5) == 4
    model = finite_arrays(transition, paid[..., :1], cost=paid[..., 1:], terminal=terminal, horizon=horizon)
    return make_tabular(model, 2, costs=("wear",), limits=(2.0,), ceilings=(1.0,))


def _walk(env, actions):
    env.reset(0)
    return [env.step(torch.tensor(a)) for a in actions]


def test_what_several_steps_pay_is_added_up_and_the_clock_counts_their_rounds():
    env = Repeated(_line(), 2)
    assert (env.spec.horizon, env.spec.repeat, env.spec.ceilings) == (2, 2, (2.0,))
    first, last = _walk(env, [[1, 0], [0, 1]])
    # Environment 0 walks from 0 over 1 to 2: 1 + 2; then rests: 1/4 + 1/4. The other one rests, then walks.
    assert first.reward.tolist() == [[3.0], [0.5]] and first.cost.tolist() == [[2.0], [0.0]]
    assert first.observation.tolist() == [[2], [0]] and not (first.terminated | first.truncated).any()
    assert last.reward.tolist() == [[0.5], [3.0]] and last.truncated.tolist() == [True, True]
    assert last.final_observation.tolist() == [[2], [2]] and last.observation.tolist() == [[0], [0]]


def test_nothing_counts_after_an_episode_has_ended_on_the_way():
    # Three times each: environment 0 reaches cell 3 (1 + 2 + 3), then the end with its fourth step, which pays 4.
    env = Repeated(_line(horizon=9), 3)
    first, second, third = _walk(env, [[1, 0], [1, 0], [0, 1]])
    assert first.reward.tolist() == [[6.0], [0.75]]
    assert second.reward.tolist() == [[4.0], [0.75]] and second.cost.tolist() == [[1.0], [0.0]]
    assert second.terminated.tolist() == [True, False] and not second.truncated.any()
    assert second.final_observation.tolist() == [[4], [0]]
    assert second.observation.tolist() == [[0], [0]], "begun anew: the two steps left over are not the next episode's"
    assert third.reward.tolist() == [[0.75], [6.0]] and third.truncated.tolist() == [False, True]


def test_a_clock_that_stops_on_the_way_cuts_there():
    # Five steps, two at a time: the third pair has one step.
    env = Repeated(_line(horizon=5), 2)
    assert env.spec.horizon == 3
    steps = _walk(env, [[0, 0]] * 4)
    assert [s.reward[0].item() for s in steps] == [0.5, 0.5, 0.25, 0.5]
    assert [s.truncated[0].item() for s in steps] == [False, False, True, False]


@pytest.mark.parametrize("times", [1, 4])
def test_a_step_is_so_many_steps_of_the_environment_inside_and_goes_on_bit_for_bit(times):
    plain, env = (make("SafetyCarGoal1-v0", 2, seed=3, max_episode_steps=20) for _ in range(2))
    env = Repeated(env, times)
    actions = torch.rand(8, 2, 2, generator=torch.Generator().manual_seed(0)) * 2 - 1
    for action in actions[:3]:
        inside = [plain.step(action) for _ in range(times)]
        step = env.step(action)
        assert torch.equal(step.observation, inside[-1].observation)
        assert torch.allclose(step.reward, sum(s.reward for s in inside), atol=1e-6)
        assert torch.equal(step.cost, sum(s.cost for s in inside))
    state = env.state_dict()
    other = Repeated(make("SafetyCarGoal1-v0", 2, seed=9, max_episode_steps=20), times)
    other.load_state_dict(state)
    for action in actions[3:]:
        for x, y in zip(env.step(action), other.step(action), strict=True):
            assert torch.equal(x, y)


def test_what_cannot_be_repeated_is_refused():
    with pytest.raises(TradeoffError, match="not 0 times"):
        Repeated(_line(), 0)
    with pytest.raises(TradeoffError, match="Acrobot-v1 cannot begin single episodes anew"):
        Repeated(GymnasiumEnv("Acrobot-v1", 1), 2)


def test_the_wrapper_of_originals_pays_what_the_batched_one_pays():
    """Three moves each in the sea, where nothing happens by chance; episodes end on the way and by the clock."""
    ours = Repeated(make("deep-sea-treasure-v0", 1, max_episode_steps=10), 3)
    original = ActionRepeat(mo_gymnasium.make("deep-sea-treasure-v0", max_episode_steps=10), 3)
    seen, draw, ends = original.reset(seed=0)[0], np.random.default_rng(0), [0, 0]
    assert ours.reset(0)[0].tolist() == seen.tolist() and clock_of(original) == ours.spec.horizon == 4
    for _ in range(300):
        action = draw.choice(4, p=[0.1, 0.5, 0.1, 0.3])
        step = ours.step(torch.tensor([action]))
        seen, reward, terminated, truncated, _ = original.step(action)
        assert step.reward[0].tolist() == pytest.approx(reward.tolist())
        assert (step.terminated.item(), step.truncated.item()) == (terminated, truncated and not terminated)
        assert step.final_observation[0].tolist() == seen.tolist()
        if terminated or truncated:
            ends[int(truncated)] += 1
            seen = original.reset()[0]
        assert step.observation[0].tolist() == seen.tolist()
    assert min(ends) > 5


class Payer(gym.Env):
    """Pays [1, 0], [2, 0], ..., as a list, and charges ten times that: in the info, or beside the reward if told so."""

    observation_space, action_space = gym.spaces.Discrete(9), gym.spaces.Discrete(2)

    def __init__(self, beside=False):
        self.beside = beside

    def reset(self, *, seed=None, options=None):
        self.clock = 0
        return 0, {}

    def step(self, action):
        self.clock += 1
        paid, cost = [2 ** (self.clock - 1), 0], 10.0 * 2 ** (self.clock - 1)
        rest = self.clock == 5, False, {"clock": self.clock} if self.beside else {"cost": cost}
        return (self.clock, paid, *([cost] if self.beside else []), *rest)


@pytest.mark.parametrize("beside", [False, True])
def test_costs_are_summed_as_rewards_are(beside):
    """1 + 2 + 4 = 7 and 8 + 16 = 24, where the fifth step ends the episode; costs are ten times that."""
    env = GymnasiumEnv(lambda: ActionRepeat(Payer(beside), 3), 1)
    first, second = (env.step(torch.zeros(1, dtype=torch.int64)) for _ in range(2))
    assert (first.reward.tolist(), first.cost.item()) == ([[7, 0]], 70)
    assert (second.reward.tolist(), second.cost.item()) == ([[24, 0]], 240)
    assert not first.terminated.item() and second.terminated.item()
    with pytest.raises(TradeoffError, match="not 0 times"):
        ActionRepeat(Payer(), 0)
