"""Limits chosen when a policy is used: the command line of runs whose policies see their limits."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.tradeoff.conftest import Refuses
from tradeoff import limit_front
from tradeoff.cli import main
from tradeoff.engine.trained import Trained
from tradeoff.envs import make
from tradeoff.safe.conditioned_methods import policy_at
from tradeoff.safe.constraints import Constraint

TRAIN = [
    *("conditioned-lagrangian", "--env", "deep-sea-treasure-v0", "--limit", "time>=-20..-4", "--weights", "1", "0"),
    *("--steps", "20000", "--sweep", "3", "--final-episodes", "10"),
    *("--gamma", "1", "--rate", "0.05", "--penalty", "0.5", "--quiet"),
]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short run."""
    folder = tmp_path_factory.mktemp("conditioned") / "run"
    assert main(["train", *TRAIN, "--out", str(folder)]) == 0
    return folder


def test_a_limit_is_chosen_when_a_run_is_evaluated(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = {}
    for limit in ("time>=-18", "time>=-5"):
        assert main(["evaluate", str(run), "--limit", limit, "--episodes", "40", "--json"]) == 0
        found[limit] = json.loads(capsys.readouterr().out)
    policies = {limit: record["policies"][0]["sampled"] for limit, record in found.items()}
    times = {limit: policy["mean"]["time"] for limit, policy in policies.items()}
    assert times["time>=-5"] > times["time>=-18"] + 3  # the stricter one is faster
    assert found["time>=-5"]["limits"] == ["time >= -5"]
    for limit, number in (("time>=-18", -18), ("time>=-5", -5)):
        assert policies[limit]["violation"] == pytest.approx([number - times[limit]])
        assert policies[limit]["kept"] == (times[limit] >= number)
    assert main(["evaluate", str(run), "--limit", "time>=-5", "--episodes", "40"]) == 0
    assert capsys.readouterr().out.count("of episodes over") == 2  # sampled and likeliest actions


def test_the_command_plays_what_the_saved_policy_plays(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    limit = [Constraint(cost="time", limit=-5.0, sense=">=")]
    policy, env = policy_at(Trained.load(run), limit), make("deep-sea-treasure-v0", 1, seed=1)
    observation, earned, over = env.reset(1), np.zeros(2), False
    while not over:
        step = env.step(torch.from_numpy(policy(observation.numpy())))
        observation, over = step.observation, bool(step.terminated | step.truncated)
        earned += step.reward[0].numpy()
    assert main(["evaluate", str(run), "--limit", "time>=-5", "--episodes", "1", "--json"]) == 0
    played = json.loads(capsys.readouterr().out)["policies"][0]["likeliest"]["mean"]
    assert [played["treasure"], played["time"]] == pytest.approx(earned)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "one limit for each of time >= -20..-4; nothing was given"),
        (("--limit", "time>=-21"), "outside the range -20..-4"),
        (("--limit", "treasure>=5"), "treasure >= 5 was given"),
        (("--limit", "depth<=5"), "one limit for each of time"),
        (("--weights", "1", "0"), "not a front"),
    ],
)
def test_limits_that_do_not_fit_are_refused(run: Path, refuses: Refuses, words: tuple[str, ...], said: str) -> None:
    assert refuses("evaluate", run, *words).count(said) == 1


def test_policies_that_see_no_limits_take_none(tmp_path: Path, refuses: Refuses) -> None:
    words = ["lagrangian", "--env", "deep-sea-treasure-v0", "--limit", "time>=-6", "--steps", "1000", "--quiet"]
    assert main(["train", *words, "--out", str(tmp_path / "run")]) == 0
    assert refuses("evaluate", tmp_path / "run", "--limit", "time>=-6").count("do not see limits") == 1


def test_one_limit_is_no_range(refuses: Refuses, tmp_path: Path) -> None:
    words = ["time>=-6" if word == "time>=-20..-4" else word for word in TRAIN]
    assert refuses("train", *words, "--out", tmp_path / "run").count("needs a range: time>=LOW..HIGH") == 1
    assert len(list(tmp_path.iterdir())) == 0


def test_the_front_is_written_and_told(run: Path) -> None:
    trained = Trained.load(run)
    with (run / "front.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["limit time"]) for row in rows] == [-20, -12, -4]
    assert [float(row["exact_value"]) for row in rows] == pytest.approx([23.7, 18.725, 9.85])
    assert [float(row["value"]) for row in rows] == pytest.approx(trained.returns[0, :, 0].reshape(3, 10).mean(1))
    assert float(rows[0]["time"]) + 2 < float(rows[2]["time"])  # each block was played at its own limit
    assert (run / "front.png").read_bytes()[:4] == b"\x89PNG" and len((run / "front.png").read_bytes()) > 10_000
    gap = [abs(float(row["value"]) - float(row["exact_value"])) for row in rows]
    kept = sum(float(row["violation time"]) <= 0 for row in rows)
    limits, exact = limit_front.lines(trained)
    assert f"{kept} of 3 kept" in limits and f"{np.mean(gap):.3g} on average, {max(gap):.3g} at worst" in exact
    assert limit_front.example(trained) == "--limit 'time>=-12'"


def test_several_ranges_are_swept_one_by_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # The loosest limits are time >= -20 and treasure >= 1.
    words = ["conditioned-lagrangian", "--env", "deep-sea-treasure-v0", "--limit", "time>=-20..-4"]
    words += [
        "--limit",
        "treasure>=1..8",
        "--steps",
        "6000",
        "--sweep",
        "2",
        "--final-episodes",
        "4",
        "--policies",
        "2",
        "--nodes",
        "3",
        "--quiet",
    ]
    assert main(["train", *words, "--out", str(tmp_path)]) == 0
    trained = Trained.load(tmp_path)
    rows = [limit_front.sweep(trained, i) for i in (0, 1)]
    assert [(row["limit time"], row["limit treasure"]) for row in rows[0]] == [(-20, 1), (-4, 1)] * 2
    assert [(row["limit time"], row["limit treasure"]) for row in rows[1]] == [(-20, 1), (-20, 8)] * 2
    # Weights one half each: without limits that bind, 16.1 after nine steps is best, (16.1 - 9) / 2.
    assert rows[0][0]["exact_value"] == pytest.approx(3.55)
    chosen = ["--limit", "treasure>=4", "--limit", "time>=-8", "--episodes", "5", "--json"]
    assert main(["evaluate", str(tmp_path), *chosen]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["limits"] == ["treasure >= 4", "time >= -8"] and len(found["policies"]) == 2
    mean, over = (found["policies"][0]["sampled"][name] for name in ("mean", "violation"))
    assert over == pytest.approx([4 - mean["treasure"], -8 - mean["time"]])


def test_a_front_that_a_kill_kept_from_being_written_is_written(run: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(run, tmp_path / "run"))
    for name in ("front.csv", "front.png"):
        (folder / name).unlink()
    assert main(["resume", str(folder), "--quiet"]) == 0
    assert (folder / "front.csv").read_bytes() == (run / "front.csv").read_bytes()
    assert (folder / "policies.pt").read_bytes() == (run / "policies.pt").read_bytes()
    assert (folder / "front.png").is_file()
