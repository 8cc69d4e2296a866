"""Pictures of results as PNG, PDF or SVG (by the file's ending), without a window, written whole or not at all.

Sizes are those of print: a picture is one column or one page wide, its letters are 6 to 8 points.
"""

from __future__ import annotations

import os
import textwrap
from collections.abc import Callable, Sequence
from functools import wraps
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from tradeoff.evaluation.checks import Array, InvalidPoints, as_front, as_points

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FOUND, EXACT = "#0072B2", "#D55E00"  # blue and vermilion: told apart with any colour vision (Okabe, Ito)

COLUMN, PAGE, DOTS = 3.5, 7.0, 300  # inches, inches, dots per inch of a PNG
ENOUGH = 4  # runs from which on a middle half says something; fewer are drawn one by one
PRINT = {
    "font.size": 7.0, "axes.titlesize": 8.0, "figure.titlesize": 8.0, "legend.fontsize": 6.0, "xtick.labelsize": 6.0,
    "ytick.labelsize": 6.0, "axes.linewidth": 0.6, "xtick.major.width": 0.6, "ytick.major.width": 0.6,
    "lines.linewidth": 1.0, "lines.markersize": 3.0, "pdf.fonttype": 42, "svg.hashsalt": "tradeoff",
}  # fmt: skip
UNDATED = {"pdf": {"CreationDate": None}, "svg": {"Date": None}}  # the same picture is the same file

Names = Sequence[str]
P = ParamSpec("P")
T = TypeVar("T")


def in_print(draw: Callable[P, T]) -> Callable[P, T]:
    """The same function, drawing with the letters and lines of print."""

    @wraps(draw)
    def styled(*args: P.args, **kwargs: P.kwargs) -> T:
        from matplotlib import rc_context

        with rc_context(PRINT):  # type: ignore[arg-type]  # its names are literals there
            return draw(*args, **kwargs)

    return styled


@in_print
def plot_front(
    points: ArrayLike,
    names: Sequence[str],
    path: str | os.PathLike[str],
    *,
    exact: ArrayLike | None = None,
    errors: ArrayLike | None = None,
    labels: Sequence[str] | None = None,
    known: str = "exact front",
    title: str = "",
    caption: str = "",
) -> Path:
    """Draw a front [n, m], m >= 2, beside the exact one [q, m], and return the file's path.

    Two objectives: a scatter with error bars. Three: the solid view and its three sides. More: parallel coordinates.

    names: m objective names with their units. errors: standard errors [n, m], drawn as bars of one standard error.
    labels: n short texts written beside the points (two and three objectives). known: what `exact` is called.
    title, caption: above and below the picture.
    Raises InvalidPoints for shapes that disagree; OSError if the file cannot be written, an older file then stays.
    """
    front = as_front(points, "points", len(names))
    truth = np.empty((0, len(names))) if exact is None else as_points(exact, "exact", len(names))
    spread = np.zeros_like(front) if errors is None else as_points(errors, "errors", len(names))
    if len(names) < 2 or spread.shape != front.shape or (labels is not None and len(labels) != len(front)):
        raise InvalidPoints(
            f"{len(front)} points of {len(names)} objectives, errors of shape {spread.shape}, "
            f"{len(labels or ())} labels; expected a row of errors and a label per point, at least two objectives"
        )
    draw = {2: _two_objectives, 3: _three_objectives}.get(len(names), _many_objectives)
    figure = blank(*((5.5, 4.5) if len(names) == 3 else (max(COLUMN, 0.8 * len(names)), 2.5)))
    draw(figure, front, truth, spread, names, labels, known)
    entitle(figure, title, caption)
    return save(figure, path)


@in_print
def plot_indicator(
    steps: ArrayLike,
    values: ArrayLike,
    path: str | os.PathLike[str],
    name: str,
    *,
    exact: float | None = None,
    title: str = "",
    caption: str = "",
) -> Path:
    """Draw an indicator over real environment steps [t], values [seeds, t]: a line per seed, or from four seeds on
    their median and middle half.

    exact: the best possible value, drawn as a line. title, caption: above and below the picture.
    Returns the file's path; raises as `plot_front`.
    """
    runs = as_front(values, "values")
    time = np.asarray(steps, dtype=np.float64)
    if time.shape != runs.shape[1:]:
        raise InvalidPoints(f"{time.shape} steps for values of shape {runs.shape}; expected values [seeds, steps]")
    figure = blank(COLUMN, 2.25)
    axes = figure.add_subplot()
    draw_runs(axes, time, runs, FOUND, "one seed" if len(runs) == 1 else f"{len(runs)} seeds")
    if exact is not None:
        axes.axhline(exact, color=EXACT, lw=0.8, ls="--", label=f"exact {exact:,.6g}")
    _finish(axes, "environment steps", name)
    axes.legend(frameon=False, loc="lower right")
    entitle(figure, title, caption)
    return save(figure, path)


def draw_runs(axes: Axes, steps: Array, runs: Array, colour: str, label: str) -> None:
    """Staircases [runs, t] over steps [t]: each of them, or from four on their median and middle half."""
    mark = "." if len(steps) < 3 else None
    if len(runs) < ENOUGH:
        for index, run in enumerate(runs):
            axes.step(steps, run, where="post", color=colour, marker=mark, label=None if index else label)
        return
    first, median, third = np.quantile(runs, [0.25, 0.5, 0.75], axis=0)
    axes.fill_between(steps, first, third, step="post", color=colour, alpha=0.25, lw=0)
    axes.step(steps, median, where="post", color=colour, marker=mark, label=f"{label}: median and middle half")


