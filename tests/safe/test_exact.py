"""The exact optimum within limits against hand arithmetic, and what runs make of it and of their watch."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tradeoff.cli import main
from tradeoff.engine import checkpoint
from tradeoff.engine.run import Interrupted, complete
from tradeoff.envs import finite_arrays, make, make_tabular
from tradeoff.options import training
from tradeoff.safe import exact
from tradeoff.safe.constraints import BadLimit, Constraint
from tradeoff.safe.exact import beside, exact_optimum

SPEC = make("deep-sea-treasure-v0").spec
WORDS = [
    *("--env", "deep-sea-treasure-v0", "--policies", "2", "--steps", "3000", "--evaluate-every", "3"),
    *("--episodes", "2", "--final-episodes", "4", "--rollout-steps", "16", "--hidden", "8", "--epochs", "2"),
    *("--minibatches", "2"),
]


def _time(limit: float, **options: object) -> list[Constraint]:
    return [Constraint(cost="time", limit=limit, sense=">=", **options)]  # type: ignore[arg-type]


def test_the_optimum_mixes_the_treasures_beside_the_limit() -> None:
    # Treasures 11.5 after 5 steps and 14.0 after 7: half and half take 6 steps and pay 12.75, so (12.75 - 6) / 2.
    # 2.5 more treasure for 2 more steps: a step more is worth (1.25 - 1) / 2 of the mean objective.
    best = exact_optimum(_time(-6.0), SPEC, 1.0)
    assert best is not None and best.stochastic
    assert best.value == pytest.approx(3.375) and best.returns == pytest.approx([12.75, -6.0])
    assert best.multipliers == pytest.approx([0.125])
    said = beside(best, [3.0, 3.5], _time(-6.0))
    assert said["gap"] == pytest.approx([0.375, -0.125]) and said["prices"] == {"time >=": pytest.approx(0.125)}


def test_per_step_limits_are_discounted_sums_over_their_span() -> None:
    # Discounted at 0.9, the treasure 8.2 after 3 steps is worth 6.642 and 11.5 after 5 steps 7.54515, their times are
    # -2.71 and -4.0951: freely the first is best, 7 takes the share (7 - 6.642) / 0.90315 of the second.
    treasure = {"cost": "treasure", "sense": ">="}
    sums = exact_optimum([Constraint(**treasure, limit=7.0, scale="discounted")], SPEC, 0.9)
    steps = exact_optimum([Constraint(**treasure, limit=0.7, scale="per-step")], SPEC, 0.9)
    assert sums is not None and steps is not None
    share = (7 - 6.642) / 0.90315
    assert sums.returns == pytest.approx([7.0, -2.71 - share * 1.3851]) and steps.returns == pytest.approx(sums.returns)
    assert exact_optimum(_time(-6.0), SPEC, 0.9) is None  # objectives discounted, limits not: another problem
    per_policy = [Constraint(cost="time", limit=(-6.0, -7.0), sense=">=")]
    assert exact_optimum(per_policy, SPEC, 1.0) is None


def test_a_mean_over_steps_is_a_ratio_of_sums() -> None:
    # Treasure T after t steps keeps a mean of 2.5 where T - 2.5 t >= 0: 8.2 after 3 steps has 0.7 to spare and is worth
    # (8.2 - 3) / 2 = 2.6, 11.5 after 5 lacks 1.0 and has 3.25. So 0.7 / 1.7 of the second: 2.6 + 0.65 * 0.7 / 1.7.
    limit = [Constraint(cost="treasure", limit=2.5, scale="average", sense=">=")]
    best = exact_optimum(limit, SPEC, 1.0)
    assert best is not None and best.value == pytest.approx(2.6 + 0.65 * 0.7 / 1.7)
    assert best.returns == pytest.approx([8.2 + 3.3 * 0.7 / 1.7, -3 - 2 * 0.7 / 1.7])
    assert best.multipliers == pytest.approx([0.65 / 1.7])
    # Every step costs one; the best mean of all is 8.2 / 3.
    with pytest.raises(BadLimit, match=r"keeps time >= -0.5 \(the most that any policy reaches is -1\); relax"):
        exact_optimum(_time(-0.5, scale="average"), SPEC, 1.0)
    with pytest.raises(BadLimit, match=r"treasure >= 3 \(the most that any policy reaches is 2.73333\)"):
        exact_optimum([Constraint(cost="treasure", limit=3.0, scale="average", sense=">=")], SPEC, 1.0)
    rooms = make("safe-four-room-v0").spec  # known by its outcomes alone: what single steps cost is not
    assert exact_optimum([Constraint(cost="time", limit=0.5, scale="average")], rooms, 1.0) is None


def test_limits_without_discount_are_checked_beside_discounted_objectives() -> None:
    with pytest.raises(BadLimit, match=r"time >= -0.5 \(the most that any policy reaches is -1\)"):
        exact_optimum(_time(-0.5), SPEC, 0.9)
    with pytest.raises(BadLimit, match=r"time >= -0.5 \(the most that any policy reaches is -1\)"):
        exact_optimum(_time(-0.5, scale="average"), SPEC, 0.9)
    # 7.54515 is the most at 0.9, see above; the undiscounted limit beside it can be kept.
    both = [*_time(-6.0), Constraint(cost="treasure", limit=7.6, sense=">=", scale="discounted")]
    with pytest.raises(BadLimit, match=r"treasure >= 7.6 \(the most that any policy reaches is 7.54515\)"):
        exact_optimum(both, SPEC, 0.9)


def test_where_no_episode_ends_means_are_checked_in_the_long_run(monkeypatch: pytest.MonkeyPatch) -> None:
    # To work pays 1 and leads to a hot state, which costs 1 in every step there; to rest costs 0.25.
    move, paid, cost = np.zeros((2, 2, 2)), np.zeros((2, 2, 1)), np.zeros((2, 2, 1))
    move[:, 0, 0] = move[:, 1, 1] = paid[:, 1] = cost[1] = 1
    cost[0] = 0.25
    model = finite_arrays(move, paid, cost=cost, horizon=None)
    monkeypatch.setattr("tradeoff.safe.exact.finite_model", lambda id: model)
    env = make_tabular(model, 1, id="oven", objectives=["work"], costs=["heat"])
    heat = {"cost": "heat", "scale": "average"}
    assert exact_optimum([Constraint(**heat, limit=0.25)], env.spec, 1.0) is None  # kept, and never ends
    with pytest.raises(BadLimit, match=r"oven keeps heat <= 0.2 \(the least that any policy reaches is 0.25\)"):
        exact_optimum([Constraint(**heat, limit=0.2)], env.spec, 1.0)
    with pytest.raises(BadLimit, match=r"heat >= 1.5 \(the most that any policy reaches is 1\)"):
        exact_optimum([Constraint(**heat, limit=1.5, sense=">=")], env.spec, 0.9)
    assert exact_optimum([Constraint(cost="heat", limit=9.0)], env.spec, 1.0) is None  # no sum ends


def test_what_no_policy_reaches_is_refused_with_what_can_be_reached() -> None:
    # The nearest treasure lies one step away.
    with pytest.raises(BadLimit, match=r"keeps time >= -0.5 \(the most that any policy reaches is -1\); relax"):
        exact_optimum(_time(-0.5), SPEC, 1.0)


def test_a_program_is_solved_once_and_another_of_the_same_name_is_another(monkeypatch: pytest.MonkeyPatch) -> None:
    # To work pays 1 and costs 1, once: within 1/2 half the policies may work; where work costs 2, a quarter.
    asked: list[object] = []
    solve = exact.constrained_optimum
    monkeypatch.setattr(
        exact, "constrained_optimum", lambda *given, **more: asked.append(given) or solve(*given, **more)
    )
    monkeypatch.setattr(exact, "_remembered", {})
    pay = np.array([[[0.0], [1.0]]])
    for unit, worth in ((1.0, 0.5), (1.0, 0.5), (2.0, 0.25), (1.0, 0.5)):
        model = finite_arrays(np.ones((1, 2, 1)), pay, cost=unit * pay, horizon=1)
        monkeypatch.setattr("tradeoff.safe.exact.finite_model", lambda id, model=model: model)
        spec = make_tabular(model, 1, id="work", costs=["heat"]).spec
        best = exact_optimum([Constraint(cost="heat", limit=0.5)], spec, 1.0)
        assert best is not None and best.value == pytest.approx(worth)
    assert len(asked) == 2


@pytest.mark.parametrize(
    ("method", "more"),
    [("reload", ()), ("p3o", ()), ("lagrangian", ("--scale", "average")), ("lagrangian", ("--discount", "0.9"))],
)
def test_an_infeasible_limit_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], method: str, more: tuple[str, ...]
) -> None:
    words = ["train", method, *WORDS, "--limit", "time>=-0.5", *more, "--out", str(tmp_path / "run")]
    assert main(words) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "any policy reaches is -1" in said and not (tmp_path / "run").exists()


def test_a_run_tells_the_optimum_and_that_it_was_never_feasible(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Only the three farthest treasures hold more than 20; policies that hardly learnt find none of them.
    words = ["train", "lagrangian", *WORDS, "--limit", "treasure>=20", "--weights", "1", "--out", str(tmp_path / "run")]
    assert main(words) == 0
    scores, said = json.loads((tmp_path / "run" / "indicators.json").read_text()), capsys.readouterr().out
    assert scores["never_feasible"].startswith("policies [0, 1] were never feasible in ")
    assert "nearest of policy 0 was treasure >= 20: " in scores["never_feasible"]
    steps = scores["real_environment_steps"]["training"] // 2
    assert f"never feasible in {steps} steps" in scores["never_feasible"] and scores["never_feasible"] in said
    best = scores["exact"]
    assert best["returns"][0] >= 20 - 1e-9 and best["value"] == pytest.approx(sum(best["returns"]) / 2)
    assert best["gap"] == pytest.approx([best["value"] - x for x in scores["value"]])
    assert f"exact optimum      {best['value']:.6g} within the limits" in said


def test_a_reserve_is_not_held_against_the_policy(tmp_path: Path) -> None:
    # 40 steps of 100 and a reserve of a half: the run aims at 20, its watch judges by 40.
    config = training(["crpo", *WORDS, "--limit", "time>=-40", "--margin", "0.5"]).method
    run = config.start()
    assert run.learner.episodes.constraints.limit.tolist() == [[-20.0]]
    assert run.learner.episodes.watch.constraints.limit.tolist() == [[-40.0]]


@pytest.mark.parametrize("method", ["p3o", "crpo"])
def test_an_interrupted_run_remembers_its_clocks_and_its_watch(tmp_path: Path, method: str) -> None:
    # p3o divides violations by the length of episodes, which a resumed run must know in mid-episode.
    config = training([method, *WORDS, "--limit", "time>=-6"]).method
    turns = iter(range(1, 10**6))
    with pytest.raises(Interrupted):
        complete(config.start(), tmp_path, stop=lambda: next(turns) == 4)
    again = config.start()
    again.load_state_dict(checkpoint.load_newest(tmp_path))
    whole, other = config.start(), again
    one, two = complete(whole), complete(other)
    assert one.indicators == two.indicators and (one.population.theta == two.population.theta).all()
    seen, resumed = (run.learner.episodes.watch.state_dict() for run in (whole, other))
    assert seen["rollouts"] == resumed["rollouts"] > 4 and seen["worst"].tolist() == resumed["worst"].tolist()
