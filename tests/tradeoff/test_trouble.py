"""Numbers that go wrong in the middle of a run: a clear error, and a folder from which the run goes on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cvxpy
import numpy as np
import pytest
import torch

from tests.tradeoff.conftest import Refuses, contents
from tradeoff.cli import main
from tradeoff.diagnose import diagnose
from tradeoff.engine.checkpoint import load_newest
from tradeoff.engine.scalarizers import Linear
from tradeoff.engine.trained import Trained
from tradeoff.envs import finite_arrays, make_tabular, register
from tradeoff.envs.finite import FiniteEnv
from tradeoff.evaluation import concave_optimum, finite_problem
from tradeoff.evaluation.concave import NotConcave

SUNK = {"by": 0.0}  # taken off every first reward while it is above zero


class Sinking(FiniteEnv):
    """Its first reward falls by what SUNK says: returns that were positive need not stay so."""

    def step(self, action: Any) -> Any:
        found = super().step(action)
        return found._replace(reward=found.reward - torch.tensor([SUNK["by"], 0.0, 0.0]))


def shop(num_envs: int, **options: Any) -> Any:
    """One choice of two, six times: (1, .2, 5) or (.2, 2, 5)."""
    transition = np.zeros((7, 2, 7))
    for s in range(7):
        transition[s, :, min(s + 1, 6)] = 1
    reward = np.tile([[1.0, 0.2, 5.0], [0.2, 2.0, 5.0]], (7, 1, 1))
    model = finite_arrays(transition, reward, terminal=np.arange(7) == 6, horizon=6)
    names = ("left", "right", "flat")
    made = make_tabular(
        model, num_envs, id="shop", objectives=names, discount=1.0, reference_point=(-1, -1, -1), **options
    )
    made.__class__ = Sinking
    return made


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tradeoff.envs.registry._own", {})
    monkeypatch.setitem(SUNK, "by", 0.0)
    register("shop", shop)


SMALL = ("--env", "shop", "--steps", "6000", "--hidden", "4", "--evaluate-every", "2", "--episodes", "2", "--quiet")


def _until(monkeypatch: pytest.MonkeyPatch, folder: Path, wrong: Callable[[], None], checkpoints: int = 1) -> None:
    """Let `wrong` happen once so many checkpoints lie in the folder."""
    from tradeoff.engine import run

    plain = run.save_numbered

    def watched(*given: Any) -> Path:
        path = plain(*given)
        if len(list(folder.glob("checkpoint-*.pt"))) >= checkpoints:
            wrong()
        return path

    monkeypatch.setattr(run, "save_numbered", watched)


def _goes_on(folder: Path) -> Trained:
    """The checkpoint is whole, and the run ends as it should once the trouble is over."""
    state = load_newest(folder)
    assert torch.isfinite(state["learner"]["population"]["theta"]).all()
    assert not (folder / "policies.pt").exists()
    assert main(["resume", str(folder), "--quiet"]) == 0
    found = Trained.load(folder)
    assert np.isfinite(found.returns).all() and found.indicators["real_environment_steps"]["training"] > 4000
    return found


@pytest.mark.parametrize("method", ["mo-pg", "mo-storm-pg", "mo-ppo"])
def test_a_utility_without_a_value_stops_the_run_and_names_the_way_out(
    method: str, tmp_path: Path, refuses: Refuses, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    extra = ("--rollout-steps", "12", "--minibatches", "2") if method == "mo-ppo" else ()
    words = ("train", method, *SMALL, "--utility", "proportional-fair", *extra, "--out", folder)
    with monkeypatch.context() as patch:
        _until(patch, folder, lambda: SUNK.update(by=9.0))
        said = refuses(*words)
    assert (
        "utility 'alpha-fair' has no finite slope at the returns (-" in said
        and "J + shift > 0" in said
        and "(floor)" in said
    )
    before = contents(folder)
    assert "no finite" in refuses("resume", folder, "--quiet"), "it is still so"
    assert {name: data for name, data in contents(folder).items() if name.endswith(".pt")}.keys() >= {
        name for name in before if name.endswith(".pt")
    }
    SUNK["by"] = 0.0
    _goes_on(folder)


def test_with_a_floor_the_same_run_is_projected_and_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "run"
    words = ["train", "mo-pg", *SMALL, "--utility", "proportional-fair", "--floor", "0.5", "--out", str(folder)]
    _until(monkeypatch, folder, lambda: SUNK.update(by=9.0))
    assert main(words) == 0
    found = Trained.load(folder)
    assert found.returns[..., 0].max() < 0
    values = np.clip(found.returns.mean(1), 0.5, None)
    assert found.indicators["value"] == pytest.approx(np.log(values).sum(1))


def test_weights_that_are_not_finite_never_reach_the_disk(
    tmp_path: Path, refuses: Refuses, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    assert "nan" in refuses("train", "mo-pg", *SMALL, "--utility", "linear", "--weights", "nan", "--out", folder)
    assert not folder.exists()
    words = ("train", "mgda", *SMALL, "--out", folder)
    with monkeypatch.context() as patch:
        broken = lambda self, returns: torch.full_like(returns, torch.nan)  # noqa: E731
        _until(patch, folder, lambda: patch.setattr(Linear, "weights", broken))
        assert "weights of policy 0 are not finite" in refuses(*words)
    _goes_on(folder)


def test_importance_weights_that_explode_stop_the_run_with_advice(
    tmp_path: Path, refuses: Refuses, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The policy before a step finds what the present one did e^100 times as likely, at each of six steps."""
    from tradeoff.engine import recursion

    folder, plain = tmp_path / "run", recursion.log_probs
    large = ("--utility", "linear", "--checkpoint", "8", "--batch", "8", "--period", "9", "--evaluate-every", "1")
    words = ("train", "mo-tsivr-pg", *SMALL, *large, "--out", folder)
    with monkeypatch.context() as patch:
        _until(patch, folder, lambda: patch.setattr(recursion, "log_probs", lambda *given: plain(*given) + 100.0))
        said = refuses(*words)
    assert (
        "importance weight over 6 steps has the logarithm 600" in said
        and "shorter steps" in said
        and f"`tradeoff resume {folder}` goes on from the last checkpoint" in said
    )
    _goes_on(folder)


