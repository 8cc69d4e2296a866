"""Suites of constrained tasks, and short runs on a task of every family within its own limits."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tradeoff.cli import main
from tradeoff.engine.trained import Trained
from tradeoff.envs import list_environments
from tradeoff.suites import SUITES

EXACT = {"safe-two-states-v0": 0.388788, "safe-grid-v0": 0.405089, "safe-queue-v0": 0.706012,
         "safe-deep-sea-treasure-v0": 16.975, "safe-resource-gathering-v0": 0.686331,
         "safe-four-room-v0": 43 / 12}  # fmt: skip
FAMILIES = [*EXACT, "safe-minecart-v0", "safe-server-queues-v0"]


def test_suites_hold_each_task_once_and_all_small_ones() -> None:
    for tasks in SUITES.values():
        assert len({task.env for task in tasks}) == len(tasks)
    small = {task.env for name in ("safe-small", "safe-tabular") for task in SUITES[name]}
    listed = {entry.id for entry in list_environments() if entry.id.startswith("safe-")}
    twins = {id for id in listed if any(x in id for x in ("lunar", "deep-sea", "deterministic"))}
    assert small - {"deep-sea-treasure-v0", "deep-sea-treasure-concave-v0"} == listed - twins
    assert [len(SUITES[name]) for name in ("safe-tabular", "safe-small")] == [6, 6]


@pytest.mark.parametrize("id", FAMILIES)
def test_a_short_run_keeps_to_the_limits_of_its_task(tmp_path: Path, id: str) -> None:
    words = ["--environments", "8", "--rollout-steps", "16", "--episodes", "1", "--final-episodes", "4", "--quiet"]
    words += [] if id in EXACT else ["--horizon", "60"]
    run = tmp_path / "run"
    assert main(["train", "augmented-lagrangian", "--env", id, "--steps", "350", *words, "--out", str(run)]) == 0
    found, scores = Trained.load(run), json.loads((run / "indicators.json").read_text())
    k = len(scores["limits"])
    limits = np.array([float(text.split("<=")[1]) for text in scores["limits"]])
    np.testing.assert_allclose(scores["violation"], found.returns[..., -k:].mean(1) - limits, rtol=1e-6, atol=1e-9)
    if id in EXACT:
        np.testing.assert_allclose(scores["exact"]["value"], EXACT[id], atol=1e-6)
        np.testing.assert_allclose(scores["exact"]["gap"], EXACT[id] - np.array(scores["value"]), atol=1e-6)


@pytest.mark.parametrize("id", ["safe-grid-v0", "safe-deep-sea-treasure-v0"])
def test_limits_that_no_policy_keeps_are_refused_exactly(refuses, id: str) -> None:
    cost = "lava" if "grid" in id else "time"
    least = {"lava": "0.00146206", "time": "1"}[cost]
    words = refuses("train", "reload", "--env", id, "--limit", f"{cost}<=0.0001", "--steps", "100")
    assert f"no policy of {id} keeps {cost} <= 0.0001 (the least that any policy reaches is {least}" in words
