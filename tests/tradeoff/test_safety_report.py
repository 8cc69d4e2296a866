"""The safety report of a run, from the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.tradeoff.conftest import Refuses, contents
from tradeoff.cli import main
from tradeoff.replay_trained import replay
from tradeoff.safe.bounds import clopper_pearson, cvar_bound, hoeffding, mean_bound
from tradeoff.safe.constraints import Constraint
from tradeoff.safe.report import safety_report
from tradeoff.safety_picture import MOST, _panel, bin_edges, window

WORDS = ("--env", "deep-sea-treasure-v0", "--policies", "2", "--steps", "1000", "--episodes", "1",
         "--final-episodes", "3", "--quiet")  # fmt: skip


def trained(folder: Path, limit: str = "time>=-6", words: tuple[str, ...] = ()) -> Path:
    """A run of a thousand steps."""
    assert main(["train", "reload", *WORDS, *words, "--limit", limit, "--out", str(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two policies within time >= -6."""
    return trained(tmp_path_factory.mktemp("safety") / "run")


def rows_of(folder: Path) -> list[dict[str, Any]]:
    """safety.json, each row's bounds by their quantity."""
    rows = json.loads((folder / "safety.json").read_text())
    return [row | {bound["quantity"]: bound for bound in row["bounds"]} for row in rows]


