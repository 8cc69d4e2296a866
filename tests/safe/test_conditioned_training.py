"""Runs with limits as inputs: what they report, that they resume exactly, and that their fronts are the exact ones."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from tradeoff.engine import checkpoint
from tradeoff.engine.learner import LearnerConfig
from tradeoff.engine.run import Interrupted, complete
from tradeoff.engine.trained import Trained
from tradeoff.envs.errors import TradeoffError
from tradeoff.envs.protocol import EnvSpec
from tradeoff.safe.conditioned import ConditionedLagrangian
from tradeoff.safe.conditioned_methods import (
    ConditionedRun,
    at,
    fitted,
    front_rows,
    policy_at,
    read_range,
    seen_limits,
    sweep_points,
    unkept,
)
from tradeoff.safe.constraints import BadLimit, Constraint

SMALL = LearnerConfig(
    rollout_steps=32, environments=64, epochs=4, minibatches=4, learning_rate=2e-3, gamma=0.99, entropy=0.05,
    anneal=True,
)  # fmt: skip
SHORT = ConditionedRun(
    env="deep-sea-treasure-v0", limit=("time>=-20..-4",), weights=(1.0, 0.0), steps=6000, sweep=3, episodes=4,
    final_episodes=5, policies=2, evaluate_every=2, learner=replace(SMALL, rollout_steps=16, environments=16),
    solver=ConditionedLagrangian(nodes=3),
)  # fmt: skip


@cache
def short() -> Trained:
    """A run that has hardly learnt."""
    return SHORT.run()


def test_ranges_are_read(channels) -> None:
    spec: EnvSpec = channels(("speed",), ("heat",))
    assert read_range("5..50", spec, "episodic") == Constraint(cost="heat", limit=(5.0, 50.0))
    assert read_range("speed >= -2.5..3e1", spec, "discounted") == Constraint(
        cost="speed", limit=(-2.5, 30.0), scale="discounted", sense=">="
    )


@pytest.mark.parametrize(
    ("text", "word"),
    [("heat<=5", "needs a range: heat<=LOW..HIGH"), ("heat<=5..5", "low end"), ("heat<=9..5", "low end"),
     ("heat<=a..5", "is no limit"), ("5..", "is no limit")],
)  # fmt: skip
def test_a_range_that_is_none_is_refused(channels, text: str, word: str) -> None:
    with pytest.raises(BadLimit) as error:
        read_range(text, channels(("speed",), ("heat",)), "episodic")
    assert str(error.value).count(word) == 1


def test_a_sweep_moves_one_limit_at_a_time() -> None:
    # The loosest end of "<=" is the high one, of ">=" the low one.
    ranges = Constraint(cost="a", limit=(0.0, 4.0)), Constraint(cost="b", limit=(-3.0, 1.0), sense=">=")
    limits = at(ranges, sweep_points(ranges, 3))
    assert limits.tolist() == [[0, -3], [2, -3], [4, -3], [4, -3], [4, -1], [4, 1]]


def test_rows_of_a_front_by_hand(tensor) -> None:
    # Two limits of two episodes each, time >= -4 and >= -2. Values 6 and 2: mean 4, spread 2.828 / 1.414 = 2. Times -3
    # and -6 against -4: excess -1 and 2, mean 1/2, half of the episodes break it.
    ranges = (Constraint(cost="time", limit=(-4.0, -2.0), sense=">="),)
    rows = front_rows(ranges, tensor([-4], [-2]), tensor([6, 2, 1, 1]), tensor([-3, -6, -2, -2]).unsqueeze(-1),
                      tensor([0], [3]).unsqueeze(0))  # fmt: skip
    assert rows[0] == pytest.approx({
        "policy": 0, "value": 4, "value_stderr": 2, "limit time": -4, "time": -4.5, "time_stderr": 1.5,
        "violation time": 0.5, "share over time": 0.5, "price time": 0,
    })  # fmt: skip
    assert (rows[1]["violation time"], rows[1]["share over time"], rows[1]["price time"]) == (0, 0, 3)


def test_limits_that_are_clearly_broken_are_told(tensor) -> None:
    # heat <= 2, 5 and 9; two episodes each. 7 and 7: 5 too much, no spread. 6 and 6: 1 too much. 8 and 12: mean 10,
    # 1 too much, but two standard errors are 2 x 2.83 / 1.41 = 4. A second policy keeps all: 2 of 6 points are broken.
    ranges = (Constraint(cost="heat", limit=(2.0, 9.0)),)
    heat = tensor([7, 7, 6, 6, 8, 12], [0, 0, 0, 0, 0, 0]).unsqueeze(-1)
    prices = torch.zeros(2, 3, 1)
    rows = front_rows(ranges, tensor([2], [5], [9]), torch.zeros(2, 6), heat, prices)
    said = "after 800 steps: heat <= 2..5 broken at 2 of 6 points of the sweep, most by policy 0: 7 for 2"
    assert unkept(ranges, rows, 800) == said
    assert (
        unkept(ranges, rows[1:2], 800)
        == "after 800 steps: heat <= 5 broken at 1 of 1 points of the sweep, most by policy 0: 6 for 5"
    )
    assert unkept(ranges, rows[2:], 800) is None


def test_a_run_tells_what_its_policies_break() -> None:
    # 6,000 steps teach nothing: five steps are asked for at the strictest limit, and who wanders takes more.
    found = short().indicators
    assert found["never_feasible"].startswith(
        f"after {found['real_environment_steps']['training'] // 2} steps: time >= "
    )
    assert found["never_moved"] == []


def test_what_a_run_reports() -> None:
    # Sweep -20, -12, -4 with five episodes each; the best mixes of treasures are worth 23.7, 18.725 (12 lies three
    # quarters of the way from 9, 16.1, to 13, 19.6) and 9.85 (half way from 3, 8.2, to 5, 11.5).
    found = short()
    front = found.indicators["front"]
    assert found.returns.shape == (2, 15, 2)
    assert [row["limit time"] for row in front] == [-20, -12, -4] * 2
    assert [row["exact_value"] for row in front] == pytest.approx([23.7, 18.725, 9.85] * 2)
    by_limit = found.returns.reshape(2, 3, 5, 2).mean(2).reshape(6, 2)
    assert [row["value"] for row in front] == pytest.approx(by_limit[:, 0])
    assert [row["violation time"] for row in front] == pytest.approx([-20, -12, -4] * 2 - by_limit[:, 1])
    assert found.indicators["value"] == pytest.approx(found.returns[..., 0].mean(1))
    steps = found.indicators["real_environment_steps"]
    assert steps["training"] % 512 == 0 and steps["total"] == sum(steps.values()) - steps["total"]
    # An iteration takes 2 policies x 16 environments x 16 steps, an evaluation at most 2 x 4 episodes x 100.
    assert 6000 - 800 <= steps["training"] + steps["evaluation"] < 6000 + 512


@pytest.mark.parametrize("moment", [3, 6])
def test_an_interrupted_run_ends_as_if_it_had_not_been(tmp_path: Path, moment: int) -> None:
    turns = iter(range(1, 10**6))
    with pytest.raises(Interrupted):
        complete(SHORT.start(), tmp_path, stop=lambda: next(turns) == moment)
    again = SHORT.start()
    again.load_state_dict(checkpoint.load_newest(tmp_path))
    other = complete(again, tmp_path)
    assert short().indicators == other.indicators and short().history == other.history
    assert (short().population.theta == other.population.theta).all()


def test_every_setting_changes_the_result() -> None:
    same = SHORT.run()
    assert (same.population.theta == short().population.theta).all()  # one seed, one result
    solvers = ({"nodes": 5}, {"rate": 0.5}, {"penalty": 1.0}, {"bound": 0.1})
    changes = [
        {"limit": ("time>=-20..-5",)}, {"weights": (1.0, 0.5)}, {"margin": 0.2},
        {"scale": "discounted", "discount": 0.9},
        *({"solver": replace(SHORT.solver, **x)} for x in solvers),
    ]  # fmt: skip
    with pytest.warns(UserWarning, match="has reached its bound 0.1"):
        for change in changes:
            theta = replace(SHORT, **change).run().population.theta
            assert theta.shape != same.population.theta.shape or (theta != same.population.theta).any(), change
    assert len(replace(SHORT, sweep=5).run().indicators["front"]) == 10


def test_a_policy_takes_a_limit() -> None:
    # Nodes at -20, -12, -4: the limit -10 lies a quarter of the way from the second to the third.
    limit = [Constraint(cost="time", limit=-10.0, sense=">=")]
    assert seen_limits(short(), limit).tolist() == [0, 0.75, 0.25]
    policy = policy_at(short(), limit, row=1)
    model, people = short().model, short().population[[1]]
    seen = torch.tensor([[[0.0, 0.0]]])
    inputs = torch.cat([model.features(seen), torch.tensor([[[0, 0.75, 0.25]]])], -1)
    assert policy(np.zeros(2)) == model.outputs(model.actor(people.theta), inputs)[0].argmax()


@pytest.mark.parametrize(
    ("limits", "words"),
    [([-21.0], "-20..-4"), ([-3.0], "-20..-4"), ([], "nothing was given"), ([-10.0, -9.0], "one limit for each")],
)
def test_a_limit_outside_the_range_is_refused(limits: list[float], words: str) -> None:
    with pytest.raises(BadLimit) as error:
        seen_limits(short(), [Constraint(cost="time", limit=x, sense=">=") for x in limits])
    assert str(error.value).count(words) == 1
    with pytest.raises(BadLimit) as other:
        seen_limits(short(), [Constraint(cost="time", limit=-10.0)])
    assert "time >= -20..-4; time <= -10 was given" in str(other.value)


def test_a_policy_without_its_limit_says_what_it_misses() -> None:
    with pytest.raises(TradeoffError, match="take 3 numbers besides") as error:
        short().policy()(np.zeros(2))
    assert "0 were given" in str(error.value)


@pytest.mark.parametrize(
    ("changes", "word"),
    [({"limit": ("time>=-20..-0.5",)}, "the most that any policy reaches is -1"), ({"limit": ()}, "no range of limits"),
     ({"limit": ("depth<=1..2",)}, "depth"), ({"weights": (1.0, 2.0, 3.0)}, "3 weights for the 2")],
)  # fmt: skip
def test_what_no_policy_can_keep_is_refused_before_it_starts(changes, word: str) -> None:
    with pytest.raises(TradeoffError) as error:
        replace(SHORT, **changes).start()
    assert str(error.value).count(word) == 1


def test_learners_get_enough_environments() -> None:
    # 2048 samples: 64 environments of 32 steps; 512 steps of 4 are enough as they are.
    assert fitted(LearnerConfig(rollout_steps=32, environments=4, minibatches=4)).environments == 64
    assert fitted(LearnerConfig()) == replace(LearnerConfig(), anneal=True)
