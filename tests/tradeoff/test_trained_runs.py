"""Runs with one aim from the command line: what they leave, that they resume exactly, that bad limits leave nothing."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from tradeoff.cli import main
from tradeoff.engine import checkpoint
from tradeoff.engine.run import Interrupted, complete
from tradeoff.engine.trained import Trained
from tradeoff.options import gathered, training

WORDS = [
    *("reload", "--env", "deep-sea-treasure-v0", "--limit", "time>=-6", "--policies", "2", "--steps", "6000"),
    *("--evaluate-every", "5", "--episodes", "3", "--final-episodes", "10", "--rollout-steps", "16"),
]


def test_what_a_run_leaves(tmp_path: Path) -> None:
    assert main(["train", *WORDS, "--quiet", "--out", str(tmp_path / "run")]) == 0
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert names >= {"config.json", "metrics.csv", "scores.csv", "indicators.json", "policies.pt", "curve.png"}
    found, scores = Trained.load(tmp_path / "run"), json.loads((tmp_path / "run" / "indicators.json").read_text())
    returns = found.returns  # [2, 10, 2] treasure and time
    assert scores["limits"] == ["time >= -6"]
    assert scores["violation"] == pytest.approx((-6 - returns[..., 1:]).mean(1))  # >=: limit minus what was measured
    assert scores["episodes_over_the_limit"] == pytest.approx((returns[..., 1:] < -6).mean(1))
    assert scores["value"] == pytest.approx(returns[..., 0].mean(1)), "time carries the limit: treasure is maximised"
    assert scores["weights"] == [1.0, 0.0]
    with (tmp_path / "run" / "scores.csv").open() as file:
        first = next(csv.DictReader(file))
    assert float(first["treasure"]) == pytest.approx(returns[0, :, 0].mean())
    assert float(first["time_stderr"]) == pytest.approx(np.std(returns[0, :, 1], ddof=1) / 10**0.5)
    steps = scores["real_environment_steps"]
    assert steps["total"] == steps["training"] + steps["evaluation"] + steps["final_evaluation"]
    # An evaluation takes at most 2 policies x 3 episodes x 100 steps, an iteration 2 policies x 4 environments x 16.
    assert 6000 - 600 <= steps["training"] + steps["evaluation"] < 6000 + 128


@pytest.mark.parametrize(("scale", "limit"), [("episodic", "time>=-6"), ("average", "treasure<=0.5")])
def test_an_evaluation_says_whether_the_limits_are_kept(
    scale: str, limit: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["lagrangian", "--limit", limit, "--scale", scale, "--steps", "900", "--final-episodes", "2", "--quiet"]
    assert main(["train", *words, "--env", "deep-sea-treasure-v0", "--out", str(tmp_path / "run")]) == 0
    assert main(["evaluate", str(tmp_path / "run"), "--episodes", "30", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    for policy in found["policies"][0].values():
        mean = policy["mean"]
        # Every step costs 1, so an average over all steps is the mean sum by the mean length.
        over = -6 - mean["time"] if scale == "episodic" else mean["treasure"] / -mean["time"] - 0.5
        assert policy["violation"] == [pytest.approx(over)] and policy["kept"] == (over <= 0)
    assert main(["evaluate", str(tmp_path / "run"), "--episodes", "30"]) == 0
    assert capsys.readouterr().out.count("of episodes over") == 2  # sampled and likeliest actions


@pytest.mark.parametrize("moment", [3, 5, 8])
def test_an_interrupted_run_ends_as_if_it_had_not_been(tmp_path: Path, moment: int) -> None:
    config = training(WORDS).method
    turns = iter(range(1, 10**6))
    with pytest.raises(Interrupted):
        complete(config.start(), tmp_path, stop=lambda: next(turns) == moment)
    again = config.start()
    again.load_state_dict(checkpoint.load_newest(tmp_path))
    one, other = config.run(), complete(again, tmp_path)
    assert one.indicators == other.indicators and one.history == other.history and one.table() == other.table()
    assert (one.population.theta == other.population.theta).all()


@pytest.mark.parametrize(
    ("limit", "words"),
    [("5", "names no cost"), ("depth=5", "depth"), ("time>=deep", "is no limit"), ("time>=nan", "is no limit")],
)
def test_a_limit_that_cannot_be_read_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], limit: str, words: str
) -> None:
    given = [limit if word == "time>=-6" else word for word in WORDS]
    assert main(["train", *given, "--out", str(tmp_path / "run")]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and words in said and not (tmp_path / "run").exists()


def test_limits_given_one_by_one_are_gathered() -> None:
    words = ["--limit", "a=1", "--seed", "2", "--limit=b=3", "--limit", "c=4"]
    assert gathered(words, "--limit") == ["--seed", "2", "--limit", "a=1", "b=3", "c=4"]
    assert gathered(["--seed", "2"], "--limit") == ["--seed", "2"]
