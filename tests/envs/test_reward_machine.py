"""Reward machines: pay and states by hand, ends, the product as arrays against a simulation, saved state."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from gymnasium import spaces

from tradeoff.envs.errors import TradeoffError
from tradeoff.envs.reward_machine import MachineReward, machine_model, reward_machine
from tradeoff.envs.tabular import finite_arrays, make_tabular
from tradeoff.evaluation import finite_problem, policy_returns

KEY, DOOR = 0, 4
FETCH = reward_machine([[0, 1, 0], [1, 1, 2], [2, 2, 2]], [[0, 0.25, 0], [0, 0, 8], [0, 0, 0]], ends=[2])
"""State 0: without key, 1: with it, 2: done. Events: 0 nothing, 1 at the key (pays 1/4 once), 2 at the door."""


def corridor_model(slip: float = 0.0, horizon: int | None = 12):
    """Cells 0 to 4, start in 2; action 0 goes left, 1 right, by chance `slip` the other way. Steps pay -1."""
    transition = np.zeros((5, 2, 5))
    for s in range(5):
        for a, to in enumerate((max(s - 1, 0), min(s + 1, 4))):
            transition[s, a, to] += 1 - slip
            transition[s, 1 - a, to] += slip
    return finite_arrays(transition, -np.ones((5, 2, 1)), start=2, horizon=horizon)


def label(observation, action, successor):
    """1 where the key is reached, 2 where the door is."""
    cell = successor[:, 0].long()
    return (cell == KEY).long() + 2 * (cell == DOOR).long()


LABELS = np.broadcast_to(np.array([1, 0, 0, 0, 2]), (5, 2, 5))


def corridor(num_envs: int, **options):
    return MachineReward(make_tabular(corridor_model(**options), num_envs, discount=0.9), FETCH, label)


def _walk(env, actions):
    return [env.step(torch.tensor(a)) for a in actions]


def test_the_key_must_come_before_the_door() -> None:
    # Environment 0 fetches the key (two steps left), then walks right to the door (four). Environment 1 goes right.
    env = corridor(2)
    assert env.reset(0).tolist() == [[0, 0, 1, 0, 0, 1, 0, 0]] * 2
    steps = _walk(env, [[0, 1], [0, 1], [1, 0], [1, 0], [1, 0], [1, 0], [0, 0]])
    assert [s.reward[0, 0].item() for s in steps] == [0, 0.25, 0, 0, 0, 8, 0]
    assert [s.reward[1, 0].item() for s in steps] == [0, 0, 0, 0, 0, 0.25, 0]
    assert [s.reward[0, 1].item() for s in steps] == [-1] * 7
    assert steps[5].terminated.tolist() == [True, False] and not steps[5].truncated.any()
    assert steps[5].final_observation[0].tolist() == [0, 0, 0, 0, 1, 0, 0, 1]
    assert steps[5].observation.tolist() == [[0, 0, 1, 0, 0, 1, 0, 0], [1, 0, 0, 0, 0, 0, 1, 0]]
    later = _walk(env, [[0, 0]] * 5)  # the broken-off episode got a clock of its own
    assert later[4].truncated.tolist() == [False, True] and later[0].reward[0, 0] == 0.25


def test_the_label_sees_where_a_step_began() -> None:
    # Event 1 only where cell 2 is left for the right: never by standing further right.
    seen = lambda o, a, s: ((o[:, 0] == 2) & (a == 1)).long()  # noqa: E731
    env = MachineReward(make_tabular(corridor_model(), 1), reward_machine([[0, 0]], [[0, 5]]), seen)
    env.reset(0)
    assert [s.reward[0, 0].item() for s in _walk(env, [[1], [1], [0], [0]])] == [5, 0, 0, 0]
    other = MachineReward(make_tabular(corridor_model(), 1), env.machine, seen)
    other.load_state_dict(env.state_dict())
    assert [s.reward[0, 0].item() for s in _walk(other, [[1], [1]])] == [5, 0]


def test_done_at_the_clocks_last_step_is_a_termination() -> None:
    # Two steps to the key, four to the door: six in all.
    env = corridor(1, horizon=6)
    env.reset(0)
    last = _walk(env, [[0], [0], [1], [1], [1], [1]])[-1]
    assert last.reward[0, 0] == 8 and last.terminated.all() and not last.truncated.any()


def test_the_product_as_arrays_is_what_the_wrapper_plays() -> None:
    """Uniform policy, slips: exact returns of the product against 20,000 episodes, within 4 standard errors."""
    product = machine_model(corridor_model(0.25), FETCH, LABELS)
    problem = finite_problem(
        product.transition, product.reward, start=product.start, terminal=product.terminal, discount=0.9
    )
    exact = policy_returns(problem, np.full((15, 2), 0.5), horizon=12)
    env, draw = corridor(20_000, slip=0.25), torch.Generator().manual_seed(1)
    env.reset(0)
    alive, total = torch.ones(20_000, 1), torch.zeros(20_000, 2)
    for t in range(12):
        step = env.step(torch.randint(2, (20_000,), generator=draw))
        total += 0.9**t * alive * step.reward
        alive *= (~step.terminated & ~step.truncated).unsqueeze(-1)
    spread = total.std(0) / 20_000**0.5
    assert ((total.mean(0) - torch.tensor(exact)).abs() < 4 * spread).all() and exact[0] > 0.3


def test_a_resumed_machine_goes_on_exactly() -> None:
    one, other = corridor(3, slip=0.25), corridor(3, slip=0.25)
    one.reset(4)
    _walk(one, [[0, 0, 1], [0, 1, 1]])
    other.load_state_dict(one.state_dict())
    for a, b in zip(*(_walk(e, [[1, 1, 0]] * 8) for e in (one, other)), strict=True):
        assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))
    wide = corridor(5, slip=0.25)
    assert torch.equal(wide.reset([9, 9, 4, 5, 6])[2:], one.reset(4))


def test_observations_that_count_from_three_are_coded_from_three() -> None:
    env = make_tabular(corridor_model(), 1, discount=0.9)
    env.spec = replace(env.spec, observation_space=spaces.Discrete(5, start=3))
    env.seen = env.seen + 3
    machine = MachineReward(env, FETCH, lambda o, a, s: label(o - 3, a, s - 3))
    assert machine.reset(0).tolist() == [[0, 0, 1, 0, 0, 1, 0, 0]]
    steps = _walk(machine, [[0], [0], [1]])
    assert [s.observation[0].argmax().item() for s in steps] == [1, 0, 1]
    assert steps[1].reward[0, 0] == 0.25


def test_what_does_not_fit_is_refused() -> None:
    class Fixed:
        spec = corridor(1).spec

    with pytest.raises(TradeoffError, match="cannot break off"):
        MachineReward(Fixed(), FETCH, label)  # type: ignore[arg-type]
    with pytest.raises(TradeoffError, match="pays 1 channels"):
        MachineReward(make_tabular(corridor_model(), 1), FETCH, label, names=("a", "b"))
    for bad, word in ((lambda o, a, s: a + 7, "events from 7"), (lambda o, a, s: a.float(), "int64")):
        env = MachineReward(make_tabular(corridor_model(), 1), FETCH, bad)
        env.reset(0)
        with pytest.raises(TradeoffError, match=word):
            env.step(torch.tensor([0]))
    with pytest.raises(ValueError, match="outside of 0 to 0"):
        reward_machine([[1]], [[0]])
    with pytest.raises(ValueError, match="expected"):
        reward_machine([[0, 0]], [[0]])
