"""Small environments with limits: the same steps as without, and limits that bind and can be kept."""

from __future__ import annotations

import importlib.util
import re
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.optimize import linprog

from tradeoff.envs import MissingExtra, TradeoffError, UnknownName, finite_model, list_environments, make, make_tabular
from tradeoff.envs.as_cost import AsCost, find_sources
from tradeoff.envs.constrained_rooms import first_times, normal_form, trips
from tradeoff.envs.registry import normal_form as known_form
from tradeoff.envs.tabular import finite_arrays

SEA = [f"safe-deep-sea-treasure{kind}-v0" for kind in ("", "-concave", "-mirrored")]
INSIDE = {  # id: objective columns left, cost columns with their signs (None: the clock)
    **dict.fromkeys(SEA, ([0], [(1, -1)])),
    "safe-resource-gathering-v0": ([1, 2], [(0, -1), None]),
    "safe-four-room-v0": ([1, 2], [(0, 1), None]),
    "safe-minecart-v0": ([0, 1], [(2, -1)]),
    "safe-minecart-deterministic-v0": ([0, 1], [(2, -1)]),
}


@pytest.mark.parametrize("id", INSIDE)
def test_every_step_is_the_one_of_the_environment_without_limits(id) -> None:
    ours, inside = make(id, 30, seed=5), make(id.removeprefix("safe-"), 30, seed=5)
    left, taken = INSIDE[id]
    assert torch.equal(ours.reset(5), inside.reset(5))
    for action in torch.randint(inside.spec.action_space.n, (250, 30), generator=torch.Generator().manual_seed(1)):
        a, b = ours.step(action), inside.step(action)
        expected = [torch.ones(30) if t is None else t[1] * b.reward[:, t[0]] for t in taken]
        assert torch.equal(a.reward, b.reward[:, left]) and torch.equal(a.cost, torch.stack(expected, 1))
        assert all(torch.equal(getattr(a, name), getattr(b, name)) for name in ("observation", "final_observation"))
        assert torch.equal(a.terminated, b.terminated) and torch.equal(a.truncated, b.truncated)
        assert (a.cost >= 0).all() and (a.cost <= torch.tensor(ours.spec.ceilings) + 1e-7).all()
        assert not torch.signbit(a.cost).any()
    assert ours.spec.horizon == inside.spec.horizon and ours.spec.discount == 1.0
    assert ours.spec.objectives == tuple(inside.spec.objectives[i] for i in left)


@pytest.mark.parametrize("id", [*SEA, "safe-resource-gathering-v0"])
def test_tables_of_costs_are_those_of_the_wrapper(id) -> None:
    costs = ["-death", "time=step"] if "gathering" in id else ["-time"]
    ours, wrapped = make(id, 40, seed=2), AsCost(make(id.removeprefix("safe-"), 40, seed=2), costs)
    assert (ours.spec.objectives, ours.spec.costs) == (wrapped.spec.objectives, wrapped.spec.costs)
    for action in torch.randint(4, (200, 40), generator=torch.Generator().manual_seed(3)):
        a, b = ours.step(action), wrapped.step(action)
        assert torch.equal(a.reward, b.reward) and torch.equal(a.cost, b.cost)
    assert ours.spec.reference_point == wrapped.spec.reference_point


def test_a_wrapped_environment_is_saved_cut_and_broken_off() -> None:
    env = make("safe-four-room-v0", 3, max_episode_steps=4)
    down = torch.full((3,), 2)
    env.step(down)
    saved = env.state_dict()
    flags = [env.step(down).truncated.tolist() for _ in range(3)]
    assert flags == [[False] * 3, [False] * 3, [True] * 3] and env.spec.horizon == 4
    env.load_state_dict(saved)
    assert env.step(down).observation[:, 1].tolist() == [2.0] * 3  # the third column, as before
    assert env.restart(torch.tensor([True, False, False]))[:, 1].tolist() == [0.0, 2.0, 2.0]


def _line(**names):
    """One state; the only action pays (2, -3) and ends nothing."""
    model = finite_arrays(np.ones((1, 1, 1)), np.array([[[2.0, -3.0]]]), cost=np.array([[[5.0]]]), horizon=4)
    return make_tabular(model, 2, objectives=("gain", "loss"), costs=("heat",), limits=(9.0,), **names)


def test_costs_come_after_those_that_were_there() -> None:
    # Paid (2, -3), charged 5: the turned loss is 3, the clock 1. Limits join where all are known.
    env = AsCost(_line(), ["-loss", "hours=step"], limits=(7.0, 8.0))
    step = env.step(torch.zeros(2, dtype=torch.int64))
    assert step.reward.tolist() == [[2.0]] * 2 and step.cost.tolist() == [[5.0, 3.0, 1.0]] * 2
    assert env.spec.costs == ("heat", "loss", "hours") and env.spec.limits == (9.0, 7.0, 8.0)
    assert env.spec.ceilings == () and AsCost(_line(), ["-loss"]).spec.limits == ()


@pytest.mark.parametrize(
    ("costs", "error", "words"),
    [
        (["-lost"], UnknownName, "unknown objective 'lost'; did you mean loss"),
        (["gain", "-loss"], TradeoffError, "every objective of tabular became a cost"),
        (["heat=-loss"], TradeoffError, "two channels of tabular would be called 'heat'"),
        (["step", "step"], TradeoffError, "would be called 'step'"),
    ],
)
def test_costs_that_cannot_be_are_refused(costs, error, words) -> None:
    with pytest.raises(error, match=words):
        find_sources(_line().spec, costs)
    with pytest.raises(TradeoffError, match="2 limits for 1 costs"):
        AsCost(_line(), ["-loss"], limits=(1.0, 2.0))


