"""Saute, Simmer and early termination on shifts of ten steps: work pays 2 and wears by 1, rest pays 1/2.

With a limit of 2.5 an episode has room for two steps of work: 4 + 8 / 2 = 8. On average, 2.5 of work would pay 8.75 (a
linear program says so), but then some episodes break the limit.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tradeoff.cli import main
from tradeoff.engine import checkpoint
from tradeoff.engine.learner import LearnerConfig
from tradeoff.engine.run import Interrupted, complete
from tradeoff.envs import finite_arrays, make_tabular, register
from tradeoff.evaluation import constrained_optimum, finite_problem
from tradeoff.replay_trained import replay
from tradeoff.safe.budget_methods import METHODS, Simmer
from tradeoff.safe.constraints import BadLimit
from tradeoff.settings import Settings, read_settings, write_settings

STEPS, LIMIT, BEST = 10, "2.5", 8.0
MODEL = finite_arrays(np.ones((1, 2, 1)), [[[0.5], [2.0]]], cost=[[[0.0, 0.0], [1.0, 0.25]]], horizon=STEPS)
LEARNER = LearnerConfig(
    rollout_steps=20, environments=16, epochs=4, minibatches=4, learning_rate=0.01, hidden=(16,), gamma=0.9,
    entropy=0.02, anneal=True,
)  # fmt: skip
SHORT: dict[str, Any] = {
    "env": "shifts", "limit": (f"wear={LIMIT}",), "policies": 2, "steps": 60_000, "evaluate_every": 50,
    "final_episodes": 100, "seed": 1, "learner": LEARNER,
}  # fmt: skip


def shifts(num_envs: int, **options: Any) -> Any:
    return make_tabular(MODEL, num_envs, id="shifts", costs=("wear", "noise"), limits=(2.5, 9.0), **options)


@pytest.fixture(autouse=True)
def registered() -> None:
    register("shifts", shifts)


def test_on_average_more_would_be_allowed() -> None:
    paid = np.concatenate([MODEL.reward, MODEL.cost], -1)
    problem = finite_problem(MODEL.transition, paid, start=MODEL.start, discount=1.0)
    found = constrained_optimum(problem, [1, 0, 0], [(1, 2.5, "<=")], horizon=STEPS)
    assert found.value == pytest.approx(8.75)


@pytest.mark.parametrize("name", METHODS)
def test_the_limit_is_kept_in_every_episode_and_nearly_used_up(name: str) -> None:
    room = {"first_share": 0.5, "widened": 0.3} if name == "simmer" else {}  # for one step of work at first
    found = METHODS[name](**SHORT, **room).run()
    assert found.deterministic_returns[..., 1].max() == 2.0, "a third step of work would break the limit"
    assert found.deterministic_returns[..., 0].mean() == pytest.approx(BEST, abs=0.02)
    assert max(found.indicators["episodes_over_the_limit"][0]) <= 0.05
    assert min(found.indicators["value"]) > 0.97 * BEST
    assert found.indicators["real_environment_steps"]["training"] >= 40_000


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "gamma"), [("saute", 0.99), ("saute", 1.0), ("early-termination", 1.0), ("simmer", 0.99)]
)
def test_a_budget_is_used_up_by_the_time_limit(name: str, gamma: float) -> None:
    """Ten hours of rest, work or hurry pay 0, 1 or 1.5 and wear by 0, 1/4 or 1, within 5.

    Three hours may be hurried and seven worked: 4.5 + 7 = 11.5 at 4.75; a fourth hurried hour leaves four to work and
    two to rest, 6 + 4 = 10. A critic that looks beyond the tenth hour saves the budget for hours that never come.
    """
    pay, wear = np.array([[[0.0], [1.0], [1.5]]]), np.array([[[0.0], [0.25], [1.0]]])
    model = finite_arrays(np.ones((1, 3, 1)), pay, cost=wear, horizon=STEPS)
    register("hours", lambda n, **more: make_tabular(model, n, id="hours", costs=("wear",), limits=(5.0,), **more))
    room = {"first_share": 0.5, "widened": 0.3} if name == "simmer" else {}
    asked = {**SHORT, "env": "hours", "limit": ("wear=5",), "policies": 3, "learner": replace(LEARNER, gamma=gamma)}
    found = METHODS[name](**asked, **room).run()
    assert min(found.deterministic_returns.mean(1)[:, 0]) > 0.95 * 11.5
    assert found.returns[..., 0].mean() == pytest.approx(11.5, abs=0.1), found.returns.mean(1)
    assert found.returns[..., 1].mean() == pytest.approx(4.75, abs=0.1)


def test_budgets_are_shown_for_the_limits_that_were_given() -> None:
    env: Any = METHODS["saute"](**SHORT).start().make_env(4, 0)
    env.reset(0)
    left = env.step(torch.ones(4, dtype=torch.long)).observation[:, -3:]
    assert left.tolist() == [[pytest.approx(1 - 1 / 2.5), 1.0, pytest.approx(0.9)]] * 4, "noise has no limit here"
    both = replace(METHODS["saute"](**SHORT), limit=(), margin=0.2).start().make_env(4, 0)
    both.reset(0)
    left = both.step(torch.ones(4, dtype=torch.long)).observation[:, -3:]
    assert left[0].tolist() == pytest.approx([1 - 1 / 2.0, 1 - 0.25 / 7.2, 0.9]), "the environment's, less the margin"


def test_an_older_run_folder_is_read_without_its_clock(tmp_path: Path) -> None:
    """config.json of older releases does not know the time left; what it trained never saw it."""
    write_settings(tmp_path, Settings(METHODS["saute"](**SHORT), 1))
    record = json.loads((tmp_path / "config.json").read_text())
    assert record["settings"].pop("clock") is True
    older = {name: record[name] for name in ("method", "threads", "settings")}
    (tmp_path / "config.json").write_text(json.dumps({"version": 1, **older}))
    config = read_settings(tmp_path).config
    assert config.clock is False and config.start().make_env(1, 0).reset(0).shape == (1, 3)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"limit": ("wear>=2",)}, "is no budget"),
        ({"limit": ("objective_0<=2",)}, "shifts has the costs wear, noise"),
        ({"scale": "average"}, "is no budget"),
        ({"limit": ("wear=0",)}, "leaves nothing to spend"),
    ],
)
def test_limits_that_are_no_budgets_are_refused(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(BadLimit, match=says):
        METHODS["saute"](**{**SHORT, **changes}).start()


@pytest.mark.parametrize("changes", [{"widened": 0.0}, {"widened": 1.5}, {"first_share": 0.0}])
def test_shares_must_be_shares(changes: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"must lie in \(0, 1\]"):
        Simmer(**{**SHORT, **changes})


def test_a_budget_widens_and_an_interrupted_run_ends_as_if_it_had_not_been(tmp_path: Path) -> None:
    """The share grows from .2 to 1 over the first half of the run; the third iteration begins after two of 640."""
    config = Simmer(**{**SHORT, "steps": 12_800, "evaluate_every": 3})
    turns = iter(range(1, 10**6))
    run: Any = config.start()
    with pytest.raises(Interrupted):
        complete(run, tmp_path, stop=lambda: next(turns) == 3)
    assert run.learner.source.env.share == pytest.approx(0.2 + 0.8 * 2 * 640 / 6400)
    again: Any = config.start()
    again.load_state_dict(checkpoint.load_newest(tmp_path))
    one, other = config.run(), complete(again, tmp_path)
    assert again.learner.source.env.share == 1.0
    assert one.indicators == other.indicators and one.history == other.history
    assert (one.population.theta == other.population.theta).all()


def test_a_finished_run_is_played_with_its_budget(tmp_path: Path) -> None:
    words = ["--env", "shifts", "--limit", "wear=2.5", "--steps", "3000", "--final-episodes", "50", "--quiet"]
    assert main(["train", "saute", *words, "--out", str(tmp_path / "run")]) == 0
    found = replay(tmp_path / "run", episodes=20, seed=3)
    work = found.scores["sampled"].returns[0, :, 1]
    paid = found.scores["sampled"].returns[0, :, 0]
    assert torch.allclose(paid, 2 * work + (STEPS - work) / 2), "all that the environment pays, broken limit or not"
    assert found.trained.population.theta.shape[0] == 1
