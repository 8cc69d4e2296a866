"""Several runs of one environment beside each other: their fronts, and their hypervolume over steps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations, cycle
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tradeoff.drawing import blank, curve
from tradeoff.errors import BadInput
from tradeoff.evaluation.plots import write_whole
from tradeoff.morl import Front
from tradeoff.replay import Opened

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")  # Okabe and Ito
Curves = tuple[NDArray[np.float64], NDArray[np.float64]]


def draw_all(fronts: Sequence[Front], folder: Path) -> list[Path]:
    """Draw fronts.png and hypervolume.png into `folder`; returns their paths.

    The runs must have passed `check_comparable`.
    """
    return [draw_fronts(fronts, folder / "fronts.png"), draw_curves(fronts, folder / "hypervolume.png")]


def check_comparable(runs: Sequence[Opened]) -> None:
    """Raise BadInput naming what differs between runs whose numbers would mean different things."""
    for name in ("env", "horizon", "discount", "reference_point"):
        values = [run.horizon if name == "horizon" else run.front.indicators[name] for run in runs]
        if any(value != values[0] for value in values):
            different = ", ".join(sorted({str(value) for value in values}))
            option = f"train them with the same --{name.replace('_', '-')}"
            raise BadInput(f"these runs differ in {name} ({different}), so they cannot be compared; {option}")


def common_curves(runs: Sequence[Curves]) -> Curves:
    """Steps [t] and values [runs, t] of curves that are steps of a staircase, from the last first step to the first
    last one.

    Each run holds its value until its next evaluation.
    """
    start, stop = max(steps[0] for steps, _ in runs), min(steps[-1] for steps, _ in runs)
    every = np.unique(np.concatenate([steps for steps, _ in runs]))
    grid = every[(every >= start) & (every <= max(start, stop))]
    return grid, np.stack([values[np.searchsorted(steps, grid, side="right") - 1] for steps, values in runs])


def draw_curves(fronts: Sequence[Front], path: Path) -> Path:
    """Hypervolume over real environment steps: per method the median, the middle half and the range of its runs."""
    figure = blank(7.0, 4.5)
    axes = figure.add_subplot()
    for colour, (method, group) in zip(_colours(), by_method(fronts).items(), strict=False):
        steps, values = common_curves([curve(front) for front in group])
        low, first, median, third, high = np.quantile(values, [0.0, 0.25, 0.5, 0.75, 1.0], axis=0)
        axes.fill_between(steps, low, high, color=colour, alpha=0.12, lw=0)
        axes.fill_between(steps, first, third, color=colour, alpha=0.3, lw=0)
        label = f"{method}, {len(group)} run{'s' * (len(group) > 1)}"
        axes.plot(steps, median, color=colour, lw=2, marker=".", ms=4, label=label)
    _finish(axes, "environment steps", "hypervolume of the archive")
    return write_whole(path, lambda part: figure.savefig(part, dpi=150))


def draw_fronts(fronts: Sequence[Front], path: Path) -> Path:
    """All fronts in one picture: a panel per pair of objectives, a colour per run."""
    names = fronts[0].objectives
    pairs = list(combinations(range(len(names)), 2))
    columns = min(3, len(pairs))
    lines = -(-len(pairs) // columns)
    figure = blank(6.5 if columns == 1 else 4.2 * columns, 4.5 if lines == 1 else 3.6 * lines)
    for place, (i, j) in enumerate(pairs, start=1):
        axes = figure.add_subplot(lines, columns, place)
        for colour, marker, front in zip(_colours(), cycle("os^DvP*"), fronts, strict=False):
            label = f"{front.indicators['method']}, seed {front.indicators['seed']}"
            where = front.points[:, i], front.points[:, j]
            axes.scatter(*where, s=40, marker=marker, facecolors="none", edgecolors=colour, label=label)
        _finish(axes, names[i], names[j], legend=place == 1)
    return write_whole(path, lambda part: figure.savefig(part, dpi=150))


def by_method(fronts: Sequence[Front]) -> dict[str, list[Front]]:
    """Fronts under the name of their method, in the order given."""
    groups: dict[str, list[Front]] = {}
    for front in fronts:
        groups.setdefault(front.indicators["method"], []).append(front)
    return groups


def _colours() -> Iterator[str]:
    return cycle(COLOURS)


def _finish(axes: Axes, horizontal: str, vertical: str, legend: bool = True) -> None:
    axes.set(xlabel=horizontal, ylabel=vertical)
    axes.grid(color="#DDDDDD", lw=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    if legend:
        axes.legend(frameon=False)