def test_bounds_of_fresh_episodes(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    formats = ("png", "pdf", "svg")
    assert main(["safety", str(run), "--episodes", "20", "--limit", "time>=-1000", "--format", *formats]) == 0
    drawn = (run / "safety.svg").read_text()
    assert "<!-- reload on deep-sea-treasure-v0 -->" in drawn and "20 fresh episodes per policy" in drawn
    assert "environment steps" in drawn and "seed 0" in drawn and (run / "safety.pdf").read_bytes()[:4] == b"%PDF"
    assert "at most 13.9 % of episodes break time >= -1000 (0 of 20 did" in capsys.readouterr().out
    rows = rows_of(run)
    assert [(r["policy"], r["actions"]) for r in rows] == [(p, a) for p in (0, 1) for a in ("sampled", "likeliest")]
    assert [r["share"]["bound"] for r in rows] == pytest.approx([1 - 0.05 ** (1 / 20)] * 4)  # (1 - p)^20 = 0.05
    assert main(["safety", str(run), "--episodes", "40", "--share", "0.5"]) == 0
    row = rows_of(run)[0]
    times = replay(run, episodes=40, seed=10_000).scores["sampled"].returns[0, :, 1].numpy()
    assert row["limit"] == "time >= -6" and row["broken"] == int((times < -6).sum())
    # An episode takes 1 to 100 steps: losses -1 - time lie in [0, 99], the limit is the loss 5.
    assert row["range"] == [-100, -1] and row["range_source"] == "the finite model"
    losses = -1 - times
    assert row["mean"]["observed"] == pytest.approx(times.mean())
    assert row["mean"]["bound"] == pytest.approx(-1 - mean_bound(losses, 0.95, 99)[0])
    assert row["cvar"]["bound"] == pytest.approx(-1 - cvar_bound(losses, 0.5, 0.95, 99, 5)[0])
    assert row["cvar"]["observed"] == pytest.approx(np.sort(times)[:20].mean())
    assert (run / "safety.png").read_bytes()[1:4] == b"PNG"


def test_several_limits_together_or_each_by_itself(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["safety", str(run), "--episodes", "20", "--limit", "time>=-6", "--limit", "treasure>=1"]
    assert main(words) == 0
    assert "each bound holds by itself" in capsys.readouterr().out
    alone = rows_of(run)
    assert main([*words, "--jointly"]) == 0
    assert "all 32 bounds hold together" in capsys.readouterr().out  # 2 policies, 2 ways to act, 2 limits, 4 bounds
    for row, wide in zip(alone, rows_of(run), strict=True):
        assert wide["share"]["bound"] == pytest.approx(clopper_pearson(row["broken"], 20, 1 - 0.05 / 32))
        assert row["share"]["bound"] == pytest.approx(clopper_pearson(row["broken"], 20, 0.95))


def test_a_given_range_replaces_the_known_one(run: Path) -> None:
    assert main(["safety", str(run), "--episodes", "20", "--ceiling", "time=-200", "--confidence", "0.9"]) == 0
    row = rows_of(run)[0]
    assert row["range"] == [-200, 0] and row["range_source"] == "--ceiling" and row["confidence"] == 0.9
    times = replay(run, episodes=20, seed=10_000).scores["sampled"].returns[0, :, 1].numpy()
    assert row["mean"]["method"] == "Hoeffding"
    assert row["mean"]["bound"] == pytest.approx(-hoeffding(-times, 0.95, 200))  # half of the risk of 0.1


def test_what_cannot_be_bounded_without_a_ceiling_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--env", "four-room-v0", "--limit", "blue>=0", "--steps", "800", "--horizon", "20", "--quiet"]
    assert main(["train", "lagrangian", *words, "--final-episodes", "2", "--out", str(tmp_path / "run")]) == 0
    capsys.readouterr()
    assert main(["safety", str(tmp_path / "run"), "--episodes", "30"]) == 0
    said = capsys.readouterr().out
    assert "no ceiling is known for blue" in said and "--ceiling blue=number" in said
    row = rows_of(tmp_path / "run")[0]
    assert [b["quantity"] for b in row["bounds"]] == ["share", "quantile"] and row["range"] is None
    assert main(["safety", str(tmp_path / "run"), "--episodes", "20"]) == 0
    assert rows_of(tmp_path / "run")[0]["quantile"]["bound"] is None, "29 episodes are needed for nine tenths"
    assert "it takes 29 episodes" in capsys.readouterr().out
    assert main(["safety", str(tmp_path / "run"), "--episodes", "30", "--ceiling", "blue=0:10"]) == 0
    assert len(rows_of(tmp_path / "run")[0]["bounds"]) == 4


@pytest.mark.parametrize(("words", "discount"), [((), 1.0), (("--scale", "discounted"), 0.5)])
def test_costs_are_summed_as_their_limits_are(words: tuple[str, ...], discount: float, tmp_path: Path) -> None:
    folder = trained(tmp_path / "run", "time>=-1.9", ("--discount", "0.5", *words))
    assert main(["safety", str(folder), "--episodes", "20"]) == 0
    row, steps = rows_of(folder)[0], -replay(folder, episodes=20, seed=10_000, discount=1.0).scores["sampled"].returns
    times = steps[0, :, 1].numpy()
    paid = times if discount == 1 else 2 * (1 - 0.5**times)  # 1 + 1/2 + ... of so many steps
    assert row["discount"] == discount and row["mean"]["observed"] == pytest.approx(-paid.mean())
    assert row["broken"] == int((paid > 1.9).sum())
    assert row["range"] == pytest.approx([-100, -1] if discount == 1 else [-2, -1])


def test_policies_that_see_their_limits_are_asked_to_keep_one(tmp_path: Path, refuses: Refuses) -> None:
    folder = tmp_path / "run"
    words = ["--env", "deep-sea-treasure-v0", "--limit", "time>=-20..-4", "--steps", "3000", "--sweep", "2", "--quiet"]
    assert main(["train", "conditioned-lagrangian", *words, "--final-episodes", "2", "--out", str(folder)]) == 0
    assert "one limit for each of time >= -20..-4" in refuses("safety", folder)
    assert "outside the range" in refuses("safety", folder, "--limit", "time>=-30")
    assert main(["safety", str(folder), "--limit", "time>=-10", "--episodes", "30"]) == 0
    played = replay(folder, ["time>=-10"], episodes=30, seed=10_000).scores["sampled"].returns[0, :, 1]
    row = rows_of(folder)[0]
    assert row["limit"] == "time >= -10" and row["mean"]["observed"] == pytest.approx(float(played.mean()))
    assert row["broken"] == int((played < -10).sum())


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--limit", "depth<=3"], "treasure, time"),
        (["--limit", "3"], "names no cost"),
        (["--ceiling", "depth=3"], "unknown cost 'depth'"),
        (["--ceiling", "time=deep"], "name=lowest:highest"),
        (["--ceiling", "time=0"], "is no range"),
        (["--ceiling", "time=nan"], "is no range"),
        (["--ceiling", "time"], "is no range"),
        (["--ceiling", "time=1:2:3"], "is no range"),
        (["--ceiling", "time=-1"], "expected finite numbers within -1 and 0"),
        (["--confidence", 1.5], "confidence must lie in (0, 1), got 1.5"),
        (["--share", 0], "share must be at least 1e-06, got 0.0"),
        (["--episodes", 0], "episodes must be at least 1"),
        (["--episodes", 1], "at least 2 episodes"),
    ],
)
def test_questions_that_have_no_answer(words: list[object], says: str, run: Path, refuses: Refuses) -> None:
    before = contents(run)
    assert says in refuses("safety", run, *words)
    assert len(contents(run)) >= 5 and contents(run) == before


