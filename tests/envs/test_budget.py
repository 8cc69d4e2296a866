"""Budgets in the observation, worked out step by step."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gymnasium import spaces

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


def _walk(env, actions):
    """Steps for actions [T, N]."""
    return [env.step(torch.tensor(a)) for a in actions]


def test_the_budget_runs_down_and_is_full_again_in_the_next_episode() -> None:
    # Limit 2: walking takes half the budget a step. Environment 0 walks, walks, stays, walks; 1 stays.
    env = Budget(_line(), mode="watch")
    first = env.reset(0)
    assert first.tolist() == [[1, 0, 0, 0, 0, 0, 1]] * 2  # one-hot cell, whole budget
    steps = _walk(env, [[1, 0], [1, 0], [0, 0], [1, 0]])
    assert [s.final_observation[0, -1].item() for s in steps] == [0.5, 0, 0, -0.5]
    assert [s.observation[0, -1].item() for s in steps] == [0.5, 0, 0, 1]  # truncated after 4 steps
    assert steps[3].final_observation[0, :6].argmax() == 3 and steps[3].observation[0, :6].argmax() == 0
    assert [s.observation[1, -1].item() for s in steps] == [1] * 4 and steps[3].truncated.all()


def test_a_discounted_budget_is_positive_as_long_as_the_discounted_cost_keeps_the_limit() -> None:
    # Costs 1, 1, 1 at discount 1/2 and limit 2: sums 1, 1.5, 1.75. z = (1 - .5) * 2 = 1 each time.
    env = Budget(_line(), mode="watch", discount=HALVES)
    env.reset(0)
    steps = _walk(env, [[1, 1]] * 3)
    assert [s.final_observation[0, -1].item() for s in steps] == [1, 1, 1]
    # Limit 1.6: z = (1 - 1/1.6) * 2 = .75, .25, -.75: the sum passes 1.6 at the third cost.
    tight = Budget(_line(), (1.6,), mode="watch", discount=HALVES)
    tight.reset(0)
    left = [s.final_observation[0, -1].item() for s in _walk(tight, [[1, 1]] * 3)]
    assert left == pytest.approx([0.75, 0.25, -0.75])


def test_saute_pays_the_unsafe_reward_below_zero_only_and_reports_true_costs() -> None:
    env = Budget(_line(), mode="saute", unsafe_reward=-3.0)
    env.reset(0)
    steps = _walk(env, [[1, 0], [1, 0], [1, 0], [0, 0]])
    assert [s.reward[0, 0].item() for s in steps] == [1, 1, -3, -3]  # spent exactly is still safe
    assert [s.reward[1, 0].item() for s in steps] == [0.25] * 4
    assert [s.cost[0, 0].item() for s in steps] == [1, 1, 1, 0]


def test_simmer_widens_the_budget_for_episodes_that_begin_later() -> None:
    env = Budget(_line(), mode="simmer", first_share=0.25, unsafe_reward=-3.0)
    assert env.reset(0)[0, -1] == 0.25
    env.schedule(0.5)  # 1/4 + 3/4 * 1/2
    steps = _walk(env, [[1, 0], [0, 0], [0, 0], [0, 0]])
    assert [s.reward[0, 0].item() for s in steps] == [-3] * 4 and steps[3].observation[0, -1] == 0.625
    env.schedule(7.0)
    assert env.reset(0)[0, -1] == 1
    with pytest.raises(TradeoffError, match="only mode 'simmer'"):
        Budget(_line()).schedule(0.5)


def test_early_termination_ends_the_episode_and_begins_another_there_alone() -> None:
    env = Budget(_line(), mode="terminate")
    env.reset(0)
    steps = _walk(env, [[1, 1], [1, 0], [1, 0]])
    assert steps[2].terminated.tolist() == [True, False] and not steps[2].truncated.any()
    assert steps[2].final_observation[0].tolist() == [0, 0, 0, 1, 0, 0, -0.5]
    assert steps[2].observation.tolist() == [[1, 0, 0, 0, 0, 0, 1], [0, 1, 0, 0, 0, 0, 0.5]]
    later = _walk(env, [[0, 1], [0, 0], [0, 0], [0, 0]])
    # Environment 1 spends its budget exactly and runs into the clock; environment 0's clock began anew.
    assert later[0].truncated.tolist() == [False, True] and later[3].truncated.tolist() == [True, False]


def test_over_budget_at_the_last_step_is_a_termination() -> None:
    env = Budget(_line(horizon=3), mode="terminate")
    env.reset(0)
    last = _walk(env, [[1, 1]] * 3)[-1]
    assert last.terminated.all() and not last.truncated.any() and last.observation[0].argmax() == 0


def test_a_resumed_budget_goes_on_exactly() -> None:
    one, other = (Budget(_line(), mode="simmer", first_share=0.5) for _ in range(2))
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
            Budget(_line(), **wrong)
