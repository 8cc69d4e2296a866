"""Environments that show, pay or cost what is no number: the run stops there, keeps what is sound, and goes on."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

from tests.tradeoff.conftest import Refuses, contents
from tradeoff.cli import main
from tradeoff.engine.checkpoint import load_newest
from tradeoff.envs import register_gymnasium

FAULT: dict[str, Any] = {"after": math.inf, "where": "observation", "value": math.nan}
COMMON = ("--env", "kiln", "--steps", "3000", "--evaluate-every", "2", "--episodes", "2", "--final-episodes", "2")
PPO = ("--hidden", "8", "--rollout-steps", "40", "--environments", "2", "--epochs", "2", "--minibatches", "2")


class Kiln(gym.Env):  # type: ignore[type-arg]
    """Ten steps; to heat pays (1, 0) and costs 1, to wait pays (0, 1). From a step on, one number is not finite."""

    observation_space = gym.spaces.Box(-1, 1, (3,), np.float32)
    action_space = gym.spaces.Box(-1, 1, (1,), np.float32)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.clock = 0
        return self._see(), {}

    def _see(self) -> Any:
        seen = self.np_random.uniform(-1, 1, 3).astype(np.float32)
        if FAULT["after"] < 0 and FAULT["where"] == "observation":
            seen[2] = FAULT["value"]
        return seen

    def step(self, action: Any) -> Any:
        FAULT["after"] -= 1
        self.clock += 1
        heat = float(action[0] > 0)
        reward, cost = np.array([heat, 1 - heat]), heat
        if FAULT["after"] < 0 and FAULT["where"] == "reward":
            reward[1] = FAULT["value"]
        if FAULT["after"] < 0 and FAULT["where"] == "cost":
            cost = FAULT["value"]
        return self._see(), reward, False, self.clock == 10, {"cost": cost}


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tradeoff.envs.registry._own", {})
    monkeypatch.setitem(FAULT, "after", math.inf)
    register_gymnasium("kiln", Kiln, objectives=("heat", "rest"), limits=(3,))


METHODS = {
    "weighted-sum": ("--policies", "2", *PPO),
    "lagrangian": PPO,
    "mo-pg": ("--batch", "8", "--hidden", "8"),
    "sac-lagrangian": ("--warmup", "100000", "--hidden", "8", "--rollout-steps", "20", "--environments", "2"),
}


@pytest.mark.parametrize(("method", "where", "value", "says"), [
    ("weighted-sum", "observation", math.inf, "observation 2 is inf"),
    ("weighted-sum", "reward", -math.inf, "reward 'rest' is -inf"),
    ("lagrangian", "observation", math.nan, "observation 2 is nan"),
    ("lagrangian", "cost", math.nan, "cost 'cost' of kiln is nan"),
    ("mo-pg", "observation", math.nan, "observation 2 is nan"),
    ("sac-lagrangian", "observation", math.nan, "observation 2 is nan"),
])  # fmt: skip
def test_a_number_that_is_not_finite_stops_the_run_and_repaired_it_ends(
    method: str, where: str, value: float, says: str, tmp_path: Path, refuses: Refuses
) -> None:
    folder = tmp_path / "run"
    FAULT.update(after=900, where=where, value=value)
    said = refuses("train", method, *COMMON, *METHODS[method], "--quiet", "--out", folder)
    assert says in said and "kiln" in said and "repair the environment and resume" in said, said
    assert "learning rate" not in said and f"`tradeoff resume {folder}` goes on from the last checkpoint" in said
    before = {name: data for name, data in contents(folder).items() if name.endswith(".pt")}
    assert before and _finite(load_newest(folder)["learner"])
    assert f" is {value}" in refuses("resume", folder, "--quiet"), "it is still so"
    assert {name: data for name, data in contents(folder).items() if name.endswith(".pt")} == before
    FAULT["after"] = math.inf
    assert main(["resume", str(folder), "--quiet"]) == 0


def _finite(learner: dict[str, Any]) -> bool:
    people = learner["population"]
    kept = [people["theta"], *people["observations"], *people["returns"]]
    kept += [x for x in learner["source"].values() if isinstance(x, torch.Tensor)]
    kept += [learner["replay"]["rows"]] if "replay" in learner else []
    return all(bool(torch.isfinite(x).all()) for x in kept)


def test_a_reference_point_is_never_made_of_what_is_no_number(tmp_path: Path, refuses: Refuses) -> None:
    FAULT.update(after=40, where="reward", value=math.nan)  # the second step of 32 environments
    said = refuses("train", "weighted-sum", *COMMON, *METHODS["weighted-sum"], "--quiet", "--out", tmp_path / "run")
    assert "reward 'rest' is nan at step 1 of the random episodes that fix the reference point" in said
    assert not (tmp_path / "run").exists()
