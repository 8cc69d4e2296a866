"""Budgets of steps: what is too small is refused before training, and no run goes an iteration beyond its own."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.tradeoff.conftest import Refuses, contents
from tests.tradeoff.tiny_methods import tiny_config
from tradeoff import recommended
from tradeoff.cli import main
from tradeoff.engine.run import complete
from tradeoff.registry import METHODS


def least_steps(config: Any) -> int:
    """The smallest budget, as the refusal of a single step names it."""
    with pytest.raises(ValueError, match="steps is 1, too few") as error:
        replace(config, steps=1).run()
    found = re.search(r"give at least ([\d,]+)", str(error.value))
    assert found is not None
    return int(found[1].replace(",", ""))


def taken(config: Any) -> tuple[int, int]:
    """Steps of training and evaluations that a whole run takes, and those of its largest iteration."""
    run = config.start()
    trained = [run.steps["training"]]
    run.result = lambda: None  # what is reported takes its time and no steps of the budget
    complete(run, log=lambda row: trained.append(run.steps["training"]))
    return run.total, max(b - a for a, b in pairwise(trained))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("method", METHODS)
def test_no_run_goes_an_iteration_beyond_its_budget(method: str, tmp_path: Path) -> None:
    config = tiny_config(method, episodes=3, final_episodes=2, evaluate_every=100)
    least, rows = least_steps(config), []
    with pytest.raises(ValueError, match=f"give at least {least:,}"):
        replace(config, steps=least - 1).run(tmp_path / "run", log=rows.append)
    assert rows == [] and not (tmp_path / "run").exists()
    for steps in (least, 3 * least):
        total, iteration = taken(replace(config, steps=steps))
        assert total < steps + iteration


def test_the_smallest_budget_by_hand() -> None:
    # 24 policies x 4 environments x 32 steps are 3,072 an iteration, 24 policies x 1 episode x 100 steps 2,400 an
    # evaluation.
    config = recommended("c-morl", "deep-sea-treasure-v0", policies=24, episodes=1, steps=3072 + 2400)
    config.start().check_budget()
    with pytest.raises(ValueError, match=r"3,072 and an evaluation \(24 policies x 1 episodes\) up to 2,400"):
        replace(config, steps=3072 + 2400 - 1).start().check_budget()
    assert least_steps(config) == 5472


def test_a_budget_that_is_too_small_leaves_nothing(refuses: Refuses, tmp_path: Path) -> None:
    words = ("--env", "deep-sea-treasure-v0", "--policies", "24", "--episodes", "1", "--steps", "5471")
    assert "steps is 5,471, too few" in refuses("train", "c-morl", *words, "--out", tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_a_finished_run_goes_on_by_an_iteration_and_its_evaluation_at_least(copied: Path, refuses: Refuses) -> None:
    # An iteration takes 4 environments x 32 steps a policy, an evaluation an episode of at most 100 steps.
    spent = json.loads((copied / "indicators.json").read_text())["real_environment_steps"]
    total = spent["training"] + spent["evaluation"]
    policies = int((copied / "metrics.csv").read_text().splitlines()[-1].split(",")[2])
    least, before = total + policies * (128 + 100), contents(copied)
    said = refuses("resume", copied, "--steps", least - 1)
    assert f"{total:,} are taken, an iteration takes {policies * 128:,}" in said and f"at least {least:,}" in said
    assert contents(copied) == before
    assert main(["resume", str(copied), "--steps", str(least), "--quiet"]) == 0
    spent = json.loads((copied / "indicators.json").read_text())["real_environment_steps"]
    assert total + policies * 128 <= spent["training"] + spent["evaluation"] < least + 4 * 128