def write_whole(path: str | os.PathLike[str], write: Callable[[Path], Any]) -> Path:
    """Let `write` fill a file beside `path` and move it there: readers see the old file or the new one, never half."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.stem}.{os.getpid()}.part{target.suffix}")
    try:
        write(part)
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)
    return target


def _two_objectives(
    figure: Figure, front: Array, exact: Array, errors: Array, names: Names, labels: Names | None, known: str
) -> None:
    axes = figure.add_subplot()
    _projection(axes, front, exact, errors, labels, known)
    _finish(axes, names[0], names[1])
    axes.legend(frameon=False, loc="best")


def _three_objectives(
    figure: Figure, front: Array, exact: Array, errors: Array, names: Names, labels: Names | None, known: str
) -> None:
    solid: Any = figure.add_subplot(2, 2, 1, projection="3d")
    if len(exact):
        solid.scatter(*exact.T, s=12, facecolors="none", edgecolors=EXACT, linewidths=0.8, depthshade=False)
    solid.scatter(*front.T, s=7, color=FOUND, depthshade=False)
    solid.set(xlabel=names[0], ylabel=names[1], zlabel=names[2])
    solid.tick_params(labelsize=5, pad=-2)
    solid.locator_params(nbins=5)
    solid.set_box_aspect(None, zoom=0.75)  # the third label would be cut off
    for place, (column, row) in enumerate(combinations(range(3), 2), start=2):
        side = [column, row]
        axes = figure.add_subplot(2, 2, place)
        _projection(axes, front[:, side], exact[:, side], errors[:, side], labels, known)
        _finish(axes, names[column], names[row])
    axes.legend(frameon=False, loc="best")


def _projection(axes: Axes, front: Array, exact: Array, errors: Array, labels: Names | None, known: str) -> None:
    """Points on two of the objectives, with error bars where there are any."""
    if len(exact):
        axes.scatter(
            exact[:, 0],
            exact[:, 1],
            s=18,
            facecolors="none",
            edgecolors=EXACT,
            linewidths=0.8,
            label=known,
            zorder=2,
        )
    if errors.any():
        axes.errorbar(
            front[:, 0],
            front[:, 1],
            xerr=errors[:, 0],
            yerr=errors[:, 1],
            fmt="none",
            ecolor=FOUND,
            alpha=0.5,
            lw=0.7,
            zorder=3,
        )
    axes.scatter(front[:, 0], front[:, 1], s=7, color=FOUND, label="found", zorder=4)
    for text, place in zip(labels or (), front, strict=False):
        axes.annotate(text, place, xytext=(3, 3), textcoords="offset points", fontsize=6, color="#444444")


def _many_objectives(
    figure: Figure, front: Array, exact: Array, errors: Array, names: Names, labels: Names | None, known: str
) -> None:
    """One upright axis per objective in its own range, one line per policy, coloured by the first objective."""
    from matplotlib import colormaps

    everything = np.vstack([front, exact])
    low, width = everything.min(axis=0), np.ptp(everything, axis=0)
    width = np.where(width > 0, width, 1.0)
    axes, places = figure.add_subplot(), np.arange(len(names))
    for index, row in enumerate((exact - low) / width):
        axes.plot(places, row, color="#BBBBBB", lw=0.5, label=known if index == 0 else None, zorder=1)
    for index, row in enumerate((front - low) / width):
        shade = colormaps["viridis"](0.92 * row[0])
        axes.plot(places, row, color=shade, lw=0.9, alpha=0.85, zorder=2, label="found" if index == 0 else None)
    plate = {"facecolor": "white", "edgecolor": "none", "pad": 1.0}
    for place in range(len(names)):
        axes.axvline(place, color="#333333", lw=0.5, zorder=3)
        axes.text(place, 1.02, f"{low[place] + width[place]:.4g}", ha="center", va="bottom", fontsize=6, bbox=plate)
        axes.text(place, -0.02, f"{low[place]:.4g}", ha="center", va="top", fontsize=6, bbox=plate)
    axes.set(xticks=places, xticklabels=names, yticks=[], xlim=(-0.25, len(names) - 0.75), ylim=(-0.08, 1.08))
    axes.tick_params(axis="x", length=0, pad=8)
    axes.spines[:].set_visible(False)
    if len(exact):
        axes.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, 1.1), ncols=2)


def blank(width: float, height: float) -> Figure:
    """An empty figure of so many inches that needs no screen."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)  # pyplot stays out of it: no window, and nobody's current figure changes
    return figure


def entitle(figure: Figure, title: str, caption: str = "") -> None:
    """Write a title above and a caption below a figure, which grows by the lines that they take."""
    width, height = figure.get_size_inches()
    lines = textwrap.wrap(caption, int(20 * width))  # 6 point letters are about 1 / 20 inch wide
    if title:
        figure.suptitle(title)
    if lines:
        figure.supxlabel("\n".join(lines), x=0.01, ha="left", fontsize=6, color="#444444")
    figure.set_size_inches(width, height + 0.15 * bool(title) + 0.1 * len(lines))


def _finish(axes: Axes, horizontal: str, vertical: str) -> None:
    axes.set(xlabel=horizontal, ylabel=vertical)
    axes.grid(color="#DDDDDD", lw=0.4)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def save(figure: Figure, path: str | os.PathLike[str]) -> Path:
    """Write a figure as its path's ending says; the same figure gives the same bytes."""
    kind = Path(path).suffix.lstrip(".").lower()
    return write_whole(path, lambda part: figure.savefig(part, dpi=DOTS, metadata=UNDATED.get(kind)))
