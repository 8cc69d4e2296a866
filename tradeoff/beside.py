"""Several runs of one environment beside each other: their fronts, and their hypervolume over steps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations, cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tradeoff.drawing import Formats, curve, run_words
from tradeoff.errors import BadInput
from tradeoff.evaluation.plots import COLUMN, ENOUGH, PAGE, blank, draw_runs, entitle, in_print, save
from tradeoff.morl import Front
from tradeoff.replay import Opened

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")  # Okabe and Ito
Curves = tuple[NDArray[np.float64], NDArray[np.float64]]


@in_print
def draw_all(fronts: Sequence[Front], folder: Path, formats: Formats = ("png",)) -> list[Path]:
    """Draw the runs' fronts and their hypervolume over steps into `folder`; returns the paths.

    fronts.png: with two objectives a panel per seed; with more a picture per seed, a panel per pair of objectives.
    hypervolume.png: see `draw_curves`. formats: of the pictures. The runs must have passed `check_comparable`.
    """
    seeds = by(fronts, "seed")
    if len(fronts[0].objectives) == 2 or len(seeds) == 1:
        pictures = {"fronts": draw_fronts(seeds, fronts)}
    else:
        pictures = {f"fronts-seed-{seed}": draw_fronts({seed: group}, fronts) for seed, group in seeds.items()}
    pictures["hypervolume"] = draw_curves(fronts)
    return [save(figure, folder / f"{name}.{kind}") for name, figure in pictures.items() for kind in formats]


def check_comparable(runs: Sequence[Opened]) -> None:
    """Raise BadInput naming what differs between runs whose numbers would mean different things."""
    for name in ("env", "horizon", "discount", "reference_point"):
        values = [run.horizon if name == "horizon" else run.front.indicators[name] for run in runs]
        if any(value != values[0] for value in values):
            different = ", ".join(sorted({str(value) for value in values}))
            option = f"train them with the same --{name.replace('_', '-')}"
            raise BadInput(f"these runs differ in {name} ({different}), so they cannot be compared; {option}")


def held_curves(runs: Sequence[Curves], stop: float) -> Curves:
    """Steps [t] and values [runs, t] of curves that are steps of a staircase, from the last first step to `stop`.

    Each run holds its value until its next evaluation, and its last one to the end.
    """
    start = max(steps[0] for steps, _ in runs)
    every = np.unique(np.concatenate([*(steps for steps, _ in runs), [stop]]))
    grid = every[every >= start]
    return grid, np.stack([values[np.searchsorted(steps, grid, side="right") - 1] for steps, values in runs])


@in_print
def draw_curves(fronts: Sequence[Front]) -> Figure:
    """Hypervolume over real environment steps: a line per run, or of four or more runs of a method their median and
    middle half; at the right end, as diamonds, the hypervolume that each run reports.
    """
    figure = blank(COLUMN, 2.4)
    axes = figure.add_subplot()
    groups = by(fronts, "method")
    curves = {method: [curve(front) for front in group] for method, group in groups.items()}
    stop = max(steps[-1] for runs in curves.values() for steps, _ in runs)
    for place, (colour, (method, group)) in enumerate(zip(_colours(), groups.items(), strict=False)):
        steps, values = held_curves(curves[method], stop)
        draw_runs(axes, steps, values, colour, f"{method}, {len(group)} run{'s' * (len(group) > 1)}")
        reported = [front.indicators["hypervolume"]["value"] for front in group]
        at = np.full(len(group), stop * (1.03 + 0.03 * place))
        axes.plot(at, reported, "d", color=colour, mfc="none", ms=3, label=None)
    axes.plot([], [], "d", color="#444444", mfc="none", ms=3, label="reported, on fresh seeds")
    _finish(axes, "environment steps", "hypervolume")
    band = f" Band: middle half, from {ENOUGH} runs on." if max(map(len, groups.values())) >= ENOUGH else ""
    said = f"Lines: each archive by its own evaluations, the last held to the end.{band} Diamonds: final scores."
    entitle(figure, f"Hypervolume on {fronts[0].env}", f"{said} {run_words(fronts)}")
    return figure


@in_print
def draw_fronts(seeds: dict[Any, list[Front]], fronts: Sequence[Front]) -> Figure:
    """Fronts of one seed or more: a panel per seed and pair of objectives, a colour per method among all `fronts`."""
    names = fronts[0].objectives
    pairs = list(combinations(range(len(names)), 2))
    panels = [(seed, i, j) for seed in seeds for i, j in pairs]
    columns = min(3, len(panels))
    lines = -(-len(panels) // columns)
    figure = blank(COLUMN if columns == 1 else PAGE, 2.2 * lines + 0.2)
    styles = dict(zip(by(fronts, "method"), zip(_colours(), cycle("os^DvP*"), strict=False), strict=False))
    common = len(pairs) == 1  # panels of one pair share their axes, so that they can be compared
    grid = figure.subplots(lines, columns, squeeze=False, sharex=common, sharey=common).ravel()
    for axes, (seed, i, j) in zip(grid, panels, strict=False):
        for front in seeds[seed]:
            colour, marker = styles[front.indicators["method"]]
            label = front.indicators["method"]
            where = front.points[:, i], front.points[:, j]
            axes.scatter(*where, s=10, marker=marker, facecolors="none", edgecolors=colour, linewidths=0.7, label=label)
        _finish(axes, names[i], names[j], legend=axes is grid[0])
        axes.set_title(f"seed {seed}" if common else "")
    for axes in grid[len(panels) :]:
        axes.remove()
    shown = [front for group in seeds.values() for front in group]
    entitle(figure, f"Fronts on {fronts[0].env}", f"Mean returns on fresh seeds. {run_words(shown)}")
    return figure


def by(fronts: Sequence[Front], name: str) -> dict[Any, list[Front]]:
    """Fronts under their method or seed, in the order given."""
    groups: dict[Any, list[Front]] = {}
    for front in fronts:
        groups.setdefault(front.indicators[name], []).append(front)
    return groups


def _colours() -> Iterator[str]:
    return cycle(COLOURS)


def _finish(axes: Axes, horizontal: str, vertical: str, legend: bool = True) -> None:
    axes.set(xlabel=horizontal, ylabel=vertical)
    axes.grid(color="#DDDDDD", lw=0.4)
    axes.spines[["top", "right"]].set_visible(False)
    if legend:
        axes.legend(frameon=False)
