"""What an episode can cost at most, by hand and by playing."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from tradeoff.envs import finite_arrays, make, make_tabular
from tradeoff.envs.errors import UnknownName
from tradeoff.errors import BadInput
from tradeoff.safe.known_ranges import known_range
from tradeoff.safety_ranges import given_ranges


def corridor(horizon: int) -> Any:
    """State 0 -> 1 -> 2, terminal. Action 0 goes on (costs 1, then 4), action 1 stays (costs 2 and pays -1).

    The row of the terminal state leads back, which no episode follows.
    """
    move = np.zeros((3, 2, 3))
    move[0, 0, 1] = move[1, 0, 2] = move[2, :, 0] = move[0, 1, 0] = move[1, 1, 1] = 1
    reward, cost = np.zeros((3, 2, 1)), np.zeros((3, 2, 2))
    reward[:2, 1], cost[0, 0, 0], cost[1, 0], cost[:2, 1, 0] = -1, 1, 4, 2
    model = finite_arrays(move, reward, cost=cost, terminal=[False, False, True], horizon=horizon)
    return make_tabular(model, 1, objectives=["pay"], costs=["heat", "end"])


def test_a_finite_model_says_exactly_what_an_episode_can_cost() -> None:
    # Three steps: least heat 1 + 4 = 5 (staying all along is 6); most stay, on, 4: 2 + 1 + 4 = 7. Pay 0 to -3.
    env = corridor(3)
    assert known_range(env, 1, 1.0) == ((5.0, 7.0), "the finite model")
    assert known_range(env, 0, 1.0) == ((-3.0, 0.0), "the finite model")
    # Halved with every step: on, on is 1 + 2 = 3; on, stay, on 1 + 1 + 1; on, stay, stay 1 + 1 + .5, the least;
    # stay, stay, stay 2 + 1 + .5; stay, on, on 2 + .5 + 1.
    assert known_range(env, 1, 0.5) == ((2.5, 3.5), "the finite model")
    # In ten steps the end is reached once or never, and walking straight there stays the cheapest way.
    assert known_range(corridor(10), 2, 1.0) == ((0.0, 4.0), "the finite model")
    assert known_range(corridor(10), 1, 1.0) == ((5.0, 21.0), "the finite model")  # 8 times 2, 1, 4
    # One step: 1 or 2.
    assert known_range(corridor(1), 1, 1.0) == ((1.0, 2.0), "the finite model")


def test_a_branch_of_no_probability_is_not_taken() -> None:
    # State 0 stays or goes on by chance, which makes two branches everywhere; state 1 ends the episode surely.
    move = np.zeros((3, 1, 3))
    move[0, 0, :2], move[1, 0, 2], move[2, 0, 2] = 0.5, 1, 1
    model = finite_arrays(move, np.ones((3, 1, 1)), terminal=[False, False, True], start=1, horizon=10)
    assert known_range(make_tabular(model, 1), 0, 1.0) == ((1.0, 1.0), "the finite model")
    model = finite_arrays(move, np.ones((3, 1, 1)), terminal=[False, False, True], start=0, horizon=10)
    assert known_range(make_tabular(model, 1), 0, 1.0) == ((2.0, 10.0), "the finite model")


def test_chance_counts_and_branches_that_only_fill_the_table_do_not() -> None:
    # resource-gathering: enemies strike by chance, so an episode may end in death (-1) or bring home one of each.
    env = make("resource-gathering-v0", 1)
    assert [known_range(env, i, 1.0) for i in range(3)] == [
        ((-1.0, 0.0), "the finite model"), ((0.0, 1.0), "the finite model"), ((0.0, 1.0), "the finite model"),
    ]  # fmt: skip
    # deep-sea-treasure pays -1 in each of 1 to 100 steps, or of as many as the horizon allows.
    assert known_range(make("deep-sea-treasure-v0", 1), 1, 1.0) == ((-100.0, -1.0), "the finite model")
    assert known_range(make("deep-sea-treasure-v0", 1, max_episode_steps=7), 1, 1.0) == (
        (-7.0, -1.0),
        "the finite model",
    )


def test_random_episodes_stay_within_the_range() -> None:
    env = make("breakable-bottles-v0", 64, max_episode_steps=30)
    channels = range(len(env.spec.objectives))
    ranges = [known_range(env, i, 0.9) for i in channels]
    chance, total = torch.Generator().manual_seed(0), torch.zeros(64, len(channels), dtype=torch.float64)
    env.reset(0)
    alive = torch.ones(64, 1, dtype=torch.bool)
    for t in range(30):
        step = env.step(torch.randint(env.spec.action_space.n, (64,), generator=chance))
        total += torch.where(alive, 0.9**t * step.reward.double(), 0.0)
        alive &= ~(step.terminated | step.truncated).unsqueeze(1)
    for i, known in enumerate(ranges):
        assert known is not None
        assert known.range[0] - 1e-9 <= total[:, i].min() and total[:, i].max() <= known.range[1] + 1e-9


def test_the_dearest_step_bounds_an_episode() -> None:
    pytest.importorskip("mujoco")
    env = make("SafetyPointGoal1-v0", 1, max_episode_steps=40)
    assert known_range(env, 1, 1.0) == ((0.0, 40.0), "at most 1 in each of 40 steps")
    env = make("SafetyPointGoal1-v0", 1, max_episode_steps=2)
    assert known_range(env, 1, 0.5) == ((0.0, 1.5), "at most 1 in each of 2 steps")  # 1 + 1/2
    assert known_range(env, 0, 1.0) is None, "nothing is known of the reward"


def test_costs_beyond_those_that_are_described_have_no_range() -> None:
    spec = replace(make("deep-sea-treasure-v0").spec, costs=("a", "b"), ceilings=(2.0,), horizon=5)
    env: Any = SimpleNamespace(spec=spec)
    assert known_range(env, 2, 1.0) == ((0.0, 10.0), "at most 2 in each of 5 steps")
    assert known_range(env, 3, 1.0) is None and known_range(env, 0, 1.0) is None
    endless: Any = SimpleNamespace(spec=replace(spec, horizon=None))
    assert known_range(endless, 2, 1.0) is None
    assert known_range(endless, 2, 0.75).range == (0.0, 8.0)  # type: ignore[union-attr]  # 2 / (1 - 3/4)


def test_ranges_as_they_are_given() -> None:
    found = given_ranges(["a=25", "b = -3", "c=-1:2.5"], ["a", "b", "c"])
    assert [x.range for x in found.values()] == [(0, 25), (-3, 0), (-1, 2.5)]
    for text in ("a", "a=", "a=x", "a=0", "a=2:1", "a=inf", "a=nan", "a=1:2:3"):
        with pytest.raises(BadInput, match="is no range"):
            given_ranges([text], ["a"])
    with pytest.raises(UnknownName, match="d"):
        given_ranges(["d=1"], ["a"])
