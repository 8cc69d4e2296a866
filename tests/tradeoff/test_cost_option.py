"""Costs that are named on the command line: part of the run from its first step to what is said of it at the end."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.tradeoff.conftest import Refuses
from tradeoff.cli import main
from tradeoff.engine.trained import Trained
from tradeoff.options import training
from tradeoff.run import default_folder

CAR = ["lagrangian", "--env", "mo-mountaincar-v0", "--horizon", "20", "--seed", "3"]
SMALL = [
    *("--steps", "300", "--rollout-steps", "16", "--environments", "2", "--episodes", "2", "--final-episodes", "3"),
    *("--hidden", "4", "--quiet"),
]


def test_costs_become_part_of_the_environment() -> None:
    given = training([*CAR, "--cost=-reverse", "--limit", "reverse=3", "--cost", "pushes=-reward[2]"])
    assert given.method.env == "mo-mountaincar-v0?cost=-reverse&cost=pushes=-reward[2]"
    assert given.method.limit == ("reverse=3",) and len(given.cost) == 2
    assert default_folder(given.method).name == "lagrangian-mo-mountaincar-v0-cost=-reverse-cost=pushes=-reward-2--3"


def test_a_run_and_all_that_follows_know_the_costs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every step of the mountain car pays time -1, and -1 more for each push: costs of 0 to 20 in 20 steps."""
    out = str(tmp_path / "run")
    costs = ["--cost=-reverse", "--cost", "pushes=-forward", "--limit", "pushes<=8"]
    assert main(["train", *CAR, *costs, *SMALL, "--out", out]) == 0
    found = Trained.load(Path(out))
    assert found.channels == ("time", "reverse", "pushes") and found.objectives == 1
    assert (found.returns[..., 0] == -20).all() and (found.returns[..., 1:] >= 0).all()
    assert 0 < found.returns[..., 1:].sum(-1).max() <= 20
    over = found.returns[..., 2].mean() - 8
    scores = json.loads((tmp_path / "run" / "indicators.json").read_text())
    assert scores["limits"] == ["pushes <= 8"] and scores["violation"] == [[pytest.approx(over)]]
    capsys.readouterr()
    assert main(["evaluate", out, "--episodes", "2", "--json"]) == 0
    assert "pushes" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--env", "mo-mountaincar-v0", "--cost", "mud"], "reports no cost 'mud' in its first step"),
        (["--env", "mo-mountaincar-v0?price=3"], "expected cost=... or objectives=a,b after '?'"),
        (["--env", "SafetyHopperVelocity-v1", "--cost", "mud"], "has no original to step or to take other costs from"),
        (["--env", "nowhere:Room", "--cost", "mud"], "No module named 'nowhere'"),
    ],
)
def test_costs_that_cannot_be_are_refused(words: list[str], says: str, refuses: Refuses, tmp_path: Path) -> None:
    assert says in refuses("train", "lagrangian", *words, "--limit", "mud=3", "--out", tmp_path / "run")
    assert len(list(tmp_path.iterdir())) == 0
