"""Diagnoses of whole runs, against numbers that are known otherwise, and verdicts that say no more than they see."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.tradeoff.conftest import Refuses, contents
from tradeoff.cli import main
from tradeoff.diagnose import diagnose
from tradeoff.engine.diagnostics import Interval
from tradeoff.envs import finite_arrays, make_tabular, register
from tradeoff.verdicts import on_baseline, on_batch, on_carriers, on_conflict, on_memory, shown


def arms(num_envs: int, **options: Any) -> Any:
    """One choice of two: pays (1, 0, 2) or (0, 1, 2)."""
    model = finite_arrays([[[0, 1.0]] * 2] * 2, [[[1, 0, 2], [0, 1, 2]]] * 2, terminal=[False, True], horizon=1)
    names = ("left", "right", "flat")
    return make_tabular(model, num_envs, id="two-arms", objectives=names, discount=1.0, **options)


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tradeoff.envs.registry._own", {})
    register("two-arms", arms)


def _train(folder: Path, *words: str) -> Path:
    assert main(["train", *words, "--quiet", "--out", str(folder)]) == 0
    return folder


ARMS = ("mo-pg", "--env", "two-arms", "--hidden", "4", "--steps", "50", "--utility", "linear", "--policies", "2",
        "--evaluate-every", "1", "--episodes", "1", "--learning-rate", "1e-4", "--baseline", "none",
        "--no-centre")  # fmt: skip


def test_a_bandits_diagnosis_is_its_closed_form(tmp_path: Path) -> None:
    """Nearly even odds: scores of both arms are opposite, s and -s. Left is paid s or 0, right 0 or -s.

    In units of |s|^2: mean gradients s/2 and -s/2 (signal 1/4, cosine -1), squares 1/2, noise 1/4: critical batch 1.
    The flat channel pays 2 whatever is done: signal 0, noise 4. Less the others' mean it has no noise at all; left has
    (s/2 or s/2): none either. Aim (1, 1, 1): pays 3, signal 0, noise 9.
    """
    found = diagnose(_train(tmp_path / "run", *ARMS), policies=2, episodes=700, seed=3)
    assert found["rows"] == [0, 1] and found["real_environment_steps"] == 2 * 700 + 2 * 24
    for policy in found["policies"]:
        left, flat = policy["channels"]["left"], policy["channels"]["flat"]
        unit = 2 * left["variance"].value + 2 * left["squared_length"].value
        assert left["variance"].value == pytest.approx(unit / 4, rel=0.1)
        assert left["critical_batch"].value == pytest.approx(1, rel=0.2)
        assert left["critical_batch"].low < 1.1 and left["critical_batch"].high > 0.9
        assert flat["variance"].value == pytest.approx(4 * unit, rel=0.1)
        assert flat["squared_length"].low < 0.001 * unit, "no signal, and none is claimed"
        assert policy["aim"]["variance"].value == pytest.approx(9 * unit, rel=0.1)
        assert policy["cosines"]["left"]["right"].value == pytest.approx(-1, abs=1e-3)
        assert left["signal_to_noise"].value == pytest.approx(12**0.5, rel=0.1)  # twelve episodes a step
        assert policy["baselines"]["mean"]["aim"].low > 100 and policy["baselines"]["none"]["aim"] == (1, 1, 1)
        assert policy["baselines"]["mean"]["left"].low > 100
        assert policy["step"]["share"]["whole"].value == pytest.approx(1, abs=1e-3)
        batch, baseline, memory, conflict = policy["verdict"]
        assert "a larger batch would help" in batch and "unless the policy has arrived" in batch
        assert "would help" in baseline and "'none'" in baseline
        assert "would help" in memory, "one small step away the same arms are drawn with the same weights"
        assert "left" in conflict and "right" in conflict and "pull apart" in conflict


def test_what_the_command_leaves_and_prints(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = _train(tmp_path / "run", *ARMS)
    before = contents(folder)
    words = ["diagnose", str(folder), "--policies", "1", "--episodes", "50"]
    assert main([*words, "--json", "--format", "png", "pdf", "svg"]) == 0
    drawn = (folder / "diagnosis.svg").read_text()
    assert "<!-- mo-pg on two-arms: gradients -->" in drawn and (folder / "diagnosis.pdf").read_bytes()[:4] == b"%PDF"
    assert "environment steps" in drawn and "with seed 0" in drawn and "50 fresh episodes" in drawn
    printed = json.loads(capsys.readouterr().out)
    assert json.loads((folder / "diagnosis.json").read_text()) == printed
    assert len(printed["policies"]) == 1 and printed["policies"][0]["batch"] == 12
    assert (folder / "diagnosis.png").read_bytes()[:4] == b"\x89PNG"
    assert main([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == printed, "one seed, one diagnosis"
    assert main(words) == 0
    out = capsys.readouterr().out
    assert "batch:" in out and "baseline:" in out and "variance reduction:" in out and "diagnosis.json" in out
    assert {name: data for name, data in contents(folder).items() if "diagnosis" not in name} == before


def test_runs_with_critics_and_fronts_are_diagnosed_too(copied: Path) -> None:
    """Rollouts of 32 steps x 4 environments: a batch is 128 steps over the mean length of an episode."""
    found = diagnose(copied, policies=2, episodes=30, seed=1)
    policy = max(found["policies"], key=lambda x: x["episode_length"])  # the other one may always take one same step
    assert policy["baseline"] == "learned" and set(policy["baselines"]) == {"none", "mean", "optimal", "learned"}
    assert policy["batch"] == pytest.approx(128 / policy["episode_length"])
    assert policy["baselines"]["learned"]["aim"].value == 1 and policy["step"]["length"] > 0


def test_what_cannot_be_diagnosed(refuses: Refuses, copied: Path, tmp_path: Path) -> None:
    before = contents(copied)
    assert "episodes at least 10" in refuses("diagnose", copied, "--episodes", 3)
    assert "policies must be at least 1" in refuses("diagnose", copied, "--policies", 0)
    assert contents(copied) == before
    for path in copied.glob("*.pt"):
        path.unlink()
    assert "holds no checkpoint yet" in refuses("diagnose", copied)
    small = ("--steps", "600", "--evaluate-every", "1", "--rollout-steps", "16", "--minibatches", "4", "--epochs", "1")
    novel = _train(tmp_path / "novel", "ipd", "--env", "deep-sea-treasure-v0", *small, "--final-episodes", "2")
    assert "ipd climbs no policy gradient of whole policies" in refuses("diagnose", novel)
    (tmp_path / "notes").mkdir()
    assert "is not a run folder" in refuses("diagnose", tmp_path / "notes")


def test_verdicts_say_no_more_than_their_intervals() -> None:
    inf = float("inf")
    assert "a larger batch would help; 40 [20, 90]" in on_batch(Interval(40, 20, 90), 12, 100)
    assert "suffice" in on_batch(Interval(4, 2, 9), 12, 100)
    assert "cannot tell from 100" in on_batch(Interval(14, 2, 90), 12, 100)
    arrived = on_batch(Interval(inf, 30, inf), 12, 100)
    assert "at least 30" in arrived and "cannot be told from zero" in arrived
    assert "cannot tell" in on_batch(Interval(inf, 5, inf), 12, 100)
    assert "no noise" in on_batch(Interval(0, 0, 0), 12, 100)
    gains = {"mean": Interval(3, 2, 4), "optimal": Interval(5, 1.05, 9)}
    assert "'mean' would help, 3x [2, 4] less" in on_baseline("none", gains)
    assert "none that was tried" in on_baseline("mean", {"none": Interval(0.5, 0.4, 0.7)})
    assert "cannot tell" in on_baseline("mean", {"none": Interval(1.2, 0.4, 1.7)})
    share = Interval(0.9, 0.8, 0.95)
    assert "would help" in on_memory(Interval(4, 3, 5), share) and "would not" in on_memory(
        Interval(1.1, 1, 1.2), share
    )
    assert "cannot tell" in on_memory(Interval(2, 1.2, 3), share) and "overflow" in on_memory(None, None)
    assert on_carriers(50.0, 100) is None and "1.5 of 100" in str(on_carriers(1.5, 100))
    assert "a and b pull apart" in on_conflict({("a", "b"): Interval(-0.5, -0.8, -0.1)})
    assert "all channels agree" in on_conflict({("a", "b"): Interval(0.5, 0.1, 0.9)})
    assert "cannot tell for 1 of 2" in on_conflict(
        {("a", "b"): Interval(0.5, 0.1, 0.9), ("a", "c"): Interval(0, -1, 1)}
    )
    assert shown(Interval(float("nan"), -inf, inf)) == "unknown"


def test_one_episode_that_carries_everything_is_no_evidence() -> None:
    squares = torch.tensor([0.0] * 99 + [5.0])
    carriers = float(squares.sum() ** 2 / squares.square().sum())
    assert carriers == 1 and "cannot tell anything" in str(on_carriers(carriers, 100))
    even = np.ones(100)
    assert on_carriers(float(even.sum() ** 2 / (even**2).sum()), 100) is None
