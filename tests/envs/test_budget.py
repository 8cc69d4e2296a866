"""Budgets in the observation, worked out step by step."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from gymnasium import spaces

from tradeoff.envs.batched import BatchedEnv, Outcome
from tradeoff.envs.budget import Budget
from tradeoff.envs.errors import TradeoffError
from tradeoff.envs.protocol import VectorEnv
from tradeoff.envs.tabular import finite_arrays, make_tabular

HALVES = 0.5


def _line(num_envs=2, horizon=4):
    """Cells 0 to 5 in a row: action 1 moves on, pays 1 and costs 1; action 0 stays, pays 1 / 4 and costs nothing."""
    transition, paid = np.zeros((6, 2, 6)), np.zeros((6, 2, 2))
    for s in range(6):
        transition[s, 0, s] = transition[s, 1, min(s + 1, 5)] = 1
        paid[s] = [[0.25, 0], [1, 1]]
    model = finite_arrays(transition, paid[..., :1], cost=paid[..., 1:], horizon=horizon)
    return make_tabular(model, num_envs, costs=("wear",), limits=(2.0,))


def _budget(limits=(), horizon=4, clock=False, **options):
    """The line with a budget; the time left is shown in a test of its own."""
    return Budget(_line(horizon=horizon), limits, clock=clock, **options)


def _walk(env, actions):
    """Steps for actions [T, N]."""
    return [env.step(torch.tensor(a)) for a in actions]


def test_the_budget_runs_down_and_is_full_again_in_the_next_episode() -> None:
    # Limit 2: walking takes half the budget a step. Environment 0 walks, walks, stays, walks; 1 stays.
    env = _budget(mode="watch")
    first = env.reset(0)
    assert first.tolist() == [[1, 0, 0, 0, 0, 0, 1]] * 2  # one-hot cell, whole budget
    steps = _walk(env, [[1, 0], [1, 0], [0, 0], [1, 0]])
    assert [s.final_observation[0, -1].item() for s in steps] == [0.5, 0, 0, -0.5]
    assert [s.observation[0, -1].item() for s in steps] == [0.5, 0, 0, 1]  # truncated after 4 steps
    assert steps[3].final_observation[0, :6].argmax() == 3 and steps[3].observation[0, :6].argmax() == 0
    assert [s.observation[1, -1].item() for s in steps] == [1] * 4 and steps[3].truncated.all()


def test_a_discounted_budget_is_positive_as_long_as_the_discounted_cost_keeps_the_limit() -> None:
    # Costs 1, 1, 1 at discount 1/2 and limit 2: sums 1, 1.5, 1.75. z = (1 - .5) * 2 = 1 each time.
    env = _budget(mode="watch", discount=HALVES)
    env.reset(0)
    steps = _walk(env, [[1, 1]] * 3)
    assert [s.final_observation[0, -1].item() for s in steps] == [1, 1, 1]
    # Limit 1.6: z = (1 - 1/1.6) * 2 = .75, .25, -.75: the sum passes 1.6 at the third cost.
    tight = _budget((1.6,), mode="watch", discount=HALVES)
    tight.reset(0)
    left = [s.final_observation[0, -1].item() for s in _walk(tight, [[1, 1]] * 3)]
    assert left == pytest.approx([0.75, 0.25, -0.75])


def test_saute_pays_the_unsafe_reward_below_zero_only_and_reports_true_costs() -> None:
    env = _budget(mode="saute", unsafe_reward=-3.0)
    env.reset(0)
    steps = _walk(env, [[1, 0], [1, 0], [1, 0], [0, 0]])
    assert [s.reward[0, 0].item() for s in steps] == [1, 1, -3, -3]  # spent exactly is still safe
    assert [s.reward[1, 0].item() for s in steps] == [0.25] * 4
    assert [s.cost[0, 0].item() for s in steps] == [1, 1, 1, 0]


def test_one_overspent_budget_of_two_is_enough() -> None:
    # Every step costs (1, 1) of limits 1 and 100: the first budget is overspent at the second step.
    model = finite_arrays(np.ones((1, 1, 1)), np.ones((1, 1, 1)), cost=np.ones((1, 1, 2)), horizon=4)
    for limits in ((1.0, 100.0), (100.0, 1.0)):
        env = Budget(make_tabular(model, 1, costs=("wear", "noise")), limits)
        env.reset(0)
        assert [s.reward.item() for s in _walk(env, [[0]] * 3)] == [1, 0, 0]


def test_simmer_widens_the_budget_for_episodes_that_begin_later() -> None:
    env = _budget(mode="simmer", first_share=0.25, unsafe_reward=-3.0)
    assert env.reset(0)[0, -1] == 0.25
    env.schedule(0.5)  # 1/4 + 3/4 * 1/2
    steps = _walk(env, [[1, 0], [0, 0], [0, 0], [0, 0]])
    assert [s.reward[0, 0].item() for s in steps] == [-3] * 4 and steps[3].observation[0, -1] == 0.625
    env.schedule(7.0)
    assert env.reset(0)[0, -1] == 1
    with pytest.raises(TradeoffError, match="only mode 'simmer'"):
        _budget().schedule(0.5)


def test_early_termination_ends_the_episode_and_begins_another_there_alone() -> None:
    env = _budget(mode="terminate")
    env.reset(0)
    steps = _walk(env, [[1, 1], [1, 0], [1, 0]])
    assert steps[2].terminated.tolist() == [True, False] and not steps[2].truncated.any()
    assert steps[2].final_observation[0].tolist() == [0, 0, 0, 1, 0, 0, -0.5]
    assert steps[2].observation.tolist() == [[1, 0, 0, 0, 0, 0, 1], [0, 1, 0, 0, 0, 0, 0.5]]
    later = _walk(env, [[0, 1], [0, 0], [0, 0], [0, 0]])
    # Environment 1 spends its budget exactly and runs into the clock; environment 0's clock began anew.
    assert later[0].terminated.tolist() == [False, True] and later[3].terminated.tolist() == [True, False]
    assert [s.reward[0, 0].item() for s in steps] == [1, 1, 0], "the step that overspends pays nothing"


@pytest.mark.parametrize("mode", ["saute", "simmer", "terminate"])
def test_the_time_limit_of_a_budget_per_episode_is_its_end(mode) -> None:
    """Resting, no budget is spent; a discounted budget and one that is only watched are cut, not ended."""
    for discount, shaped, ended in ((1.0, mode, True), (HALVES, mode, False), (1.0, "watch", False)):
        env = _budget(mode=shaped, discount=discount)
        env.reset(0)
        steps = _walk(env, [[0, 0]] * 4)
        assert not any((s.terminated | s.truncated).any() for s in steps[:3])
        assert steps[3].terminated.tolist() == [ended] * 2 and steps[3].truncated.tolist() == [not ended] * 2


def test_the_time_left_is_shown_beside_a_budget_per_episode() -> None:
    env = _budget(mode="watch", clock=True)
    assert env.reset(0)[0].tolist() == [1, 0, 0, 0, 0, 0, 1, 1] and env.spec.observation_space.shape == (8,)
    steps = _walk(env, [[0, 0]] * 5)
    assert [s.final_observation[0, -1].item() for s in steps] == [0.75, 0.5, 0.25, 0, 0.75]
    assert steps[3].observation[0, -1] == 1
    for other in (_budget(clock=True, horizon=None), _budget(clock=True, discount=HALVES)):
        assert other.reset(0).shape == (2, 7), "no horizon, or a budget that goes on beyond it"


@pytest.mark.parametrize(("mode", "unit"), [*(("saute", x) for x in (1.0, 0.1, 1e-3, 1e-7)), ("terminate", 0.1)])
def test_a_limit_that_is_spent_exactly_is_kept(mode, unit) -> None:
    """A step costs one unit, and the limit is n of them, 1 to 100: the reward stops at step n + 1, not before."""
    model = finite_arrays(np.ones((1, 1, 1)), np.ones((1, 1, 1)), cost=np.full((1, 1, 1), unit), horizon=101)
    for limit in range(1, 101):
        env = Budget(make_tabular(model, 1), (limit * unit,), mode=mode)
        env.reset(0)
        paid = [env.step(torch.zeros(1, dtype=torch.int64)).reward.item() for _ in range(limit + 1)]
        assert paid == [1.0] * limit + [0.0], (limit, unit)


def test_observations_that_count_from_three_are_coded_from_three() -> None:
    """Discrete(4, start=3) beside MultiDiscrete([2, 3], start=[1, -1]): a step shows the last value of each."""
    for space, first, last, codes in (
        (spaces.Discrete(4, start=3), [3], [6], ([1, 0, 0, 0], [0, 0, 0, 1])),
        (spaces.MultiDiscrete([2, 3], start=[1, -1]), [1, -1], [2, 1], ([1, 0, 1, 0, 0], [0, 1, 0, 0, 1])),
    ):
        env = Budget(_Counted(space, first, last), mode="watch")
        assert env.reset(0).tolist() == [[*codes[0], 1, 1]]
        assert env.step(torch.zeros(1, dtype=torch.int64)).observation.tolist() == [[*codes[1], 0.5, 0.75]]


class _Counted(BatchedEnv):
    """Costs 1 per step; shows `first` at the start and `last` afterwards."""

    def __init__(self, space, first, last):
        self.shown = torch.tensor([first, last], dtype=torch.float32)
        super().__init__(replace(_line().spec, observation_space=space), 1)

    def start(self, uniform):
        return (torch.zeros(1, dtype=torch.int64),)

    def transition(self, state, action, uniform):
        one = torch.ones(1, 1)
        return Outcome((torch.ones(1, dtype=torch.int64),), one, torch.zeros(1, dtype=torch.bool), one)

    def observe(self, state):
        return self.shown[state[0]]


def test_a_budget_saved_as_shares_goes_on() -> None:
    """Older files: half of a limit of 2 is left, discounted by 1/2. Costs 1, 1: z = (.5 - .5) * 2 = 0, then -1."""
    env = _budget(mode="watch", discount=HALVES)
    env.load_state_dict({"env": env.env.state_dict(), "left": torch.full((2, 1), 0.5), "share": 1.0})
    assert [s.final_observation[0, -1].item() for s in _walk(env, [[1, 1]] * 2)] == [0, -1]
    # Half of the limit may be spent and a quarter is left; then 1 of 2 is spent. What is free is never used up.
    for limit, left, after in ((2.0, 0.25, -0.25), (np.inf, 0.5, 0.5)):
        env = _budget((limit,), mode="simmer")
        env.load_state_dict({"env": env.env.state_dict(), "left": torch.full((2, 1), left), "share": 0.5})
        assert _walk(env, [[1, 1]])[0].final_observation[0, -1] == after


def test_over_budget_at_the_last_step_is_a_termination() -> None:
    env = _budget(horizon=3, mode="terminate")
    env.reset(0)
    last = _walk(env, [[1, 1]] * 3)[-1]
    assert last.terminated.all() and not last.truncated.any() and last.observation[0].argmax() == 0


def test_a_resumed_budget_goes_on_exactly() -> None:
    one, other = (_budget(mode="simmer", first_share=0.5) for _ in range(2))
    one.reset(3)
    one.schedule(0.5)
    _walk(one, [[1, 0]])
    other.load_state_dict(one.state_dict())
    for a, b in zip(_walk(one, [[1, 1]] * 4), _walk(other, [[1, 1]] * 4), strict=True):
        assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))
    assert a.observation[0, -1] == 0.25  # a new episode with 3/4, one step old
    assert isinstance(one, VectorEnv) and isinstance(one.spec.observation_space, spaces.Box)


def test_what_does_not_fit_is_refused_by_name() -> None:
    class Fixed:
        spec = _line().spec

    with pytest.raises(TradeoffError, match="cannot break off"):
        Budget(Fixed(), mode="terminate")  # type: ignore[arg-type]
    for wrong, word in (
        ({"mode": "sauna"}, "sauna"), ({"limits": (1.0, 2.0)}, "wear"), ({"limits": (0.0,)}, "positive"),
        ({"discount": 0.0}, "discount"), ({"first_share": 2.0}, "first_share"),
    ):  # fmt: skip
        with pytest.raises(TradeoffError, match=word):
            _budget(**wrong)
