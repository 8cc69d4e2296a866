"""Accrued rewards worked out step by step, and bookkeeping of the protocol."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gymnasium import spaces

from tradeoff.envs.accrued import AccruedReward
from tradeoff.envs.errors import TradeoffError
from tradeoff.envs.protocol import VectorEnv
from tradeoff.envs.tabular import finite_arrays, make_tabular


def _line(num_envs: int = 2, horizon: int = 3, start=0, **options):
    """Cells 0 to 4 in a row, the last one is the end. Action 1 moves on and pays (4, 0), action 0 stays: (0, 2)."""
    transition, paid = np.zeros((5, 2, 5)), np.zeros((5, 2, 2))
    for s in range(5):
        transition[s, 0, s] = transition[s, 1, min(s + 1, 4)] = 1
        paid[s] = [[0, 2], [4, 0]]
    cost = np.ones((5, 2, 1))
    model = finite_arrays(transition, paid, cost=cost, horizon=horizon, start=start, terminal=np.arange(5) == 4)
    return make_tabular(model, num_envs, discount=0.5, **options)


def _product(returns):
    return returns[:, 0] * returns[:, 1] + 1


def _walk(env, actions):
    return [env.step(torch.tensor(a)) for a in actions]


def test_gains_of_the_utility_by_hand() -> None:
    # Discount 1/2. Environment 0 moves, stays, moves: G = (4, 0), (4, 1), (5, 1): u - 1 = 0, 4, 5.
    # Environment 1 stays, stays, moves: G = (0, 2), (0, 3), (1, 3): u - 1 = 0, 0, 3.
    env = AccruedReward(_line(), _product)
    assert env.reset(0).tolist() == [[1, 0, 0, 0, 0, 0, 0, 1]] * 2  # one-hot cell, G = (0, 0), discount^0
    steps = _walk(env, [[1, 0], [0, 0], [1, 1]])
    assert [s.reward[0].tolist() for s in steps] == [[0, 4, 0], [4, 0, 1], [1, 1, 0]]
    assert [s.reward[1].tolist() for s in steps] == [[0, 0, 2], [0, 0, 1], [3, 1, 0]]
    assert [s.observation[0, 5:].tolist() for s in steps] == [[4, 0, 0.5], [4, 1, 0.25], [0, 0, 1]]
    assert steps[2].final_observation[0].tolist() == [0, 0, 1, 0, 0, 5, 1, 0.125]
    assert steps[0].final_observation is steps[0].observation and steps[0].cost.tolist() == [[1], [1]]
    # The clock's end settles the utility: nothing is bootstrapped beyond.
    assert steps[2].terminated.all() and not steps[2].truncated.any()
    assert env.spec.objectives == ("utility", "objective_0", "objective_1") and env.spec.discount == 1


def test_gains_telescope_to_the_utility_of_the_discounted_return() -> None:
    env = AccruedReward(
        _line(num_envs=16, horizon=7), lambda g: torch.stack([_product(g), g[:, 0] ** 2], -1), names=("u", "square")
    )
    env.reset(3)
    draw = torch.Generator().manual_seed(0)
    total, checked = torch.zeros(16, 4), 0
    for _ in range(40):
        step = env.step(torch.randint(2, (16,), generator=draw))
        total += step.reward
        for i in step.terminated.nonzero().flatten().tolist():
            u, square, *g = total[i].tolist()
            assert u == pytest.approx(g[0] * g[1], abs=1e-5) and square == pytest.approx(g[0] ** 2, abs=1e-4)
            total[i], checked = 0.0, checked + 1
    assert checked > 80


def test_seeds_stay_with_their_environment_and_state_resumes_exactly() -> None:
    starts = np.array([0.4, 0.3, 0.3, 0, 0])
    make = lambda n: AccruedReward(_line(n, start=starts), _product)  # noqa: E731
    wide, narrow = make(6), make(2)
    assert torch.equal(wide.reset([5, 6, 7, 8, 9, 10])[2:4], narrow.reset([7, 8]))
    for actions in ([1, 1, 0, 1, 0, 1], [1, 0, 1, 0, 0, 1]):
        a, b = wide.step(torch.tensor(actions)), narrow.step(torch.tensor(actions[2:4]))
        assert all(torch.equal(x[2:4], y) for x, y in zip(a, b, strict=True))
    other = make(2)
    other.load_state_dict(narrow.state_dict())
    for actions in ([1, 0], [1, 1], [0, 1]):
        a, b = narrow.step(torch.tensor(actions)), other.step(torch.tensor(actions))
        assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))
    assert isinstance(narrow, VectorEnv) and isinstance(narrow.spec.observation_space, spaces.Box)
    assert narrow.reset(0).shape == (2, *narrow.spec.observation_space.shape)


def test_what_does_not_fit_is_refused() -> None:
    for utility, options, word in (
        (lambda g: g.log().sum(-1), {}, r"u\(0\) is \[-inf\]"),
        (lambda g: g, {}, r"\(2, 2\).*\('utility',\)"),
        (_product, {"discount": 0.0}, "discount"),
    ):
        with pytest.raises(TradeoffError, match=word):
            AccruedReward(_line(), utility, **options)
