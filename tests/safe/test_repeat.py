"""Runs whose actions are made several times in a row: steps are real ones, and limits stay those of the episode."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tradeoff.cli import main
from tradeoff.engine.learner import LearnerConfig
from tradeoff.envs import finite_arrays, make, make_tabular, register
from tradeoff.replay_trained import replay
from tradeoff.safe.budget_methods import Saute
from tradeoff.safe.constraints import Constraint
from tradeoff.safe.exact import exact_optimum
from tradeoff.safe.methods import METHODS

HORIZON, REPEAT, POLICIES = 12, 3, 2
MODEL = finite_arrays(np.ones((1, 2, 1)), [[[0.5], [2.0]]], cost=[[[0.0], [1.0]]], horizon=HORIZON)
LEARNER = LearnerConfig(rollout_steps=8, environments=4, epochs=1, minibatches=2, hidden=(8,))
SHORT: dict[str, Any] = {
    "env": "long-shifts", "limit": ("4",), "policies": POLICIES, "repeat": REPEAT, "steps": 312, "evaluate_every": 1,
    "episodes": 5, "final_episodes": 10, "learner": LEARNER,
}  # fmt: skip


@pytest.fixture(autouse=True)
def registered() -> None:
    register("long-shifts", lambda n, **options: make_tabular(MODEL, n, id="long-shifts", costs=("wear",), **options))


@pytest.mark.parametrize("kind", [METHODS["lagrangian"], Saute])
def test_real_steps_are_counted_and_sums_are_those_of_the_whole_episode(kind: Any) -> None:
    found = kind(**SHORT).run()
    # An iteration: 8 rounds of 3 steps in 4 environments of 2 policies; an evaluation: 5 episodes of 12 steps of each.
    training, judging = 8 * REPEAT * 4 * POLICIES, 5 * HORIZON * POLICIES
    said = found.indicators["real_environment_steps"]
    assert said["training"] == training and said["evaluation"] == judging and training + judging >= SHORT["steps"]
    assert said["final_evaluation"] == 2 * 10 * HORIZON * POLICIES
    assert found.history[0]["length"] == [HORIZON] * POLICIES
    paid, worn = found.returns[..., 0], found.returns[..., 1]
    assert paid == pytest.approx(2 * worn + (HORIZON - worn) / 2), "all twelve steps are paid, worked or rested"
    assert (worn % REPEAT == 0).all() and worn.max() > 4, "whatever is done is done three times"
    assert found.indicators["repeat"] == found.policy().repeat == REPEAT


def test_a_finished_run_is_played_as_it_was_trained(tmp_path: Path) -> None:
    # 8 rounds of 3 steps in 16 environments are 384 steps, an evaluation of 5 episodes of 12 steps 60.
    words = ["--env", "long-shifts", "--limit", "4", "--repeat", "3", "--steps", "444", "--rollout-steps", "8"]
    assert main(["train", "lagrangian", *words, "--quiet", "--out", str(tmp_path / "run")]) == 0
    worn = replay(tmp_path / "run", episodes=20, seed=3).scores["sampled"].returns[0, :, 1]
    assert (worn % REPEAT == 0).all() and 0 < worn.mean() < HORIZON


def test_no_optimum_of_single_actions_is_named_for_repeated_ones() -> None:
    spec = make("deep-sea-treasure-v0").spec
    given = [Constraint(cost="time", limit=-6.0, sense=">=")]
    assert exact_optimum(given, spec, 1.0).value == pytest.approx(3.375)  # see test_exact.py
    assert exact_optimum(given, replace(spec, repeat=2), 1.0) is None


@pytest.mark.parametrize(
    ("changes", "says"),
    [({"repeat": 0}, "least 1, got 0"), ({"scale": "average"}, "sums per episode"), ({"discount": 0.9}, "got .* 0.9")],
)
def test_what_does_not_go_with_repeated_actions_is_refused(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        replace(METHODS["lagrangian"](**SHORT), **changes)