def test_a_utility_that_is_not_concave_is_refused_by_the_program_over_occupancies() -> None:
    problem = finite_problem(np.ones((1, 2, 1)), np.array([[[1.0, 0], [0, 1]]]), start=0, discount=0.5)
    with pytest.raises(NotConcave, match="climb it with a policy gradient"):
        concave_optimum(problem, lambda returns, occupancy: cvxpy.sum_squares(returns))
    # The concave neighbour of it is solved: J = (2 x, 2 (1 - x)), sqrt + sqrt is best at x = 1/2, 2 sqrt 1 = 2.
    best = concave_optimum(problem, lambda returns, occupancy: cvxpy.sum(cvxpy.sqrt(returns)))
    assert best.value == pytest.approx(2, abs=1e-6)


@pytest.mark.parametrize("method", ["mgda", "pcgrad", "cagrad", "nash-mtl", "epo", "dynamic-weights", "mo-pg"])
def test_a_channel_that_never_varies_stops_nobody(method: str, tmp_path: Path) -> None:
    """The two others trade 1 - .2 for 2 - .2 a step: 9 left + 4 right is the same all along the front, 6 * 9.8."""
    folder = tmp_path / "run"
    more = ("--learning-rate", "0.05", "--batch", "8")
    assert main(["train", method, *SMALL, *more, "--out", str(folder)]) == 0
    found = Trained.load(folder)
    assert (found.returns[..., 2] == 30).all() and np.isfinite(found.indicators["value"]).all()
    moved = found.history[-1]["weights"][0]
    assert np.isfinite(moved).all() and sum(moved[:2]) > 0, "the others go on being climbed"
    if method == "mgda":
        assert moved[2] == 0
        report = diagnose(folder, policies=1, episodes=20, seed=1)["policies"][0]
        assert report["channels"]["flat"]["squared_length"].value < 1e-6 * report["channels"]["left"]["variance"].value


def test_a_front_method_keeps_its_archive_with_a_channel_that_never_varies(tmp_path: Path) -> None:
    folder = tmp_path / "front"
    words = ["c-morl", "--env", "shop", "--steps", "4000", "--policies", "3", "--rollout-steps", "12", "--epochs", "2",
             "--minibatches", "2", "--environments", "4", "--evaluate-every", "3", "--quiet"]  # fmt: skip
    assert main(["train", *words, "--out", str(folder)]) == 0
    from tradeoff.morl import Front

    front = Front.load(folder)
    assert len(front) >= 1 and (front.points[:, 2] == 30).all()
    volume = front.indicators["hypervolume"]
    assert np.isfinite(volume["value"] if isinstance(volume, dict) else volume)
