"""The pictures of constrained runs: what is drawn, in which unit, beside which limit."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tradeoff.cli import main
from tradeoff.curves import Panel, _draw, _limit_lines, _warnings, draw, measured, panels, usual_size
from tradeoff.drawing import blank
from tradeoff.engine.trained import Trained
from tradeoff.safe.constraints import Constraint


def history(limits: list[str], prices: Sequence[Any] = (), discount: float = 0.5) -> Any:
    """Two evaluations of two policies, one objective, one cost; episodes of 2 and 4 steps that cost 3 in every step."""
    rows: list[dict[str, Any]] = [
        {"steps": 10, "value": [5.0, 6.0], "returns": [[5.0, 4.5], [6.0, 4.5]], "sums": [[9.0, 6.0], [9.0, 6.0]],
         "length": [2.0, 2.0], "weights": [[1.0, 0.0], [1.0, -0.25]]},
        {"steps": 20, "value": [7.0, 8.0], "returns": [[7.0, 5.625], [8.0, 4.5]], "sums": [[9.0, 12.0], [9.0, 6.0]],
         "length": [4.0, 2.0], "weights": [[1.0, -0.5], [1.0, -4.0]]},
    ]  # fmt: skip
    for row, known in zip(rows, prices, strict=False):
        row["prices"] = known
    indicators = {"method": "lagrangian", "discount": discount, "limits": limits}
    return SimpleNamespace(
        channels=("speed", "heat"), objectives=1, history=rows, indicators=indicators, env="stove", __len__=lambda: 2
    )


def test_a_cost_is_drawn_as_its_limit_measures_it() -> None:
    run = history(["heat <= 3"])
    wanted = {
        "episodic": [[6, 6], [12, 6]], "discounted": [[4.5, 4.5], [5.625, 4.5]],
        "per-step": [[2.25, 2.25], [2.8125, 2.25]], "average": [[3, 3], [3, 3]],
    }  # fmt: skip
    units = {
        "episodic": "per episode", "discounted": "per episode, discounted by 0.5",
        "per-step": "per step, weighted by 0.5 to the step", "average": "per step",
    }  # fmt: skip
    for scale, values in wanted.items():
        assert measured(run, 1, scale).tolist() == values  # type: ignore[arg-type]
        panel = next(p for p in panels(run, scale, 0.0) if p.title == "heat")  # type: ignore[arg-type]
        assert panel.unit == units[scale] and panel.values.tolist() == values and panel.limits[0].limits == (3.0,)


def test_panels_are_channels_and_prices_and_a_value_that_is_no_channel() -> None:
    run = history(["heat <= 3", "speed >= 2"], prices=([[0.0, 0.5], [0.25, 0.5]], [[0.5, 0.0], [4.0, 0.0]]))
    found = {p.title: p for p in panels(run, "episodic", 0.25)}
    both = ["multiplier of heat <= 3", "multiplier of speed >= 2"]
    assert list(found) == ["value", "speed", "heat", *both]  # sums of speed are 9
    assert found[both[0]].values.tolist() == [[0, 0.25], [0.5, 4.0]]
    assert found[both[1]].values.tolist() == [[0.5, 0.5], [0, 0]]
    assert found["heat"].aims == (2.25,) and found["speed"].aims == (2.5,)  # a quarter of each limit in reserve
    assert [p.title for p in panels(run, "discounted", 0.0)] == ["speed", "heat", *both]
    assert [p.title for p in panels(history(["heat <= 3"]), "discounted", 0.0)] == ["speed", "heat"]  # none are known
    assert [p.title for p in panels(history([]), "episodic", 0.0)] == ["speed", "heat"]


def test_limits_lie_where_they_belong_and_forbid_their_own_side() -> None:
    values = np.array([[1.0, 3.0], [5.0, 7.0]])
    for sense, ends in (("<=", (4.0, None)), (">=", (None, 4.0))):
        axes = blank(4, 3).subplots()
        limit = Constraint(cost="heat", limit=4.0, sense=sense)  # type: ignore[arg-type]
        _draw(axes, np.array([0.0, 10.0]), Panel("heat", "per episode", values, (limit,), (3.5,)))
        low, high = axes.get_ylim()
        shade = axes.patches[-1].get_extents().transformed(axes.transData.inverted())
        assert (shade.y0, shade.y1) == pytest.approx((ends[0] or low, ends[1] or high))
        flat = [line.get_ydata()[0] for line in axes.lines if len(set(line.get_ydata())) == 1]
        assert flat == [4.0, 3.5]
        drawn = [line.get_ydata().tolist() for line in axes.lines[:2]]
        assert drawn == [[1.0, 5.0], [3.0, 7.0]] and axes.lines[0].get_label() == "each of 2 policies"
        assert len(axes.collections) == 0 and axes.get_yscale() == "linear"


def test_four_policies_have_a_median_and_a_middle_half() -> None:
    axes = blank(4, 3).subplots()
    _draw(axes, np.array([0.0, 10.0]), Panel("heat", "", np.array([[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 12.0]])))
    median = next(line for line in axes.lines if line.get_label() == "median of 4 policies")
    assert median.get_ydata().tolist() == [2.5, 6.5]
    assert [band.get_label() for band in axes.collections] == ["middle half"]


def test_limits_of_several_policies_are_all_drawn() -> None:
    run = history(["heat <= 3/5/3"])
    panel = panels(run, "episodic", 0.0)[1]
    assert panel.limits[0].limits == (3.0, 5.0)
    axes = blank(4, 3).subplots()
    _draw(axes, np.array([10.0, 20.0]), panel)
    assert {3.0, 5.0} <= {line.get_ydata()[0] for line in axes.lines}


def test_only_numbers_that_tower_over_the_rest_get_a_logarithmic_axis() -> None:
    # Up to a hundred times the larger of the limit and the median size the axis stays linear.
    assert usual_size(np.array([1.0, 1.0, 100.0]), []) is None
    assert usual_size(np.array([1.0, 1.0, 101.0]), []) == 1.0
    assert usual_size(np.array([1.0, 1.0, -2400.0]), [25.0]) is None
    assert usual_size(np.array([1.0, 1.0, 2600.0]), [25.0]) == 25.0
    assert usual_size(np.array([0.0, 0.0, 0.0, 0.5, 200.0]), []) == 0.5  # the median is 0
    assert usual_size(np.zeros(3), [0.0]) is None
    axes = blank(4, 3).subplots()
    _draw(axes, np.arange(3.0), Panel("price", "", np.array([[0.1], [0.2], [900.0]])))
    assert axes.get_yscale() == "symlog"


def test_a_run_leaves_its_curves_with_the_limit_in_the_unit_it_was_given(tmp_path: Path) -> None:
    words = ["--limit", "time>=-1.5", "--scale", "average", "--policies", "2", "--steps", "2500", "--quiet"]
    folder = tmp_path / "run"
    assert main(["train", "lagrangian", *words, "--final-episodes", "2", "--out", str(folder)]) == 0
    trained = Trained.load(folder)
    # Every step of deep-sea-treasure costs 1.
    assert (measured(trained, 1, "average") == -1.0).all() and (measured(trained, 1, "episodic") <= -1.0).all()
    found = {p.title: p for p in panels(trained, "average", 0.0)}
    assert list(found) == ["treasure", "time", "multiplier of time >= -1.5"]  # what is maximised is the treasure
    assert (found["multiplier of time >= -1.5"].values == 0).all()  # the limit was never broken
    (folder / "curve.png").unlink()
    assert draw(trained, folder, None) == [folder / "curve.png"]
    assert (folder / "curve.png").read_bytes()[1:4] == b"PNG"


def test_prices_that_a_method_solves_for_are_drawn_and_told(tmp_path: Path) -> None:
    # Time is below 0, so that the limit is broken whatever the critics know, and its price rises.
    words = ["--env", "mo-mountaincarcontinuous-v0", "--limit", "time>=1", "--horizon", "20", "--steps", "500"]
    small = ["--warmup", "64", "--batch", "16", "--hidden", "16", "--evaluate-every", "4", "--final-episodes", "2"]
    assert main(["train", "cvpo", *words, *small, "--quiet", "--out", str(tmp_path / "run")]) == 0
    trained = Trained.load(tmp_path / "run")
    found = {p.title: p for p in panels(trained, "episodic", 0.0)}["multiplier of time >= 1"].values
    assert found.tolist() == [row["multiplier"][0] for row in trained.history] and found[-1, 0] > max(found[0, 0], 0)
    assert trained.indicators["prices"] == {"time >= 1": found[-1].tolist()}


def test_the_summary_says_who_keeps_the_limits_and_warns_where_one_way_of_acting_does_not() -> None:
    found = {"feasible": [True, True], "episodes_over_the_limit": [[0.25], [0.75]]}
    scores = {**found, "limits": ["heat <= 3"], "prices": {"heat <= 3": [2.0, 2.0]}}
    scores["likeliest_actions"] = {"feasible": [True, False], "episodes_over_the_limit": [[0.0], [1.0]]}
    assert _limit_lines(scores) == [
        "  limits             held by 2 of 2 policies on average; episodes that break them: heat <= 3 in 50%",
        "    deterministic      held by 1 of 2 policies on average; episodes that break them: heat <= 3 in 50%",
        "  multipliers        heat <= 3: 2 [2, 2]",
    ]
    assert _warnings(scores) == [] and _warnings({"never_feasible": "never"}) == ["  warning            never"]
    apart = {"never_feasible": None, "broken_by_one_way_of_acting": ["policy 0: a", "policy 1: b", "policy 2: c"]}
    assert _warnings(apart) == ["  warning            policy 0: a; and 2 more in indicators.json"]
