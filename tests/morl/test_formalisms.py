"""Formalisms of objectives whose best policy is known by hand, trained; and the page that lists all of them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import Tensor

from tests.morl.test_objectives import _chances, _learn
from tradeoff.engine import Linear
from tradeoff.engine.trajectories import Trajectories
from tradeoff.envs import EnvSpec, finite_arrays, make_tabular
from tradeoff.envs.finite import FiniteEnv, explore
from tradeoff.morl import utilities as u
from tradeoff.morl.criteria import ESR, SER, accrued
from tradeoff.morl.scalarizers import Lexicographic, SERScalarizer

PAGE = Path(__file__).parents[2] / "docs" / "objectives.md"
ONE = torch.ones(1, 1)


def steps(count: int, num_envs: int, pay: tuple[float, float] = (0.0, 0.0)) -> Any:
    """So many choices of two in a row; the observation is the number of the step."""
    transition = np.zeros((count + 1, 2, count + 1))
    for s in range(count + 1):
        transition[s, :, min(s + 1, count)] = 1
    reward = np.tile(np.array(pay)[:, None], (count + 1, 1, 1))
    return make_tabular(
        finite_arrays(transition, reward, terminal=np.arange(count + 1) == count, horizon=count), num_envs, discount=1.0
    )


def test_a_markov_reward_is_climbed_to_its_best_policy() -> None:
    # Three choices of 1 or .25: 3.
    learner = _learn(lambda n: steps(3, n, (1.0, 0.25)), Linear(ONE), 40, separate=False)
    assert learner.returns.item() > 2.9 and _chances(learner, torch.arange(3.0)[:, None])[0, :, 0].min() > 0.95


def test_the_mean_utility_of_one_return_is_reached_by_policies_that_know_what_they_have() -> None:
    """First a gift of 0 or 2 at even odds; then 1 for sure, or 0 or 3 at even odds. The chance of 3 or more:

    with 2 in hand the sure 1 makes it 1, with nothing the gamble makes it 1/2: together 3/4. Who does not know what is
    in hand has 1/2, whichever is chosen: 1/2 (1 + 0), or 1/2 (1/2 + 1/2).
    """

    def outcomes(state: str, action: int) -> Any:
        if state == "gift":
            return [(0.5, "choice", (0.0,), False), (0.5, "choice", (2.0,), False)]
        if action == 0:
            return [(1.0, "over", (1.0,), True)]
        return [(0.5, "over", (0.0,), True), (0.5, "over", (3.0,), True)]

    order = ["gift", "choice", "over"]
    tables = explore(["gift"], 2, outcomes, lambda state: float(order.index(state)))
    spec = EnvSpec(
        id="gift", observation_space=spaces.MultiDiscrete([3]), action_space=spaces.Discrete(2), objectives=("money",),
        horizon=2, discount=1.0,
    )  # fmt: skip
    enough = u.by_autograd(lambda money: (money[:, 0] - 2.5).clamp(0, 0.5) / 0.5)
    make = lambda n: accrued(FiniteEnv(spec, tables, n), ESR(enough))  # noqa: E731
    learner = _learn(make, Linear(torch.tensor([[1.0, 0.0]])), 60, batch=256, separate=False)
    played = [learner.iterate(0.0)["returns"][0, 0].item() for _ in range(20)]  # 5,120 episodes: error .006
    assert np.mean(played) == pytest.approx(0.75, abs=0.02)


def test_a_function_of_the_whole_trajectory_is_paid_at_its_end() -> None:
    """Whether the first and the last of four actions differ: no reward of single steps says so. Best: 1."""

    def parity(data: Trajectories) -> Tensor:
        action = data.action[..., :1].float()
        paid = torch.zeros_like(action)
        paid[-1] = (action[0] - action[-1]).abs()
        return paid

    learner = _learn(lambda n: steps(4, n), Linear(ONE), 80, batch=128, channels=parity, separate=False)
    ends = _chances(learner, torch.tensor([[0.0], [3.0]]))[0, :, 0]
    assert learner.returns.item() > 0.95 and abs(ends[0] - ends[1]) > 0.9


def test_an_outer_function_of_one_return_has_a_mixed_optimum() -> None:
    # J = chance of the first arm: -(J - .3)^2 is best at .3, which no Markov reward has as its only optimum.
    target = u.by_autograd(lambda j: -((j[:, 0] - 0.3) ** 2))
    learner = _learn(lambda n: steps(1, n, (1.0, 0.0)), SERScalarizer(SER(target), 1), 120, batch=256)
    assert _chances(learner, torch.zeros(1, 1))[0, 0, 0].item() == pytest.approx(0.3, abs=0.04)


def test_a_lexicographic_order_is_trained_to_its_slack() -> None:
    """Arms (1, 0), (0, 1), (.7, .6); first J_0, then J_1 with J_0 at least 1 - .2.

    A mixture of the first and two thirds of the third: J_0 = 1/3 + 2/3 * .7 = .8, J_1 = 2/3 * .6 = .4.
    """
    reward: Any = [[[1.0, 0], [0, 1], [0.7, 0.6]]] * 2
    model = finite_arrays([[[0, 1.0]] * 3] * 2, reward, terminal=[False, True], horizon=1)
    rule = Lexicographic([0, 1], [0.2, 0.0], turns=40, memory=0.8)
    learner = _learn(lambda n: make_tabular(model, n), rule, 400, batch=256, rate=0.02)
    chance = _chances(learner, torch.zeros(1, 1))[0, 0].double()
    np.testing.assert_allclose(chance @ torch.tensor(reward[0]).double(), [0.8, 0.4], atol=0.04)


def test_the_page_names_tests_that_exist_and_all_seventeen_formalisms() -> None:
    text = PAGE.read_text()
    rows = [line for line in text.splitlines() if re.match(r"\| \d+ \|", line)]
    assert [int(line.split("|")[1]) for line in rows] == list(range(1, 18))
    assert [int(line.split("|")[1]) for line in rows if "| no |" in line] == [13, 15, 16, 17]
    assert all(("::" in line) == ("| no |" not in line) for line in rows)
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", text)
    assert len(named) >= 18
    for path, name in named:
        assert f"def {name}(" in (PAGE.parents[1] / path).read_text(), (path, name)
