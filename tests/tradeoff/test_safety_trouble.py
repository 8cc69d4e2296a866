"""Runs within limits that go wrong: one line with the way out, a checkpoint that is whole, the same bytes after."""

from __future__ import annotations

import json
import math
import shutil
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.tradeoff.conftest import Refuses, contents
from tradeoff.cli import main
from tradeoff.engine.checkpoint import load_newest
from tradeoff.engine.trained import Trained
from tradeoff.envs import finite_arrays, make_tabular, register
from tradeoff.envs.finite import FiniteEnv
from tradeoff.safe.measuring import SafetyWarning

FAULT = {"steps": math.inf}  # after so many steps the first cost is no number
SEA = ("--env", "deep-sea-treasure-v0", "--limit", "time>=-2", "--steps", "3000", "--final-episodes", "2", "--quiet")
STOVE = ("--limit", "heat<=3", "--steps", "4000", "--final-episodes", "2", "--episodes", "2", "--evaluate-every", "3")


class Faulty(FiniteEnv):
    """Its first cost is NaN once FAULT says so."""

    def step(self, action: Any) -> Any:
        found, FAULT["steps"] = super().step(action), FAULT["steps"] - 1
        return found._replace(cost=found.cost * torch.nan) if FAULT["steps"] < 0 else found


def stove(num_envs: int, ends: bool = True, **options: Any) -> Any:
    """Two states, two choices: to work pays 1 and heats by 1, to rest does neither; nothing ever smokes."""
    move, paid, cost = np.zeros((2, 2, 2)), np.zeros((2, 2, 1)), np.zeros((2, 2, 2))
    move[:, 0, 0] = move[:, 1, 1] = paid[:, 1] = cost[:, 1, 0] = 1
    model = finite_arrays(move, paid, cost=cost, horizon=10 if ends else None)
    made = make_tabular(model, num_envs, id="stove", objectives=["work"], costs=["heat", "smoke"], **options)
    made.__class__ = Faulty
    return made


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tradeoff.envs.registry._own", {})
    monkeypatch.setitem(FAULT, "steps", math.inf)
    register("stove", stove)
    register("oven", lambda num_envs, **options: stove(num_envs, ends=False, **options))


@pytest.mark.parametrize(
    ("method", "setting", "says"),
    [
        ("lagrangian", ("--rate", "nan"), "rate must be a finite number, got nan"),
        ("lagrangian", ("--rate", "inf"), "rate must be a finite number, got inf"),
        ("reload", ("--strength", "-1"), "strength must be at least 0, got -1"),
        ("lagrangian", ("--bound", "nan"), "bound must be a finite number, got nan"),
        ("pid-lagrangian", ("--kp", "inf"), "finite"),
        ("crpo", ("--tolerance", "nan"), "tolerance must be a finite number, got nan"),
        ("crpo", ("--unit", "0"), "unit must be positive, one per constraint (1), got (0.0,)"),
        ("crpo", ("--unit", "1", "1"), "one per constraint (1)"),
        ("p3o", ("--penalty", "nan"), "penalty"),
        ("lagrangian", ("--margin", "nan"), "margin must be a finite number, got nan"),
        ("lagrangian", ("--rate", "1", "2", "3"), "3 gains for 1 constraints (1, 2, 3); give one, or one each"),
        ("lagrangian", ("--start", "0", "0.5"), "2 gains for 1 constraints (0, 0.5)"),
        ("pid-lagrangian", ("--kp", "1", "2"), "2 gains for 1 constraints (1, 2)"),
        ("reload", ("--strength", "1", "2"), "2 gains for 1 constraints (1, 2)"),
        ("focops", ("--penalty", "1", "2"), "2 gains for 1 constraints (1, 2)"),
    ],
)
def test_settings_that_are_no_numbers_leave_nothing(
    method: str, setting: tuple[str, ...], says: str, tmp_path: Path, refuses: Refuses
) -> None:
    assert says in refuses("train", method, *SEA, *setting, "--out", tmp_path / "run")
    assert len(list(tmp_path.iterdir())) == 0


@pytest.mark.parametrize(
    ("method", "setting"), [("cal", "--penalty"), ("sac-lagrangian", "--rate"), ("wcsac", "--rate")]
)
def test_gains_that_fit_no_limit_are_refused_from_replay_too(
    method: str, setting: str, tmp_path: Path, refuses: Refuses
) -> None:
    words = ("train", method, "--env", "mo-mountaincarcontinuous-v0", "--limit", "time>=-300")
    assert "2 gains for 1 constraints (1, 2)" in refuses(*words, setting, "1", "2", "--out", tmp_path / "run")
    assert len(list(tmp_path.iterdir())) == 0


