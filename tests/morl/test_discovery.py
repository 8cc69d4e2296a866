"""Runs: one seed one result, interruptions change nothing, steps are counted, bad problems are refused."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.morl.conftest import TINY, changed, goods
from tradeoff.engine import checkpoint
from tradeoff.engine.run import make as real_make
from tradeoff.engine.scalarizers import Linear
from tradeoff.envs import register
from tradeoff.morl import CMORL, Discovery, Front, Interrupted, ScalarReward, WeightedSumFront, discover
from tradeoff.morl.barrier import Barrier
from tradeoff.morl.discovery import FrontWarning

DICE = changed(TINY, env="dice", discount=1.0, reference_point=(0.0, 0.0))


def files(front: Front, folder: Path) -> dict[str, bytes]:
    """What a front leaves on the disk."""
    front.save(folder)
    return {name: (folder / name).read_bytes() for name in ("front.csv", "front.pt", "indicators.json")}


def last(folder: Path) -> bytes:
    """The newest checkpoint of a run: all of its state, archive and history included."""
    return sorted(folder.glob("checkpoint-*.pt"))[-1].read_bytes()


@pytest.mark.parametrize("config", [TINY, DICE], ids=["exact", "unreadable"])
def test_one_seed_one_result(config: CMORL, whole: dict[str, Any], tmp_path: Path) -> None:
    once = files(config.run(), tmp_path / "once")
    assert uninterrupted(config, whole)[0] == once, "and a folder changes no number"
    other = files(changed(config, seed=1).run(), tmp_path / "other")
    assert [other[name] != once[name] for name in once] == [True] * 3


def after(count: int) -> Callable[[], bool]:
    """Ask for a stop after so many iterations."""
    left = iter(range(1, 10_000))
    return lambda: next(left) >= count


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Uninterrupted runs by environment, filled by the first test that asks: files and last checkpoint."""
    return {"folder": tmp_path_factory.mktemp("whole")}


def uninterrupted(config: CMORL, whole: dict[str, Any]) -> Any:
    if config.env not in whole:
        folder = whole["folder"] / config.env
        whole[config.env] = files(discover(config, folder), folder), last(folder)
    return whole[config.env]


@pytest.mark.parametrize("config", [TINY, DICE], ids=["exact", "unreadable"])
@pytest.mark.parametrize("moments", [[2], [5], [7], [10], [2, 1, 5, 1]], ids=str)
def test_an_interrupted_run_ends_as_if_it_had_not_been(
    config: CMORL, moments: list[int], whole: dict[str, Any], tmp_path: Path
) -> None:
    # Evaluations and checkpoints fall on iterations 2, 4, 5 (204, 408, 516 steps: stage 1 has had its 450), 6, 8 (the
    # first extensions are over), 10, ...
    expected = uninterrupted(config, whole)
    for i, moment in enumerate(moments):
        with pytest.raises(Interrupted, match=f"tradeoff resume {tmp_path}"):
            discover(config, tmp_path, resume=i > 0, stop=after(moment))
    front = discover(config, tmp_path, resume=True)
    assert files(front, tmp_path) == expected[0]
    assert last(tmp_path) == expected[1]


def test_the_interruptions_hit_both_stages(tmp_path: Path) -> None:
    names = []
    for moment in (2, 4, 5, 7, 9):
        with pytest.raises(Interrupted):
            discover(TINY, tmp_path / str(moment), stop=after(moment))
        state = checkpoint.load_newest(tmp_path / str(moment))
        names.append((state["scalarizer"], state["iteration"]))
    assert names == [("Linear", 2), ("Linear", 4), ("Barrier", 5), ("Barrier", 7), ("Barrier", 9)]


def test_a_loaded_run_holds_what_was_saved(tmp_path: Path) -> None:
    run, other = Discovery(TINY), Discovery(TINY)
    for _ in range(7):
        run.advance()
    checkpoint.save(tmp_path / "state", run.state_dict())
    other.load_state_dict(checkpoint.load(tmp_path / "state"))
    assert run.learner is not None and other.learner is not None
    assert isinstance(run.learner.scalarizer, Barrier) and isinstance(other.learner.scalarizer, Barrier)
    rows = [(one.advance(), one.advance()) for one in (run, other)]
    assert rows[0] == rows[1]
    assert (run.total, run.used, run.history) == (other.total, other.used, other.history)
    assert torch.equal(run.learner.population.theta, other.learner.population.theta)


