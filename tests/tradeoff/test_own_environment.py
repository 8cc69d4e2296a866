"""An environment in one's own folder: found there, its channels named from outside, what looks like a cost told."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tradeoff.conftest import Refuses
from tradeoff import Trained
from tradeoff.cli import main
from tradeoff.envs import TradeoffError, make
from tradeoff.envs.gymnasium_costs import _hint, join_costs, split_channels
from tradeoff.options import training

KILN = '''
import gymnasium as gym
import numpy as np


class Kiln(gym.Env):
    """Fire pays 2 of the first reward, 1 of damage; rest pays 1 of the second reward. Five steps."""

    observation_space = gym.spaces.Box(0, 1, (1,), np.float32)
    action_space = gym.spaces.Discrete(2)
    reward_space = gym.spaces.Box(0, 2, (2,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.time = 0
        return np.zeros(1, np.float32), {}

    def step(self, action):
        self.time += 1
        pay = np.array([2.0 * action, 1.0 - action], np.float32)
        info = {"damage": float(action), "warmth": 0.5}
        return np.full(1, self.time / 5, np.float32), pay, False, self.time == 5, info
'''
SHORT = (
    *("--steps", "150", "--rollout-steps", "10", "--environments", "2", "--minibatches", "2", "--epochs", "2"),
    *("--episodes", "2", "--final-episodes", "3", "--hidden", "4", "--quiet"),
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working folder with a package of one's own, which nothing else has put on the path."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "rooms.py").write_text(KILN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [part for part in sys.path if part not in ("", str(tmp_path))])
    yield tmp_path
    for name in ("mine", "mine.rooms"):
        sys.modules.pop(name, None)


def test_environment_of_the_working_folder_is_found_and_its_channels_are_named(folder: Path) -> None:
    words = ("train", "lagrangian", "--env", "mine.rooms:Kiln", "--cost", "damage", "--limit", "damage<=2")
    assert main([*words, "--objectives", "bricks", "glaze", *SHORT, "--out", "run"]) == 0
    found = Trained.load(folder / "run")
    assert found.channels == ("bricks", "glaze", "damage") and found.objectives == 2
    returns = found.returns  # [1, 3, 3]: each step fires, 2 bricks and 1 damage, or rests, 1 glaze
    assert (returns[..., 0] == 2 * returns[..., 2]).all() and (returns[..., 1] + returns[..., 2] == 5).all()
    assert sys.path[-1] == str(folder), "behind everything that is installed"
    assert main(["evaluate", "run", "--trust-code", "--episodes", "2"]) == 0


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--objectives", "bricks"), "1 names for 2 objectives"),
        (("--objectives", "bricks", "bricks"), "give different names"),
        (("--objectives", "a,b", "c"), "give different names without , ? & ="),
        (("--objectives", "damage", "glaze"), "'damage'"),
    ],
)
def test_names_that_do_not_fit_are_refused(words: tuple[str, ...], says: str, folder: Path, refuses: Refuses) -> None:
    given = ("train", "lagrangian", "--env", "mine.rooms:Kiln", "--cost", "damage", "--limit", "damage<=2", *SHORT)
    assert says in refuses(*given, *words, "--out", "run") and not (folder / "run").exists()


def test_what_looks_like_a_cost_is_pointed_to_once(folder: Path) -> None:
    sys.path.append(str(folder))
    _hint.cache_clear()
    with pytest.warns(UserWarning, match=r"reports damage in its info; `--cost damage` .* can be limited") as told:
        make("mine.rooms:Kiln").close()
        make("mine.rooms:Kiln").close()
    assert len(told) == 1 and "warmth" not in str(told[0].message)


def test_ids_carry_channels_and_give_them_back() -> None:
    id = join_costs("mine:Kiln", ("-energy", "heat=info[t]"), ("a", "b"))
    assert id == "mine:Kiln?objectives=a,b&cost=-energy&cost=heat=info[t]"
    assert split_channels(id) == ("mine:Kiln", ("-energy", "heat=info[t]"), ("a", "b"))
    assert split_channels("x?cost=y") == ("x", ("y",), ()) and join_costs("x", ()) == "x"
    for bad in ("x?", "x?price=3", "x?objectives="):
        with pytest.raises(TradeoffError, match=r"expected cost=\.\.\. or objectives=a,b"):
            split_channels(bad)


def test_columns_of_a_batched_environment_take_names() -> None:
    env = make("deep-sea-treasure-v0?objectives=gold,hours")
    assert env.spec.objectives == ("gold", "hours") and env.spec.backend == "torch"
    config = training(["c-morl", "--env", "deep-sea-treasure-v0", "--objectives", "gold", "hours"]).method
    assert config.env == env.spec.id
