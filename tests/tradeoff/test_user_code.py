"""Whatever a user's environment does, the run ends in one line, with a log of the traceback and a good checkpoint."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

from tests.tradeoff.conftest import Refuses
from tradeoff.cli import main
from tradeoff.engine import endings
from tradeoff.engine.checkpoint import load_newest
from tradeoff.engine.trained import Trained
from tradeoff.envs import finite_arrays, make_tabular, register, register_gymnasium
from tradeoff.envs.gymnasium_adapter import GymnasiumEnv

DO: dict[str, Any] = {"left": 10**9, "what": None}
WORDS = ("mo-pg", "--utility", "linear", "--hidden", "4", "--batch", "8", "--steps", "2000", "--evaluate-every", "2",
         "--episodes", "2", "--final-episodes", "2", "--quiet")  # fmt: skip


class Oven(gym.Env):  # type: ignore[type-arg]
    """Eight steps of two rewards; then it does what DO says."""

    observation_space = gym.spaces.Box(-1, 1, (2,), np.float32)
    action_space = gym.spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.clock = 0
        return np.zeros(2, np.float32), {}

    def step(self, action: Any) -> Any:
        DO["left"] -= 1
        if DO["left"] < 0:
            DO["what"]()
        self.clock += 1
        info = {"heat": float(action)}
        return np.zeros(2, np.float32), np.array([action, 1.0 - action]), False, self.clock == 8, info


def melts() -> None:
    raise RuntimeError("the oven melts\nover two lines")


def smoke(seen: Any, action: Any, following: Any, info: dict[str, Any]) -> float:
    """A cost that cannot be told once DO is due."""
    return info["heat"] if DO["left"] >= 0 else info["no such thing"]


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tradeoff.envs.registry._own", {})
    monkeypatch.setitem(DO, "left", 10**9)
    register_gymnasium("oven", Oven)
    register_gymnasium("smoky", Oven, costs={"smoke": smoke})


@pytest.mark.parametrize(
    ("env", "what", "says"),
    [
        ("oven", melts, "RuntimeError: the oven melts over two lines"),
        ("oven", lambda: sys.exit(3), "sys.exit"),
        ("smoky", lambda: None, "KeyError: 'no such thing'"),
    ],
)
def test_an_environment_that_raises_ends_in_a_line_a_log_and_a_checkpoint(
    env: str, what: Any, says: str, tmp_path: Path, refuses: Refuses
) -> None:
    folder = tmp_path / "run"
    DO.update(left=1200, what=what)
    said = refuses("train", *WORDS, "--env", env, "--out", folder)
    assert says in said and env in said and "at step" in said, said
    assert f"`tradeoff resume {folder}` goes on from the last checkpoint" in said
    assert f"the traceback is in {folder / 'error.log'}" in said
    assert "test_user_code.py" in (folder / "error.log").read_text()
    assert torch.isfinite(load_newest(folder)["learner"]["population"]["theta"]).all()
    DO["left"] = 10**9
    assert main(["resume", str(folder), "--quiet"]) == 0
    assert not (folder / "error.log").exists()


def test_a_worker_that_is_gone_ends_in_a_line(tmp_path: Path, refuses: Refuses) -> None:
    def workers(num_envs: int, **options: Any) -> GymnasiumEnv:
        return GymnasiumEnv(Oven, num_envs, id="far", workers=1, **options)

    register("far", workers)
    DO.update(left=20, what=lambda: os._exit(5))  # in the worker, whose copy of DO it is
    said = refuses("train", *WORDS, "--env", "far", "--out", tmp_path / "run")
    assert "exit code 5" in said


def test_an_environment_of_tensors_that_raises_is_told_alike(tmp_path: Path, refuses: Refuses) -> None:
    def cellar(num_envs: int, **options: Any) -> Any:
        model = finite_arrays(np.ones((1, 2, 1)), np.ones((1, 2, 2)), horizon=4)
        made = make_tabular(model, num_envs, id="cellar", objectives=("a", "b"), **options)
        step = made.step

        def flooded(action: torch.Tensor) -> Any:
            DO["left"] -= 1
            return step(action) if DO["left"] >= 0 else 1 / 0

        made.step = flooded  # type: ignore[method-assign]
        return made

    register("cellar", cellar)
    DO["left"] = 60
    said = refuses("train", *WORDS, "--env", "cellar", "--out", tmp_path / "run")
    assert "cellar failed at step" in said and "ZeroDivisionError: division by zero" in said
    register("attic", lambda num_envs, **options: {}["ladder"])
    said = refuses("train", *WORDS, "--env", "attic", "--out", tmp_path / "no")
    assert "attic failed while it was built: KeyError: 'ladder'" in said and not (tmp_path / "no").exists()


def test_what_fails_before_there_is_a_run_leaves_its_traceback_and_no_folder(tmp_path: Path, refuses: Refuses) -> None:
    def kept(said: str) -> str:
        path = re.search(r"the traceback is in (\S+\.log)", said)
        assert path is not None, said
        text = Path(path[1]).read_text()
        Path(path[1]).unlink()
        return text

    def door(num_envs: int, **options: Any) -> Any:
        if DO["left"] < 0:
            melts()
        return GymnasiumEnv(Oven, num_envs, id="door", **options)

    register("door", door)
    DO["left"] = -1
    words = ("train", *WORDS, "--env", "door", "--out", tmp_path / "run")
    said = refuses(*words)
    assert "door failed" in said and "melts" in kept(said) and list(tmp_path.iterdir()) == []
    DO["left"] = 10**9
    assert main([str(word) for word in words]) == 0, "repaired, the same command trains"
    DO["left"] = -1
    said = refuses("evaluate", tmp_path / "run")
    assert "melts" in kept(said) and not (tmp_path / "run" / "error.log").exists()
    said = refuses("resume", tmp_path / "run", "--steps", "9000")
    assert f"the traceback is in {tmp_path / 'run' / 'error.log'}" in said
    assert "melts" in (tmp_path / "run" / "error.log").read_text()


# Episodes that never end


def endless(num_envs: int, **options: Any) -> Any:
    """Two choices for ever: to work pays 1 and heats by 1, to rest does neither."""
    paid, cost = np.array([[[0.0], [1.0]]]), np.array([[[0.0], [1.0]]])
    model = finite_arrays(np.ones((1, 2, 1)), paid, cost=cost)
    return make_tabular(model, num_envs, id="mill", objectives=["work"], costs=["heat"], **options)


MILL = ("--env", "mill", "--limit", "heat<=0.3", "--steps", "6000", "--evaluate-every", "2", "--episodes", "2",
        "--final-episodes", "3", "--rollout-steps", "100", "--hidden", "4", "--quiet", "--out")  # fmt: skip


def test_a_limit_on_means_needs_no_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    register("mill", endless)
    monkeypatch.setattr(endings, "CUT", 50)
    with pytest.warns(UserWarning, match="no episode ended in 1000 steps of random actions; evaluations are cut after"):
        assert main(["train", "cpo", "--scale", "average", *MILL, str(tmp_path / "run")]) == 0
    found = Trained.load(tmp_path / "run")
    assert found.indicators["cut"] == 50 and found.history[-1]["length"] == [50.0]
    assert found.returns[0, :, 0].max() <= 50, "pays at most 1 a step"
    assert main(["evaluate", str(tmp_path / "run"), "--episodes", "2"]) == 0


def test_that_no_episode_ends_is_said_before_training_and_a_horizon_can_be_added(
    tmp_path: Path, refuses: Refuses, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules["tradeoff.engine.evaluate"], "PATIENCE", 60)
    register("mill", endless)
    folder = tmp_path / "run"
    with pytest.warns(UserWarning, match="need an end: --horizon 1000 cuts episodes after 1000"):
        assert "set a horizon" in refuses("train", "cpo", "--scale", "episodic", *MILL, folder)
    assert main(["resume", str(folder), "--horizon", "20", "--quiet"]) == 0
    found = Trained.load(folder)
    assert found.indicators["horizon"] == 20 and found.history[-1]["length"] == [20.0]


# Signals


@pytest.mark.slow
def test_an_environment_that_hangs_needs_a_second_ctrl_c_at_most(tmp_path: Path) -> None:
    (tmp_path / "bog.py").write_text(
        "import time, mo_gymnasium\n"
        "class Bog(mo_gymnasium.make('deep-sea-treasure-v0').unwrapped.__class__):\n"
        "    steps = 0\n"
        "    def step(self, action):\n"
        "        Bog.steps += 1\n"
        "        if Bog.steps > 1000:\n"
        "            open('hangs', 'w').close()\n"
        "            while True: time.sleep(100)\n"
        "        return super().step(action)\n"
    )
    words = [sys.executable, "-m", "tradeoff", "train", *WORDS, "--env", "bog:Bog", "--horizon", "20", "--out", "run"]
    process = subprocess.Popen(words, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not (tmp_path / "hangs").exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    time.sleep(2)  # a busy machine needs a moment to hear the first
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130 and "stopped at once" in err and "Traceback" not in err, err