@pytest.mark.parametrize(
    ("method", "setting", "what"),
    [("lagrangian", ("--rate", "1e300"), "multiplier"), ("augmented-lagrangian", ("--penalty", "1e300"), "price")],
)
def test_exploding_prices_are_named_and_leave_parameters_alone(
    method: str, setting: tuple[str, ...], what: str, tmp_path: Path, refuses: Refuses
) -> None:
    # The deep sea's treasures lie further than two steps away from a random diver, so the first violation is positive.
    folder = tmp_path / "run"
    said = refuses("train", method, *SEA, *setting, "--bound", "1e308", "--out", folder)
    assert f"the {what} of time >= -2 is " in said and "smaller rate" in said and "e+30" in said
    assert not (folder / "policies.pt").exists()


def test_episodes_that_never_end_are_told(tmp_path: Path, refuses: Refuses, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["tradeoff.engine.evaluate"], "PATIENCE", 50)
    folder = tmp_path / "run"
    said = refuses("train", "lagrangian", "--env", "oven", *STOVE, "--quiet", "--out", folder)
    assert "an episode of stove has not ended in 50 steps; set a horizon: --horizon 1000 cuts episodes" in said
    assert "average" not in said, "what is scored are whole episodes, whatever limits measure"
    learnt = load_newest(folder)
    assert (learnt["iteration"], learnt["history"]) == (3, []), "what came before the evaluation is kept"
    assert learnt["steps"]["training"] > 0 and torch.isfinite(learnt["learner"]["population"]["theta"]).all()
    assert "set a horizon" in refuses("resume", folder, "--quiet")
    assert load_newest(folder)["iteration"] == 6, "the run went on from there"
    words = ("lagrangian", "--env", "oven", *STOVE, "--quiet", "--horizon", "20", "--out", str(tmp_path / "other"))
    assert main(["train", *words]) == 0, "the way out is one"
    assert Trained.load(tmp_path / "other").returns[..., 1].max() <= 20


def test_trouble_before_the_first_checkpoint_promises_none(tmp_path: Path, refuses: Refuses) -> None:
    FAULT["steps"] = 5
    folder = tmp_path / "run"
    said = refuses("train", "lagrangian", "--env", "stove", *STOVE, "--quiet", "--out", folder)
    assert f"repair the environment and resume; `tradeoff resume {folder}` begins anew" in said
    assert list(folder.glob("checkpoint-*.pt")) == [] and "checkpoint" not in said