def test_four_rooms_by_enumeration() -> None:
    # 152 open cells, 12 with a shape that whoever is there holds: 140 * 4096 + 12 * 2048 states. From (12, 0) to the
    # goal (0, 12) are 24 steps at least.
    times, found = first_times(200), trips()
    assert times.max() == 68 and (times >= 0).sum() == 598_016
    home = found[found[:, 3] < 200]
    assert home[:, 3].min() == 24 and home[:, :3].min() == 1 and home[:, :3].max() == 5
    assert home[(home[:, :3] == 5).all(1)].tolist() == [[5, 5, 5, 68]]
    assert found[:, 3].max() == 200 and normal_form().transition.shape == (2, 26, 2)
    assert trips(23)[:, 3].min() == 23  # too short to reach the goal: all last to the end
    assert known_form("safe-four-room-v0", None) is None and known_form("four-room-v0", 200) is None


def test_the_best_trips_through_four_rooms_within_limits() -> None:
    # Over all 8,000 outcomes, by another program than the exact answers use: value 43 / 12, prices 1 / 6 and 1 / 12.
    found = trips()
    mean = -found[:, 1:3].mean(1)
    once = {"A_eq": np.ones((1, len(found))), "b_eq": [1.0]}
    best = linprog(mean, A_ub=found[:, [0, 3]].T, b_ub=[1.5, 40.0], **once)
    np.testing.assert_allclose([-best.fun, *-best.ineqlin.marginals], [43 / 12, 1 / 6, 1 / 12], rtol=1e-9)
    assert linprog(mean, **once).fun == -5.0  # without limits


def test_a_trip_that_was_enumerated_can_be_driven() -> None:
    # Back from the goal, 24 steps after the start, always to a state that was reached one step earlier.
    times, env = first_times(200), make("safe-four-room-v0", 1)
    flat = times.ravel()
    target = int(np.flatnonzero(times[12] == 24)[0]) + 12 * 4096
    inside, path = env.env, []
    moves = inside.after.numpy().reshape(-1, 4)
    while flat[target]:
        cell, held = divmod(target, 4096)
        target, action = next(
            (before * 4096 + less, a)
            for before in range(169)
            for a in range(4)
            if moves[before, a] == cell
            for less in {held, held & ~int(inside.bit[cell])}
            if flat[before * 4096 + less] == flat[target] - 1 and less | int(inside.bit[cell]) == held
        )
        path.append(action)
    steps = [env.step(torch.tensor([a])) for a in reversed(path)]
    paid = torch.stack([torch.cat([s.reward[0], s.cost[0]]) for s in steps]).sum(0).tolist()
    assert len(steps) == 24 and steps[-1].terminated.item()
    assert [paid[2], paid[0], paid[1], paid[3]] in trips().tolist()


def test_fuel_of_a_short_drive_by_hand() -> None:
    # Fuel per step of 4 frames: mining 0.22, accelerating 0.12, all else 0.02. Standing at the base ends nothing.
    env = make("safe-minecart-v0", 1)
    spent = [env.step(torch.tensor([a])).cost.item() for a in (0, 1, 2, 3, 4, 5)]
    np.testing.assert_allclose(spent, [0.22, 0.02, 0.02, 0.12, 0.02, 0.02], rtol=1e-6)


@pytest.mark.parametrize("id", ["safe-mo-lunar-lander-v3", "safe-mo-lunar-lander-continuous-v3"])
def test_the_lander_asks_for_its_physics_or_is_the_original(id) -> None:
    assert (id, "gymnasium-sync", False) in list_environments()
    build = partial(make, id, 2, seed=3)
    if importlib.util.find_spec("Box2D") is None:
        with pytest.raises(MissingExtra, match=r"needs the package Box2D.*tradeoff-rl\[box2d\]"):
            build()
        return
    ours, inside = build(), make(id.removeprefix("safe-"), 2, seed=3)
    assert ours.spec.costs == ("main_engine", "side_engines") and ours.spec.limits == (60.0, 20.0)
    assert ours.spec.objectives == ("landing", "shaping") and ours.spec.backend == "gymnasium-sync"
    assert torch.equal(ours.reset(3), inside.reset(3))
    draw = np.random.default_rng(0)
    for _ in range(150):
        space = inside.spec.action_space
        action = draw.integers(space.n, size=2) if not space.shape else draw.uniform(-1, 1, (2, 2)).astype(np.float32)
        a, b = ours.step(torch.as_tensor(action)), inside.step(torch.as_tensor(action))
        assert torch.equal(a.reward, b.reward[:, :2]) and torch.equal(a.cost, -b.reward[:, 2:] + 0.0)
        assert a.cost.min() >= 0 and a.cost.max() <= 1


def test_only_exact_ones_are_listed_as_such() -> None:
    exact = {entry.id for entry in list_environments() if entry.exact}
    assert {*SEA, "safe-resource-gathering-v0", "safe-four-room-v0"} <= exact and "safe-minecart-v0" not in exact
    with pytest.raises(UnknownName):
        finite_model("safe-four-room-v0")


def test_the_page_on_environments_with_limits_runs_as_written(capsys) -> None:
    page = (Path(__file__).parents[2] / "docs" / "constrained_environments.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    for block in blocks:
        exec(block, {})
    assert len(blocks) == 3 and capsys.readouterr().out == "0.388788 [0.801989]\n"
    assert all(f"`{entry.id}`" in page for entry in list_environments() if "safe-" in entry.id[:5]
               and not any(x in entry.id for x in ("mirrored", "continuous")))  # fmt: skip
