"""Several runs in one picture: what is drawn is what the runs report, however long each of them was."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tradeoff.beside import by, draw_all, draw_curves, draw_fronts, held_curves
from tradeoff.cli import main


def front(method: str, seed: int, steps: list[float], volumes: list[float], reported: float) -> Any:
    """What the pictures read of a run: its evaluations and its scores."""
    history = [{"steps": s, "hypervolume": v} for s, v in zip(steps, volumes, strict=True)]
    indicators = {
        "method": method, "seed": seed, "discount": 0.99, "reference_point": [0.0, -25.0],
        "hypervolume": {"value": reported}, "real_environment_steps": {"total": int(steps[-1]) + 1000},
    }  # fmt: skip
    points = np.array([[1.0 + seed, -1.0], [2.0 + seed, -3.0]])
    return SimpleNamespace(
        env="deep-sea-treasure-v0",
        history=history,
        indicators=indicators,
        points=points,
        objectives=("treasure", "time"),
    )


@pytest.fixture
def runs() -> list[Any]:
    """A method that rises late, after the shortest of its runs has ended, and one that is better until then."""
    late = [
        front("weighted-sum", 0, [10, 40, 60], [300, 330, 352.8], 352.8),
        front("weighted-sum", 1, [10, 40, 70], [300, 330, 352.8], 352.8),
        front("weighted-sum", 2, [10, 40], [300, 343.3], 343.3),
    ]
    early = zip(range(3), (338.1, 341.1, 338.1), strict=True)
    return [*late, *(front("c-morl", seed, [12, 45], [320, value], value) for seed, value in early)]


def test_curves_are_held_to_the_common_end() -> None:
    # The first run is known from step 10 to 40, the second from 20 to 50: from 20 on both are.
    first = np.array([10.0, 30.0, 40.0]), np.array([1.0, 2.0, 3.0])
    second = np.array([20.0, 35.0, 50.0]), np.array([5.0, 6.0, 7.0])
    steps, values = held_curves([first, second], 60.0)
    assert steps.tolist() == [20, 30, 35, 40, 50, 60]
    assert values.tolist() == [[1, 2, 2, 3, 3, 3], [5, 5, 6, 6, 7, 7]]


def test_methods_are_drawn_in_the_order_of_their_final_scores(runs: list[Any]) -> None:
    axes = draw_curves(runs).axes[0]
    lines = [line for line in axes.lines if line.get_marker() == "None"]
    ends = [(line.get_xdata()[-1], line.get_ydata()[-1]) for line in lines]
    assert [x for x, _ in ends] == [70] * 6, "three runs a method: no band, a line for each, to the common end"
    assert [y for _, y in ends] == [352.8, 352.8, 343.3, 338.1, 341.1, 338.1]
    marks = [line.get_ydata().tolist() for line in axes.lines if line.get_marker() == "d" and len(line.get_ydata())]
    assert marks == [[352.8, 352.8, 343.3], [338.1, 341.1, 338.1]]
    assert min(marks[0]) > max(marks[1])
    assert len(axes.collections) == 0


def test_four_runs_have_a_median_and_a_middle_half(runs: list[Any]) -> None:
    axes = draw_curves([*runs[:3], front("weighted-sum", 3, [10, 40], [300, 340], 340)]).axes[0]
    (line,) = (line for line in axes.lines if line.get_marker() == "None")
    assert line.get_ydata()[-1] == pytest.approx((343.3 + 352.8) / 2)
    (band,) = axes.collections
    heights = band.get_paths()[0].vertices[:, 1]
    # At the end 340, 343.3, 352.8, 352.8: a quarter of the way is 340 + .75 * 3.3.
    assert heights.max() == 352.8 and 342.475 in heights.round(6)


def test_captions_say_environment_steps_seeds_and_reference_point(runs: list[Any]) -> None:
    figure = draw_curves(runs)
    assert figure.get_suptitle() == "Hypervolume on deep-sea-treasure-v0"
    said = figure.get_supxlabel().replace("\n", " ")
    for words in ("1,040 to 1,070 environment steps", "seeds 0, 1, 2", "reference point (0, -25)", "held to the end"):
        assert words in said
    assert "Band" not in said


def test_each_seed_has_a_panel_of_its_own(runs: list[Any]) -> None:
    figure = draw_fronts(by(runs, "seed"), runs)
    assert [axes.get_title() for axes in figure.axes] == ["seed 0", "seed 1", "seed 2"]
    assert [len(axes.collections) for axes in figure.axes] == [2, 2, 2]
    assert figure.axes[1].collections[0].get_offsets().tolist() == [[2.0, -1.0], [3.0, -3.0]]


def test_three_objectives_have_a_picture_per_seed(runs: list[Any], tmp_path: Path) -> None:
    for run in runs:
        run.points, run.objectives = np.eye(3), ("a", "b", "c")
    paths = draw_all(runs, tmp_path, ("svg",))
    assert [path.name for path in paths] == [
        "fronts-seed-0.svg", "fronts-seed-1.svg", "fronts-seed-2.svg", "hypervolume.svg",
    ]  # fmt: skip
    again = [path.read_bytes() for path in draw_all(runs, tmp_path, ("svg",))]
    assert again == [path.read_bytes() for path in paths], "the same picture is the same file"


def test_plot_writes_every_format(copied: Path, finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plot", str(copied), str(finished), "--format", "pdf", "svg", "--out", str(copied / "both")]) == 0
    printed = [Path(line).name for line in capsys.readouterr().out.splitlines()]
    one = ["front.pdf", "front.html", "indicator.pdf", "front.svg", "indicator.svg"]
    assert printed == [*one, *one, "fronts.pdf", "fronts.svg", "hypervolume.pdf", "hypervolume.svg"]
    assert (copied / "front.pdf").read_bytes()[:5] == b"%PDF-" and "<svg" in (copied / "indicator.svg").read_text()[
        :900
    ]
    for name in ("pdf", "svg"):
        for path in finished.glob(f"*.{name}"):
            path.unlink()


def test_an_unknown_format_is_refused(refuses: Any, finished: Path) -> None:
    assert "format" in refuses("plot", finished, "--format", "gif")