def test_a_cost_that_never_moved_in_a_short_run_is_told_at_its_end(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--env", "stove", "--limit", "smoke<=1", "--limit", "heat<=3", "--steps", "2000", "--final-episodes", "2")
    assert main(["train", "lagrangian", *words, "--out", str(tmp_path / "run")]) == 0
    (idle,) = Trained.load(tmp_path / "run").indicators["never_moved"]
    rollouts = load_newest(tmp_path / "run")["iteration"]
    assert idle == (
        f"'smoke' was 0 at every step of {rollouts} rollouts, so its limit steered nothing: either no policy did what "
        "costs, or its channel is not wired up"
    )
    assert rollouts < 20 and f"  warning            {idle}\n" in capsys.readouterr().out


@pytest.mark.parametrize("method", ["lagrangian", "sac-lagrangian", "saute"])
def test_two_limits_on_one_cost_are_refused(method: str, tmp_path: Path, refuses: Refuses) -> None:
    words = ("train", method, "--env", "stove", "--limit", "heat<=3", "--limit", "heat=5", "--steps", "300", "--out")
    assert "'heat' has two limits, heat <= 3 and heat <= 5; give one" in refuses(*words, tmp_path / "run")
    assert len(list(tmp_path.iterdir())) == 0


def test_a_cost_that_stays_zero_is_no_alarm_while_the_run_goes_on(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    words = ("lagrangian", "--env", "stove", "--limit", "smoke<=1", "--steps", "12000", "--final-episodes", "2")
    with warnings.catch_warnings():
        warnings.simplefilter("error", SafetyWarning)  # nothing ever smokes, which twenty rollouts cannot know
        assert main(["train", *words, "--quiet", "--evaluate-every", "9", "--out", str(folder)]) == 0
    scores = Trained.load(folder).indicators
    assert scores["violation"] == [[-1.0]] and "'smoke' was 0 at every step" in scores["never_moved"][0]
    assert main(["safety", str(folder), "--episodes", "30", "--ceiling", "smoke=10"]) == 0
    row = json.loads((folder / "safety.json").read_text())[0]
    assert row["broken"] == 0 and row["bounds"][0]["bound"] == pytest.approx(1 - 0.05 ** (1 / 30))


def test_a_cost_that_becomes_nan_stops_the_run_and_it_ends_as_if_it_had_not(tmp_path: Path, refuses: Refuses) -> None:
    folder, whole = tmp_path / "run", tmp_path / "whole"
    words = ("train", "reload", "--env", "stove", *STOVE, "--quiet", "--out")
    assert main([*words, str(whole)]) == 0
    FAULT["steps"] = 150
    said = refuses(*words, folder)
    assert "cost 'heat' is nan" in said and f"`tradeoff resume {folder}` goes on from the last checkpoint" in said
    before = {name: data for name, data in contents(folder).items() if name.endswith(".pt")}
    assert len(before) >= 1 and torch.isfinite(load_newest(folder)["learner"]["population"]["theta"]).all()
    assert "is nan" in refuses("resume", folder, "--quiet"), "it is still so"
    assert {name: contents(folder)[name] for name in before} == before
    FAULT["steps"] = math.inf
    assert main(["resume", str(folder), "--quiet"]) == 0
    same = ("config.json", "metrics.csv", "scores.csv", "indicators.json", "policies.pt", "curve.png")
    assert [name for name in same if (folder / name).read_bytes() != (whole / name).read_bytes()] == []
    assert len(contents(folder)) >= len(same)


def test_files_that_were_swapped_or_rewritten(tmp_path: Path, refuses: Refuses) -> None:
    folder = tmp_path / "run"
    assert main(["train", "lagrangian", "--env", "stove", *STOVE, "--quiet", "--out", str(folder)]) == 0
    config, policies = (folder / "config.json").read_text(), (folder / "policies.pt").read_bytes()
    for change, says in (({"method": ["cpo"]}, "unknown method"), ({"method": None}, "unknown method")):
        (folder / "config.json").write_text(json.dumps(json.loads(config) | change))
        assert all(says in refuses(command, folder) for command in ("resume", "safety", "plot", "evaluate"))
    record = json.loads(config)
    record["settings"]["scale"] = "weekly"
    (folder / "config.json").write_text(json.dumps(record))
    assert "expected one of episodic, discounted, average, per-step" in refuses("safety", folder)
    (folder / "config.json").write_text(config)
    shutil.copy(max(folder.glob("checkpoint-*.pt")), folder / "policies.pt")
    assert all("holds no trained policies" in refuses(command, folder) for command in ("resume", "safety", "plot"))
    (folder / "policies.pt").write_bytes(policies)
    assert main(["safety", str(folder), "--episodes", "2", "--ceiling", "heat=10"]) == 0
    assert len(json.loads((folder / "safety.json").read_text())) == 2


@pytest.mark.slow
def test_a_run_that_was_killed_twice_leaves_the_same_bytes(tmp_path: Path) -> None:
    words = ["cpo", *SEA, "--evaluate-every", "3", "--policies", "2", "--out"]
    assert main(["train", *words, str(tmp_path / "whole")]) == 0
    folder = tmp_path / "run"
    _killed(["train", *words, str(folder)], folder)
    _killed(["resume", str(folder), "--quiet"], folder)
    assert not (folder / "policies.pt").exists()
    assert main(["resume", str(folder), "--quiet"]) == 0
    for name in ("config.json", "metrics.csv", "scores.csv", "indicators.json", "policies.pt", "curve.png"):
        assert (folder / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


def _killed(words: list[str], folder: Path) -> None:
    """Run the program in a process of its own until it has written another checkpoint, and kill it there."""
    before = set(folder.glob("checkpoint-*.pt"))
    process = subprocess.Popen([sys.executable, "-m", "tradeoff", *words], stderr=subprocess.DEVNULL)
    patience = time.monotonic() + 60
    while set(folder.glob("checkpoint-*.pt")) <= before and process.poll() is None and time.monotonic() < patience:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert len(set(folder.glob("checkpoint-*.pt")) - before) >= 1