def test_folders_that_hold_no_policies_with_limits(run: Path, finished: Path, tmp_path: Path, refuses: Refuses) -> None:
    (tmp_path / "empty").mkdir()  # one folder deeper: other tests' runs may lie beside tmp_path itself
    assert "`tradeoff train` makes one" in refuses("safety", tmp_path / "empty")
    assert f"runs there: {run}" in refuses("safety", run.parent / "absent")
    assert "holds a front" in refuses("safety", finished)
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun" / "config.json").write_bytes((run / "config.json").read_bytes())
    assert "holds no finished run" in refuses("safety", tmp_path / "begun")
    (tmp_path / "begun" / "policies.pt").write_bytes((run / "policies.pt").read_bytes()[:-10])
    assert "damaged" in refuses("safety", tmp_path / "begun")
    (tmp_path / "begun" / "policies.pt").write_bytes((run / "policies.pt").read_bytes())
    (tmp_path / "begun" / "config.json").write_text("{")
    assert "is not JSON" in refuses("safety", tmp_path / "begun")
    assert len(contents(tmp_path / "begun")) == 2


def test_the_picture_shows_limit_and_bounds() -> None:
    from tradeoff.drawing import blank
    from tradeoff.safety import Finding

    costs = np.array([1.0, 2.0, 2.0, 4.0] * 25)
    report = safety_report({"x": costs}, [Constraint(cost="x", limit=3.0)], {"x": (0, 40)})[0]
    axes = blank(4, 3).subplots()
    _panel(axes, Finding(0, "sampled", 1.0, report, 0.1, "--ceiling", costs))
    drawn = [line.get_xdata()[0] for line in axes.lines if len(line.get_xdata())]
    assert drawn == [3.0, report["quantile"].bound, report["mean"].bound, report["cvar"].bound]
    heights = {round(bar.get_x() + bar.get_width() / 2): bar.get_height() for bar in axes.patches}
    assert heights == pytest.approx({1: 0.25, 2: 0.5, 4: 0.25})
    widest = max(bar.get_width() for bar in axes.patches)
    assert widest <= np.ptp(axes.get_xlim()) / 39.9, "a bar at each of a few values, not bins between them"
    assert axes.get_xlim() == pytest.approx(window(report, costs))
    assert window(report, costs)[1] < report["cvar"].bound, "far bounds do not squeeze the bars"
    said = [text.get_text() for text in axes.get_legend().get_texts()]
    assert [x.split()[-1] == "picture)" for x in said] == [False, False, False, True, False, False], said
    assert f"{report['cvar'].bound:.4g} (beyond the picture)" in said[3]
    assert MOST == 12


def test_bins_of_episode_costs() -> None:
    # Freedman and Diaconis: 2 * .5 / 125 ** (1 / 3) = .2 of a range of 1, but at least ten bins: .1 each.
    assert bin_edges(np.linspace(0, 1, 125)) == pytest.approx(np.linspace(0, 1, 11))
    # A long tail: the middle half of width 1 of a range of 1000 would ask for thousands of bins; forty are drawn.
    assert len(bin_edges(np.append(np.linspace(0.5, 2.5, 999), 1000.5))) == 41
    # Whole numbers are counted, none falls on an edge: 21 of them in bins of two.
    assert bin_edges(np.repeat(np.arange(21.0), 3)).tolist() == np.arange(-0.5, 22.0, 2.0).tolist()
