"""Limits chosen when a policy is used: the command line of runs whose policies see their limits."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from engine.trained import Trained
from envs import make
from safe.conditioned_methods import policy_at
from safe.constraints import Constraint
from tests.tradeoff.conftest import Refuses
from tradeoff.cli import main

TRAIN = [
    *("conditioned-lagrangian", "--env", "deep-sea-treasure-v0", "--limit", "time>=-20..-4", "--weights", "1", "0"),
    *("--steps", "20000", "--sweep", "3", "--final-episodes", "10", "--gamma", "1", "--quiet"),
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