def test_an_interruption_without_a_folder_saves_nothing() -> None:
    with pytest.raises(Interrupted, match="nothing was saved: no folder") as caught:
        discover(TINY, stop=after(3))
    assert str(caught.value).count("saved") == 1


@pytest.mark.parametrize(("moment", "where"), [(3, "goes on from the last checkpoint"), (1, "begins anew")])
def test_an_unreadable_run_stopped_between_checkpoints_says_so(tmp_path: Path, moment: int, where: str) -> None:
    with pytest.raises(Interrupted, match=f"cannot be read, so `tradeoff resume .*` {where}"):
        discover(DICE, tmp_path, stop=after(moment))
    kept = [checkpoint.load_newest(tmp_path)["iteration"]] if any(tmp_path.iterdir()) else []
    assert kept == [2] * (moment == 3)


class Counted:
    """An environment that notes how many steps its copies make."""

    def __init__(self, env: Any, steps: list[int]) -> None:
        self.env, self.steps = env, steps

    def __getattr__(self, name: str) -> Any:
        return getattr(self.env, name)

    def step(self, action: Any) -> Any:
        self.steps.append(self.env.num_envs)
        return self.env.step(action)


@pytest.mark.parametrize("env", ["market", "deep-sea-treasure-v0", "dice"])
def test_every_real_step_is_counted(env: str, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[int] = []
    monkeypatch.setattr("tradeoff.engine.run.make", lambda *a, **k: Counted(real_make(*a, **k), steps))
    rows: list[dict[str, Any]] = []
    config = changed(TINY, env=env, steps=1000, horizon=6, evaluate_every=3, reference_point=(-9.0, -9.0))
    front = config.run(log=rows.append)
    counted = front.indicators["real_environment_steps"]
    assert counted["total"] == sum(steps) == sum(counted[k] for k in ("training", "evaluation", "final_evaluation"))
    assert rows[-1]["steps"] == counted["training"] + counted["evaluation"]
    # Stage 1 takes 3 x 4 x 8 = 96 steps an iteration, stage 2 at most 2 x 2 x 4 x 8 = 128, and an evaluation at most
    # 4 x 2 episodes of 6 steps.
    assert rows[0]["steps"] == 96 and 1000 - 48 <= rows[-1]["steps"] < 1000 + 128
    assert all(row["steps"] < 1000 for row in rows[:-1])


def test_evaluation_steps_by_hand() -> None:
    # market episodes last two steps: 3 policies x 2 episodes x 2 steps = 12 an evaluation. 96 steps an iteration and an
    # evaluation every second: 96, 204, 300, 408: done after four.
    config = WeightedSumFront(
        env="market", steps=400, policies=3, evaluate_every=2, episodes=2, final_episodes=5, learner=TINY.learner
    )
    rows: list[dict[str, Any]] = []
    front = config.run(log=rows.append)
    assert [row["steps"] for row in rows] == [96, 204, 300, 408]
    assert [row["steps"] for row in front.history] == [204, 408]
    counted = front.indicators["real_environment_steps"]
    assert (counted["training"], counted["evaluation"]) == (384, 24)
    final = counted["final_evaluation"]  # the archive's policies, at least those that made the front
    assert final % (5 * 2) == 0 and final >= 10 * len(front)


def test_stage_two_pushes_each_chosen_policy_along_each_objective() -> None:
    run = Discovery(TINY)
    while not (run.learner is not None and isinstance(run.learner.scalarizer, Barrier)):
        assert isinstance(run.learner.scalarizer if run.learner else None, Linear)
        run.advance()
    assert run.total == 5 * 96 + 3 * 12, "0.7 of 1500 steps are left to extensions"
    chosen = len(run.used)
    assert chosen == min(2, len(run.archive)) and run.used <= set(run.archive.members.tolist())
    assert run.learner.scalarizer.objectives.tolist() == [0, 1] * chosen
    assert run.preferences.tolist() == np.tile(np.eye(2), (chosen, 1)).tolist()
    rows = [run.archive.members.tolist().index(member) for member in run.archive.members if member in run.used]
    theta = run.archive.population.theta if run.archive.population else torch.empty(0)
    born = {tuple(theta[row].flatten().tolist()) for row in rows}
    extended = run.learner.population.theta
    assert {tuple(one.flatten().tolist()) for one in extended} == born
    assert torch.equal(extended[0::2], extended[1::2]), "each along both objectives"
    span = np.ptp(run.archive.points, axis=0)
    expected = np.where(span > 0, span, 1).astype(np.float32)
    assert run.learner.scalarizer.scales.tolist() == expected.tolist()
    used = set(run.used)
    for _ in range(3):
        assert run.used == used
        run.advance()
    assert run.used != used or run.used == set(run.archive.members.tolist()), "extensions take three iterations"


def test_one_reward_makes_no_front() -> None:
    with pytest.raises(ScalarReward, match=r"CartPole-v1 pays one reward \(reward\), a front needs two or more"):
        Discovery(changed(TINY, env="CartPole-v1"))


@pytest.mark.parametrize("reference", [(0.0,), (0.0, 0.0, 0.0)])
def test_a_reference_point_that_fits_no_objectives_is_refused(reference: tuple[float, ...]) -> None:
    words = f"reference_point is {reference}; give 2 finite numbers, one for each of left, right"
    with pytest.raises(ValueError, match=re.escape(words)):
        Discovery(changed(TINY, reference_point=reference))


def test_the_reference_point_of_an_unknown_environment_is_the_same_for_every_seed_and_said() -> None:
    # Two deals each of (1, 0), (0, 1) or (0.92, 0.3): random ones return between 0 and 2 of either, so the point is
    # 0 - 0.2. With a discount of .5 the largest return is 1.5: 0 - 0.15. The 32 episodes of two steps are counted.
    def unknown(num_envs: int, **options: Any) -> Any:
        env = goods(2, num_envs, **options)
        object.__setattr__(env.spec, "reference_point", None)
        return env

    register("unknown", unknown)
    for seed, policies in ((0, 1), (7, 3)):
        with pytest.warns(FrontWarning, match="no reference point is known for unknown: .* the worst of 32 episodes"):
            run = Discovery(changed(TINY, env="unknown", discount=1.0, policies=policies, seed=seed))
        assert run.reference == pytest.approx((-0.2, -0.2)) and run.steps["evaluation"] == 64
    with pytest.warns(FrontWarning):
        half = Discovery(changed(TINY, env="unknown", discount=0.5))
    assert half.reference == pytest.approx((-0.15, -0.15))
    with warnings.catch_warnings(action="error"):
        Discovery(changed(TINY, env="unknown", reference_point=(0.0, 0.0)))


def test_a_front_with_costs_says_that_they_are_not_limited_and_reports_them(tmp_path: Path) -> None:
    config = changed(TINY, env="safe-four-room-v0", steps=2500, horizon=20)
    with pytest.warns(FrontWarning, match="c-morl neither limits nor climbs the costs of safe-four-room-v0"):
        front = discover(config)
    spec = real_make(config.env).spec
    assert front.costs == spec.costs and front.episode_costs.shape == (len(front), 3, len(spec.costs))
    front.save(tmp_path)
    header, *rows = (tmp_path / "front.csv").read_text().splitlines()
    names = header.split(",")
    assert len(rows) == len(front) and names[-1] == "member"
    for i, cost in enumerate(spec.costs):
        column = [float(row.split(",")[names.index(cost)]) for row in rows]
        assert column == front.episode_costs.mean(1)[:, i].tolist() == front.indicators["costs"][cost]
        assert f"{cost}_stderr" in names and cost in repr(front)
    again = Front.load(tmp_path)
    assert again.costs == front.costs and (again.episode_costs == front.episode_costs).all()


def test_extensions_find_the_trade_off_between_two_corners() -> None:
    # One deal: (1, 0), (0, 1) or (0.92, 0.3). The corners' weights make the first two best. Pushing the second
    # objective while 0.9 of the first is kept leaves only the third, which is in no other way on the menu.
    learner = {"rollout_steps": 8, "environments": 32, "epochs": 4, "learning_rate": 0.01, "entropy": 0.02}
    config = changed(TINY, env="deal", steps=60_000, policies=2, extension=0.5, extension_iterations=30, **learner)
    plain = WeightedSumFront(env="deal", steps=60_000, policies=2, learner=config.learner).run()
    assert sorted(plain.points.round(6).tolist()) == [[0, 1], [1, 0]]
    rows: list[dict[str, Any]] = []
    front = config.run(log=rows.append)
    assert sorted(front.points.round(6).tolist()) == [[0, 1], [0.92, 0.3], [1, 0]]
    first = [row for row in rows if row["policies"] == 2 and "cardinality" in row]
    assert len(first) > 20 and max(row["cardinality"] for row in first) == 2
    assert front.members[front.points[:, 0].round(6).tolist().index(0.92)] >= 2 * len(first), "born in stage 2"
